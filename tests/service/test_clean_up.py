"""Which strength a picture gets: the requested one, or one by the table for its compression."""

import re
from typing import Literal

import pytest

from app.codec import Finding
from app.errors import BadParameter
from app.metrics import CLEAN_REASONS
from app.service.clean_up import CleanUp, check, choose, suitable
from tests.fakes import FakeInfo

TABLE = {
    "jpeg": [(10, 1.0), (75, 0.75), (90, 0.5), (100, 0.0)],
    "webp": [(0, 1.0), (100, 0.5)],
    "avif": [(50, 0.25)],
    "noise": [(2, 0.25), (10, 1.0)],
    "jpeg_noise": [(2, 0.25), (10, 0.75)],
    "area": [(0, 0.5)],
    "aliased": [(0, 1.0)],
}
CLEANS = FakeInfo("x4", strengths=TABLE)
END = FakeInfo("x4_jpeg", full_strength_of="x4", strengths=TABLE)
PLAIN = FakeInfo("plain")
NETWORKS = {each.name: each for each in (CLEANS, END, PLAIN)}


@pytest.mark.parametrize(
    ("kind", "amount", "strength"),
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
        ("noise", 2, 0.25),
        ("noise", 6, 0.625),
        ("noise", 40, 1.0),
        ("area", 0, 0.5),
        ("aliased", 0, 1.0),
    ],
)
def test_the_strength_comes_from_the_table(kind: str, amount: int, strength: float) -> None:
    assert suitable(TABLE, Finding(kind, amount)) == strength  # type: ignore[arg-type]


def test_what_was_not_measured_for_a_network_needs_no_strength() -> None:
    assert suitable({"jpeg": TABLE["jpeg"]}, Finding("noise", 40)) == 0.0


@pytest.mark.parametrize(
    ("findings", "told"),
    [
        ((), "0"),
        ((Finding("jpeg", 90),), "0.5; jpeg=90"),
        ((Finding("jpeg", 100),), "0; jpeg=100"),
        ((Finding("jpeg", 95), Finding("grid", 75)), "0.75; grid=75"),
        ((Finding("jpeg", 75), Finding("grid", 90)), "0.75; jpeg=75"),
        ((Finding("jpeg", 75), Finding("grid", 75)), "0.75; jpeg=75"),  # of equals, what the file says
        ((Finding("noise", 10),), "1; noise=10"),
        ((Finding("area", 0),), "0.5; area"),
        ((Finding("aliased", 0),), "1; aliased"),
        ((Finding("jpeg", 95), Finding("noise", 10)), "1; noise=10"),
        ((Finding("jpeg", 90), Finding("noise", 10)), "0.75; noise=10"),  # of noise in losses
        ((Finding("jpeg", 75), Finding("noise", 2)), "0.75; jpeg=75"),
        ((Finding("jpeg", 95), Finding("area", 0)), "0.25; jpeg=95"),  # compression came after
        ((Finding("jpeg", 95), Finding("aliased", 0)), "0.25; jpeg=95"),
        ((Finding("jpeg", 100), Finding("area", 0)), "0.5; area"),
    ],
)
def test_the_finding_that_needs_the_greatest_strength_decides(findings: tuple[Finding, ...], told: str) -> None:
    chosen = choose(NETWORKS, CLEANS, "auto", findings)
    assert str(chosen) == told
    assert chosen.reason in CLEAN_REASONS


@pytest.mark.parametrize(("asked", "told"), [(0, "0"), (1, "1"), (0.3, "0.25"), (0.32, "0.375"), (1e-9, "0")])
def test_a_requested_strength_overrides_the_findings(asked: float, told: str) -> None:
    chosen = choose(NETWORKS, CLEANS, asked, (Finding("jpeg", 10),))
    assert str(chosen) == told
    assert chosen.reason == "asked"
    assert chosen.compressed


@pytest.mark.parametrize("findings", [(), (Finding("jpeg", 100),)])
def test_compression_too_light_for_clean_up_counts_as_none(findings: tuple[Finding, ...]) -> None:
    assert not choose(NETWORKS, CLEANS, 0.5, findings).compressed


@pytest.mark.parametrize(
    ("findings", "compressed"),
    [
        ((Finding("noise", 5),), False),
        ((Finding("area", 0),), False),
        ((Finding("aliased", 0),), False),
        ((Finding("jpeg", 90), Finding("noise", 9)), True),
        ((Finding("jpeg", 100), Finding("noise", 9)), False),
    ],
)
@pytest.mark.parametrize("clean", ["auto", 0.5])
def test_findings_other_than_compression_do_not_count_as_compression(
    findings: tuple[Finding, ...], compressed: bool, clean: float | Literal["auto"]
) -> None:
    assert choose(NETWORKS, CLEANS, clean, findings).compressed == compressed


def test_noise_that_needs_more_strength_than_the_compression_is_cleaned_up_as_noise() -> None:
    for findings, compressed in (
        ((Finding("jpeg", 95), Finding("noise", 9)), False),
        ((Finding("jpeg", 95), Finding("noise", 2)), True),
        ((Finding("jpeg", 85), Finding("noise", 40)), True),
    ):
        assert choose(NETWORKS, CLEANS, "auto", findings).compressed == compressed
        assert choose(NETWORKS, CLEANS, 0.5, findings).compressed


def test_a_network_named_for_full_strength_has_no_other_strength() -> None:
    both: tuple[float | Literal["auto"], ...] = ("auto", 1)
    for clean in both:
        assert choose(NETWORKS, END, clean, ()) == choose(NETWORKS, CLEANS, 1, ())
        assert choose(NETWORKS, END, clean, (Finding("jpeg", 10),)).compressed
    for other in (0, 0.5):
        with pytest.raises(BadParameter, match=re.escape("model=x4_jpeg is another name of clean=1.")):
            check(NETWORKS, END, other)
    check(NETWORKS, END, "auto")
    check(NETWORKS, END, 1.0)


def test_a_network_without_clean_up_stays_at_strength_zero() -> None:
    assert choose(NETWORKS, PLAIN, "auto", (Finding("jpeg", 10),)) == CleanUp()
    with pytest.raises(BadParameter, match="plain has no clean-up"):
        check(NETWORKS, PLAIN, 0.5)
    check(NETWORKS, PLAIN, 0)
    check(NETWORKS, PLAIN, "auto")
    check(NETWORKS, CLEANS, 0.5)
