"""Code points and quantiser of an AV1 key frame: its headers are read only up to these. (AV1 Bitstream, 5.3 to 5.9.)

Names are the specification's.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from app.codec.bits import Bits
from app.codec.code_points import CodePoints

COARSEST = 255
_SEQUENCE_HEADER, _FRAME_HEADER, _FRAME = 1, 3, 6
_KEY_FRAME = 0
_SELECT = 2
_MAX_OBUS = 16
_MAX_TILE_WIDTH, _MAX_TILE_AREA, _MAX_TILES = 4096, 4096 * 2304, 64


@dataclass(slots=True)
class _Sequence:
    """What a frame header needs of the sequence header."""

    reduced: bool
    decoder_model: bool = False
    equal_picture_interval: bool = True
    removal_time_bits: int = 0
    presentation_time_bits: int = 0
    timed_points: int = 0
    """Operating points with a decoder model."""
    width_bits: int = 0
    height_bits: int = 0
    width: int = 0
    height: int = 0
    frame_id_bits: int = 0
    large_superblocks: bool = False
    screen_content_tools: int = _SELECT
    integer_mv: int = _SELECT
    order_hint_bits: int = 0
    superres: bool = False
    points: CodePoints | None = None


def base_quantizer(data: bytes) -> int | None:
    """base_q_idx of the first frame, 0 (lossless) to 255; None if there is none that is a key frame.

    Raises IndexError where the data ends within a header.
    """
    sequence = None
    for kind, body in _units(data):
        if kind == _SEQUENCE_HEADER:
            sequence = _sequence(body)
        elif kind in (_FRAME_HEADER, _FRAME) and sequence is not None:
            return _frame(body, sequence)
    return None


def code_points(data: bytes) -> CodePoints | None:
    """The code points of the first sequence header; None if it does not name them."""
    try:
        return next((_sequence(body).points for kind, body in _units(data) if kind == _SEQUENCE_HEADER), None)
    except IndexError:
        return None


def _units(data: bytes) -> Iterator[tuple[int, Bits]]:
    """Kind and body of the first OBUs. Raises IndexError where the data ends within a header."""
    at = 0
    for _ in range(_MAX_OBUS):
        if at >= len(data):
            return
        kind, extended, sized = data[at] >> 3 & 15, data[at] >> 2 & 1, data[at] >> 1 & 1
        at += 1 + extended
        size = len(data) - at
        if sized:
            size, at = _leb128(data, at)
        yield kind, Bits(data[at : at + size])
        at += size


def _leb128(data: bytes, at: int) -> tuple[int, int]:
    """A number, and where the data goes on."""
    value = 0
    for i in range(8):
        value |= (data[at + i] & 127) << 7 * i
        if not data[at + i] & 128:
            break
    return value, at + i + 1


def _sequence(bits: Bits) -> _Sequence:
    profile = bits.f(3)
    bits.f(1)  # still picture
    found = _Sequence(reduced=bool(bits.f(1)))
    if found.reduced:
        bits.f(5)  # level
    else:
        _operating_points(bits, found)
    found.width_bits, found.height_bits = bits.f(4) + 1, bits.f(4) + 1
    found.width, found.height = bits.f(found.width_bits) + 1, bits.f(found.height_bits) + 1
    if not found.reduced and bits.f(1):
        found.frame_id_bits = bits.f(4) + 2 + bits.f(3) + 1
    found.large_superblocks = bool(bits.f(1))
    bits.f(2)  # filter intra, intra edge filter
    if not found.reduced:
        bits.f(4)  # compound and motion tools
        ordered = bits.f(1)
        bits.f(2 * ordered)
        if not bits.f(1):
            found.screen_content_tools = bits.f(1)
        if found.screen_content_tools and not bits.f(1):
            found.integer_mv = bits.f(1)
        found.order_hint_bits = bits.f(3) + 1 if ordered else 0
    found.superres = bool(bits.f(1))
    bits.f(2)  # directional enhancement, restoration
    if bits.f(1) and profile == 2:  # high_bitdepth
        bits.f(1)
    if profile != 1:
        bits.f(1)  # mono_chrome
    if bits.f(1):  # color_description_present_flag
        found.points = CodePoints(bits.f(8), bits.f(8))
    return found


def _operating_points(bits: Bits, found: _Sequence) -> None:
    delay_bits = 0
    if bits.f(1):  # timing_info_present_flag
        bits.f(64)
        found.equal_picture_interval = bool(bits.f(1))
        if found.equal_picture_interval:
            bits.uvlc()
        found.decoder_model = bool(bits.f(1))
        if found.decoder_model:
            delay_bits = bits.f(5) + 1
            bits.f(32)
            found.removal_time_bits, found.presentation_time_bits = bits.f(5) + 1, bits.f(5) + 1
    initial_delay = bits.f(1)
    for _ in range(bits.f(5) + 1):
        bits.f(12)
        if bits.f(5) > 7:
            bits.f(1)
        if found.decoder_model and bits.f(1):
            found.timed_points += 1
            bits.f(2 * delay_bits + 1)
        if initial_delay and bits.f(1):
            bits.f(4)


def _frame(bits: Bits, sequence: _Sequence) -> int | None:
    """As `base_quantizer`, of a frame header."""
    shown = True
    if not sequence.reduced:
        if bits.f(1) or bits.f(2) != _KEY_FRAME:
            return None
        shown = bool(bits.f(1))
        if shown and sequence.decoder_model and not sequence.equal_picture_interval:
            bits.f(sequence.presentation_time_bits)
        if not shown:
            bits.f(1)  # showable
        resilient = shown or bool(bits.f(1))
    else:
        resilient = True
    adapts = not bits.f(1)
    screen = bits.f(1) if sequence.screen_content_tools == _SELECT else sequence.screen_content_tools
    if screen and sequence.integer_mv == _SELECT:
        bits.f(1)
    bits.f(sequence.frame_id_bits)
    own_size = not sequence.reduced and bool(bits.f(1))
    bits.f(sequence.order_hint_bits)
    if sequence.decoder_model and bits.f(1):
        bits.f(sequence.removal_time_bits * sequence.timed_points)
    if not shown and bits.f(8) != 0xFF and resilient:
        bits.f(8 * sequence.order_hint_bits)
    width, height = sequence.width, sequence.height
    if own_size:
        width, height = bits.f(sequence.width_bits) + 1, bits.f(sequence.height_bits) + 1
    denominator = 8
    if sequence.superres and bits.f(1):
        denominator = bits.f(3) + 9
    coded_width = (width * 8 + denominator // 2) // denominator
    if bits.f(1):  # render_and_frame_size_different
        bits.f(32)
    if screen and coded_width == width:
        bits.f(1)  # allow_intrabc
    if not sequence.reduced and adapts:
        bits.f(1)  # disable_frame_end_update_cdf
    _skip_tiles(bits, coded_width, height, 7 if sequence.large_superblocks else 6)
    return bits.f(8)


def _skip_tiles(bits: Bits, width: int, height: int, size_log2: int) -> None:
    """tile_info() of a frame in superblocks of 64 or 128 pixels."""
    columns, rows = (-(-(-(-side // 8) * 8) // (1 << size_log2)) for side in (width, height))
    widest, area = _MAX_TILE_WIDTH >> size_log2, _MAX_TILE_AREA >> 2 * size_log2
    least_columns = _log2(widest, columns)
    least = max(least_columns, _log2(area, rows * columns))
    if bits.f(1):  # uniform_tile_spacing_flag
        across = _raised(bits, least_columns, _log2(1, min(columns, _MAX_TILES)))
        down = _raised(bits, max(least - across, 0), _log2(1, min(rows, _MAX_TILES)))
    else:
        sizes = _sizes(bits, columns, widest)
        area = rows * columns >> (least + 1 if least else 0)
        across, down = _log2(1, len(sizes)), _log2(1, len(_sizes(bits, rows, max(area // max(sizes), 1))))
    if across or down:
        bits.f(across + down + 2)


def _raised(bits: Bits, least: int, most: int) -> int:
    while least < most and bits.f(1):
        least += 1
    return least


def _sizes(bits: Bits, length: int, largest: int) -> list[int]:
    sizes: list[int] = []
    while sum(sizes) < length:
        sizes.append(bits.ns(min(length - sum(sizes), largest)) + 1)
    return sizes


def _log2(size: int, target: int) -> int:
    """The least k with size << k >= target."""
    k = 0
    while size << k < target:
        k += 1
    return k
