"""The quality of an AVIF, from the quantiser of its first AV1 frame."""

from app.codec import av1
from app.codec.heif import HEADERS, Items


def quality_of(data: bytes) -> int | None:
    """0 to 100, as libavif maps it linearly to the quantiser; None if it is lossless or cannot be read.

    None for a picture in layers too (`a1lx`): its first frame is a coarse preview of what is shown.
    """
    try:
        items = Items(data)
        if b"a1lx" in items.properties(items.first_id):
            return None
        index = av1.base_quantizer(items.beginning(data, HEADERS))
    except IndexError:
        return None
    return round(100 * (1 - index / av1.COARSEST)) if index else None
