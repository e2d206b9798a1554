"""How often a film in boxes, such as an AVIF sequence, is played. (ISO/IEC 14496-12, 8.3.2 and 8.6.6.)"""

from app.codec.boxes import boxes

_REPEATS = 1  # flag of an edit list
_DURATION = {0: (20, 4), 1: (28, 8)}
"""Where a track's header of each version has its duration, and in how many bytes."""
_MOST = 1 << 31  # that a PNG can say
_NOTHING = memoryview(b"")


def plays(data: bytes) -> int:
    """How many times the first track is played: its edit list is repeated until it fills the track.

    0 is for ever, as browsers play a track without such a list, too.
    """
    movie = dict(boxes(memoryview(data))).get(b"moov", _NOTHING)
    track = dict(boxes(next((body for kind, body in boxes(movie) if kind == b"trak"), _NOTHING)))
    edits = dict(boxes(track.get(b"edts", _NOTHING))).get(b"elst", _NOTHING)
    header = track.get(b"tkhd", _NOTHING)
    if len(edits) < 16 or not header or header[0] not in _DURATION:
        return 0
    if not edits[3] & _REPEATS:
        return 1
    at, size = _DURATION[header[0]]
    whole = int.from_bytes(header[at : at + size], "big")
    once = int.from_bytes(edits[8 : 16 if edits[0] else 12], "big")
    if whole == (1 << 8 * size) - 1 or not once:
        return 0
    times = -(-whole // once)
    return times if times < _MOST else 0
