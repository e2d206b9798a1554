"""Which strength of clean-up a picture gets, and why: what was asked for, or what suits its compression."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from app.codec import Compression
from app.engine import NetworkInfo
from app.errors import BadParameter

STEPS = 8
"""Strengths are whole eighths: between two networks, no more than these are made."""
_TABLES = {"grid": "jpeg"}
"""Kinds of compression that have no table of their own."""


@dataclass(frozen=True, slots=True)
class CleanUp:
    """`strength` in 0..1, and for which compression it was chosen; None if it was asked for, or nothing was found.

    `compressed` is whether the picture has losses of compression that are worth cleaning up.
    """

    strength: float = 0.0
    compression: Compression | None = None
    asked: bool = False
    compressed: bool = True

    def __str__(self) -> str:
        """As in X-Upscale-Clean: "0.5; jpeg=90"."""
        found = self.compression
        return f"{self.strength:g}" + (f"; {found.kind}={found.quality}" if found else "")

    @property
    def reason(self) -> str:
        """One of metrics.CLEAN_REASONS."""
        return self.compression.kind if self.compression else "asked" if self.asked else "nothing"


def check(network: NetworkInfo, clean: float | Literal["auto"]) -> None:
    """Raises BadParameter for a strength that the network cannot have."""
    if network.full_strength_of and clean not in ("auto", 1):
        raise BadParameter(
            f"model={network.name} is another name of clean=1. Leave one of the two out, or choose "
            f"model={network.full_strength_of}."
        )
    if not network.full_strength_of and not network.strengths and clean not in ("auto", 0):
        raise BadParameter(f"{network.name} has no clean-up. Leave clean out, or choose another scale or model.")


def choose(network: NetworkInfo, clean: float | Literal["auto"], compressions: Sequence[Compression]) -> CleanUp:
    """The strength for a picture, checked before; `compressions` are what it has been through."""
    if network.full_strength_of:
        return CleanUp(1.0, asked=True)
    suited = [CleanUp(suitable(network.strengths, each), each) for each in compressions if network.strengths]
    suits = max(suited, key=lambda each: each.strength, default=CleanUp())
    if clean == "auto":
        return suits
    return CleanUp(snapped(clean), asked=True, compressed=suits.strength > 0)


def suitable(strengths: Mapping[str, Sequence[tuple[int, float]]], compression: Compression) -> float:
    """The strength for one compression, from the points of its table; beyond them, that of the last one."""
    qualities, values = zip(*strengths[_TABLES.get(compression.kind, compression.kind)], strict=True)
    return snapped(float(np.interp(compression.quality, qualities, values)))


def snapped(strength: float) -> float:
    """The nearest strength that there is."""
    return round(strength * STEPS) / STEPS
