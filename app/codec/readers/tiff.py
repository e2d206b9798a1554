"""TIFF: pages of 8 bits by Pillow, of other depths and compressions by tifffile."""

import io
import itertools
from collections.abc import Iterable
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image, TiffImagePlugin

from app.codec.readers import tiff_page
from app.codec.readers.pillow import PillowReader
from app.codec.readers.tiff_tags import (
    BITS,
    BLACK_IS_ZERO,
    COMPRESSION,
    EXTRA,
    HEADER,
    HEIGHT,
    INKS,
    MOST_SAMPLES,
    PER_PIXEL,
    PHOTOMETRIC,
    TILE_HEIGHT,
    TILE_WIDTH,
    UNCOMPRESSED,
    WIDTH,
    camera_raw,
    check_directory,
    check_kind,
    check_overlap,
    check_scans,
    check_storage,
    check_tiles,
    is_deep,
    is_subsampled,
    odd_bits,
    parts_needed,
    sizes,
    starts,
    value_of,
    values,
)
from app.codec.samples import sixteen_bits, straight
from app.codec.types import Samples
from app.errors import BadParameter, UndecodablePicture

_ICC, _X_RESOLUTION, _Y_RESOLUTION, _UNIT = 34675, 282, 283, 296
_PER_INCH = {2: 1, 3: 2.54}  # by unit: inch, centimetre
_BIG, _BIG_ENDIAN = 43, b"MM\0+"


class _BigEndian(bytes):
    """The header of a big-endian BigTIFF, whose 43 Pillow looks for where a little-endian one has it."""

    def __getitem__(self, at: Any) -> Any:
        return _BIG if at == 2 else super().__getitem__(at)

    def __add__(self, more: Any) -> bytes:
        return _BigEndian(super().__add__(more))


class _BigEndianFile(io.BytesIO):
    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(size) if self.tell() else _BigEndian(super().read(size))


class TiffFile(TiffImagePlugin.TiffImageFile):
    """Pillow's TIFF, which also opens layouts that Pillow has no mode for or cannot load; those it must not load."""

    has_mode = True
    premultiplied = False
    """Whether samples with premultiplied alpha are left so: Pillow rounds down where it divides alpha out."""

    def _open(self) -> None:
        assert isinstance(self.fp, io.BytesIO)
        if self.fp.getvalue().startswith(_BIG_ENDIAN):
            self.has_mode = False
            self.fp = _BigEndianFile(self.fp.getvalue())
        super()._open()

    def _setup(self) -> None:
        check_storage(self.tag_v2)
        try:
            super()._setup()
            self._leave_premultiplied()
        except (SyntaxError, IndexError):  # the second for planes apart that it has no name for
            check_kind(self.tag_v2)
            self.has_mode = False
            self._mode, self.tile = "CMYK" if self.tag_v2.get(PHOTOMETRIC) == INKS else "L", []
            if _ICC in self.tag_v2:
                self.info["icc_profile"] = self.tag_v2[_ICC]
            x, y = self.tag_v2.get(_X_RESOLUTION), self.tag_v2.get(_Y_RESOLUTION)
            per_inch = _PER_INCH.get(self.tag_v2.get(_UNIT, 2))
            if x and y and per_inch:
                self.info["dpi"] = (x * per_inch, y * per_inch)

    def _leave_premultiplied(self) -> None:
        for index, part in enumerate(self.tile):
            if isinstance(part.args, tuple) and part.args[0].startswith(("RGBa", "La")):
                self.premultiplied, self._mode = True, self._mode.upper()
                self.tile[index] = part._replace(args=(part.args[0].upper(), *part.args[1:]))


class TiffReader(PillowReader):
    """The first page of a TIFF."""

    plugin = TiffFile

    def _opened(self, data: bytes) -> Image.Image:
        if data[8:10] == b"CR":
            raise camera_raw()
        check_directory(data)
        image = super()._opened(data)
        assert isinstance(image, TiffFile)
        check_kind(image.tag_v2)
        return image

    @classmethod
    def examples(cls) -> Iterable[bytes]:
        """A file of each compression, of 8 bits and of 16 with a predictor, and one with subsampled chroma."""
        for dtype, compression in itertools.product((np.uint8, np.uint16), tiff_page.COMPRESSIONS):
            if dtype == np.uint8 or compression not in ("webp", "jpeg"):
                file, predictor = io.BytesIO(), dtype == np.uint16 and compression != "packbits"
                samples = np.zeros((16, 16, 3), dtype)
                # At the usual level, LZMA's encoder alone takes more memory than decoding may.
                args = {"level": 0} if compression == "lzma" else None
                tifffile.imwrite(
                    file,
                    samples,
                    photometric="rgb",
                    compression=compression,
                    compressionargs=args,
                    predictor=predictor,
                )
                yield file.getvalue()
        yield tiff_page.subsampled_example()

    def frames(self) -> range:
        """The first page alone; pages are not the frames of an animation. Raises BadParameter for frames=all."""
        wanted = self.source.options.frames
        if wanted == "first" or not self.has_several_frames:
            return range(1)
        if wanted == "all":
            raise BadParameter("frames=all is for animations; of a TIFF with several pages take frames=first.")
        raise BadParameter("The TIFF has more than one page; frames=first takes the first.")

    @property
    def has_several_frames(self) -> bool:
        """Whether there are pages that are not versions of the first."""
        if not super().has_several_frames:
            return False
        with tifffile.TiffFile(io.BytesIO(self._data)) as file:
            return tiff_page.holds_several(file)

    def _samples(self, animated: bool) -> Samples:
        assert isinstance(self._image, TiffFile)
        tags = self._image.tag_v2
        check_tiles(tags, self.source.limits)
        check_overlap(tags, self._data, self.source.limits)
        check_scans(tags, self._data)
        if (number := value_of(tags, PER_PIXEL, 1)) > MOST_SAMPLES:
            raise UndecodablePicture(f"The TIFF has {number} samples a pixel: send gray, RGB or CMYK.")
        self._check_listed(tags)
        if is_deep(tags):
            deep, cut = read_tiff(self._data, tags, self.source.allow_truncated)
            self.truncated = self.lacks_pixels = cut or self.truncated
            return deep
        if is_subsampled(tags):
            return tiff_page.read_rgb(self._data)
        if (bits := odd_bits(tags)) is not None or not self._image.has_mode:
            return tiff_page.read(self._data, bits or value_of(tags, BITS, 1))
        decoded = super()._samples(animated)
        return straight(decoded) if self._image.premultiplied else decoded

    def _check_listed(self, tags: TiffImagePlugin.ImageFileDirectory_v2) -> None:
        """UndecodablePicture if strips or tiles are not in the file's list, or said to be in its header.

        The decoders leave them black without a word, or show the header.
        """
        needed = parts_needed(tags)
        listed = starts(tags)[:needed]
        missing = needed - sum(start >= HEADER for start in listed)
        if not missing:
            return
        if not self.source.allow_truncated:
            raise UndecodablePicture(
                f"The TIFF does not say where {missing:,} of its {needed:,} strips or tiles are. Send the whole file, "
                "or ask for what is there with truncated=allow."
            )
        self.truncated = self.lacks_pixels = True
        assert isinstance(self._image, TiffFile)
        self._image.tile = [part for part in self._image.tile if part.codec_name == "libtiff" or part.offset >= HEADER]


def read_tiff(data: bytes, tags: TiffImagePlugin.ImageFileDirectory_v2, allow: bool) -> tuple[Samples, bool]:
    """The first page of a 16-bit TIFF (H, W, C), uint16, and whether only a part of it could be read, if `allow`.

    White-is-zero is turned round and premultiplied alpha divided out; inks stay inks. Not turned upright:
    Pillow's size of the page may be, so its directory is asked.
    """
    height, width = value_of(tags, HEIGHT, 0), value_of(tags, WIDTH, 0)
    decoded, cut = _decoded(data, tags, allow)
    photometric = value_of(tags, PHOTOMETRIC, BLACK_IS_ZERO)
    return tiff_page.arranged(sixteen_bits(decoded, height, width), photometric, values(tags, EXTRA, ())), cut


def _decoded(data: bytes, tags: TiffImagePlugin.ImageFileDirectory_v2, allow: bool) -> tuple[NDArray[Any], bool]:
    places = starts(tags)
    stored = value_of(tags, COMPRESSION, UNCOMPRESSED) == UNCOMPRESSED
    end = max((start + size for start, size in zip(places, sizes(tags), strict=False)), default=0)
    if allow and stored and places and min(places) < len(data) < end:
        # Where samples are stored as they are, zeros take the place of what is missing.
        picture = value_of(tags, HEIGHT, 0) * value_of(tags, WIDTH, 0)
        tiles = len(places) * value_of(tags, TILE_HEIGHT, 0) * value_of(tags, TILE_WIDTH, 0)
        most = 2 * value_of(tags, PER_PIXEL, 1) * max(picture, tiles)
        return tiff_page.decoded(data + bytes(min(end - len(data), most))), True
    return tiff_page.decoded(data), False
