"""ICC profiles: which one belongs to the samples, and conversion to sRGB through LittleCMS.

LittleCMS is called through imagecodecs and not through Pillow, whose ImageCms knows 8-bit samples only.
"""

import struct
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Literal

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from app.codec.types import Samples

_SPACES = {b"GRAY": 1, b"RGB ": 3, b"CMYK": 4}
_NAMES = {1: "gray", 3: "rgb", 4: "cmyk"}
_NO_OPTIMIZATION = 0x100  # cmsFLAGS_NOOPTIMIZE
_RELATIVE = 1  # relative colorimetric
_MOST_TAGS = 100  # LittleCMS takes no profile with more
_DATE = slice(24, 36)  # when a profile was made (ICC.1:2022, 7.2.1)
_D50 = (0.3457, 0.3585, 1.0)  # as x, y, Y
_SAME = 2 * 257  # levels of 16 bits, two of 8
SRGB_GAMMA = 1 / 2.2
SRGB_CHROMATICITIES = (0.3127, 0.329, 0.64, 0.33, 0.3, 0.6, 0.15, 0.06)


@lru_cache(maxsize=1)
def srgb_profile() -> bytes:
    """An sRGB profile of LittleCMS's own making."""
    return bytes(imagecodecs.cms_profile("srgb"))


def profile_channels(profile: bytes | None) -> int | None:
    """How many colour channels the profile is for: 1, 3 or 4; None if it is no such profile."""
    if profile is None or len(profile) < 132 or profile[36:40] != b"acsp":
        return None
    if struct.unpack_from(">I", profile)[0] > len(profile):
        return None
    return _SPACES.get(profile[16:20])


def for_channels(profile: bytes | None, channels: int) -> bytes | None:
    """The profile if it is for the colours of samples of 1 (gray), 2, 3 (RGB) or 4 `channels`; None otherwise."""
    return profile if profile_channels(profile) == (1 if channels <= 2 else 3) else None


def belongs(profile: bytes | None, channels: int) -> bool:
    """Whether the profile is for samples of 1 (gray), 2 (gray and alpha), 3 (RGB) or 4 (RGB and alpha) `channels`.

    One for RGB is for gray, too: see `gray_profile`.
    """
    return profile_channels(profile) in ((1, 3) if channels <= 2 else (3,))


def made_profile(kind: Literal["gray", "rgb"], whitepoint: Sequence[float] = _D50, **more: Any) -> bytes:
    """A profile by LittleCMS, the same whenever it is made: it would contain the date, and results would differ.

    `whitepoint` is x, y, Y, without which a profile is not valid, also of gray; for `more` see imagecodecs.cms_profile.
    """
    profile = bytes(imagecodecs.cms_profile(kind, whitepoint=whitepoint, **more))
    return profile[: _DATE.start] + struct.pack(">6H", 2000, 1, 1, 0, 0, 0) + profile[_DATE.stop :]


def gray_profile(profile: bytes) -> bytes | None:
    """A profile for gray that says of its levels what one for RGB says of equal red, green and blue.

    Programs that turn a picture gray leave the profile as it was, and browsers show gray by it. None if the levels are
    sRGB's, which needs no profile, or not neutral.
    """
    levels = np.linspace(0, 65535, 4096).round().astype(np.uint16)
    shown = to_srgb(levels[None, :, None].repeat(3, axis=2), profile)
    if shown is None or np.ptp(shown, axis=2).max() > _SAME or (np.diff(shown[0, :, 1].astype(int)) < 0).any():
        return None
    if np.abs(shown[0, :, 1].astype(int) - levels).max() <= _SAME:
        return None
    return made_profile("gray", transferfunction=light_of_srgb(shown[0, :, 1] / 65535).astype(np.float32))


def light_of_srgb(levels: NDArray[np.float64]) -> NDArray[np.float64]:
    """Levels 0..1 of sRGB to light 0..1 (IEC 61966-2-1)."""
    return np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)


def is_gamma_of_srgb(gamma: float) -> bool:
    """Whether the gamma of a PNG is the one that stands for sRGB, within the precision of writers."""
    return abs(gamma - SRGB_GAMMA) < 0.005


def profile_from_png(gamma: float | None, chromaticities: Sequence[float] | None, gray: bool = False) -> bytes | None:
    """A profile for what PNG's gAMA and cHRM say: the file's gamma, and white, red, green, blue as x, y pairs.

    For gray samples the gamma alone counts: whatever the white point is, gray is relative to it. So it does with points
    that span no colours, which readers of PNG pass over. None if they say nothing, or sRGB within the precision of
    writers (gAMA 45455 alone is how sRGB used to be written).
    """
    points = tuple(chromaticities) if chromaticities and len(chromaticities) == 8 else SRGB_CHROMATICITIES
    exponent = gamma if gamma is not None and 0.01 < gamma < 10 else SRGB_GAMMA
    if gray:
        return None if is_gamma_of_srgb(exponent) else made_profile("gray", gamma=1 / exponent)
    usual = max(abs(a - b) for a, b in zip(points, SRGB_CHROMATICITIES, strict=True)) < 0.002
    if usual and is_gamma_of_srgb(exponent):
        return None
    if not all(0 <= value <= 1 for value in points) or not all(points[i] > 0.001 for i in (1, 3, 5, 7)):
        return profile_from_png(gamma, None)
    white, primaries = [points[0], points[1], 1.0], []
    for at in (2, 4, 6):
        primaries += [points[at], points[at + 1], 1.0]
    try:
        return made_profile("rgb", whitepoint=white, primaries=primaries, gamma=1 / exponent)
    except imagecodecs.CmsError:  # on one line
        return profile_from_png(gamma, None)


def to_srgb(colors: Samples, profile: bytes) -> Samples | None:
    """Samples (H, W, 1, 3 or 4) through `profile` to sRGB, same dtype; None if the profile is of no use.

    Gray stays one channel, CMYK becomes three.
    """
    try:
        if colors.shape[2] == 1:
            return _gray_levels(colors.dtype, profile)[colors]
        return _transformed(colors, profile)
    except imagecodecs.CmsError:
        return None


def _gray_levels(dtype: np.dtype[Any], profile: bytes) -> NDArray[np.unsignedinteger]:
    """What each gray level becomes."""
    levels = np.arange(np.iinfo(dtype).max + 1, dtype=dtype)[None]
    # A gray profile maps onto sRGB's neutral axis, where the three channels are one.
    return _transformed(levels, profile)[0, :, 1]


def _transformed(colors: Samples, profile: bytes) -> Samples:
    profile = _of_few_steps(profile)
    name = _NAMES[colors.shape[2] if colors.ndim == 3 else 1]
    # LittleCMS's shortcut for curves and a matrix is exact to a level, and ten times as fast. The others are coarse
    # tables, up to thirty levels off where colours leave the gamut of sRGB.
    shortcut = name == "rgb" and colors.dtype == np.uint8 and not _has_tables(profile)
    flags = 0 if shortcut else _NO_OPTIMIZATION
    settings: dict[str, Any] = {"colorspace": name, "outcolorspace": "rgb", "intent": _RELATIVE, "flags": flags}
    return np.asarray(imagecodecs.cms_transform(np.ascontiguousarray(colors), profile, srgb_profile(), **settings))


def _of_few_steps(profile: bytes) -> bytes:
    """The profile with its tags D2B0 to D2B3 renamed, which LittleCMS prefers: they may list thousands of steps to be
    taken for each pixel. What they say more precisely, others have to say, too. (ICC.1:2022, 8.3.2.)
    """
    data = bytearray(profile)
    for at in _tags(profile):
        if data[at : at + 3] == b"D2B":
            data[at : at + 3] = b"d2b"
    return bytes(data)


def _has_tables(profile: bytes) -> bool:
    """Whether tables map its colours (tags A2B0 to A2B2), and not curves and a matrix alone."""
    return any(profile[at : at + 3] == b"A2B" for at in _tags(profile))


def _tags(profile: bytes) -> range:
    """Where the entries of its tags begin; further ones are not read by LittleCMS. (ICC.1:2022, 7.3.)"""
    count = min(struct.unpack_from(">I", profile, 128)[0], _MOST_TAGS)
    return range(132, 132 + 12 * count, 12)


def cmyk_to_rgb(inks: Samples) -> Samples:
    """CMYK of no known profile, full scale = full ink: each ink takes its share of the light, as in browsers."""
    full = np.iinfo(inks.dtype).max
    light = full - inks.astype(np.uint32)
    return ((light[..., :3] * light[..., 3:] + full // 2) // full).astype(inks.dtype)
