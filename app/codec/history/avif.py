"""The quality of an AVIF, from the quantiser of its first AV1 frame."""

from app.codec import av1
from app.codec.heif import HEADERS, Items


def quality_of(data: bytes) -> int | None:
    """0 to 100, as libavif maps it linearly to the quantiser; None if it is lossless or cannot be read."""
    try:
        index = av1.base_quantizer(Items(data).beginning(data, HEADERS))
    except IndexError:
        return None
    return round(100 * (1 - index / av1.COARSEST)) if index else None
