"""Chooses the clean-up strength of a picture: the one asked for, or one that suits what was found in the picture."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from app.codec import Finding
from app.engine import NetworkInfo
from app.errors import BadParameter
from app.service.choice import base_of, cleaner_of

Strengths: TypeAlias = Mapping[str, Sequence[tuple[int, float]]]
"""Kind of finding -> points (amount, strength) of a piecewise linear function."""
STEPS = 8
"""Strengths are multiples of 1/8: no others are interpolated between two networks."""
COMPRESSION = ("jpeg", "webp", "avif", "grid")
"""Kinds of findings that are compression losses."""
_TABLES = {"grid": "jpeg"}
"""Kinds of findings that use the table of another kind."""
_NOISE_IN_LOSSES = "jpeg_noise"
"""The table for noise in pictures whose compression losses need a strength of at least _HEAVY_LOSSES."""
_HEAVY_LOSSES = 0.5
"""Below this strength, the table for noise in uncompressed pictures gives better results."""
_SHRINKING = ("area", "aliased")
"""Kinds of findings that are ways of shrinking."""


@dataclass(frozen=True, slots=True)
class CleanUp:
    """`strength` in 0..1, and the finding it was chosen for; None if it was asked for, or nothing was found.

    `compressed` is whether the picture has compression losses worth cleaning up. It has no effect at strength 0.
    """

    strength: float = 0.0
    finding: Finding | None = None
    asked: bool = False
    compressed: bool = True

    def __str__(self) -> str:
        """The value of X-Upscale-Clean: "0.5; jpeg=90", "1; noise=12", "0.5; area"."""
        found = self.finding
        if found is None:
            return f"{self.strength:g}"
        return f"{self.strength:g}; {found.kind}" + (f"={found.amount}" if found.amount else "")

    @property
    def reason(self) -> str:
        """One of metrics.CLEAN_REASONS."""
        return self.finding.kind if self.finding else "asked" if self.asked else "nothing"


def check(networks: Mapping[str, NetworkInfo], network: NetworkInfo, clean: float | Literal["auto"]) -> None:
    """Raises BadParameter for a strength that the network does not offer."""
    if network.full_strength_of and clean not in ("auto", 1):
        raise BadParameter(
            f"model={network.name} is another name of clean=1. Leave one of the two out, or choose "
            f"model={network.full_strength_of}."
        )
    if not strengths_of(networks, network) and clean not in ("auto", 0):
        raise BadParameter(f"{network.name} has no clean-up. Leave clean out, or choose another scale or model.")


def strengths_of(networks: Mapping[str, NetworkInfo], network: NetworkInfo) -> Strengths:
    """The table of the network that cleans up pictures for `network`; {} if there is no clean-up."""
    return cleaner_of(networks, network).strengths


def choose(
    networks: Mapping[str, NetworkInfo],
    network: NetworkInfo,
    clean: float | Literal["auto"],
    findings: Sequence[Finding],
) -> CleanUp:
    """The clean-up for a picture of `network`; `clean` was checked by `check`.

    The finding that needs the highest strength decides; how the picture was shrunk counts only without compression
    losses. Where noise decides and the losses beside it are small, the picture counts as uncompressed.
    """
    if network.full_strength_of:
        network, clean = base_of(networks, network), 1.0
    table = strengths_of(networks, network)
    findings = findings if table else ()
    strengths = {each: suitable(table, each) for each in findings if each.kind in COMPRESSION}
    losses = max(strengths.values(), default=0.0)
    if clean != "auto":
        return CleanUp(snapped(clean), asked=True, compressed=losses > 0)
    others = [each for each in findings if each not in strengths and not (losses and each.kind in _SHRINKING)]
    strengths |= {each: suitable(table, each, losses) for each in others}
    strongest = max(strengths, key=lambda each: strengths[each], default=None)
    if strongest is None:
        return CleanUp()
    compressed = losses > 0 and (strongest.kind != "noise" or losses >= _HEAVY_LOSSES)
    return CleanUp(strengths[strongest], strongest, compressed=compressed)


def suitable(strengths: Strengths, finding: Finding, losses: float = 0.0) -> float:
    """The strength for one finding: interpolated between the points of its table, clamped at both ends; 0 without one.

    `losses` is the strength that the picture's compression losses need.
    """
    kind = _TABLES.get(finding.kind, finding.kind)
    if kind == "noise" and losses >= _HEAVY_LOSSES:
        kind = _NOISE_IN_LOSSES
    if kind not in strengths:
        return 0.0
    amounts, values = zip(*strengths[kind], strict=True)
    return snapped(float(np.interp(finding.amount, amounts, values)))


def snapped(strength: float) -> float:
    """The nearest multiple of 1/STEPS."""
    return round(strength * STEPS) / STEPS
