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

    What needs most decides; how it was shrunk does only where nothing was lost by compression since.
    """
    if network.full_strength_of:
        network, clean = base_of(networks, network), 1.0
    table = strengths_of(networks, network)
    strengths = {each: suitable(table, each) for each in findings if table}
    lossy = any(strength > 0 for each, strength in strengths.items() if each.kind in COMPRESSION)
    if clean != "auto":
        return CleanUp(snapped(clean), asked=True, compressed=lossy)
    deciding = [each for each in strengths if not lossy or each.kind != "area"]
    most = max(deciding, key=lambda each: strengths[each], default=None)
    return CleanUp() if most is None else CleanUp(strengths[most], most, compressed=lossy)


def suitable(strengths: Strengths, finding: Finding) -> float:
    """The strength for one finding, from the points of its table; beyond them, that of the last one."""
    amounts, values = zip(*strengths[_TABLES.get(finding.kind, finding.kind)], strict=True)
    return snapped(float(np.interp(finding.amount, amounts, values)))


def snapped(strength: float) -> float:
    """The nearest strength that there is."""
    return round(strength * STEPS) / STEPS
