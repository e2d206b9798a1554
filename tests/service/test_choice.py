"""Which network computes, and in how many passes: every quality and strength, with a deep companion and without."""

from collections.abc import Mapping
from typing import get_args

import pytest

from app.engine.ensemble import PASSES
from app.errors import BadParameter
from app.options import Effort
from app.service import clean_up
from app.service.choice import WORK, Choice, base_of, choose, cleaner_of, companion_of, family
from tests.fakes import FakeInfo

TABLE = {"jpeg": [(75, 0.75), (100, 0.0)]}
Networks = Mapping[str, FakeInfo]


def served(*networks: FakeInfo) -> Networks:
    return {each.name: each for each in networks}


PLAIN = FakeInfo("x4", sha256="1")
DEEP = FakeInfo("deep", deep_of="x4", strengths=TABLE, sha256="2")
END = FakeInfo("end", full_strength_of="deep", strengths=TABLE, sha256="3")
LARGE = FakeInfo("x8", scales=(2, 4, 8), sha256="4")
OWN = FakeInfo("x4", strengths=TABLE, sha256="5")
WAY = FakeInfo("x4", strengths=TABLE, sha256="5", waypoints={"way": "7"})
"""With a network between its two ends of clean-up."""
OWN_END = FakeInfo("own_end", full_strength_of="x4", strengths=TABLE, sha256="6")
WHOLE = served(PLAIN, DEEP, LARGE, END)
DEEP_ALONE = served(PLAIN, FakeInfo("deep", deep_of="x4"))
"""A companion that has no clean-up."""
BOTH = served(OWN, DEEP, END, OWN_END)
"""Two lines of clean-up."""


@pytest.mark.parametrize(
    ("networks", "asked", "effort", "strength", "choice"),
    [
        (WHOLE, "x4", "standard", 0.0, ("x4", "x4", 1)),
        (WHOLE, "x4", "medium", 0.0, ("x4", "x4", 2)),
        (WHOLE, "x4", "high", 0.0, ("deep", "deep", 2)),
        (WHOLE, "x4", "best", 0.0, ("deep", "deep", 8)),
        (WHOLE, "x4", "standard", 0.5, ("deep", "deep", 1)),
        (WHOLE, "x4", "medium", 1.0, ("deep", "deep", 2)),
        (WHOLE, "x4", "high", 0.125, ("deep", "deep", 2)),
        (WHOLE, "x4", "best", 0.5, ("deep", "deep", 8)),
        (WHOLE, "deep", "standard", 0.0, ("deep", "deep", 1)),
        (WHOLE, "deep", "medium", 0.5, ("deep", "deep", 2)),
        (WHOLE, "deep", "high", 0.0, ("deep", "deep", 2)),
        (WHOLE, "deep", "best", 1.0, ("deep", "deep", 8)),
        (WHOLE, "end", "standard", 1.0, ("end", "deep", 1)),
        (WHOLE, "end", "medium", 1.0, ("end", "deep", 2)),
        (WHOLE, "end", "high", 1.0, ("end", "deep", 2)),
        (WHOLE, "x8", "standard", 0.0, ("x8", "x8", 1)),
        (WHOLE, "x8", "medium", 0.0, ("x8", "x8", 2)),
        (WHOLE, "x8", "high", 0.0, ("x8", "x8", 8)),
        (WHOLE, "x8", "best", 0.0, ("x8", "x8", 8)),
        (DEEP_ALONE, "x4", "standard", 0.0, ("x4", "x4", 1)),
        (DEEP_ALONE, "x4", "medium", 0.0, ("x4", "x4", 2)),
        (served(OWN, DEEP_ALONE["deep"]), "x4", "standard", 0.5, ("x4", "x4", 1)),
        (served(OWN, DEEP_ALONE["deep"]), "x4", "high", 0.5, ("x4", "x4", 8)),
        (served(OWN, DEEP_ALONE["deep"]), "x4", "high", 0.0, ("deep", "deep", 2)),
        (served(OWN, OWN_END), "x4", "standard", 0.5, ("x4", "x4", 1)),
        (served(OWN, OWN_END), "x4", "medium", 0.5, ("x4", "x4", 2)),
        (served(OWN, OWN_END), "own_end", "standard", 1.0, ("own_end", "x4", 1)),
        (served(OWN, OWN_END), "own_end", "medium", 1.0, ("own_end", "x4", 2)),
        (BOTH, "x4", "standard", 0.5, ("deep", "deep", 1)),
        (BOTH, "own_end", "medium", 1.0, ("own_end", "deep", 2)),
        (BOTH, "end", "medium", 1.0, ("end", "deep", 2)),
    ],
)
def test_network_and_passes_for_effort_and_strength(
    networks: Networks, asked: str, effort: Effort, strength: float, choice: tuple[str, str, int]
) -> None:
    assert choose(networks, networks[asked], effort, strength) == Choice(*choice)


def test_every_effort_has_a_row_with_a_number_of_passes_that_the_engine_supports() -> None:
    assert set(WORK) == set(get_args(Effort))
    assert {passes for work in WORK.values() for passes in work[1:]} <= set(PASSES)


def test_the_companion_cleans_up_if_it_has_strengths() -> None:
    assert companion_of(WHOLE, PLAIN) is DEEP
    assert cleaner_of(WHOLE, PLAIN) is DEEP
    assert cleaner_of(WHOLE, LARGE) is LARGE
    assert cleaner_of(served(OWN), OWN) is OWN
    assert cleaner_of(served(OWN, DEEP_ALONE["deep"]), OWN) is OWN
    assert cleaner_of(BOTH, OWN) is DEEP
    for strength in (0, 0.5, 1, "auto"):
        clean_up.check(WHOLE, PLAIN, strength)


def test_the_strengths_are_those_of_the_network_that_cleans_up() -> None:
    deep = FakeInfo("deep", deep_of="x4", strengths={"jpeg": [(0, 0.75)], "noise": [(0, 1.0)]})
    assert clean_up.strengths_of(served(OWN, deep), OWN) == deep.strengths
    assert clean_up.strengths_of(served(OWN), OWN) == TABLE


def test_a_network_whose_companion_is_missing_has_no_clean_up() -> None:
    """As for x8, if only a deep network for x4 has clean-up."""
    with pytest.raises(BadParameter, match="x8 has no clean-up"):
        clean_up.check(WHOLE, LARGE, 0.5)
    clean_up.check(WHOLE, LARGE, "auto")
    assert clean_up.choose(WHOLE, LARGE, "auto", ()).strength == 0


def test_a_network_named_for_full_strength_is_refused_with_another_strength() -> None:
    assert base_of(WHOLE, END) is DEEP
    assert base_of(WHOLE, DEEP) is DEEP
    assert base_of(BOTH, OWN_END) is OWN
    with pytest.raises(BadParameter, match=r"model=own_end is another name of clean=1\..*choose model=x4\."):
        clean_up.check(BOTH, OWN_END, 0.5)


@pytest.mark.parametrize(
    ("networks", "asked", "files"),
    [
        (WHOLE, "x4", {"x4": "1", "deep": "2", "end": "3"}),
        (WHOLE, "deep", {"deep": "2", "end": "3"}),
        (WHOLE, "end", {"deep": "2", "end": "3"}),
        (BOTH, "own_end", {"x4": "5", "own_end": "6", "deep": "2", "end": "3"}),
        (WHOLE, "x8", {"x8": "4"}),
        (BOTH, "x4", {"x4": "5", "own_end": "6", "deep": "2", "end": "3"}),
        (served(WAY, OWN_END), "x4", {"x4": "5", "own_end": "6", "way": "7"}),
    ],
)
def test_family_lists_every_weights_file_that_may_be_used_for_a_picture(
    networks: Networks, asked: str, files: dict[str, str]
) -> None:
    assert family(networks, networks[asked]) == files
