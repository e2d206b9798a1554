"""Metadata in a JPEG XL: the boxes Exif and xml, also compressed. (ISO/IEC 18181-2.) libjxl passes over them."""

from itertools import islice

import imagecodecs

from app.codec.boxes import boxes
from app.codec.metadata import xmp
from app.codec.metadata.blocks import TOO_LARGE, UNREADABLE, Blocks, bare_exif, note

_CONTAINER = b"\0\0\0\x0cJXL "
_NAMES = {b"Exif": "exif", b"xml ": "xmp"}
_MAX_BOXES = 65_536


def blocks(data: bytes) -> Blocks:
    """The first EXIF and the first XMP of a file in boxes; a bare codestream has none."""
    found = Blocks()
    if not data.startswith(_CONTAINER):
        return found
    for kind, body in islice(boxes(memoryview(data)), _MAX_BOXES):
        packed = kind == b"brob"
        kind, body = (bytes(body[:4]), body[4:]) if packed else (kind, body)
        name = _NAMES.get(kind)
        if name is None or ((found.exif is not None) if name == "exif" else found.xmp):
            continue
        content = _unpacked(bytes(body)) if packed else bytes(body)
        if content is None:
            found.dropped.append(note(name, UNREADABLE))
        elif len(content) > xmp.MAX_BYTES:
            found.dropped.append(note(name, TOO_LARGE))
        elif name == "exif":
            found.exif = bare_exif(content[4 + int.from_bytes(content[:4], "big") :])
        else:
            found.xmp = (content,)
    return found


def _unpacked(packed: bytes) -> bytes | None:
    """What Brotli packed; None if it is damaged or unpacks to more than is kept."""
    try:
        return bytes(imagecodecs.brotli_decode(packed, out=xmp.MAX_BYTES))
    except imagecodecs.BrotliError:
        return None
