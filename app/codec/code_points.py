"""Colours that a file names by code points, as PNG's cICP does, and the ICC profiles that say the same. (ITU-T H.273.)

libjxl makes the profiles of what it has names for: half a kilobyte, with the code points in a tag of their own (`cicp`,
ICC.1:2022). Those of PQ and HLG map to the range of ordinary displays, and the tag is for viewers that can show more.
"""

import contextlib
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from app.codec import jxl_profile
from app.codec.color_management import SRGB_CHROMATICITIES, light_of_srgb, made_profile
from app.codec.types import HDR_TRANSFERS, Metadata
from app.errors import UnsupportedFormat

_D65, _C = (0.3127, 0.329), (0.31, 0.316)
_PRIMARIES = {
    1: SRGB_CHROMATICITIES,
    4: (*_C, 0.67, 0.33, 0.21, 0.71, 0.14, 0.08),
    5: (*_D65, 0.64, 0.33, 0.29, 0.6, 0.15, 0.06),
    6: (*_D65, 0.63, 0.34, 0.31, 0.595, 0.155, 0.07),
    7: (*_D65, 0.63, 0.34, 0.31, 0.595, 0.155, 0.07),
    8: (*_C, 0.681, 0.319, 0.243, 0.692, 0.145, 0.049),
    9: (*_D65, 0.708, 0.292, 0.17, 0.797, 0.131, 0.046),
    11: (0.314, 0.351, 0.68, 0.32, 0.265, 0.69, 0.15, 0.06),
    12: (*_D65, 0.68, 0.32, 0.265, 0.69, 0.15, 0.06),
    22: (*_D65, 0.63, 0.34, 0.295, 0.605, 0.155, 0.077),
}
"""White, red, green, blue as x, y pairs by colour primaries (table 2)."""


def _smpte240(levels: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(levels < 0.0912, levels / 4, ((levels + 0.1115) / 1.1115) ** (1 / 0.45))


_CURVES: dict[int, Callable[[NDArray[np.float64]], NDArray[np.float64]]] = {
    7: _smpte240,
    8: lambda levels: levels,
    9: lambda levels: np.where(levels > 0, 10 ** (2 * (levels - 1)), 0),
    10: lambda levels: np.where(levels > 0, 10 ** (2.5 * (levels - 1)), 0),
    13: light_of_srgb,
}
_GAMMAS = {4: 2.2, 5: 2.8, 17: 2.6}
"""From levels 0..1 to light 0..1, by transfer characteristics (table 3): _CURVES are functions, _GAMMAS exponents."""
_SRGB, _UNSPECIFIED = 13, 2
_LIKE_SRGB = (1, 6, 11, 12, 14, 15)
"""Transfer characteristics of video, all of BT.709's curve, which browsers show in an AVIF as they show sRGB's."""
_CIE_XYZ = 10  # of which no profile is made


class CodePoints(NamedTuple):
    """Colour primaries and transfer characteristics of RGB, or of gray, whose samples are of full range."""

    primaries: int
    transfer: int


def is_known(points: CodePoints) -> bool:
    """Whether both have a meaning; "unspecified" is none."""
    return points.primaries in (*_PRIMARIES, _CIE_XYZ) and points.transfer in (
        *_CURVES,
        *_GAMMAS,
        *_LIKE_SRGB,
        *HDR_TRANSFERS,
    )


def is_srgb(points: CodePoints, gray: bool = False) -> bool:
    """Whether they stand for sRGB, or for BT.709, which viewers show alike; gray has no primaries."""
    return (gray or points.primaries == 1) and points.transfer in (_SRGB, *_LIKE_SRGB)


def as_shown(points: CodePoints) -> CodePoints:
    """What browsers show an AVIF by: sRGB's in place of unspecified ones and of video's transfer characteristics."""
    primaries, transfer = points
    like_srgb = transfer in (_UNSPECIFIED, *_LIKE_SRGB)
    return CodePoints(1 if primaries == _UNSPECIFIED else primaries, _SRGB if like_srgb else transfer)


def metadata_of(points: CodePoints | None, gray: bool = False) -> Metadata:
    """Metadata for these colours in any format: sRGB by its name, or the code points and a profile if there is one.

    BT.709 keeps its code points too: the browsers that show it like sRGB in an AVIF show it darker in a PNG.
    """
    if points is None or not is_known(points):
        return Metadata()
    if is_srgb(points):
        return Metadata(srgb=True, cicp=None if points.transfer == _SRGB else points)
    return Metadata(icc=profile(points, gray), cicp=points)


@lru_cache(maxsize=16)
def profile(points: CodePoints, gray: bool = False) -> bytes | None:
    """The profile that says the same; of gray, the transfer characteristics alone count.

    None for those of `is_srgb`, and for those that have no profile.
    """
    if is_srgb(points, gray) or not is_known(points):
        return None
    points = as_shown(points)
    with contextlib.suppress(UnsupportedFormat):  # of a system where libjxl cannot be called
        if (made := jxl_profile.made(points, gray)) is not None:
            return made
    if points.transfer in HDR_TRANSFERS:
        return None
    curve = _curve(points.transfer)
    if gray:
        return made_profile("gray", **curve)
    if points.primaries not in _PRIMARIES:
        return None
    places = _PRIMARIES[points.primaries]
    white, colors = [*places[:2], 1.0], [value for at in (2, 4, 6) for value in (*places[at : at + 2], 1.0)]
    return made_profile("rgb", whitepoint=white, primaries=colors, **curve)


def _curve(transfer: int) -> dict[str, Any]:
    """As `made_profile` takes it. A power is one number; of a table, Chromium shows a JPEG XL as if it were sRGB's."""
    if (gamma := _GAMMAS.get(transfer)) is not None:
        return {"gamma": gamma}
    return {"transferfunction": _CURVES[transfer](np.linspace(0, 1, 4096)).astype(np.float32)}
