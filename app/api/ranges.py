"""Range requests, for clients that resume an interrupted transfer (RFC 9110, section 14)."""

import re

from app.errors import RangeNotSatisfiable

_ONE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})", re.IGNORECASE)


def part(wanted: str, if_range: str, etag: str, size: int) -> range | None:
    """The part of `size` bytes that the header Range asks for; None if the header is ignored and everything is sent.

    Ignored are several ranges, other units, malformed headers, and ranges whose If-Range is not `etag`. Raises
    RangeNotSatisfiable.
    """
    found = _ONE.fullmatch(wanted.strip())
    if found is None or (if_range and if_range.strip() != etag):
        return None
    first, last = found.groups()
    if not first and not last:
        return None
    start = int(first) if first else max(0, size - int(last))
    stop = min(int(last) + 1, size) if first and last else size
    if first and last and int(last) < start:
        return None
    if start >= stop:
        raise RangeNotSatisfiable(
            f"Range starts after the end of the picture, which has {size} bytes. Send the request without Range.", size
        )
    return range(start, stop)
