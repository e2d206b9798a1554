"""Which strength of clean-up a picture gets, and why: what was asked for, or what suits its history."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from app.codec import Finding
from app.engine import NetworkInfo
from app.errors import BadParameter
from app.service.choice import base_of, cleaner_of

Strengths: TypeAlias = Mapping[str, Sequence[tuple[int, float]]]
"""By kind of finding: points (amount, strength)."""
STEPS = 8
"""Strengths are whole eighths: between two networks, no more than these are made."""
COMPRESSION = ("jpeg", "webp", "avif", "grid")
"""Kinds of findings that are losses of compression."""
_TABLES = {"grid": "jpeg"}
"""Kinds of findings that have no table of their own."""
_NOISE_IN_LOSSES = "jpeg_noise"
"""The table of noise where the losses of compression want at least _MUCH."""
_MUCH = 0.5
"""Where they want less, what is for noise in pictures without losses is better for noise."""


@dataclass(frozen=True, slots=True)
class CleanUp:
    """`strength` in 0..1, and for what it was chosen; None if it was asked for, or nothing was found.

    `compressed` is whether the picture has losses of compression that are worth cleaning up.
    """

    strength: float = 0.0
    finding: Finding | None = None
    asked: bool = False
    compressed: bool = True

    def __str__(self) -> str:
        """As in X-Upscale-Clean: "0.5; jpeg=90", "1; noise=12", "0.5; area"."""
        found = self.finding
        if found is None:
            return f"{self.strength:g}"
        return f"{self.strength:g}; {found.kind}" + (f"={found.amount}" if found.amount else "")

    @property
    def reason(self) -> str:
        """One of metrics.CLEAN_REASONS."""
        return self.finding.kind if self.finding else "asked" if self.asked else "nothing"


def check(networks: Mapping[str, NetworkInfo], network: NetworkInfo, clean: float | Literal["auto"]) -> None:
    """Raises BadParameter for a strength that pictures of the network cannot have."""
    if network.full_strength_of and clean not in ("auto", 1):
        raise BadParameter(
            f"model={network.name} is another name of clean=1. Leave one of the two out, or choose "
            f"model={network.full_strength_of}."
        )
    if not strengths_of(networks, network) and clean not in ("auto", 0):
        raise BadParameter(f"{network.name} has no clean-up. Leave clean out, or choose another scale or model.")


def strengths_of(networks: Mapping[str, NetworkInfo], network: NetworkInfo) -> Strengths:
    """By kind of finding, from the table of what cleans up pictures of a network; {} if nothing does."""
    return cleaner_of(networks, network).strengths


def choose(
    networks: Mapping[str, NetworkInfo],
    network: NetworkInfo,
    clean: float | Literal["auto"],
    findings: Sequence[Finding],
) -> CleanUp:
    """The strength for a picture of a network, checked before; `findings` are what it has been through.

    What needs most decides; how it was shrunk does only where nothing was lost by compression since. Where noise
    decides, and compression has cost little beside it, the picture counts as one without losses.
    """
    if network.full_strength_of:
        network, clean = base_of(networks, network), 1.0
    table = strengths_of(networks, network)
    findings = findings if table else ()
    strengths = {each: suitable(table, each) for each in findings if each.kind in COMPRESSION}
    losses = max(strengths.values(), default=0.0)
    if clean != "auto":
        return CleanUp(snapped(clean), asked=True, compressed=losses > 0)
    others = [each for each in findings if each not in strengths and not (losses and each.kind == "area")]
    strengths |= {each: suitable(table, each, losses) for each in others}
    most = max(strengths, key=lambda each: strengths[each], default=None)
    if most is None:
        return CleanUp()
    compressed = losses > 0 and (most.kind != "noise" or losses >= _MUCH)
    return CleanUp(strengths[most], most, compressed=compressed)


def suitable(strengths: Strengths, finding: Finding, losses: float = 0.0) -> float:
    """The strength for one finding, from the points of its table; beyond them, that of the last one; 0 without any.

    `losses` is the strength for the losses of compression beside it.
    """
    kind = _TABLES.get(finding.kind, finding.kind)
    if kind == "noise" and losses >= _MUCH:
        kind = _NOISE_IN_LOSSES
    if kind not in strengths:
        return 0.0
    amounts, values = zip(*strengths[kind], strict=True)
    return snapped(float(np.interp(finding.amount, amounts, values)))


def snapped(strength: float) -> float:
    """The nearest strength that can be computed, a whole number of steps."""
    return round(strength * STEPS) / STEPS
