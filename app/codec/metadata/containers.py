"""Where metadata lies in each format: taken out of a file, so that the decoders of its pixels never see it."""

import re
from collections.abc import Iterator
from itertools import islice

from app.codec import webp
from app.codec.metadata import avif, iptc, jpeg, png, xmp
from app.codec.metadata.blocks import EXIF_PREFIX, TOO_LARGE, UNREADABLE, XMP_PREFIX, Blocks, bare_exif, note
from app.codec.metadata.directories import Structure, Unreadable

_EXTENSION_NAME = re.compile(rb"HasExtendedXMP(?:\s*=\s*[\"']|>)\s*([0-9A-Fa-f]{32})")
_MAX_CHUNKS = 65_536  # of a WebP
_GIF_XMP, _GIF_XMP_END = b"!\xff\x0bXMP DataXMP", b"\x01\xff\xfe\xfd"
_ORIENTATION, _XMP, _IPTC, _RESOURCES = 274, 700, 33723, 34377
_TIFF_BLOCKS = (_ORIENTATION, _XMP, _IPTC, _RESOURCES, 34665, 34853, 37724, 40965)  # and EXIF, GPS, Photoshop, Interop


def separated(name: str, data: bytes, most: int) -> tuple[bytes, Blocks]:
    """A file of the format `name` without its metadata, and these; `most` is how many bytes a file may have.

    Raises UndecodablePicture for a PNG that unpacks to too much. A file that is not understood comes back as it is.
    """
    if name == "PNG":
        return png.separated(data, most)
    if name == "JPEG":
        return _jpeg(data)
    if name == "TIFF":
        return _tiff(data)
    if name == "AVIF":
        return avif.separated(data)
    return data, _webp(data) if name == "WEBP" else _gif(data) if name == "GIF" else Blocks()


def _jpeg(data: bytes) -> tuple[bytes, Blocks]:
    exif, resources, kept, last = [], [], [], 0
    extended: dict[bytes, list[bytes]] = {}
    blocks = Blocks()
    for marker, start, end in _segments(data):
        if marker not in (0xE1, 0xED, 0xFE):
            continue
        kept.append(data[last:start])
        last = end
        body = data[start + 4 : end]
        if marker == 0xE1 and body.startswith(EXIF_PREFIX):
            exif.append(body[len(EXIF_PREFIX) :])  # a block that is too large for one segment goes on in the next
        elif marker == 0xE1 and body.startswith(XMP_PREFIX):
            blocks.xmp = (body[len(XMP_PREFIX) :],)
        elif marker == 0xE1 and body.startswith(jpeg.EXTENSION_PREFIX):
            body = body[len(jpeg.EXTENSION_PREFIX) :]
            extended.setdefault(body[:32], []).append(body[32:])
        elif marker == 0xED and body.startswith(jpeg.PHOTOSHOP_PREFIX):
            resources.append(body[len(jpeg.PHOTOSHOP_PREFIX) :])
    kept.append(data[last:])
    blocks.exif = b"".join(exif) or None
    blocks.iptc = iptc.from_resources(b"".join(resources))
    named = _EXTENSION_NAME.search(blocks.xmp[0]) if blocks.xmp else None
    if named and named[1] in extended:  # others were left behind by a writer that did not know of them
        _extend(blocks, extended[named[1]])
    return b"".join(kept), blocks


def _segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Marker, beginning and end of each segment of a JPEG in front of its first scan."""
    at = 2
    while 0 <= (at := data.find(b"\xff", at)) < len(data) - 3:
        marker = data[at + 1]
        if marker == 0xFF:  # may fill up
            at += 1
        elif marker <= 0x01 or 0xD0 <= marker <= 0xD8:  # have no content
            at += 2
        else:
            end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
            if marker in (0xD9, 0xDA) or not at + 4 <= end <= len(data):
                return
            yield marker, at, end
            at = end


def _extend(blocks: Blocks, parts: list[bytes]) -> None:
    """Adds the extension that lies in these parts, each behind its size and the part's offset, 32 bits each."""
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
        plain = structure.without(_TIFF_BLOCKS)
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
    for chunk in islice(webp.chunks(data), _MAX_CHUNKS):
        if chunk.kind == b"EXIF" and chunk.whole and blocks.exif is None:
            blocks.exif = bare_exif(bytes(chunk.body))
        elif chunk.kind == b"XMP " and chunk.whole and not blocks.xmp:
            blocks.xmp = (bytes(chunk.body),)
    return blocks


def _gif(data: bytes) -> Blocks:
    """XMP alone, which lies there in one piece, in front of bytes that readers of sub-blocks find their way out by."""
    start = data.find(_GIF_XMP) + len(_GIF_XMP)
    end = data.find(_GIF_XMP_END, start)
    return Blocks(xmp=(data[start:end],)) if start >= len(_GIF_XMP) and end > 0 else Blocks()
