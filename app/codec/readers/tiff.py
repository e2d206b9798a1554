"""TIFF: pages of 8 bits by Pillow, of other depths and compressions by tifffile."""

import io
import itertools
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image, TiffImagePlugin

from app.codec.readers import tiff_page
from app.codec.readers.pillow import PillowReader
from app.codec.samples import sixteen_bits, straight
from app.codec.types import DecodeLimits, Samples
from app.errors import BadParameter, TooManyPixels, UndecodablePicture, UnsupportedFormat

_WIDTH, _HEIGHT, _BITS, _PHOTOMETRIC, _PER_PIXEL, _FORMAT = 256, 257, 258, 262, 277, 339
_TILE_WIDTH, _TILE_HEIGHT, _EXTRA = 322, 323, 338
_PLANES, _TOGETHER, _SEPARATE = 284, 1, 2
_COMPRESSION, _FILL_ORDER, _STRIPS, _TILES = 259, 266, 273, 324
_ROWS_PER_STRIP, _OLD_JPEG, _HEADER = 278, 6, 8
_STRIP_BYTES, _TILE_BYTES = 279, 325
_MOST_SAMPLES = 8
_MOST_PARTS = 262_144  # strips or tiles, which are decoded one by one; writers make one a row at most
_SLACK = 4  # of the pixels of all tiles over those of the largest picture: tiles reach over its edges
_ICC, _X_RESOLUTION, _Y_RESOLUTION, _UNIT = 34675, 282, 283, 296
_PER_INCH = {2: 1, 3: 2.54}  # by unit: inch, centimetre
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _INKS, _YCBCR, _LAB, _ICC_LAB = 0, 1, 2, 3, 5, 6, 8, 9
_SUBFILE_TYPE, _SUB_IFDS, _DNG_VERSION, _CFA = 254, 330, 50706, 32803
_BIG, _BIG_ENDIAN = 43, b"MM\0+"
_UNSIGNED, _SIGNED, _FLOAT = 1, 2, 3
_UNCOMPRESSED = 1
_NOT_READ = (32771, 32809, 34676, 34677)
"""Of those that Pillow has names for: CCITT's run lengths in words, ThunderScan and LogLuv."""
_WITH_PILLOW = (1, 2, 3, 4, 5, 6, 7, 8, 32773, 32946, 34925, 50000)
"""Compressions that Pillow's libtiff has: 50001, WebP, is not among them."""
_COLORS = {_WHITE_IS_ZERO: 1, _BLACK_IS_ZERO: 1, _RGB: 3, _INKS: 4}


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
        _check_compression(self.tag_v2)
        _check_parts(self.tag_v2)
        if _PHOTOMETRIC not in self.tag_v2:  # Pillow and tifffile take it for gray whose white is zero
            raise UndecodablePicture(
                "The TIFF does not say what its samples mean (tag 262, PhotometricInterpretation). Save it again."
            )
        _check_planes(self.tag_v2)
        try:
            super()._setup()
            self._leave_premultiplied()
        except (SyntaxError, IndexError):  # the second for planes apart that it has no name for
            _check_kind(self.tag_v2)
            self.has_mode = False
            self._mode, self.tile = "CMYK" if self.tag_v2.get(_PHOTOMETRIC) == _INKS else "L", []
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
            raise _camera_raw()
        image = super()._opened(data)
        assert isinstance(image, TiffFile)
        _check_kind(image.tag_v2)
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
        if (number := _values(tags, _PER_PIXEL, (1,))[0]) > _MOST_SAMPLES:
            raise UndecodablePicture(f"The TIFF has {number} samples a pixel: send gray, RGB or CMYK.")
        self._check_listed(tags)
        if is_deep_tiff(tags):
            deep, cut = read_tiff(self._data, tags, self.source.allow_truncated)
            self.truncated = self.lacks_pixels = cut or self.truncated
            return deep
        if _is_subsampled(tags):
            return tiff_page.read_rgb(self._data)
        if (bits := _odd_bits(tags)) is not None or not self._image.has_mode:
            return tiff_page.read(self._data, bits or _values(tags, _BITS, (1,))[0])
        decoded = super()._samples(animated)
        return straight(decoded) if self._image.premultiplied else decoded

    def _check_listed(self, tags: TiffImagePlugin.ImageFileDirectory_v2) -> None:
        """UndecodablePicture if strips or tiles are not in the file's list, or said to be in its header.

        The decoders leave them black without a word, or show the header.
        """
        needed = _parts_needed(tags)
        listed = (_values(tags, _STRIPS, ()) or _values(tags, _TILES, ()))[:needed]
        missing = needed - sum(start >= _HEADER for start in listed)
        if not missing:
            return
        if not self.source.allow_truncated:
            raise UndecodablePicture(
                f"The TIFF does not say where {missing:,} of its {needed:,} strips or tiles are. Send the whole file, "
                "or ask for what is there with truncated=allow."
            )
        self.truncated = self.lacks_pixels = True
        assert isinstance(self._image, TiffFile)
        self._image.tile = [part for part in self._image.tile if part.codec_name == "libtiff" or part.offset >= _HEADER]


def _camera_raw() -> UnsupportedFormat:
    return UnsupportedFormat(
        "This is a camera's raw file; the picture that it holds in the usual way is only a small preview. Develop it, "
        "and send the result as TIFF, PNG or JPEG."
    )


def _check_compression(tags: Mapping[int, Any]) -> None:
    """UndecodablePicture for a compression that no decoder here has."""
    number = _values(tags, _COMPRESSION, (_UNCOMPRESSED,))[0]
    if number not in TiffImagePlugin.COMPRESSION_INFO or number in _NOT_READ:
        name = next((each.name for each in tifffile.COMPRESSION if each == number), "unknown")
        raise UndecodablePicture(
            f"The TIFF's compression ({number}, {name}) is not supported. Save it with LZW, Deflate or none."
        )


def _check_parts(tags: Mapping[int, Any]) -> None:
    """UndecodablePicture for so many strips or tiles that going through them is all the file is made for."""
    parts = len(_values(tags, _STRIPS, ()) or _values(tags, _TILES, ()))
    if parts > _MOST_PARTS:
        raise UndecodablePicture(
            f"The TIFF is stored in {parts:,} strips or tiles; at most {_MOST_PARTS:,} are read. Save it "
            "with larger ones."
        )


def _check_planes(tags: Mapping[int, Any]) -> None:
    """UndecodablePicture if nothing says how channels are stored: libtiff refuses it, tifffile takes it for planes."""
    planes = _values(tags, _PLANES, (_TOGETHER,))[0]
    if planes not in (_TOGETHER, _SEPARATE) and _values(tags, _PER_PIXEL, (1,))[0] > 1:
        raise UndecodablePicture(
            f"The TIFF does not say how its channels are stored (tag 284, PlanarConfiguration, is {planes}; only 1 and "
            "2 have a meaning). Save it again."
        )


def _parts_needed(tags: Mapping[int, Any]) -> int:
    """How many strips or tiles the picture has by its size; 0 for an old JPEG, which may be in the file as a whole."""
    if _values(tags, _COMPRESSION, (_UNCOMPRESSED,))[0] == _OLD_JPEG:
        return 0
    height, width = _values(tags, _HEIGHT, (0,))[0], _values(tags, _WIDTH, (0,))[0]
    if _TILES in tags and _STRIPS not in tags:
        part = _values(tags, _TILE_HEIGHT, (height,))[0], _values(tags, _TILE_WIDTH, (width,))[0]
    else:
        part = min(height, _values(tags, _ROWS_PER_STRIP, (height,))[0]), width
    planes = _values(tags, _PER_PIXEL, (1,))[0] if _values(tags, _PLANES, (1,))[0] == _SEPARATE else 1
    return planes * -(-height // max(1, part[0])) * -(-width // max(1, part[1]))


def _check_kind(tags: Mapping[int, Any]) -> None:
    """UnsupportedFormat for a camera's raw file, UndecodablePicture for kinds of samples that are not read."""
    photometric = _values(tags, _PHOTOMETRIC, (-1,))[0]
    reduced = _values(tags, _SUBFILE_TYPE, (0,))[0] & tiff_page.REDUCED
    if _DNG_VERSION in tags or photometric == _CFA or (reduced and _SUB_IFDS in tags):
        raise _camera_raw()
    if reduced:
        raise UnsupportedFormat(
            "The TIFF's first page is marked as a smaller version of another one. Send the full picture on its own."
        )
    kind, bits = _values(tags, _FORMAT, (_UNSIGNED,))[0], max(_values(tags, _BITS, (1,)))
    what = {_SIGNED: "signed integers", _FLOAT: "floating-point numbers"}.get(kind, "unsigned integers")
    if kind in (_SIGNED, _FLOAT) or bits > 16:
        raise UndecodablePicture(
            f"The TIFF's samples are {what} of {bits} bits. Send unsigned integers of at most 16 bits a sample."
        )
    if photometric in (_LAB, _ICC_LAB):
        raise UndecodablePicture("The TIFF's colours are CIE L*a*b*. Send gray, RGB or CMYK.")


def _is_subsampled(tags: TiffImagePlugin.ImageFileDirectory_v2) -> bool:
    """Whether luma and chroma are stored at different resolutions, and not inside a JPEG."""
    compressed_as_jpeg = _values(tags, _COMPRESSION, (_UNCOMPRESSED,))[0] in (6, 7)
    return _values(tags, _PHOTOMETRIC, (-1,))[0] == _YCBCR and not compressed_as_jpeg


def _odd_bits(tags: TiffImagePlugin.ImageFileDirectory_v2) -> int | None:
    """The depth of a page that Pillow does not decode rightly; None for one that it does."""
    bits = set(_values(tags, _BITS, (1,)))
    if len(bits) > 1:
        raise UndecodablePicture(f"The TIFF's channels differ in depth ({sorted(bits)} bits). Send one depth for all.")
    (depth,) = bits
    photometric = _values(tags, _PHOTOMETRIC, (-1,))[0]
    gray = photometric in (_WHITE_IS_ZERO, _BLACK_IS_ZERO)
    # Of gray and alpha in separate planes, Pillow reads the first plane, or nothing; of other extra samples, nothing.
    more = _values(tags, _PER_PIXEL, (1,))[0] > _COLORS.get(photometric, _MOST_SAMPLES)
    apart = more and _values(tags, _PLANES, (1,))[0] == _SEPARATE
    usual = (depth == 8 and not apart) or (depth == 1 and gray)
    compression = _values(tags, _COMPRESSION, (_UNCOMPRESSED,))[0]
    # Of samples that are stored as they are, Pillow reverses the bits in some layouts only.
    reversed_bits = compression == _UNCOMPRESSED and _values(tags, _FILL_ORDER, (1,))[0] != 1
    return None if usual and compression in _WITH_PILLOW and not reversed_bits else depth


def is_deep_tiff(tags: TiffImagePlugin.ImageFileDirectory_v2) -> bool:
    """Whether the directory describes 16-bit unsigned gray, RGB or CMYK samples."""
    bits = _values(tags, _BITS, (1,))
    kinds = _values(tags, _FORMAT, (1,))
    return _values(tags, _PHOTOMETRIC, (-1,))[0] in _COLORS and set(bits) == {16} and set(kinds) == {1}


def check_tiles(tags: TiffImagePlugin.ImageFileDirectory_v2, limits: DecodeLimits) -> None:
    """TooManyPixels if one tile is larger than a whole picture may be, or all together are far larger.

    libtiff would make room for it, and each is decoded as a whole.
    """
    wide, high = _values(tags, _TILE_WIDTH, (0,))[0], _values(tags, _TILE_HEIGHT, (0,))[0]
    most = max(limits.max_input_pixels, 1 << 20)
    if wide * high > most:
        raise TooManyPixels(
            f"The TIFF has tiles of {wide * high:,} pixels; at most {limits.max_input_pixels:,} are accepted."
        )
    parts = len(_values(tags, _TILES, ()))
    planes = _values(tags, _PER_PIXEL, (1,))[0] if _values(tags, _PLANES, (1,))[0] == _SEPARATE else 1
    if parts * wide * high > _SLACK * most * planes:
        raise TooManyPixels(
            f"The TIFF's {parts:,} tiles have {parts * wide * high:,} pixels, far more than the picture. Save it with "
            "smaller ones."
        )


def read_tiff(data: bytes, tags: TiffImagePlugin.ImageFileDirectory_v2, allow: bool) -> tuple[Samples, bool]:
    """The first page of a 16-bit TIFF (H, W, C), uint16, and whether only a part of it could be read, if `allow`.

    White-is-zero is turned round and premultiplied alpha divided out; inks stay inks. Not turned upright:
    Pillow's size of the page may be, so its directory is asked.
    """
    height, width = _values(tags, _HEIGHT, (0,))[0], _values(tags, _WIDTH, (0,))[0]
    decoded, cut = _decoded(data, tags, allow)
    photometric = _values(tags, _PHOTOMETRIC, (_BLACK_IS_ZERO,))[0]
    return tiff_page.arranged(sixteen_bits(decoded, height, width), photometric, _values(tags, _EXTRA, ())), cut


def _decoded(data: bytes, tags: TiffImagePlugin.ImageFileDirectory_v2, allow: bool) -> tuple[NDArray[Any], bool]:
    starts = _values(tags, _STRIPS, ()) or _values(tags, _TILES, ())
    sizes = _values(tags, _STRIP_BYTES, ()) or _values(tags, _TILE_BYTES, ())
    stored = _values(tags, _COMPRESSION, (_UNCOMPRESSED,))[0] == _UNCOMPRESSED
    end = max((start + size for start, size in zip(starts, sizes, strict=False)), default=0)
    if allow and stored and starts and min(starts) < len(data) < end:
        # Where samples are stored as they are, zeros take the place of what is missing.
        picture = _values(tags, _HEIGHT, (0,))[0] * _values(tags, _WIDTH, (0,))[0]
        tiles = len(starts) * _values(tags, _TILE_HEIGHT, (0,))[0] * _values(tags, _TILE_WIDTH, (0,))[0]
        most = 2 * _values(tags, _PER_PIXEL, (1,))[0] * max(picture, tiles)
        return tiff_page.decoded(data + bytes(min(end - len(data), most))), True
    return tiff_page.decoded(data), False


def _values(tags: Mapping[int, Any], tag: int, default: tuple[int, ...]) -> tuple[int, ...]:
    value = tags.get(tag, default)
    found = value if isinstance(value, tuple) else (value,)
    if not all(isinstance(item, int) for item in found):
        raise UndecodablePicture(f"TIFF tag {tag} does not hold whole numbers.")
    return found
