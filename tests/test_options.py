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


@pytest.mark.parametrize(
    ("asked", "level"),
    [({"scale": 1}, 2), ({"scale": 2}, 2), ({"scale": 2.1}, 4), ({"scale": 8}, 8), ({"width": 9000}, 2)],
)
def test_the_least_level_is_that_of_the_scale_and_two_for_a_size(asked: dict[str, Any], level: int) -> None:
    assert UpscaleOptions(**asked).least_level == level


@pytest.mark.parametrize(
    ("asked", "sides", "size"),
    [
        ({"long_side": 10}, (1, 1000), (1, 10)),
        ({"long_side": 10}, (1000, 1), (10, 1)),
        ({"width": 3, "height": 500}, (1000, 2), (500, 1)),
        ({"scale": 1.5}, (1, 3), (2, 5)),
    ],
)
def test_a_side_of_the_result_is_rounded_half_up_and_at_least_one(
    asked: dict[str, Any], sides: tuple[int, int], size: tuple[int, int]
) -> None:
    assert UpscaleOptions(**asked).size_of(*sides) == size


def test_a_strength_of_zero_cleans_nothing() -> None:
    assert [UpscaleOptions(clean=each).cleans for each in ("auto", 0, 0.0, 0.125, 1)] == [
        False,
        False,
        False,
        True,
        True,
    ]


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
