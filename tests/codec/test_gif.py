"""GIF animations are composed as specified: disposals, transparency, palettes and positions, against a simple model."""

import itertools
import struct
from typing import Any, NamedTuple

import pytest

from app.codec import DecodeLimits
from app.codec.raster import Raster
from app.codec.reader import read
from app.errors import TooManyPixels, UndecodablePicture
from tests.codec.support import wanted

SIDE = 4
COLORS = ((0, 0, 0), (255, 0, 0), (0, 255, 0), (0, 0, 255))
PALETTE = bytes(value for color in COLORS for value in color)
OWN = PALETTE[::-1]
Pixel = tuple[int, ...]


class Control(NamedTuple):
    disposal: int
    transparent: int | None = None


class Shot(NamedTuple):
    """A frame: its palette entries row by row, and its position."""

    entries: bytes
    height: int
    width: int
    top: int = 0
    left: int = 0
    control: Control | None = None
    palette: bytes = b""


def packed(entries: bytes) -> bytes:
    """Image data of 3-bit codes, with a clear code before every second entry, so that codes never grow."""
    codes = [code for at, entry in enumerate(entries) for code in ((4, entry) if at % 2 == 0 else (entry,))]
    bits = sum(code << 3 * at for at, code in enumerate([*codes, 5]))
    data = bits.to_bytes(3 * (len(codes) + 1) // 8 + 1, "little")
    return b"\2" + bytes([len(data)]) + data + b"\0"


def gif(*shots: Shot, background: int = 0) -> bytes:
    parts = [b"GIF89a", struct.pack("<HHBBB", SIDE, SIDE, 0x81, background, 0), PALETTE]
    for shot in shots:
        if shot.control is not None:
            hole = shot.control.transparent
            flags = shot.control.disposal << 2 | (hole is not None)
            parts.append(b"!\xf9\x04" + struct.pack("<BHB", flags, 7, hole or 0) + b"\0")
        parts.append(b"!\xfe\3any\0")
        place = struct.pack("<HHHH", shot.left, shot.top, shot.width, shot.height)
        parts += [b",", place, bytes([0x81 if shot.palette else 0]), shot.palette, packed(shot.entries)]
    return b"".join((*parts, b";"))


@pytest.mark.parametrize(("height", "width"), [(0, 0), (0, 4), (4, 0)])
@pytest.mark.parametrize("entries", [b"", b"\1" * 16])
def test_a_first_frame_of_no_size_shows_the_canvas(height: int, width: int, entries: bytes) -> None:
    """As in Chromium and ffmpeg: as a still, with frames=first, and in an animation."""
    nothing, dot = Shot(entries, height, width), Shot(b"\1" * 4, 2, 2, 1, 1)
    for data, frames in [(gif(nothing, background=2), "single"), (gif(nothing, dot, background=2), "first")]:
        (still,) = read(data, wanted(frames=frames), DecodeLimits()).frames
        assert (still == COLORS[2]).all()
    film = read(gif(nothing, dot, background=2), wanted(frames="all"), DecodeLimits()).frames
    assert (film[0] == COLORS[2]).all()
    assert (film[1][1:3, 1:3] == COLORS[1]).all()
    clear = Shot(b"", 0, 0, control=Control(0, 3))
    (still,) = read(gif(clear, dot), wanted(frames="first"), DecodeLimits()).frames
    assert still.shape == (SIDE, SIDE, 4)
    assert not still.any()


@pytest.mark.parametrize("hole", [None, 0])
def test_areas_outside_the_first_frame_are_the_same_in_still_and_animation(hole: int | None) -> None:
    """Both for a GIF of one frame and with frames=first."""
    dots = Shot(b"\1\0\0\1", 2, 2, 1, 1, Control(0, hole)), Shot(b"\3", 1, 1)
    expected = model(dots, 2)
    for data, frames in [(gif(dots[0], background=2), "single"), (gif(*dots, background=2), "first")]:
        assert rows_of(read(data, wanted(frames=frames), DecodeLimits())) == expected[:1]
    assert rows_of(decoded(gif(*dots, background=2))) == expected


def test_without_a_global_palette_uncovered_areas_are_transparent() -> None:
    whole, dot = Shot(b"\2" * 16, 4, 4, palette=OWN), Shot(b"\2" * 4, 2, 2, 1, 1, Control(2), palette=OWN)
    for shots, channels in [((dot, dot), 4), ((whole, dot), 4), ((whole, whole), 3)]:
        data = gif(*shots).replace(b"\x81\0\0" + PALETTE, b"\1\0\0", 1)
        assert decoded(data).frames[0].shape == (SIDE, SIDE, channels)
        first = rows_of(read(data, wanted(frames="first"), DecodeLimits()))[0]
        assert first == rows_of(decoded(data))[0]
        assert first[0][0] == ((0, 0, 0, 0) if shots[0] == dot else (0, 0, 255, 255))


def model(shots: tuple[Shot, ...], background: int) -> list[list[list[Pixel]]]:
    """What a viewer shows, pixel by pixel."""
    shown: list[list[list[Pixel]]] = []
    canvas: list[list[Pixel]] = []
    for shot in shots:
        disposal, hole = shot.control or Control(0)
        cleared = (0, 0, 0, 0) if hole is not None else (*COLORS[background], 255)
        palette = [tuple((shot.palette or PALETTE)[at : at + 3]) for at in range(0, 12, 3)]
        before = [row[:] for row in canvas] or [[cleared] * SIDE for _ in range(SIDE)]
        canvas = [row[:] for row in before]
        inside = [
            (y, x)
            for y in range(shot.top, min(SIDE, shot.top + shot.height))
            for x in range(shot.left, min(SIDE, shot.left + shot.width))
        ]
        for y, x in inside:
            entry = shot.entries[(y - shot.top) * shot.width + x - shot.left]
            canvas[y][x] = canvas[y][x] if entry == hole else (*palette[entry], 255)
        shown.append([row[:] for row in canvas])
        if disposal == 3 and len(shown) > 1:
            canvas = before
        elif disposal in (2, 3):
            for y, x in inside:
                canvas[y][x] = cleared
    return shown


def decoded(data: bytes, **options: Any) -> Raster:
    return read(data, wanted(scale=2, frames="all", **options), DecodeLimits())


def rows_of(raster: Raster) -> list[list[list[Pixel]]]:
    """RGBA pixels, with the colour of invisible ones set to zero."""
    opaque = [[*pixel, 255][:4] for frame in raster.frames for row in frame.tolist() for pixel in row]
    pixels = iter(tuple(pixel) if pixel[3] else (0, 0, 0, 0) for pixel in opaque)
    return [[[next(pixels) for _ in row] for row in frame] for frame in raster.frames]


@pytest.mark.parametrize("disposals", list(itertools.product(range(5), repeat=2)))
@pytest.mark.parametrize("holes", [(None, None), (0, 0), (None, 0), (3, None)])
@pytest.mark.parametrize("background", [0, 2])
def test_frames_are_composed_as_specified(
    disposals: tuple[int, int], holes: tuple[int | None, int | None], background: int
) -> None:
    shots = (
        Shot(b"\1\0\1\3" * 4, 4, 4, control=Control(disposals[0], holes[0])),
        Shot(b"\2\0\2\2\0\2", 3, 2, 1, 1, Control(disposals[1], holes[1]), palette=OWN),
        Shot(b"\3\0\0\3", 2, 2, 2, 2, Control(0, 0)),
        Shot(b"\3", 1, 1),
    )
    raster = decoded(gif(*shots, background=background))
    assert rows_of(raster) == model(shots, background)
    assert raster.durations_ms == (70, 70, 70, 0)


def test_a_frame_without_a_control_block_is_not_disposed() -> None:
    shots = (
        Shot(b"\1" * 16, 4, 4, control=Control(0, 0)),
        Shot(b"\2" * 4, 2, 2, 1, 1, Control(2, 0)),
        Shot(b"\3\0\0\3", 2, 2, 2, 2, Control(0, 0)),
        Shot(b"\3", 1, 1, control=Control(0, 0)),
    )
    letters: dict[Pixel, str] = {(255, 0, 0, 255): "R", (0, 0, 255, 255): "B", (0, 0, 0, 0): "."}
    last = rows_of(decoded(gif(*shots)))[-1]
    assert ["".join(letters[pixel] for pixel in row) for row in last] == ["BRRR", "R..R", "R.BR", "RRRB"]


def test_frames_are_clipped_to_the_canvas_and_an_empty_one_changes_nothing() -> None:
    shots = (
        Shot(b"\1" * 16, 4, 4, control=Control(1)),
        Shot(b"", 0, 0, control=Control(1)),
        Shot(b"\2\3\3\2\2\1", 3, 2, 3, 3, control=Control(1)),
    )
    raster = decoded(gif(*shots))
    assert [frame.shape for frame in raster.frames] == [(4, 4, 3)] * 3
    assert rows_of(raster) == model(shots, 0)
    assert raster.frames[2][3, 3].tolist() == [0, 255, 0]


def test_a_frame_of_far_too_many_pixels_is_refused_without_naming_the_limit_of_a_library() -> None:
    with pytest.raises(TooManyPixels) as refusal:
        decoded(gif(Shot(b"\1", 60_000, 60_000)))
    assert str(refusal.value).startswith("A frame of the GIF has more pixels than can be decoded.")
    assert not any(letter.isdigit() for letter in str(refusal.value))


def test_bytes_between_blocks_are_skipped() -> None:
    shots = (Shot(b"\1" * 16, 4, 4), Shot(b"\2" * 16, 4, 4))
    data = gif(*shots)
    at = data.rindex(b",")
    assert rows_of(decoded(data[:at] + b"\0\0" + data[at:])) == model(shots, 0)


def test_an_animation_cut_in_a_frame_header_is_refused_or_read_without_that_frame() -> None:
    shots = (Shot(b"\1\2" * 8, 4, 4), Shot(b"\2\1" * 8, 4, 4), Shot(b"\3" * 16, 4, 4))
    data = gif(*shots)
    cut = data[: data.rindex(b",") + 5]
    with pytest.raises(UndecodablePicture, match="The GIF has no end"):
        decoded(cut)
    raster = decoded(cut, truncated="allow")
    assert (raster.truncated, rows_of(raster)) == (True, model(shots[:2], 0))
