"""Puts EXIF, XMP and HDR metadata into an AVIF of imagecodecs, which takes none. (ISO/IEC 23008-12.)"""

import struct
from collections.abc import Iterable, Sequence

from app.codec.boxes import boxes
from app.codec.heif import CANDELA, LIGHT, MASTERING
from app.codec.types import Metadata

_PRIMARY = 1  # libavif's number for the picture
_INLINE = bytes((0, 0, 0, 0, 0x44, 0))  # iloc of version 0: offsets and lengths of 4 bytes, no base offset
_MOST_LIGHT = 0xFFFF


def completed(file: bytes, metadata: Metadata) -> bytes:
    """The AVIF `file`, a still of libavif's, with what `metadata` has of EXIF, XMP, mastering display and light.

    Raises ValueError for a file of another structure.
    """
    items, properties = list(_items(metadata)), list(_properties(metadata))
    if not items and not properties:
        return file
    top = [(kind, bytes(body)) for kind, body in boxes(memoryview(file))]
    if [kind for kind, _ in top] != [b"ftyp", b"meta", b"mdat"] or top[1][1][:4] != bytes(4):
        raise ValueError("the AVIF is not laid out as libavif does it")
    parts = {kind: bytes(body) for kind, body in boxes(memoryview(top[1][1])[4:])}
    places = _places(parts[b"iloc"])
    new = range(max(places) + 1, max(places) + 1 + len(items))
    bodies = [body for _, body in items]
    if items:
        entries = b"".join(
            _box(b"infe", struct.pack(">BxxxHxx", 2, number) + kind)
            for number, (kind, _) in zip(new, items, strict=True)
        )
        count = int.from_bytes(parts[b"iinf"][4:6], "big") + len(items)
        parts[b"iinf"] = parts[b"iinf"][:4] + count.to_bytes(2, "big") + parts[b"iinf"][6:] + entries
        references = b"".join(_box(b"cdsc", struct.pack(">HHH", number, 1, _PRIMARY)) for number in new)
        parts[b"iref"] = parts.get(b"iref", bytes(4)) + references
    if properties:
        parts[b"iprp"] = _described(parts[b"iprp"], properties)
    # Offsets have a fixed size: what moves by how much is known before they are.
    parts[b"iloc"] = _located(places | dict.fromkeys(new, (0, 0)))
    meta = _meta(parts)
    moved = len(meta) - len(_box(*top[1]))
    at = len(file) + moved + 8
    located = {number: (start + moved, size) for number, (start, size) in places.items()}
    for number, body in zip(new, bodies, strict=True):
        located[number] = (at, len(body))
        at += len(body)
    parts[b"iloc"] = _located(located)
    tail = _box(b"mdat", b"".join(bodies)) if bodies else b""
    return _box(*top[0]) + _meta(parts) + _box(*top[2]) + tail


def _items(metadata: Metadata) -> Iterable[tuple[bytes, bytes]]:
    """Type and name of each item as they stand in `infe`, and its content."""
    if metadata.exif is not None:
        yield b"Exif\0", bytes(4) + metadata.exif  # the offset of the TIFF header
    if metadata.xmp is not None:
        yield b"mime\0application/rdf+xml\0", metadata.xmp


def _properties(metadata: Metadata) -> Iterable[bytes]:
    """The boxes, as app.codec.heif reads them."""
    if metadata.mastering is not None:
        red, rest = metadata.mastering[:2], metadata.mastering[2:]
        yield _box(b"mdcv", MASTERING.pack(*rest[:4], *red, *rest[4:]))
    if metadata.light is not None:
        yield _box(b"clli", LIGHT.pack(*(min(_MOST_LIGHT, round(value / CANDELA)) for value in metadata.light)))


def _box(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", 8 + len(body)) + kind + body


def _meta(parts: dict[bytes, bytes]) -> bytes:
    return _box(b"meta", bytes(4) + b"".join(_box(kind, body) for kind, body in parts.items()))


def _places(iloc: bytes) -> dict[int, tuple[int, int]]:
    """Offset and size of each item by its number."""
    count = int.from_bytes(iloc[6:8], "big")
    if iloc[:6] != _INLINE or len(iloc) != 8 + 14 * count:
        raise ValueError("the AVIF's items are not located as libavif does it")
    entries = struct.iter_unpack(">HHHII", iloc[8:])
    return {number: (start, size) for number, _, _, start, size in entries}


def _located(places: dict[int, tuple[int, int]]) -> bytes:
    entries = (struct.pack(">HHHII", number, 0, 1, start, size) for number, (start, size) in places.items())
    return _INLINE + len(places).to_bytes(2, "big") + b"".join(entries)


def _described(iprp: bytes, properties: Sequence[bytes]) -> bytes:
    """With these properties of the picture, the last ones of the list."""
    parts = {kind: bytes(body) for kind, body in boxes(memoryview(iprp))}
    container, owners = parts[b"ipco"], parts[b"ipma"]
    known = sum(1 for _ in boxes(memoryview(container)))
    if owners[:4] != bytes(4) or owners[8:10] != _PRIMARY.to_bytes(2, "big"):
        raise ValueError("the AVIF's properties are not listed as libavif does it")
    count = owners[10]
    numbers = bytes(known + 1 + index for index in range(len(properties)))
    first = owners[:10] + bytes((count + len(properties),)) + owners[11 : 11 + count] + numbers
    return _box(b"ipco", container + b"".join(properties)) + _box(b"ipma", first + owners[11 + count :])
