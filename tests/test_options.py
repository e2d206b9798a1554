"""One declaration of the options: what mirrors it by hand says the same."""

import re
from dataclasses import fields
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_origin, get_type_hints

import pytest
from lapsrn_client import Options

from app.options import Effort, MoreEffort, UpscaleOptions

HINTS = {name: get_args(hint)[0] for name, hint in get_type_hints(UpscaleOptions, include_extras=True).items()}
DOCS = (Path(__file__).resolve().parent.parent / "docs" / "api.md").read_text()
ROWS = dict(re.findall(r"^\| `(\w+)` \| (.*?) \|", DOCS, re.MULTILINE))


def choices(annotation: Any) -> set[object]:
    """The values that a Literal allows, and the types that may be given besides, without None."""
    if get_origin(annotation) is not None:
        return set().union(*(choices(part) for part in get_args(annotation)))
    return set() if annotation is NoneType else {annotation}


def test_the_client_mirrors_every_option() -> None:
    theirs = get_type_hints(Options)
    assert list(theirs) != []
    assert set(theirs) | {"scale"} == set(HINTS)
    assert {name: choices(hint) for name, hint in theirs.items()} == {
        name: choices(hint) for name, hint in HINTS.items() if name != "scale"
    }


@pytest.mark.parametrize("field", fields(UpscaleOptions), ids=lambda field: field.name)
def test_the_docs_name_every_option_and_value(field: Any) -> None:
    allowed = choices(HINTS[field.name])
    named = {"true", "false"} if bool in allowed else {str(value) for value in allowed if not isinstance(value, type)}
    assert named - set(re.findall(r"`(\w+)`", ROWS[field.name])) == set(), f"docs/api.md: the row of {field.name}"


def test_quality_words_are_efforts_and_not_encoder_qualities() -> None:
    efforts = [UpscaleOptions(quality=each).asked_effort for each in (None, 80, "medium", "high", "best")]
    assert efforts == ["standard", "standard", "medium", "high", "best"]
    for each in get_args(MoreEffort):
        assert UpscaleOptions(quality=each).lossy_quality is None
        assert UpscaleOptions(effort=each).asked_effort == UpscaleOptions(quality=each, effort="medium").asked_effort
        assert UpscaleOptions(effort=each, quality=80).asked_effort == each
        assert UpscaleOptions(effort=each, quality=80).lossy_quality == 80
        assert UpscaleOptions(effort="best", quality=each).asked_effort == "best"
        assert UpscaleOptions(ensemble=True, quality=each, effort="medium").asked_effort == "best"
    assert UpscaleOptions(ensemble=True, quality=80).asked_effort == "best"
    assert UpscaleOptions(quality=80).lossy_quality == 80
    assert ("standard", *get_args(MoreEffort)) == get_args(Effort)
