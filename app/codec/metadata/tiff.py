"""Adds metadata to a TIFF by rewriting its directory."""

from app.codec.metadata import exif
from app.codec.metadata.directories import BYTE, HEADER, LONG, UNDEFINED, Directory, Entry, Structure, packed
from app.codec.types import Metadata

_STRIPS, _XMP, _IPTC, _ICC = 273, 700, 33723, 34675


def with_metadata(file: bytes, metadata: Metadata, icc: bytes | None) -> bytes:
    """The TIFF `file`, little-endian and with contiguous strips at its end, with metadata and a profile added."""
    added: Directory = {} if metadata.exif is None else exif.read(metadata.exif, "all").kept
    if metadata.dpi is not None:
        added |= exif.resolution(metadata.dpi)
    for tag, kind, block in ((_XMP, BYTE, metadata.xmp), (_ICC, UNDEFINED, icc)):
        if block is not None:
            added[tag] = Entry(kind, len(block), block)
    if metadata.iptc is not None:  # as 32-bit numbers: the only type that libtiff accepts here
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
