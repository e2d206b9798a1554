"""The film in an APNG: its frames as PNGs of their own, and how they are composed. (PNG, third edition, 11.3.5, 13.4.)

Pillow composes in 8 bits, disposes of nothing where there is no alpha, and forgets what dispose-to-previous goes to.
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.codec.png_chunks import SIGNATURE, chunk, chunks
from app.codec.types import Samples
from app.errors import UndecodablePicture

CHUNKS = (b"acTL", b"fcTL", b"fdAT")
_BACKGROUND, _PREVIOUS = 1, 2  # of dispose_op; 0 leaves the frame
_OVER = 1  # of blend_op; 0 replaces
_NEEDED = (b"PLTE", b"tRNS")


@dataclass(frozen=True, slots=True)
class FilmFrame:
    """Where a frame goes, what becomes of it afterwards, and its picture as a whole PNG."""

    top: int
    left: int
    dispose: int
    blend: int
    duration_ms: int
    png: bytes


def frame_count(data: bytes) -> int:
    """How many frames the file announces; 0 for a still."""
    for item in chunks(data):
        if item.kind == b"IDAT":
            return 0
        if item.kind == b"acTL":
            return int.from_bytes(item.body[:4], "big") if item.sound and len(item.body) == 8 else 0
    return 0


def plays(data: bytes) -> int:
    """How many times the film is to be played; 0 is for ever."""
    body = next((item.body for item in chunks(data) if item.kind == b"acTL"), memoryview(bytes(8)))
    return int.from_bytes(body[4:8], "big")


def hides_still(data: bytes) -> bool:
    """Whether the still is no frame of the film, and so is shown only by readers that know no animations."""
    return next((item.kind == b"IDAT" for item in chunks(data) if item.kind in (b"fcTL", b"IDAT")), False)


def still(data: bytes) -> bytes:
    """The file without its film: what readers show that know no animations."""
    kept = (data[:8], *(chunk(item.kind, bytes(item.body)) for item in chunks(data) if item.kind not in CHUNKS))
    return b"".join(kept)


def film(data: bytes, height: int, width: int) -> Iterator[FilmFrame]:
    """The frames in the order of the file, those of the canvas `height` x `width`. Raises UndecodablePicture."""
    header = next(chunks(data))
    shared: list[bytes] = []
    control: bytes | None = None
    body: list[bytes] = []
    for item in chunks(data):
        if not item.sound:
            raise UndecodablePicture("The PNG's animation is damaged. Take the still picture with frames=first.")
        if item.kind in _NEEDED:
            shared.append(chunk(item.kind, bytes(item.body)))
        elif item.kind in (b"fcTL", b"IEND"):
            if control is not None:
                yield _frame(control, bytes(header.body), shared, body, height, width)
            control, body = bytes(item.body), []
        elif item.kind == b"IDAT" and control is not None:
            body.append(bytes(item.body))
        elif item.kind == b"fdAT":
            body.append(bytes(item.body[4:]))


def _frame(
    control: bytes, header: bytes, shared: Sequence[bytes], body: Sequence[bytes], height: int, width: int
) -> FilmFrame:
    if len(control) != 26 or not body:
        raise UndecodablePicture("The PNG's animation has a frame without a picture. Take it with frames=first.")
    _, wide, high, left, top, delay, unit, dispose, blend = struct.unpack(">IIIIIHHBB", control)
    if not (wide and high) or left + wide > width or top + high > height or dispose > _PREVIOUS or blend > _OVER:
        raise UndecodablePicture("The PNG's animation has a frame outside of its canvas. Take it with frames=first.")
    own = chunk(b"IHDR", struct.pack(">II", wide, high) + header[8:])
    png = b"".join((SIGNATURE, own, *shared, chunk(b"IDAT", *body), chunk(b"IEND")))
    return FilmFrame(top, left, dispose, blend, round(1000 * delay / (unit or 100)), png)


class Canvas:
    """Composes frames (H, W, C), gray or RGB with alpha, in the order of the film."""

    def __init__(self, height: int, width: int) -> None:
        self._size = (height, width)
        self._samples: Samples | None = None

    def show(self, frame: FilmFrame, samples: Samples) -> Samples:
        """The whole picture while this frame is shown; before the first one, everything is transparent black."""
        canvas = self._samples
        if canvas is None:
            canvas = np.zeros((*self._size, samples.shape[2]), samples.dtype)
        place = (slice(frame.top, frame.top + samples.shape[0]), slice(frame.left, frame.left + samples.shape[1]))
        shown = canvas.copy()
        shown[place] = _over(samples, canvas[place]) if frame.blend == _OVER else samples
        # To go back to before the first frame is to go back to the background: both are transparent black.
        after = canvas if frame.dispose == _PREVIOUS else shown
        if frame.dispose == _BACKGROUND:
            after = shown.copy()
            after[place] = 0
        self._samples = after
        return shown


def _over(upper: Samples, lower: Samples) -> Samples:
    """Alpha compositing of samples whose colour is not premultiplied. (Clause 13.16.)"""
    full = float(np.iinfo(upper.dtype).max)
    alpha, below = (_alpha(samples) / full for samples in (upper, lower))
    below *= 1 - alpha
    total = alpha + below
    color = upper[..., :-1] * alpha + lower[..., :-1] * below
    mixed = np.divide(color, total, out=np.zeros_like(color), where=total > 0)
    composed: Samples = np.rint(np.concatenate((mixed, total * full), axis=2)).astype(upper.dtype)
    return composed


def _alpha(samples: Samples) -> NDArray[np.float64]:
    return samples[..., -1:].astype(np.float64)
