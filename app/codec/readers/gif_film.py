"""The film in a GIF: its frames' palette entries as Pillow decodes them, composed here. (GIF89a, sections 17 to 27.)

Pillow takes the disposal of the frame before where a frame has none of its own, and forgets what is to be restored.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.codec.types import Samples

_BACKGROUND, _PREVIOUS = 2, 3  # of the method of disposal; all others leave the frame
_SCREEN, _IMAGE, _ENTRIES = 13, 10, 256
_CONTROL, _INTERLACED = 0xF9, 0x40


@dataclass(frozen=True, slots=True)
class Part:
    """Where a frame goes, what becomes of it afterwards, and its picture as a GIF of its own; b"" if it has none."""

    top: int
    left: int
    height: int
    width: int
    disposal: int
    transparent: int | None
    """The palette entry that leaves what is below it."""
    duration_ms: int
    palette: NDArray[np.uint8]
    """(256, 3): RGB; entries that the file does not name are black."""
    gif: bytes

    def covers(self, height: int, width: int) -> bool:
        """Whether the frame fills a canvas of this size."""
        return self.top == self.left == 0 and self.height >= height and self.width >= width


def palette_size(flags: bytes) -> int:
    """Bytes of the palette that these flags announce."""
    return 3 << (flags[0] & 7) + 1 if flags and flags[0] & 0x80 else 0


def parts(data: bytes) -> Iterator[Part]:
    """The frames that have begun, in the order of the file."""
    common = data[_SCREEN : _SCREEN + palette_size(data[10:11])]
    at, control = _SCREEN + len(common), b""
    while at + _IMAGE < len(data) and data[at] != ord(";"):
        start = at
        if data[at] == ord("!"):
            control = data[at + 3 : at + 8] if data[at + 1] == _CONTROL else control
            at += 2
        elif data[at] == ord(","):
            at += _IMAGE + palette_size(data[at + 9 : at + 10]) + 1
        else:
            at += 1  # between blocks, where nothing belongs
            continue
        while at < len(data) and data[at]:
            at += 1 + data[at]
        at += 1
        if data[start] == ord(","):
            yield _part(data[start:at], common, control)
            control = b""


def _part(image: bytes, common: bytes, control: bytes) -> Part:
    left, top, width, height = (int.from_bytes(image[at : at + 2], "little") for at in (1, 3, 5, 7))
    size, flags = palette_size(image[9:10]), image[9]
    own = image[_IMAGE : _IMAGE + size] or common
    body = image[_IMAGE + size :]
    gif = b""
    if width and height:
        bits = (flags if size else (len(own) // 3 - 1).bit_length() - 1) & 7
        screen = image[5:9] + bytes([0x80 | bits if own else 0, 0, 0])
        placed = b"," + bytes(4) + image[5:9] + bytes([flags & _INTERLACED])
        gif = b"".join((b"GIF89a", screen, own, placed, body, b";"))
    settings = control.ljust(5, b"\0")
    return Part(
        top,
        left,
        height,
        width,
        disposal=settings[0] >> 2 & 7,
        transparent=settings[3] if settings[0] & 1 else None,
        duration_ms=10 * int.from_bytes(settings[1:3], "little"),
        palette=_entries(own),
        gif=gif,
    )


def _entries(palette: bytes) -> NDArray[np.uint8]:
    """(256, 3); a ramp of grays if there is none."""
    if not palette:
        return np.arange(_ENTRIES, dtype=np.uint8)[:, None].repeat(3, axis=1)
    return np.frombuffer(palette.ljust(3 * _ENTRIES, b"\0"), np.uint8).reshape(_ENTRIES, 3)


class Canvas:
    """Composes the frames of one film as RGB, with alpha if one of them has a transparent colour.

    So too if some of the canvas is seen and there is no palette of all frames, which its colour would be from.
    """

    def __init__(self, data: bytes, film: list[Part], height: int, width: int) -> None:
        common = data[_SCREEN : _SCREEN + palette_size(data[10:11])]
        self._background = _entries(common)[data[11]] if common else None
        seen = not film[0].covers(height, width) or any(part.disposal == _BACKGROUND for part in film)
        self._channels = 3 + (any(part.transparent is not None for part in film) or (seen and not common))
        self._samples: Samples | None = None
        self._size = (height, width, self._channels)

    def show(self, part: Part, indices: NDArray[np.uint8] | None) -> Samples:
        """The whole picture while this frame is shown. `indices` (height, width) are its palette entries, if any.

        What reaches out of the canvas is not seen.
        """
        before = self._samples
        shown = np.array(np.broadcast_to(self._cleared(part), self._size) if before is None else before)
        place = shown[part.top : part.top + part.height, part.left : part.left + part.width]
        if indices is not None:
            seen = indices[: place.shape[0], : place.shape[1]]
            kept = np.full(seen.shape, True) if part.transparent is None else seen != part.transparent
            place[kept, :3] = part.palette[seen[kept]]
            place[kept, 3:] = 255
        # Before the first frame there is nothing to go back to: browsers, ffmpeg and libvips clear what it covers.
        disposal = _BACKGROUND if before is None and part.disposal == _PREVIOUS else part.disposal
        if disposal == _BACKGROUND:
            self._samples = shown.copy()
            self._samples[part.top : part.top + part.height, part.left : part.left + part.width] = self._cleared(part)
        elif disposal != _PREVIOUS:
            self._samples = shown
        return shown

    def _cleared(self, part: Part) -> NDArray[np.uint8]:
        """A pixel of what this frame clears: transparent if it has a transparent colour, or else the background."""
        if part.transparent is not None or self._background is None:
            return np.zeros(self._channels, np.uint8)
        return np.append(self._background, np.uint8(255))[: self._channels]
