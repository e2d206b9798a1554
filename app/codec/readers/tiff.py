"""TIFF: pages of 16 bits by the libtiff of imagecodecs, everything else by Pillow."""

import io
from collections.abc import Iterable
from typing import Any

import imagecodecs
import numpy as np
import tifffile
from PIL import TiffImagePlugin

from app.codec.readers.pillow import PillowReader
from app.codec.samples import sixteen_bits
from app.codec.types import DecodeLimits, Samples
from app.errors import BadParameter, TooManyPixels, UndecodablePicture

_WIDTH, _HEIGHT, _BITS, _PHOTOMETRIC, _PER_PIXEL, _FORMAT = 256, 257, 258, 262, 277, 339
_PLANAR, _TILE_WIDTH, _TILE_HEIGHT, _EXTRA = 284, 322, 323, 338
_COMPRESSION, _STRIPS, _TILES = 259, 273, 324
_MOST_SAMPLES = 8
_ICC, _X_RESOLUTION, _Y_RESOLUTION, _UNIT = 34675, 282, 283, 296
_PER_INCH = {2: 1, 3: 2.54}  # by unit: inch, centimetre
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _INKS = 0, 1, 2, 5
_COLORS = {_WHITE_IS_ZERO: 1, _BLACK_IS_ZERO: 1, _RGB: 3, _INKS: 4}


class TiffFile(TiffImagePlugin.TiffImageFile):
    """Pillow's TIFF, opening layouts of 16-bit samples too that Pillow has no mode for; those it must not load."""

    def _setup(self) -> None:
        try:
            super()._setup()
        except SyntaxError:
            if not is_deep_tiff(self.tag_v2):
                raise
            self._mode, self.tile = "CMYK" if self.tag_v2.get(_PHOTOMETRIC) == _INKS else "L", []
            if _ICC in self.tag_v2:
                self.info["icc_profile"] = self.tag_v2[_ICC]
            x, y = self.tag_v2.get(_X_RESOLUTION), self.tag_v2.get(_Y_RESOLUTION)
            per_inch = _PER_INCH.get(self.tag_v2.get(_UNIT, 2))
            if x and y and per_inch:
                self.info["dpi"] = (x * per_inch, y * per_inch)


class TiffReader(PillowReader):
    """The first page of a TIFF."""

    plugin = TiffFile

    @classmethod
    def examples(cls) -> Iterable[bytes]:
        """As Reader. For 16 bits imagecodecs loads libtiff with this check already."""
        imagecodecs.tiff_check(b"")
        return super().examples()

    def frames(self) -> range:
        """As Reader; pages are not the frames of an animation."""
        wanted = self.source.options.frames
        if not self.has_several_frames or wanted == "first":
            return range(1)
        if wanted == "all":
            raise BadParameter("frames=all is for animations; of a TIFF with several pages take frames=first.")
        raise BadParameter("The TIFF has more than one page; frames=first takes the first.")

    def _samples(self, animated: bool) -> Samples:
        assert isinstance(self._image, TiffFile)
        tags = self._image.tag_v2
        check_tiles(tags, self.source.limits)
        if is_deep_tiff(tags):
            deep, cut = read_tiff(self.source.data, tags, self.source.allow_truncated)
            self.truncated |= cut
            return deep
        self.orientation = 1  # Pillow turns a TIFF upright while it loads it
        return super()._samples(animated)


def is_deep_tiff(tags: TiffImagePlugin.ImageFileDirectory_v2) -> bool:
    """Whether the directory describes 16-bit unsigned gray, RGB or CMYK samples."""
    bits = _values(tags, _BITS, (1,))
    kinds = _values(tags, _FORMAT, (1,))
    return _values(tags, _PHOTOMETRIC, (-1,))[0] in _COLORS and set(bits) == {16} and set(kinds) == {1}


def check_tiles(tags: TiffImagePlugin.ImageFileDirectory_v2, limits: DecodeLimits) -> None:
    """TooManyPixels if one tile is larger than a whole picture may be: libtiff would make room for it."""
    tile = _values(tags, _TILE_WIDTH, (0,))[0] * _values(tags, _TILE_HEIGHT, (0,))[0]
    if tile > max(limits.max_input_pixels, 1 << 20):
        raise TooManyPixels(f"The TIFF has tiles of {tile:,} pixels; at most {limits.max_input_pixels:,} are accepted.")


def read_tiff(data: bytes, tags: TiffImagePlugin.ImageFileDirectory_v2, allow: bool) -> tuple[Samples, bool]:
    """The first page of a 16-bit TIFF (H, W, C), uint16, and whether only a part of it could be read, if `allow`.

    White-is-zero is turned round and premultiplied alpha divided out; inks stay four channels. Not turned upright:
    Pillow's size of the page may be, so its directory is asked.
    """
    height, width = _values(tags, _HEIGHT, (0,))[0], _values(tags, _WIDTH, (0,))[0]
    decoded, cut = _decoded(data, tags, allow)
    if _values(tags, _PLANAR, (1,))[0] == 2 and decoded.ndim == 3:
        decoded = np.moveaxis(decoded, 0, 2)
    return _straight(sixteen_bits(decoded, height, width), tags), cut


def _decoded(data: bytes, tags: TiffImagePlugin.ImageFileDirectory_v2, allow: bool) -> tuple[Any, bool]:
    samples = _values(tags, _PER_PIXEL, (1,))[0]
    if samples > _MOST_SAMPLES:
        raise UndecodablePicture(f"The TIFF has {samples} samples a pixel: send gray, RGB or CMYK.")
    if _values(tags, _PHOTOMETRIC, (_RGB,))[0] == _INKS:
        data = _called_rgb(data)
    try:
        return np.asarray(imagecodecs.tiff_decode(data, index=0)), False
    except imagecodecs.TiffError:
        starts = _values(tags, _STRIPS, ()) or _values(tags, _TILES, ())
        if not allow or _values(tags, _COMPRESSION, (1,))[0] != 1 or not starts or min(starts) >= len(data):
            raise
    # Where samples are stored as they are, zeros take the place of what is missing.
    room = 2 * samples * _values(tags, _HEIGHT, (0,))[0] * _values(tags, _WIDTH, (0,))[0]
    return np.asarray(imagecodecs.tiff_decode(data + bytes(room), index=0)), True


def _called_rgb(data: bytes) -> bytes:
    """The same samples under another name: imagecodecs hands out no inks."""
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        tag = file.pages.first.tags[_PHOTOMETRIC]
        value = _RGB.to_bytes(tag.valuebytecount, "little" if file.byteorder == "<" else "big")
        return data[: tag.valueoffset] + value + data[tag.valueoffset + len(value) :]


def _straight(samples: Samples, tags: TiffImagePlugin.ImageFileDirectory_v2) -> Samples:
    photometric = _values(tags, _PHOTOMETRIC, (_BLACK_IS_ZERO,))[0]
    colors = _COLORS[photometric]
    if samples.shape[2] < colors:
        raise UndecodablePicture(f"The TIFF promises {colors} colours and holds {samples.shape[2]} samples a pixel.")
    if photometric == _WHITE_IS_ZERO:
        samples[..., 0] = 65535 - samples[..., 0]
    extra = _values(tags, _EXTRA, ())
    kind = extra[0] if extra else 0
    if samples.shape[2] == colors or kind not in (1, 2) or photometric == _INKS:
        return np.ascontiguousarray(samples[..., :colors])
    samples = np.ascontiguousarray(samples[..., : colors + 1])
    if kind == 1:
        alpha = samples[..., -1:].astype(np.float64)
        straight = samples[..., :-1] * 65535.0 / np.maximum(alpha, 1)
        samples[..., :-1] = np.minimum(np.rint(straight), 65535).astype(np.uint16)
    return samples


def _values(tags: TiffImagePlugin.ImageFileDirectory_v2, tag: int, default: tuple[int, ...]) -> tuple[int, ...]:
    value = tags.get(tag, default)
    found = value if isinstance(value, tuple) else (value,)
    if not all(isinstance(item, int) for item in found):
        raise UndecodablePicture(f"TIFF tag {tag} does not hold whole numbers.")
    return found
