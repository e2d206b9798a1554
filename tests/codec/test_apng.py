"""APNGs are composed as specified: every disposal, blend and colour type, against a model in float64."""

import itertools
import struct
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from app.codec import png_chunks
from app.codec.png_chunks import SIGNATURE, chunk
from app.codec.raster import Raster
from app.codec.reader import read
from app.codec.types import DecodeLimits
from app.errors import UndecodablePicture
from tests.codec.png_reference import write_png
from tests.codec.support import wanted

CASES = Path(__file__).parent / "cases"
HEIGHT, WIDTH = 8, 10
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
KINDS = [(0, 1), (0, 8), (0, 16), (2, 8), (2, 16), (3, 4), (3, 8), (4, 8), (4, 16), (6, 8), (6, 16)]
PLACES = [(8, 10, 0, 0), (4, 5, 2, 3), (5, 4, 1, 5)]  # height, width, top, left


class Control(NamedTuple):
    dispose: int
    blend: int
    place: tuple[int, int, int, int]


def apng(frames: list[tuple[NDArray[Any], Control]], color: int, depth: int, extra: list[tuple[bytes, bytes]]) -> bytes:
    """An APNG of these stored samples."""
    parts, sequence = [], 0
    for index, (samples, control) in enumerate(frames):
        png = write_png(samples, color, depth, extra=extra)
        items = [(item.kind, bytes(item.body)) for item in png_chunks.chunks(png)]
        if not index:
            parts = [chunk(*item) for item in items if item[0] not in (b"IDAT", b"IEND")]
            parts.insert(1, chunk(b"acTL", struct.pack(">II", len(frames), 3)))
        high, wide, top, left = control.place
        numbers = (sequence, wide, high, left, top, 7, 100, control.dispose, control.blend)
        parts.append(chunk(b"fcTL", struct.pack(">IIIIIHHBB", *numbers)))
        sequence += 1
        for kind, body in items:
            if kind == b"IDAT" and index:
                parts.append(chunk(b"fdAT", struct.pack(">I", sequence), body))
                sequence += 1
            elif kind == b"IDAT":
                parts.append(chunk(kind, body))
    return b"".join((SIGNATURE, *parts, chunk(b"IEND")))


def composed(frames: list[tuple[NDArray[Any], Control]]) -> list[NDArray[Any]]:
    """What a viewer shows for these RGBA frames, 0..1."""
    canvas, shown = np.zeros((HEIGHT, WIDTH, 4)), []
    for index, (frame, control) in enumerate(frames):
        high, wide, top, left = control.place
        place = (slice(top, top + high), slice(left, left + wide))
        before = canvas.copy()
        if control.blend:
            alpha, below = frame[..., 3:], canvas[place][..., 3:] * (1 - frame[..., 3:])
            total = alpha + below
            color = frame[..., :3] * alpha + canvas[place][..., :3] * below
            frame = np.concatenate((color / np.maximum(total, 1e-12), total), axis=2)
        canvas[place] = frame
        shown.append(canvas.copy())
        if control.dispose == 2 and index:
            canvas = before
        elif control.dispose:
            canvas[place] = 0
    return shown


def frames_of(color: int, depth: int, disposals: Any, blends: Any) -> tuple[bytes, list[NDArray[Any]]]:
    """An APNG with transparent, opaque and translucent pixels, and its expected frames as RGBA, 0..1."""
    random, full = np.random.default_rng(color * 16 + depth), (1 << depth) - 1
    palette = random.integers(0, 256, (full + 1, 4)) if color == 3 else np.zeros((1, 4), int)
    key = random.integers(0, full, CHANNELS[color], endpoint=True)
    extra: list[tuple[bytes, bytes]] = []
    if color == 3:
        extra = [
            (b"PLTE", palette[:, :3].astype(np.uint8).tobytes()),
            (b"tRNS", palette[:, 3].astype(np.uint8).tobytes()),
        ]
    elif color in (0, 2):
        extra = [(b"tRNS", struct.pack(f">{len(key)}H", *key))]
    stored, right = [], []
    for place, dispose, blend in zip(PLACES, disposals, blends, strict=True):
        samples = random.integers(0, full, (*place[:2], CHANNELS[color]), endpoint=True)
        if color in (4, 6):
            kinds = random.integers(0, 3, place[:2])
            samples[..., -1] = np.choose(kinds, [0, full, samples[..., -1]])
            colors, alpha = samples[..., :-1] / full, samples[..., -1:] / full
        elif color == 3:
            colors, alpha = palette[samples[..., 0], :3] / 255, palette[samples[..., 0], 3:] / 255
        else:
            samples[0, :2] = key
            colors, alpha = samples / full, 1.0 - (samples == key).all(axis=2, keepdims=True)
        control = Control(dispose, blend, place)
        stored.append((samples, control))
        right.append((np.concatenate((np.broadcast_to(colors, (*place[:2], 3)), alpha), axis=2), control))
    return apng(stored, color, depth, extra), composed(right)


def decoded(data: bytes, frames: str = "all", **more: Any) -> Raster:
    return read(data, wanted(scale=2, frames=frames, **more), DecodeLimits())


@pytest.mark.parametrize("disposals", list(itertools.product(range(3), range(3), [0])))
@pytest.mark.parametrize("blends", list(itertools.product(range(2), repeat=3)))
@pytest.mark.parametrize(
    ("color", "depth"), [(0, 1), (0, 8), (0, 16), (2, 8), (2, 16), (3, 4), (3, 8), (4, 8), (4, 16), (6, 8), (6, 16)]
)
def test_frames_are_composed_as_specified(color: int, depth: int, blends: Any, disposals: Any) -> None:
    data, right = frames_of(color, depth, disposals, blends)
    raster = decoded(data)
    assert (raster.durations_ms, raster.loop, len(raster.frames)) == ((70, 70, 70), 3, 3)
    for frame, expected in zip(raster.frames, right, strict=True):
        full = np.iinfo(frame.dtype).max
        assert full == (65535 if depth == 16 else 255)
        colors = frame[..., :-1] if frame.shape[2] == 4 else frame[..., :1].repeat(3, axis=2)
        # Blending two frames rounds twice; invisible colour does not count.
        np.testing.assert_allclose(frame[..., -1] / full, expected[..., 3], atol=1.1 / full)
        seen = expected[..., 3] > 0
        tolerance = 1.6 / full / np.maximum(expected[..., 3:], 1 / full)[seen]
        assert (np.abs(colors / full - expected[..., :3])[seen] <= tolerance).all()


def test_disposal_to_previous_leaves_no_ghost() -> None:
    raster = decoded((CASES / "apng_disp_prev.png").read_bytes())
    assert (0, 255, 0) not in {tuple(color[:3]) for color in raster.frames[2].reshape(-1, raster.frames[2].shape[2])}


def test_a_frame_whose_data_ends_too_early_is_refused() -> None:
    data, _ = frames_of(2, 8, (0, 0, 0), (0, 0, 0))
    items = [[item.kind, bytes(item.body)] for item in png_chunks.chunks(data)]
    last = max(at for at, (kind, _) in enumerate(items) if kind == b"fdAT")
    body = items[last][1]
    items[last][1] = body[:4] + zlib.compress(zlib.decompress(body[4:])[:-9])
    short = SIGNATURE + b"".join(chunk(kind, each) for kind, each in items)
    with pytest.raises(UndecodablePicture, match="frame of the PNG is damaged"):
        decoded(short)
    assert len(decoded(short, "first").frames) == 1


@pytest.mark.parametrize("damage", ["checksum", "outside", "no picture", "fewer than announced"])
def test_a_malformed_animation_is_refused_but_its_first_frame_is_read(damage: str) -> None:
    data, _ = frames_of(6, 8, (0, 0, 0), (0, 0, 0))
    items = [[item.kind, bytes(item.body)] for item in png_chunks.chunks(data)]
    controls = [item for item in items if item[0] == b"fcTL"]
    if damage == "outside":
        controls[1][1] = controls[1][1][:12] + struct.pack(">I", 8) + controls[1][1][16:]
    elif damage == "no picture":
        items = [item for item in items if item[0] != b"fdAT"]
    elif damage == "fewer than announced":
        items[1][1] = struct.pack(">II", 9, 0)
    data = b"".join((SIGNATURE, *(chunk(kind, body) for kind, body in items)))
    if damage == "checksum":
        at = data.index(b"fdAT") + 20
        data = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
    with pytest.raises(UndecodablePicture):
        decoded(data)
    still = decoded(data, "first")
    np.testing.assert_array_equal(still.frames[0], decoded(frames_of(6, 8, (0, 0, 0), (0, 0, 0))[0], "first").frames[0])
    assert not still.truncated


def _behind_a_still(data: bytes, color: int, depth: int, frames: int) -> bytes:
    """The animation of `frames` frames behind a default image of zeros that is not part of it."""
    items = [(item.kind, bytes(item.body)) for item in png_chunks.chunks(data)]
    hidden = write_png(np.zeros((HEIGHT, WIDTH, CHANNELS[color]), int), color, depth)
    zeros = next(bytes(item.body) for item in png_chunks.chunks(hidden) if item.kind == b"IDAT")
    before = [item for item in items if item[0] not in (b"acTL", b"fcTL", b"IDAT", b"fdAT", b"IEND")]
    film = [item for item in items if item[0] in (b"fcTL", b"IDAT", b"fdAT")][: 2 * frames]
    parts = [
        chunk(b"fdAT" if kind == b"IDAT" else kind, struct.pack(">I", at), body if kind == b"IDAT" else body[4:])
        for at, (kind, body) in enumerate(film)
    ]
    count = chunk(b"acTL", struct.pack(">II", frames, 0))
    still = chunk(b"IDAT", zeros)
    return b"".join((SIGNATURE, *(chunk(*item) for item in before), count, still, *parts, chunk(b"IEND")))


@pytest.mark.parametrize(("color", "depth"), KINDS)
def test_a_default_image_outside_the_animation_is_not_its_first_frame(color: int, depth: int) -> None:
    data, _ = frames_of(color, depth, (0, 0, 0), (1, 0, 0))
    film = decoded(data).frames
    hidden = _behind_a_still(data, color, depth, 3)
    for found, expected in zip(decoded(hidden).frames, film, strict=True):
        np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(decoded(hidden, "first").frames[0], film[0])
    alone = _behind_a_still(data, color, depth, 1)
    for frames in ("single", "first", "all"):
        np.testing.assert_array_equal(decoded(alone, frames).frames[0], film[0])


def test_the_first_frame_of_an_opaque_animation_has_no_alpha() -> None:
    samples = np.random.default_rng(1).integers(0, 256, (HEIGHT, WIDTH, 3))
    data = _behind_a_still(apng([(samples, Control(0, 0, PLACES[0]))], 2, 8, []), 2, 8, 1)
    np.testing.assert_array_equal(decoded(data, "single").frames[0], samples)


def test_if_the_first_frame_is_damaged_the_default_image_is_used() -> None:
    data = _behind_a_still(frames_of(2, 8, (0, 0, 0), (0, 0, 0))[0], 2, 8, 3)
    at = data.index(b"fdAT") + 20
    assert not decoded(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :], "first").frames[0][..., :3].any()


def test_a_first_gif_frame_with_disposal_to_previous_is_cleared() -> None:
    raster = decoded((CASES / "gif_disp3_first.gif").read_bytes())
    assert raster.frames[0].reshape(-1, 3).tolist() == [[255, 0, 0]] * 384
    # Without a transparent colour in the file, cleared pixels take the background colour.
    colors, counts = np.unique(raster.frames[1].reshape(-1, 3), axis=0, return_counts=True)
    assert (colors.tolist(), counts.tolist()) == ([[0, 0, 0], [0, 255, 0]], [320, 64])
