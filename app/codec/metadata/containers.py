"""Extracts metadata from each format, and removes it from the file, so that pixel decoders never parse it."""

import re
from collections.abc import Iterator
from itertools import islice

from app.codec import webp_chunks
from app.codec.limits import segment_numbers
from app.codec.metadata import avif, iptc, jpeg, jxl, png, xmp
from app.codec.metadata.blocks import EXIF_PREFIX, TOO_LARGE, UNREADABLE, XMP_PREFIX, Blocks, bare_exif, note
from app.codec.metadata.directories import Structure, Unreadable

_JPEG_BLOCKS = (0xE1, 0xED, 0xFE)  # APP1, APP13, COM
_JPEG_PROFILE, _JPEG_PROFILE_HEAD, _JPEG_SCANS = 0xE2, 2, 0xDA
_JPEG_LEAST = {0xE0: (b"JFIF", 14), 0xEE: (b"Adobe", 12)}
"""Of segments that say how to read the pixels, their names and fewest bytes: libjpeg passes over shorter ones."""
_FILL = re.compile(rb"\xff+")
_EXTENSION_NAME = re.compile(rb"HasExtendedXMP(?:\s*=\s*[\"']|>)\s*([0-9A-Fa-f]{32})")
_GIF_XMP, _GIF_XMP_END = b"!\xff\x0bXMP DataXMP", b"\x01\xff\xfe\xfd"
_XMP, _IPTC, _RESOURCES = 700, 33723, 34377
# Storage, colours and resolution of the pixels, and DNGVersion. libtiff would load the values of all other
# tags, however many and however large they are.
_TIFF_PIXELS = frozenset(
    (
        *(*range(254, 267), 273, *range(277, 285), *range(288, 294), 296, 297, 301, *range(317, 348)),
        *(*range(512, 533), *range(32995, 32999), 34675, 50706),
    )
)


def separated(name: str, data: bytes, most: int) -> tuple[bytes, Blocks]:
    """The file, in format `name`, without metadata, and the blocks in it; `most` is the largest size accepted.

    Raises UndecodablePicture for a PNG whose text or profiles unpack to too much, and for a PNG, JPEG, AVIF or HEIC of
    more chunks, segments or boxes than any writer makes. Data that is not understood is returned as it is.
    """
    if name == "PNG":
        return png.separated(data, most)
    if name == "JPEG":
        return _jpeg(data)
    if name == "TIFF":
        return _tiff(data)
    if name in ("AVIF", "HEIC"):
        return avif.separated(data)
    if name == "JXL":
        return data, jxl.blocks(data)
    return data, _webp(data) if name == "WEBP" else _gif(data) if name == "GIF" else Blocks()


def _jpeg(data: bytes) -> tuple[bytes, Blocks]:
    exif, resources, profile, kept = [], [], [], [data[:2]]
    extended: dict[bytes, list[bytes]] = {}
    blocks = Blocks()
    for marker, start, end in _segments(data):
        body = b"" if marker == _JPEG_SCANS else data[start + 4 : end]
        if marker == _JPEG_PROFILE and body.startswith(jpeg.PROFILE_PREFIX):
            profile.append(body[len(jpeg.PROFILE_PREFIX) :])
        elif marker not in _JPEG_BLOCKS:
            name, least = _JPEG_LEAST.get(marker, (b"", 0))
            if len(body) >= least or not body.startswith(name):
                kept.append(data[start:end])
        elif marker == 0xE1 and body.startswith(EXIF_PREFIX):
            exif.append(body[len(EXIF_PREFIX) :])  # a large block may span several segments
        elif marker == 0xE1 and body.startswith(XMP_PREFIX):
            blocks.xmp = (body[len(XMP_PREFIX) :],)
        elif marker == 0xE1 and body.startswith(jpeg.EXTENSION_PREFIX):
            body = body[len(jpeg.EXTENSION_PREFIX) :]
            extended.setdefault(body[:32], []).append(body[32:])
        elif marker == 0xED and body.startswith(jpeg.PHOTOSHOP_PREFIX):
            resources.append(body[len(jpeg.PHOTOSHOP_PREFIX) :])
    blocks.exif = b"".join(exif) or None
    blocks.iptc = iptc.from_resources(b"".join(resources))
    if parts := [part for part in profile if len(part) >= _JPEG_PROFILE_HEAD]:
        blocks.icc = jpeg.joined_profile(parts)
        if blocks.icc is None:
            blocks.dropped.append(note("icc", UNREADABLE))
    named = _EXTENSION_NAME.search(blocks.xmp[0]) if blocks.xmp else None
    if named and named[1] in extended:  # other extensions are leftovers of an earlier packet
        _extend(blocks, extended[named[1]])
    return b"".join(kept), blocks


def _segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Marker, start and end of each segment of a JPEG; the last one is everything from the first scan on.

    Raises UndecodablePicture if there are more than any writer makes.
    """
    at = 2
    for _ in segment_numbers():
        at = data.find(b"\xff", at)
        at = -1 if at < 0 else _FILL.match(data, at).end() - 1  # type: ignore[union-attr]
        marker = data[at + 1] if 0 <= at < len(data) - 1 else 0xD9
        if marker <= 0x01 or 0xD0 <= marker <= 0xD8:  # markers without content
            at += 2
            continue
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if marker in (0xD9, 0xDA) or not at + 4 <= end <= len(data):
            yield _JPEG_SCANS, at if at >= 0 else len(data), len(data)
            return
        yield marker, at, end
        at = end


def _extend(blocks: Blocks, parts: list[bytes]) -> None:
    """Adds the XMP extension in these parts, each of which starts with the size of the whole and its own offset."""
    size = int.from_bytes(parts[0][:4], "big")
    if size > xmp.MAX_BYTES:
        blocks.dropped.append(note("xmp extension", TOO_LARGE))
        return
    parts.sort(key=lambda part: part[4:8])
    whole = b"".join(part[8:] for part in parts)
    if len(whole) == size:
        blocks.xmp += (whole,)
    else:
        blocks.dropped.append(note("xmp extension", UNREADABLE))


def _tiff(data: bytes) -> tuple[bytes, Blocks]:
    try:
        structure = Structure(data)
        found = structure.blocks((_XMP, _IPTC, _RESOURCES))
        plain = structure.only(_TIFF_PIXELS)
    except Unreadable:
        return data, Blocks()
    blocks = Blocks(exif=data, iptc=found.get(_IPTC) or iptc.from_resources(found.get(_RESOURCES, b"")))
    if _XMP in found:
        blocks.xmp = (found[_XMP],)
    if not structure.sound:
        blocks.dropped.append(note("xmp or iptc", UNREADABLE))
    return plain, blocks


def _webp(data: bytes) -> Blocks:
    blocks = Blocks()
    for chunk in islice(webp_chunks.chunks(data), webp_chunks.MAX_CHUNKS):
        if chunk.kind == b"EXIF" and chunk.whole and blocks.exif is None:
            blocks.exif = bare_exif(bytes(chunk.body))
        elif chunk.kind == b"XMP " and chunk.whole and not blocks.xmp:
            blocks.xmp = (bytes(chunk.body),)
    return blocks


def _gif(data: bytes) -> Blocks:
    """XMP, which is not divided into sub-blocks; the trailer after it leads readers of sub-blocks out of it."""
    start = data.find(_GIF_XMP) + len(_GIF_XMP)
    end = data.find(_GIF_XMP_END, start)
    return Blocks(xmp=(data[start:end],)) if start >= len(_GIF_XMP) and end > 0 else Blocks()
