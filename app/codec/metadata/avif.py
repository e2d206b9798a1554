"""Metadata in an AVIF or HEIC: the items that hold EXIF and XMP. (ISO/IEC 14496-12, 8.11; 23008-12, annex A.)"""

from collections.abc import Iterator
from itertools import count

from app.codec.boxes import bounded, boxes
from app.codec.metadata import xmp
from app.codec.metadata.blocks import TOO_LARGE, Blocks, bare_exif, note

_EXIF, _MIME, _XMP_TYPE = b"Exif", b"mime", b"application/rdf+xml"
_UNKNOWN = b"skip"


def separated(data: bytes) -> tuple[bytes, Blocks]:
    """The file with its metadata items marked as unknown, as libavif rejects invalid EXIF, and the blocks."""
    copy, blocks = bytearray(data), Blocks()
    meta = next((body[4:] for kind, body in boxes(memoryview(copy)) if kind == b"meta"), memoryview(b""))
    parts = dict(boxes(meta))
    places = _places(parts.get(b"iloc", memoryview(b"")))
    for number, kind in _items(parts.get(b"iinf", memoryview(b""))):
        name = "exif" if bytes(kind[:4]) == _EXIF else "xmp"
        kind[:4] = _UNKNOWN
        if (blocks.exif is not None) if name == "exif" else blocks.xmp:
            continue  # the first counts
        method, extents = places.get(number, (0, []))
        if sum(size for _, size in extents) > xmp.MAX_BYTES:
            blocks.dropped.append(note(name, TOO_LARGE))
            continue
        source = parts.get(b"idat", memoryview(b"")) if method == 1 else memoryview(data)
        content = b"".join(source[offset : offset + size] for offset, size in extents)
        if name == "exif":
            blocks.exif = bare_exif(content[4 + int.from_bytes(content[:4], "big") :])
        else:
            blocks.xmp = (content,)
    return (bytes(copy), blocks) if blocks != Blocks() else (data, blocks)


def _items(iinf: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Number of each EXIF or XMP item, and a view that starts with its type, to be overwritten."""
    if not iinf:
        return
    for kind, body in boxes(iinf[8 if iinf[0] else 6 :]):
        if kind == b"infe" and len(body) >= 14 - 2 * (body[0] == 2) and body[0] in (2, 3):
            wide = 4 if body[0] == 3 else 2
            at = 4 + wide + 2
            item_type, rest = bytes(body[at : at + 4]), bytes(body[at + 4 :])
            if item_type == _EXIF or (item_type == _MIME and rest.split(b"\0")[1:2] == [_XMP_TYPE]):
                yield int.from_bytes(body[4 : 4 + wide], "big"), body[at:]


def _places(iloc: memoryview) -> dict[int, tuple[int, list[tuple[int, int]]]]:
    """By item number: what offsets refer to (0: the file, 1: the box idat), and (offset, size) of each extent.

    Stops at the end of the box, whatever counts it states. Raises UndecodablePicture if there are very many extents.
    """
    if len(iloc) < 8:
        return {}
    version = iloc[0]
    offset_size, length_size, base_size = iloc[4] >> 4, iloc[4] & 15, iloc[5] >> 4
    index_size = iloc[5] & 15 if version else 0
    wide = 4 if version == 2 else 2
    at = 6

    def number(size: int) -> int:
        nonlocal at
        at += size
        return int.from_bytes(iloc[at - size : at], "big")

    places = {}
    steps = bounded(count())  # extents that are said to take no bytes come to no end
    for _ in range(number(wide)):
        if at >= len(iloc):
            break
        next(steps)
        item = number(wide)
        method = number(2) & 15 if version else 0
        number(2)  # data reference index
        base = number(base_size)
        extents = []
        for _ in range(number(2)):
            if at >= len(iloc):
                break
            next(steps)
            number(index_size)
            extents.append((base + number(offset_size), number(length_size)))
        places[item] = (method, extents)
    return places
