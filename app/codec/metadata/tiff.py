"""Metadata for a TIFF: one directory that holds what the file's own did and all that travels along."""

from app.codec.metadata import exif
from app.codec.metadata.directories import BYTE, HEADER, LONG, UNDEFINED, Directory, Entry, Structure, packed
from app.codec.types import Metadata

_STRIPS, _XMP, _IPTC, _ICC = 273, 700, 33723, 34675


def with_metadata(file: bytes, metadata: Metadata, icc: bytes | None) -> bytes:
    """The little-endian TIFF `file`, whose strips lie in a row at its end, with metadata and a profile."""
    added: Directory = {} if metadata.exif is None else exif.read(metadata.exif, "all").kept
    if metadata.dpi is not None:
        added |= exif.resolution(metadata.dpi)
    for tag, kind, block in ((_XMP, BYTE, metadata.xmp), (_ICC, UNDEFINED, icc)):
        if block is not None:
            added[tag] = Entry(kind, len(block), block)
    if metadata.iptc is not None:  # called 32-bit numbers since Photoshop did so, and libtiff takes no other type
        filled = metadata.iptc + bytes(-len(metadata.iptc) % 4)
        added[_IPTC] = Entry(LONG, len(filled) // 4, filled)
    if not added:
        return file
    structure = Structure(file)
    own = structure.directory(structure.first, lambda _: True)
    strips = own[_STRIPS].whole_numbers()
    moved = len(HEADER) + len(packed(own | added)) - strips[0]
    own[_STRIPS] = Entry(LONG, len(strips), b"".join((at + moved).to_bytes(4, "little") for at in strips))
    return HEADER + packed(own | added) + file[strips[0] :]
