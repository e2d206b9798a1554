"""Which strength a picture gets: what was asked for, or by the table of its compression."""

import re

import pytest

from app.codec import Compression
from app.errors import BadParameter
from app.metrics import CLEAN_REASONS
from app.service.clean_up import CleanUp, check, choose, suitable
from tests.fakes import FakeInfo

TABLE = {"jpeg": [(10, 1.0), (75, 0.75), (90, 0.5), (100, 0.0)], "webp": [(0, 1.0), (100, 0.5)], "avif": [(50, 0.25)]}
CLEANS = FakeInfo("x4", strengths=TABLE)
END = FakeInfo("x4_jpeg", full_strength_of="x4", strengths=TABLE)
PLAIN = FakeInfo("plain")


@pytest.mark.parametrize(
    ("kind", "quality", "strength"),
    [
        ("jpeg", 1, 1.0),
        ("jpeg", 10, 1.0),
        ("jpeg", 75, 0.75),
        ("jpeg", 83, 0.625),  # between two points, to the nearest eighth
        ("jpeg", 98, 0.125),
        ("jpeg", 99, 0.0),
        ("jpeg", 100, 0.0),
        ("grid", 75, 0.75),  # a JPEG that the pixels tell of
        ("webp", 50, 0.75),
        ("avif", 0, 0.25),
        ("avif", 100, 0.25),
    ],
)
def test_the_strength_comes_from_the_table(kind: str, quality: int, strength: float) -> None:
    assert suitable(TABLE, Compression(kind, quality)) == strength  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("compressions", "told"),
    [
        ((), "0"),
        ((Compression("jpeg", 90),), "0.5; jpeg=90"),
        ((Compression("jpeg", 100),), "0; jpeg=100"),
        ((Compression("jpeg", 95), Compression("grid", 75)), "0.75; grid=75"),
        ((Compression("jpeg", 75), Compression("grid", 90)), "0.75; jpeg=75"),
        ((Compression("jpeg", 75), Compression("grid", 75)), "0.75; jpeg=75"),  # of equals, what the file says
    ],
)
def test_the_compression_that_needs_most_decides(compressions: tuple[Compression, ...], told: str) -> None:
    chosen = choose(CLEANS, "auto", compressions)
    assert str(chosen) == told
    assert chosen.reason in CLEAN_REASONS


@pytest.mark.parametrize(("asked", "told"), [(0, "0"), (1, "1"), (0.3, "0.25"), (0.32, "0.375"), (1e-9, "0")])
def test_what_is_asked_for_goes_before_what_is_found(asked: float, told: str) -> None:
    chosen = choose(CLEANS, asked, (Compression("jpeg", 10),))
    assert str(chosen) == told
    assert chosen.reason == "asked"
    assert chosen.compressed


@pytest.mark.parametrize("compressions", [(), (Compression("jpeg", 100),)])
def test_losses_that_need_no_clean_up_are_as_if_there_were_none(compressions: tuple[Compression, ...]) -> None:
    assert not choose(CLEANS, 0.5, compressions).compressed


def test_a_network_at_full_strength_has_no_other() -> None:
    assert choose(END, "auto", ()) == choose(END, 1, ()) == CleanUp(1.0, asked=True)
    with pytest.raises(BadParameter, match=re.escape("model=x4_jpeg is another name of clean=1.")):
        check(END, 0.5)
    check(END, "auto")
    check(END, 1.0)


def test_a_network_without_clean_up_has_none() -> None:
    assert choose(PLAIN, "auto", (Compression("jpeg", 10),)) == CleanUp()
    with pytest.raises(BadParameter, match="plain has no clean-up"):
        check(PLAIN, 0.5)
    check(PLAIN, 0)
    check(PLAIN, "auto")
    check(CLEANS, 0.5)
