"""The quality of an AVIF, from the quantiser of its first AV1 frame."""

from app.codec.heif import Items
from app.codec.history import av1

_HEADERS = 65536  # bytes that hold those of a frame


def quality_of(data: bytes) -> int | None:
    """0 to 100, as libavif maps it linearly to the quantiser; None if it is lossless or not to be read."""
    try:
        index = av1.base_quantizer(Items(data).beginning(data, _HEADERS))
    except IndexError:
        return None
    return round(100 * (1 - index / av1.COARSEST)) if index else None
