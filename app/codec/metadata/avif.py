"""Metadata in an AVIF or HEIC: the items that hold EXIF and XMP. (ISO/IEC 14496-12, 8.11; 23008-12, annex A.)"""

from collections.abc import Iterator

from app.codec.boxes import boxes
from app.codec.heif import IN_IDAT, located
from app.codec.metadata import xmp
from app.codec.metadata.blocks import TOO_LARGE, Blocks, bare_exif, note

_EXIF, _MIME, _XMP_TYPE = b"Exif", b"mime", b"application/rdf+xml"
_UNKNOWN = b"skip"


def separated(data: bytes) -> tuple[bytes, Blocks]:
    """The file with its metadata items marked as unknown, as libavif rejects invalid EXIF, and the blocks."""
    copy, blocks = bytearray(data), Blocks()
    meta = next((body[4:] for kind, body in boxes(memoryview(copy)) if kind == b"meta"), memoryview(b""))
    parts = dict(boxes(meta))
    places = located(parts.get(b"iloc", memoryview(b"")))
    for number, kind in _items(parts.get(b"iinf", memoryview(b""))):
        name = "exif" if bytes(kind[:4]) == _EXIF else "xmp"
        kind[:4] = _UNKNOWN
        if (blocks.exif is not None) if name == "exif" else blocks.xmp:
            continue  # the first counts
        method, extents = places.get(number, (0, []))
        if sum(size for _, size in extents) > xmp.MAX_BYTES:
            blocks.dropped.append(note(name, TOO_LARGE))
            continue
        source = parts.get(b"idat", memoryview(b"")) if method == IN_IDAT else memoryview(data)
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
