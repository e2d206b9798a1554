"""Sample arrays: gray or RGB, with or without alpha, turned upright and brought to one form."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.codec.types import Samples
from app.errors import UndecodablePicture


def upright(samples: Samples, orientation: int) -> Samples:
    """Samples (H, W, C) turned as EXIF orientation 1..8 asks for."""
    if orientation in (5, 6, 7, 8):
        samples = samples.transpose(1, 0, 2)
    if orientation in (2, 3, 6, 7):
        samples = samples[:, ::-1]
    if orientation in (3, 4, 7, 8):
        samples = samples[::-1]
    return np.ascontiguousarray(samples)


def with_alpha(colors: Samples, alpha: NDArray[np.uint8] | NDArray[np.uint16]) -> Samples:
    """Colour (H, W, 1 or 3) and alpha (H, W) in one array."""
    return np.concatenate((colors, alpha[..., None]), axis=2)


def keyed(colors: Samples, key: Sequence[int]) -> Samples:
    """Colour (H, W, 1 or 3) with an alpha that is zero where the colour is `key`, as PNG's tRNS means it."""
    full = np.iinfo(colors.dtype).max
    hidden = (colors == np.array(key, dtype=colors.dtype)).all(axis=2)
    return with_alpha(colors, np.where(hidden, 0, full).astype(colors.dtype))


def from_pillow(image: Image.Image, gray_levels: int = 255) -> Samples:
    """A loaded Pillow image as samples; CMYK stays four channels and is for the caller to convert.

    `gray_levels` is the largest gray value in the file, which a transparent gray in its header refers to.
    """
    mode, key = image.mode, image.info.get("transparency")
    if mode in ("1", "L", "RGB"):
        flat = image.convert("L") if mode == "1" else image
        colors = np.array(flat).reshape(image.height, image.width, -1)
        if mode == "RGB":
            return keyed(colors, key) if isinstance(key, tuple) and len(key) == 3 else colors
        if isinstance(key, int) and 0 <= key <= gray_levels:
            return keyed(colors, (key * 255 // gray_levels,))
        return colors
    if mode in ("P", "PA"):
        transparent = mode == "PA" or key is not None or (image.palette is not None and "A" in image.palette.mode)
        image = image.convert("RGBA" if transparent else "RGB")
    elif mode.startswith("I;16"):
        return np.array(image).astype(np.uint16)[..., None]
    else:
        target = {"La": "LA", "RGBa": "RGBA", "RGBX": "RGB", "YCbCr": "RGB"}.get(mode, mode)
        if target not in ("LA", "RGBA", "RGB", "CMYK"):
            raise UndecodablePicture(
                f"Samples of kind {mode!r} are not supported: send gray, RGB or CMYK at 8 or 16 bits."
            )
        image = image if target == mode else image.convert(target)
    return np.array(image)


def sixteen_bits(decoded: Any, height: int, width: int) -> Samples:
    """What imagecodecs decoded as (H, W, C), uint16; UndecodablePicture if it is not what the header promised."""
    samples = np.asarray(decoded)
    if samples.ndim == 2:
        samples = samples[..., None]
    if samples.dtype != np.uint16 or samples.ndim != 3 or samples.shape[:2] != (height, width):
        raise UndecodablePicture(
            f"The header promises {width} x {height} pixels of 16 bits; the data holds something else. Save it again."
        )
    return np.ascontiguousarray(samples)


def spread(values: NDArray[np.uint16], bits: int) -> Samples:
    """Values of 9 to 15 bits over 16: v * 65535 / (2^bits - 1), rounded; what is too large counts as full."""
    full = (1 << bits) - 1
    wide: NDArray[np.uint32] = np.minimum(values, full).astype(np.uint32)
    return ((wide * np.uint32(2 * 65535) + np.uint32(full)) // np.uint32(2 * full)).astype(np.uint16)


def eight_bits(samples: Samples) -> Samples:
    """Samples (H, W, C) of 16 bits rounded to 8, row by row, since numpy makes a wider copy of what it looks up."""
    levels: NDArray[np.uint8] = np.rint(np.arange(65536) / 257).astype(np.uint8)
    rounded = np.empty(samples.shape, np.uint8)
    for row, target in zip(samples, rounded, strict=True):
        target[:] = levels[row]
    return rounded


def full_range(samples: Samples) -> Samples:
    """Samples (H, W, C) of narrow range, 16 to 235 of 8 bits, over the full range, rounded; alpha stays as it is.

    What is darker than black or brighter than white becomes that. (ITU-T H.273, 8.3, VideoFullRangeFlag.)
    """
    unit, full = 1 << 8 * samples.itemsize - 8, int(np.iinfo(samples.dtype).max)
    colors = samples.shape[2] - (samples.shape[2] in (2, 4))
    levels = np.arange(full + 1, dtype=np.int64) - 16 * unit
    table = ((levels * (2 * full) + 219 * unit) // (2 * 219 * unit)).clip(0, full).astype(samples.dtype)
    ranged = samples.copy()
    ranged[..., :colors] = table[samples[..., :colors]]
    return ranged


def straight(samples: Samples) -> Samples:
    """Samples (H, W, C) with premultiplied alpha, with the alpha divided out of the colours."""
    full = np.iinfo(samples.dtype).max
    alpha = np.maximum(samples[..., -1:].astype(np.float64), 1)
    colors = np.minimum(np.rint(samples[..., :-1] * float(full) / alpha), full).astype(samples.dtype)
    return with_alpha(colors, samples[..., -1])


def same_form(frames: Sequence[Samples]) -> tuple[Samples, ...]:
    """Frames of one animation with the same channels: RGB where one has colour, with alpha where one has it."""
    color = any(frame.shape[2] >= 3 for frame in frames)
    alpha = any(frame.shape[2] in (2, 4) for frame in frames)
    return tuple(_in_form(frame, color, alpha) for frame in frames)


def _in_form(frame: Samples, color: bool, alpha: bool) -> Samples:
    has_alpha = frame.shape[2] in (2, 4)
    colors = frame[..., : frame.shape[2] - has_alpha]
    if color and colors.shape[2] == 1:
        colors = colors.repeat(3, axis=2)
    if not alpha:
        return np.ascontiguousarray(colors)
    opaque = np.full(frame.shape[:2], np.iinfo(frame.dtype).max, dtype=frame.dtype)
    return with_alpha(colors, frame[..., -1] if has_alpha else opaque)
