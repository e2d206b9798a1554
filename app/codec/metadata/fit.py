"""Adapts metadata to a result: its size and colours, and what its format can hold."""

from fractions import Fraction

from app.codec import jxl_profile
from app.codec.code_points import CodePoints, as_shown, is_srgb
from app.codec.color_management import profile_channels
from app.codec.metadata import exif, jpeg, xmp_packet
from app.codec.metadata.blocks import note
from app.codec.metadata.directories import Directory, Unreadable
from app.codec.types import Metadata
from app.formats import OUTPUT_FORMATS

_WITH_LIGHT = ("png", "avif")
_WITH_CODE_POINTS = tuple(row.name for row in OUTPUT_FORMATS.values() if row.code_points)
_JXL_PROFILE_BYTES = 2 << 20
"""More takes libjxl's encoder many seconds, and it takes none of more than 4 MiB."""
_WITHOUT_DENSITY = _WITHOUT_IPTC = ("webp", "avif", "jxl")


def fitted(metadata: Metadata, scale: int | Fraction, height: int, width: int, target: str) -> Metadata:
    """The metadata to write for a result of `height` x `width` pixels, `scale` times the source, in format `target`.

    What the format cannot hold is left out and noted in `dropped`. Resolution moves into EXIF where the format has no
    field for it, or too small a one, unless EXIF states one already.
    """
    dropped = list(metadata.dropped)
    dpi = None if metadata.dpi is None else (metadata.dpi[0] * float(scale), metadata.dpi[1] * float(scale))
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
        if name == "icc" and target == "jxl" and len(block) > _JXL_PROFILE_BYTES:
            dropped.append(note(name, "too large for jxl"))
            return None
        if name == "icc" and target == "jxl" and not jxl_profile.is_taken(block, profile_channels(block) or 1):
            dropped.append(note(name, "not accepted by jxl"))
            return None
        if name == "iptc" and target in _WITHOUT_IPTC:
            dropped.append(note(name, f"no place in {target}"))
            return None
        return block

    colors = _colors(metadata, target, dropped)
    packet = None if metadata.xmp is None else xmp_packet.filled(metadata.xmp, scale, height, width, metadata.srgb)
    return Metadata(
        icc=held("icc", metadata.icc),
        srgb=metadata.srgb,
        gamma=metadata.gamma,
        cicp=colors.cicp,
        mastering=colors.mastering,
        light=colors.light,
        exif=held("exif", exif.block(kept)),
        xmp=packet,
        iptc=held("iptc", metadata.iptc),
        dpi=dpi,
        dropped=tuple(dropped),
    )


def _colors(metadata: Metadata, target: str, dropped: list[str]) -> Metadata:
    """Code points and what goes with them, as far as the format has a place for them or no profile says the same."""
    cicp, mastering, light = metadata.cicp, metadata.mastering, metadata.light
    if cicp is None:
        return Metadata()
    if target != "png":  # viewers of JPEG XL would undo the camera's curve; Chromium refuses AVIFs with some
        cicp = as_shown(CodePoints(*cicp))
    if target not in _WITH_CODE_POINTS or (target == "jxl" and not jxl_profile.has_name(cicp)):
        if metadata.icc is None and not is_srgb(CodePoints(*cicp), gray=True):
            dropped.append(note("cicp", f"no place in {target}"))
        cicp = None
    if target not in _WITH_LIGHT:
        dropped += [
            note(name, f"no place in {target}") for name, said in (("mdcv", mastering), ("clli", light)) if said
        ]
        mastering = light = None
    return Metadata(cicp=cicp, mastering=mastering, light=light)


def _exif(metadata: Metadata, scale: int | Fraction, height: int, width: int, dropped: list[str]) -> Directory:
    """The EXIF of the result. The block comes from a decoder process, so it may be anything."""
    if metadata.exif is None:
        return {}
    try:
        kept = exif.read(metadata.exif, "all").kept
    except Unreadable:
        dropped.append(note("exif", "unreadable"))
        return {}
    return exif.scaled(kept, scale, height, width, metadata.srgb)
