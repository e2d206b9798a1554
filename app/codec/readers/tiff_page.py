"""A TIFF page that Pillow decodes wrongly or not at all, through tifffile: odd depths, palettes, other compressions."""

import io
import struct
from itertools import islice
from typing import Any

import imagecodecs
import numpy as np
import tifffile
from numpy.typing import NDArray

from app.codec.readers.tiff_tags import COLORS, PALETTE, REDUCED, STRAIGHT, WHITE_IS_ZERO
from app.codec.samples import straight
from app.codec.types import Samples
from app.errors import UndecodablePicture

_PREMULTIPLIED = 1  # of ExtraSamples
_MOST_LEVELS = 32  # each of which has half the width and height
COMPRESSIONS = ("lzw", "zlib", "packbits", "jpeg", "lzma", "zstd", "webp")
"""Those that tifffile is asked for, by its own names."""


def read(data: bytes, bits: int) -> Samples:
    """The first page (H, W, C) of `bits` a sample, scaled from its own full scale to that of uint8 or uint16.

    Gray, RGB, palettes, each with or without alpha, and CMYK. White-is-zero is inverted and premultiplied alpha divided
    out.
    """
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        page = file.pages.first
        assert isinstance(page, tifffile.TiffPage)
        values, extra = _values(page), tuple(map(int, page.extrasamples))
        if page.photometric != PALETTE:
            return arranged(_scaled(values, bits), int(page.photometric), extra)
        colors = _looked_up(values[..., 0], np.asarray(page.colormap))
        if extra[:1] not in ((_PREMULTIPLIED,), (STRAIGHT,)):
            return colors
        alpha = _rescaled(values[..., 1:2], bits, 255).astype(np.uint8)
        samples = np.concatenate((colors, alpha), axis=2)
        return straight(samples) if extra[0] == _PREMULTIPLIED else samples


def decoded(data: bytes) -> NDArray[Any]:
    """The first page (H, W, C) as it is stored. A part that does not decode is an error, unlike with libtiff."""
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        page = file.pages.first
        assert isinstance(page, tifffile.TiffPage)
        return _values(page)


def holds_several(file: tifffile.TiffFile) -> bool:
    """Whether there are more pages than the first that do not say that they are smaller versions of it alone.

    Such are the levels of a pyramid, and thumbnails; masks are not.
    """
    if len(file.pages) > _MOST_LEVELS:
        return True
    others = islice(file.pages, 1, None)
    return not all(isinstance(page, tifffile.TiffPage) and page.subfiletype == REDUCED for page in others)


def _values(page: tifffile.TiffPage) -> NDArray[Any]:
    # tifffile's own array is uninitialised: what no strip or tile covers would show pictures decoded before this one.
    values = np.asarray(page.asarray(out=np.zeros(page.shape, page.dtype)))
    values = values.astype(np.uint8) if values.dtype == bool else values
    if page.planarconfig == 2 and values.ndim == 3:
        values = np.moveaxis(values, 0, 2)
    return values.reshape(page.imagelength, page.imagewidth, -1)


def read_rgb(data: bytes) -> Samples:
    """The first page as libtiff's own RGBA interface gives it, 8 bits: for subsampled chroma that is not a JPEG's."""
    return np.ascontiguousarray(np.asarray(imagecodecs.tiff_decode(data, index=0, asrgb=True))[..., :3])


def _scaled(values: NDArray[Any], bits: int) -> Samples:
    if bits == 8 and values.dtype == np.uint8:  # of this full scale already; scaling takes eight times the memory
        return values
    if bits <= 8:
        return _rescaled(values, bits, 255).astype(np.uint8)
    return _rescaled(values, bits, 65535).astype(np.uint16)


def _rescaled(values: NDArray[Any], bits: int, target: int) -> NDArray[np.uint64]:
    """From 0..2^bits-1 to 0..`target`, rounded."""
    full = (1 << bits) - 1
    wide: NDArray[np.uint64] = np.minimum(values, full).astype(np.uint64)
    return (wide * np.uint64(2 * target) + np.uint64(full)) // np.uint64(2 * full)


def _looked_up(indices: NDArray[Any], colormap: NDArray[Any]) -> Samples:
    """Colours of 8 bits, of which a TIFF's map holds 16; some writers fill only the lower half, or only the upper."""
    colors = colormap.T.astype(np.uint32)
    colors = colors if colors.max(initial=0) < 256 else colors >> np.uint32(8)
    if indices.max(initial=0) >= len(colors):
        raise UndecodablePicture("The TIFF has pixels outside its palette. Save it again, as RGB.")
    palette = colors.astype(np.uint8)
    gray = (palette == palette[:, :1]).all()
    table: NDArray[np.uint8] = palette[:, :1] if gray else palette
    return np.ascontiguousarray(table[indices])


def arranged(samples: Samples, photometric: int, extra: tuple[int, ...]) -> Samples:
    """Samples (H, W, C) as they are stored, as gray, RGB or inks, and alpha where there is one.

    White-is-zero is inverted and premultiplied alpha divided out. One sample more than colours is alpha where `extra`
    is empty, as libtiff takes it; where it is called unspecified, it is left out, for it may be anything.
    """
    colors = COLORS.get(photometric, 0)
    if not colors:
        raise UndecodablePicture(
            f"The TIFF's colours (photometric interpretation {photometric}, {samples.shape[2]} samples) are not "
            "supported at this depth: send gray or RGB of 8 or 16 bits."
        )
    if samples.shape[2] < colors:
        raise UndecodablePicture(
            f"The TIFF's colours need {colors} samples a pixel, and it holds {samples.shape[2]}. Save it again."
        )
    if photometric == WHITE_IS_ZERO:
        samples[..., 0] = np.iinfo(samples.dtype).max - samples[..., 0]
    kind = extra[0] if extra else STRAIGHT if samples.shape[2] == colors + 1 else None
    if samples.shape[2] == colors or kind not in (_PREMULTIPLIED, STRAIGHT):
        return np.ascontiguousarray(samples[..., :colors])
    samples = np.ascontiguousarray(samples[..., : colors + 1])
    return straight(samples) if kind == _PREMULTIPLIED else samples


def subsampled_example() -> bytes:
    """A TIFF that `read_rgb` is for: one block of 2x2 luma, Cb and Cr."""
    tags = (
        (256, 3, 1, 2), (257, 3, 1, 2), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 6), (273, 4, 1, 134),
        (277, 3, 1, 3), (278, 3, 1, 2), (279, 4, 1, 6), (530, 3, 2, 0x20002),
    )  # fmt: skip
    entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4) + bytes([0, 0, 0, 0, 128, 128])
