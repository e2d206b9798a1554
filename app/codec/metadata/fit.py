"""Adapts metadata to a result: its size and colours, and what its format can hold."""

from app.codec.metadata import exif, jpeg, xmp_packet
from app.codec.metadata.blocks import note
from app.codec.metadata.directories import Directory, Unreadable
from app.codec.types import Metadata

_WITHOUT_DENSITY = _WITHOUT_IPTC = ("webp", "avif", "jxl")


def fitted(metadata: Metadata, scale: int, height: int, width: int, target: str) -> Metadata:
    """The metadata to write for a result of `height` x `width` pixels, `scale` times the source, in format `target`.

    What the format cannot hold is left out and noted in `dropped`. Resolution moves into EXIF where the format has no
    field for it, or too small a one, unless EXIF states one already.
    """
    dropped = list(metadata.dropped)
    dpi = None if metadata.dpi is None else (metadata.dpi[0] * scale, metadata.dpi[1] * scale)
    kept = _exif(metadata, scale, height, width, dropped)
    if dpi is not None and (target in _WITHOUT_DENSITY or (target == "jpeg" and not jpeg.holds(dpi))):
        if exif.dpi(kept) is None:
            kept = kept | exif.resolution(dpi)
        dpi = None

    def held(name: str, block: bytes | None) -> bytes | None:
        if block is None:
            return None
        if target == "jpeg" and not jpeg.has_room(name, block):
            dropped.append(note(name, "too large for jpeg"))
            return None
        if name == "iptc" and target in _WITHOUT_IPTC:
            dropped.append(note(name, f"no place in {target}"))
            return None
        return block

    packet = None if metadata.xmp is None else xmp_packet.filled(metadata.xmp, scale, height, width, metadata.srgb)
    return Metadata(
        icc=held("icc", metadata.icc),
        srgb=metadata.srgb,
        exif=held("exif", exif.block(kept)),
        xmp=packet,
        iptc=held("iptc", metadata.iptc),
        dpi=dpi,
        dropped=tuple(dropped),
    )


def _exif(metadata: Metadata, scale: int, height: int, width: int, dropped: list[str]) -> Directory:
    """The EXIF of the result. The block comes from a decoder process, so it may be anything."""
    if metadata.exif is None:
        return {}
    try:
        kept = exif.read(metadata.exif, "all").kept
    except Unreadable:
        dropped.append(note("exif", "unreadable"))
        return {}
    return exif.scaled(kept, scale, height, width, metadata.srgb)
