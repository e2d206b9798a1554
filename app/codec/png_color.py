"""A PNG's chunks cICP, mDCV and cLLI, which say how its colours are coded. (PNG, third edition, 11.3.2.6 to 8.)"""

import struct
from collections.abc import Iterator
from typing import NamedTuple

from app.codec.code_points import CodePoints, is_known
from app.codec.png_chunks import before_data, chunk
from app.codec.types import Metadata

_RGB_MATRIX = 0  # the matrix coefficients of ITU-T H.273 that cICP has to name
_MASTERING, _LIGHT = struct.Struct(">8H2I"), struct.Struct(">2I")


class Coding(NamedTuple):
    """`full`: samples are of full range; `mastering` and `light` as in Metadata."""

    points: CodePoints
    full: bool
    mastering: tuple[int, ...] | None
    light: tuple[int, int] | None


def coding(data: bytes) -> Coding | None:
    """How colours are coded; None without a cICP, or with one that is not of RGB or has unknown code points."""
    bodies = {item.kind: bytes(item.body) for item in before_data(data) if item.sound}
    cicp, mastering, light = (bodies.get(kind, b"") for kind in (b"cICP", b"mDCV", b"cLLI"))
    if len(cicp) != 4 or cicp[2] != _RGB_MATRIX or cicp[3] > 1 or not is_known(CodePoints(*cicp[:2])):
        return None
    return Coding(
        CodePoints(*cicp[:2]),
        bool(cicp[3]),
        _MASTERING.unpack(mastering) if len(mastering) == _MASTERING.size else None,
        _LIGHT.unpack(light) if len(light) == _LIGHT.size else None,
    )


def written(metadata: Metadata) -> Iterator[bytes]:
    """The chunks for samples of full range."""
    if metadata.cicp is None:
        return
    yield chunk(b"cICP", bytes((*metadata.cicp, _RGB_MATRIX, 1)))
    if metadata.mastering is not None:
        yield chunk(b"mDCV", _MASTERING.pack(*metadata.mastering))
    if metadata.light is not None:
        yield chunk(b"cLLI", _LIGHT.pack(*metadata.light))
