"""The code points in the parameter sets of an HEVC picture: read only up to these. (ITU-T H.265, 7.3, E.2.1.)

Names are the specification's.
"""

from app.codec.bits import Bits
from app.codec.code_points import CodePoints

_SPS = 33
_MOST_SETS, _MOST_PICTURES = 64, 16
_EXTENDED_SAR = 255


def code_points(configuration: bytes) -> CodePoints | None:
    """Those of the sequence parameter set in a box `hvcC`; None if it does not name them. (ISO/IEC 14496-15, 8.3.3.)"""
    try:
        body = _parameter_set(configuration)
        return None if body is None else _color_description(Bits(body.replace(b"\0\0\3", b"\0\0")))
    except IndexError:
        return None


def _parameter_set(configuration: bytes) -> bytes | None:
    """The first sequence parameter set behind its header, which has two bytes."""
    at = 23
    for _ in range(configuration[22]):
        kind, count, at = configuration[at] & 63, int.from_bytes(configuration[at + 1 : at + 3], "big"), at + 3
        for _ in range(count):
            size = int.from_bytes(configuration[at : at + 2], "big")
            if kind == _SPS:
                return configuration[at + 4 : at + 2 + size]
            at += 2 + size
    return None


def _color_description(bits: Bits) -> CodePoints | None:
    bits.f(4)  # sps_video_parameter_set_id
    layers = bits.f(3)
    bits.f(1)
    _skip_profiles(bits, layers)
    bits.uvlc()  # sps_seq_parameter_set_id
    if bits.uvlc() == 3:  # chroma_format_idc
        bits.f(1)
    _skip(bits, 2)  # width, height
    if bits.f(1):
        _skip(bits, 4)  # conformance window
    _skip(bits, 2)  # depths
    order_bits = bits.uvlc() + 4
    _skip(bits, 3 * (layers + 1 if bits.f(1) else 1))
    _skip(bits, 6)  # sizes of blocks, depths of transforms
    if bits.f(1) and bits.f(1):
        _skip_scaling_lists(bits)
    bits.f(2)
    if bits.f(1):  # pcm_enabled_flag
        bits.f(8)
        _skip(bits, 2)
        bits.f(1)
    _skip_reference_sets(bits)
    if bits.f(1):  # long_term_ref_pics_present_flag
        for _ in range(bits.uvlc()):
            bits.f(order_bits + 1)
    bits.f(2)
    if not bits.f(1):  # vui_parameters_present_flag
        return None
    if bits.f(1) and bits.f(8) == _EXTENDED_SAR:
        bits.f(32)
    if bits.f(1):
        bits.f(1)  # overscan_appropriate_flag
    if not bits.f(1):  # video_signal_type_present_flag
        return None
    bits.f(4)  # format, range
    return CodePoints(bits.f(8), bits.f(8)) if bits.f(1) else None


def _skip(bits: Bits, numbers: int) -> None:
    for _ in range(numbers):
        bits.uvlc()


def _skip_profiles(bits: Bits, layers: int) -> None:
    """profile_tier_level() of a general profile and those of `layers` below it."""
    bits.f(96)
    present = [(bits.f(1), bits.f(1)) for _ in range(layers)]
    if layers:
        bits.f(2 * (8 - layers))
    for profile, level in present:
        bits.f(88 * profile + 8 * level)


def _skip_scaling_lists(bits: Bits) -> None:
    for size in range(4):
        for _ in range(0, 6, 3 if size == 3 else 1):
            if not bits.f(1):
                bits.uvlc()
            else:
                _skip(bits, min(64, 1 << 4 + 2 * size) + (size > 1))


def _skip_reference_sets(bits: Bits) -> None:
    """st_ref_pic_set() of each. Raises IndexError for more than there may be."""
    count, pictures = bits.uvlc(), 0
    if count > _MOST_SETS:
        raise IndexError(count)
    for index in range(count):
        if index and bits.f(1):  # predicted from the set before
            bits.f(1)
            bits.uvlc()
            # used_by_curr_pic_flag, or else use_delta_flag
            pictures = sum(bits.f(1) or bits.f(1) for _ in range(pictures + 1))
        else:
            pictures = bits.uvlc() + bits.uvlc()
            if pictures > _MOST_PICTURES:
                raise IndexError(pictures)
            for _ in range(pictures):
                bits.uvlc()
                bits.f(1)
