"""A TIFF page that Pillow decodes wrongly or not at all, through tifffile: odd depths, palettes, other compressions."""

import io
from typing import Any

import imagecodecs
import numpy as np
import tifffile
from numpy.typing import NDArray

from app.codec.samples import straight
from app.codec.types import Samples
from app.errors import UndecodablePicture

_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE = 0, 1, 2, 3
_COLORS = {_WHITE_IS_ZERO: 1, _BLACK_IS_ZERO: 1, _RGB: 3}
_PREMULTIPLIED, _STRAIGHT = 1, 2


def read(data: bytes, bits: int) -> Samples:
    """The first page (H, W, C) of `bits` a sample, scaled from its own full scale to that of uint8 or uint16.

    Gray, RGB, either with alpha, and palettes. White-is-zero is inverted and premultiplied alpha divided out.
    """
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        page = file.pages.first
        assert isinstance(page, tifffile.TiffPage)
        values = _values(page)
        if page.photometric == _PALETTE:
            return _looked_up(values[..., 0], np.asarray(page.colormap))
        return _straight(_scaled(values, bits), int(page.photometric), tuple(map(int, page.extrasamples)))


def decoded(data: bytes) -> NDArray[Any]:
    """The first page (H, W, C) as it is stored. A part that does not decode is an error, unlike with libtiff."""
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        page = file.pages.first
        assert isinstance(page, tifffile.TiffPage)
        return _values(page)


def _values(page: tifffile.TiffPage) -> NDArray[Any]:
    values = np.asarray(page.asarray())
    values = values.astype(np.uint8) if values.dtype == bool else values
    if page.planarconfig == 2 and values.ndim == 3:
        values = np.moveaxis(values, 0, 2)
    return values.reshape(page.imagelength, page.imagewidth, -1)


def read_rgb(data: bytes) -> Samples:
    """The first page as libtiff's own RGBA interface gives it, 8 bits: for subsampled chroma that is not a JPEG's."""
    return np.ascontiguousarray(np.asarray(imagecodecs.tiff_decode(data, index=0, asrgb=True))[..., :3])


def _scaled(values: NDArray[Any], bits: int) -> Samples:
    full, target = (1 << bits) - 1, 255 if bits <= 8 else 65535
    wide: NDArray[np.uint64] = np.minimum(values, full).astype(np.uint64)
    wide = (wide * np.uint64(2 * target) + np.uint64(full)) // np.uint64(2 * full)
    return wide.astype(np.uint8) if bits <= 8 else wide.astype(np.uint16)


def _looked_up(indices: NDArray[Any], colormap: NDArray[Any]) -> Samples:
    """Colours of 8 bits, of which a TIFF's map holds 16; some writers fill only the lower half."""
    colors = colormap.T.astype(np.uint32)
    colors = colors if colors.max(initial=0) < 256 else (colors * 255 + 32767) // 65535
    if indices.max(initial=0) >= len(colors):
        raise UndecodablePicture("The TIFF has pixels outside its palette.")
    palette = colors.astype(np.uint8)
    gray = (palette == palette[:, :1]).all()
    table: NDArray[np.uint8] = palette[:, :1] if gray else palette
    return np.ascontiguousarray(table[indices])


def _straight(samples: Samples, photometric: int, extra: tuple[int, ...]) -> Samples:
    colors = _COLORS.get(photometric, 0)
    if not colors or samples.shape[2] < colors:
        raise UndecodablePicture(
            f"The TIFF's colours (photometric interpretation {photometric}) are not supported at this depth: send gray "
            "or RGB of 8 or 16 bits."
        )
    full = np.iinfo(samples.dtype).max
    if photometric == _WHITE_IS_ZERO:
        samples[..., 0] = full - samples[..., 0]
    kind = extra[0] if extra else 0
    if samples.shape[2] == colors or kind not in (_PREMULTIPLIED, _STRAIGHT):
        return np.ascontiguousarray(samples[..., :colors])
    samples = np.ascontiguousarray(samples[..., : colors + 1])
    return straight(samples) if kind == _PREMULTIPLIED else samples
