"""What the tags of a TIFF's page say: how its samples are stored, and whether they are of a kind that is read."""

from collections.abc import Mapping
from itertools import islice, zip_longest
from typing import Any, Literal

import numpy as np
import tifffile
from PIL import TiffImagePlugin

from app.codec.limits import MAX_SCANS
from app.codec.types import DecodeLimits
from app.errors import TooManyPixels, UndecodablePicture, UnsupportedFormat

WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, PER_PIXEL, EXTRA = 256, 257, 258, 259, 262, 277, 338
TILE_WIDTH, TILE_HEIGHT = 322, 323
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, INKS = 0, 1, 2, 3, 5
"""Photometric interpretations: what samples stand for. (TIFF 6.0, sections 8 and 16.)"""
COLORS = {WHITE_IS_ZERO: 1, BLACK_IS_ZERO: 1, RGB: 3, INKS: 4}
"""Colour samples a pixel; one more is alpha."""
STRAIGHT = 2
"""Of ExtraSamples: alpha that is not premultiplied."""
REDUCED = 1
"""Bit of NewSubfileType: a smaller version of another page. (TIFF 6.0, section 8.)"""
UNCOMPRESSED = 1
HEADER = 8
"""Bytes, in which no strip or tile begins."""
MOST_SAMPLES = 8
_BIG = 43  # the version of a BigTIFF, whose offsets have eight bytes
_STRIPS, _TILES, _ROWS_PER_STRIP, _FILL_ORDER, _FORMAT = 273, 324, 278, 266, 339
_STRIP_BYTES, _TILE_BYTES = 279, 325
_PLANES, _TOGETHER, _SEPARATE = 284, 1, 2
_OLD_JPEG, _JPEG = 6, 7
_SCAN = (0xFF, 0xDA)
"""The marker of a JPEG's scan, which does not occur within its data."""
_MOST_PARTS = 262_144  # strips or tiles, which are decoded one by one; writers make one a row at most
_SLACK = 4  # of the pixels of all tiles over those of the largest picture: tiles reach over its edges
_REPEATED = 8  # of the bytes of all strips or tiles over those of the largest file: writers share blank ones
_YCBCR, _LAB, _ICC_LAB, _CFA = 6, 8, 9, 32803
_SUBFILE_TYPE, _SUB_IFDS, _DNG_VERSION = 254, 330, 50706
_UNSIGNED, _SIGNED, _FLOAT = 1, 2, 3
_NOT_READ = (32771, 32809, 34676, 34677)
"""Of those that Pillow has names for: CCITT's run lengths in words, ThunderScan and LogLuv."""
_WITH_PILLOW = (1, 2, 3, 4, 5, 6, 7, 8, 32773, 32946, 34925, 50000)
"""Compressions that Pillow's libtiff has: 50001, WebP, is not among them."""
Tags = Mapping[int, Any]
"""A page's directory: values by tag, single or in a tuple."""


def check_directory(data: bytes) -> None:
    """UndecodablePicture if the file ends before the directory of its first page does, which may be behind the samples.

    Pillow takes what it finds of the directory, so that all samples might be read, but without their predictor.
    """
    order: Literal["little", "big"] = "little" if data[:2] == b"II" else "big"
    place, counted, entry = (8, 8, 20) if int.from_bytes(data[2:4], order) == _BIG else (4, 2, 12)
    start = int.from_bytes(data[place : 2 * place], order)
    end = start + counted + entry * int.from_bytes(data[start : start + counted], order)
    if end > len(data):
        raise UndecodablePicture(
            f"The TIFF ends after {len(data):,} bytes, before the directory that says what is in it does, which begins "
            f"at {start:,}. Send the whole file."
        )


def values(tags: Tags, tag: int, default: tuple[int, ...]) -> tuple[int, ...]:
    """The whole numbers of a tag; `default` if it is missing. Raises UndecodablePicture for anything else."""
    value = tags.get(tag, default)
    found = value if isinstance(value, tuple) else (value,)
    if not all(isinstance(item, int) for item in found):
        raise UndecodablePicture(f"The TIFF's tag {tag} does not hold whole numbers. Save it again.")
    return found


def value_of(tags: Tags, tag: int, default: int) -> int:
    """The first whole number of a tag; `default` if it is missing. Raises UndecodablePicture for anything else."""
    return values(tags, tag, (default,))[0]


def starts(tags: Tags) -> tuple[int, ...]:
    """Where the strips or tiles are in the file, as far as they are listed."""
    return values(tags, _STRIPS, ()) or values(tags, _TILES, ())


def sizes(tags: Tags) -> tuple[int, ...]:
    """How many bytes the strips or tiles have in the file, as far as they are listed."""
    return values(tags, _STRIP_BYTES, ()) or values(tags, _TILE_BYTES, ())


def check_storage(tags: Tags) -> None:
    """UndecodablePicture for a page that is stored in a way that is not read."""
    _check_compression(tags)
    _check_parts(tags)
    if PHOTOMETRIC not in tags:  # Pillow and tifffile take it for gray whose white is zero
        raise no_photometric()
    _check_planes(tags)


def _check_compression(tags: Tags) -> None:
    """UndecodablePicture for a compression that no decoder here has."""
    number = value_of(tags, COMPRESSION, UNCOMPRESSED)
    if number not in TiffImagePlugin.COMPRESSION_INFO or number in _NOT_READ:
        raise UndecodablePicture(
            f"The TIFF's compression ({number}, {compression_name(number)}) is not supported. Save it with LZW, "
            "Deflate or none."
        )


def _check_parts(tags: Tags) -> None:
    """UndecodablePicture for so many strips or tiles that going through them is all the file is made for."""
    parts = len(starts(tags))
    if parts > _MOST_PARTS:
        raise UndecodablePicture(
            f"The TIFF is stored in {parts:,} strips or tiles; at most {_MOST_PARTS:,} are read. Save it "
            "with larger ones."
        )


def _check_planes(tags: Tags) -> None:
    """UndecodablePicture if nothing says how channels are stored: libtiff refuses it, tifffile takes it for planes."""
    planes = value_of(tags, _PLANES, _TOGETHER)
    if planes not in (_TOGETHER, _SEPARATE) and value_of(tags, PER_PIXEL, 1) > 1:
        raise UndecodablePicture(
            f"The TIFF does not say how its channels are stored (tag 284, PlanarConfiguration, is {planes}; only 1 and "
            "2 have a meaning). Save it again."
        )


def check_kind(tags: Tags) -> None:
    """UnsupportedFormat for a camera's raw file, UndecodablePicture for kinds of samples that are not read."""
    photometric = value_of(tags, PHOTOMETRIC, -1)
    reduced = value_of(tags, _SUBFILE_TYPE, 0) & REDUCED
    if _DNG_VERSION in tags or photometric == _CFA or (reduced and _SUB_IFDS in tags):
        raise camera_raw()
    if reduced:
        raise UnsupportedFormat(
            "The TIFF's first page is marked as a smaller version of another one. Send the full picture on its own."
        )
    kind, bits = value_of(tags, _FORMAT, _UNSIGNED), max(values(tags, BITS, (1,)))
    what = {_SIGNED: "signed integers", _FLOAT: "floating-point numbers"}.get(kind, "unsigned integers")
    if kind in (_SIGNED, _FLOAT) or bits > 16:
        raise UndecodablePicture(
            f"The TIFF's samples are {what} of {bits} bits. Send unsigned integers of at most 16 bits a sample."
        )
    if photometric in (_LAB, _ICC_LAB):
        raise UndecodablePicture("The TIFF's colours are CIE L*a*b*. Send gray, RGB or CMYK.")


def camera_raw() -> UnsupportedFormat:
    """The error for a camera's raw file."""
    return UnsupportedFormat(
        "This is a camera's raw file; the picture that it holds in the usual way is only a small preview. Develop it, "
        "and send the result as TIFF, PNG or JPEG."
    )


def no_photometric() -> UndecodablePicture:
    """The error for a page without PhotometricInterpretation."""
    return UndecodablePicture(
        "The TIFF does not say what its samples mean (tag 262, PhotometricInterpretation). Save it again."
    )


def compression_name(number: int) -> str:
    """What tifffile calls a compression, for error texts."""
    return next((each.name for each in tifffile.COMPRESSION if each == number), "unknown")


def check_tiles(tags: Tags, limits: DecodeLimits) -> None:
    """TooManyPixels if one tile is larger than a whole picture may be, or all together are far larger.

    libtiff would make room for it, and each is decoded as a whole.
    """
    wide, high = value_of(tags, TILE_WIDTH, 0), value_of(tags, TILE_HEIGHT, 0)
    most = max(limits.max_input_pixels, 1 << 20)
    if wide * high > most:
        raise TooManyPixels(
            f"The TIFF has tiles of {wide * high:,} pixels; at most {most:,} are accepted. Save it with smaller ones."
        )
    parts = len(values(tags, _TILES, ()))
    if parts * wide * high > _SLACK * most * _planes(tags):
        raise TooManyPixels(
            f"The TIFF's {parts:,} tiles have {parts * wide * high:,} pixels, far more than the picture. Save it with "
            "smaller ones."
        )


def check_overlap(tags: Tags, data: bytes, limits: DecodeLimits) -> None:
    """UndecodablePicture if strips or tiles overlap so much that reading all of them takes far longer than the file."""
    parts = zip(starts(tags), sizes(tags), strict=False)
    total = sum(max(0, min(size, len(data) - start)) for start, size in parts)
    most = _REPEATED * limits.max_input_bytes
    if total > most:
        raise UndecodablePicture(
            f"The TIFF's strips or tiles overlap: together they have {total:,} bytes in a file of {len(data):,}; at "
            f"most {most:,} are read. Save it again."
        )


def check_scans(tags: Tags, data: bytes) -> None:
    """UndecodablePicture if a strip or tile is a JPEG of more scans than any encoder writes, which tifffile decodes."""
    places = starts(tags)
    if not _is_jpeg(tags) or not places:
        return
    parts = islice(zip_longest(places, sizes(tags), fillvalue=len(data)), len(places))  # whose sizes need not be listed
    begins, ends = np.array([(min(place, len(data)), min(place + size, len(data))) for place, size in parts]).T
    file = np.frombuffer(data, np.uint8)
    scans = np.flatnonzero((file[:-1] == _SCAN[0]) & (file[1:] == _SCAN[1]))
    if (np.searchsorted(scans, ends) - np.searchsorted(scans, begins)).max() > MAX_SCANS:
        raise UndecodablePicture(
            f"The TIFF has a strip or tile that is a JPEG of more than {MAX_SCANS} scans. Save it with an ordinary "
            "encoder."
        )


def parts_needed(tags: Tags) -> int:
    """How many strips or tiles the picture has by its size; 0 for an old JPEG, which may be in the file as a whole."""
    if value_of(tags, COMPRESSION, UNCOMPRESSED) == _OLD_JPEG:
        return 0
    height, width = value_of(tags, HEIGHT, 0), value_of(tags, WIDTH, 0)
    if _TILES in tags and _STRIPS not in tags:
        part = value_of(tags, TILE_HEIGHT, height), value_of(tags, TILE_WIDTH, width)
    else:
        part = min(height, value_of(tags, _ROWS_PER_STRIP, height)), width
    return _planes(tags) * -(-height // max(1, part[0])) * -(-width // max(1, part[1]))


def _planes(tags: Tags) -> int:
    """In how many planes the samples are stored."""
    return value_of(tags, PER_PIXEL, 1) if value_of(tags, _PLANES, 1) == _SEPARATE else 1


def is_subsampled(tags: Tags) -> bool:
    """Whether luma and chroma are stored at different resolutions, and not inside a JPEG."""
    return value_of(tags, PHOTOMETRIC, -1) == _YCBCR and not _is_jpeg(tags)


def _is_jpeg(tags: Tags) -> bool:
    return value_of(tags, COMPRESSION, UNCOMPRESSED) in (_OLD_JPEG, _JPEG)


def odd_bits(tags: Tags) -> int | None:
    """The depth of a page that Pillow does not decode rightly; None for one that it does."""
    bits = set(values(tags, BITS, (1,)))
    if len(bits) > 1:
        raise UndecodablePicture(f"The TIFF's channels differ in depth ({sorted(bits)} bits). Send one depth for all.")
    (depth,) = bits
    photometric = value_of(tags, PHOTOMETRIC, -1)
    gray = photometric in (WHITE_IS_ZERO, BLACK_IS_ZERO)
    # Of gray and alpha in separate planes, Pillow reads the first plane, or nothing; of other extra samples, nothing.
    more = value_of(tags, PER_PIXEL, 1) > COLORS.get(photometric, MOST_SAMPLES)
    apart = more and value_of(tags, _PLANES, 1) == _SEPARATE
    usual = (depth == 8 and not apart) or (depth == 1 and gray)
    compression = value_of(tags, COMPRESSION, UNCOMPRESSED)
    # Of samples that are stored as they are, Pillow reverses the bits in some layouts only.
    reversed_bits = compression == UNCOMPRESSED and value_of(tags, _FILL_ORDER, 1) != 1
    return None if usual and compression in _WITH_PILLOW and not reversed_bits else depth


def is_deep(tags: Tags) -> bool:
    """Whether the directory describes 16-bit unsigned gray, RGB or CMYK samples."""
    bits = values(tags, BITS, (1,))
    kinds = values(tags, _FORMAT, (1,))
    return value_of(tags, PHOTOMETRIC, -1) in COLORS and set(bits) == {16} and set(kinds) == {1}
