"""GIF: stills by Pillow, films by app.codec.readers.gif_film; frames are counted first, without decoding."""

import io
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import GifImagePlugin, Image

from app.codec.readers.base import Frame
from app.codec.readers.gif_film import Canvas, Part, palette_size, parts
from app.codec.readers.pillow import PillowReader
from app.errors import UndecodablePicture

_MOST_PLAYS = 65_535  # that WebP can say, too
_FEW_BLOCKS, _BLOCK_BYTES = 65_536, 64  # writers fill blocks of 255 bytes


class GifReader(PillowReader):
    """A GIF; every frame counts against the limits before the first is decoded."""

    plugin = GifImagePlugin.GifImageFile

    def _opened(self, data: bytes) -> Image.Image:
        self._contents = contents(data)
        if self.source.options.frames == "all" and not self._contents.ended:
            if not self.source.allow_truncated:
                raise UndecodablePicture(
                    "The GIF has no end mark, so frames may be missing. Send the whole file, or ask for what is there "
                    "with truncated=allow."
                )
            self.truncated = True
        return super()._opened(data)

    @property
    def has_several_frames(self) -> bool:
        """Whether there is a second frame."""
        return self._contents.frames > 1

    def all_frames(self) -> range:
        """The indices of the frames. Raises TooManyPixels if they are too much by the sizes in their headers."""
        # A frame that reaches out of the canvas is decoded as a whole.
        self.source.check_pixels(self._contents.height, self._contents.width, self._contents.frames)
        self._film = list(parts(self.source.data))
        self._canvas = Canvas(self.source.data, self._film, *self.size)
        return range(len(self._film))

    def frame(self, index: int, animated: bool) -> Frame:
        """Decodes the still, or the next frame of the film, composed with those before it."""
        if not animated:
            first = next(parts(self.source.data), None)
            if first is None or first.covers(*self.size):
                return super().frame(index, animated)
            # Where it does not cover the canvas, or has no size at all, Pillow shows any colour.
            self._film, self._canvas = [first], Canvas(self.source.data, [first], *self.size)
        part = self._film[index]
        self.source.check_pixels(max(1, part.height), max(1, part.width))
        return Frame(self._canvas.show(part, self._indices(part)), part.duration_ms)

    @property
    def loop(self) -> int:
        """How often it is played: once more than it says that it is repeated, and 0 for ever, which is 0 there too."""
        repeats = self._image.info.get("loop")
        if repeats is None:
            return 1
        return min(repeats + 1, _MOST_PLAYS) if repeats else 0

    def _indices(self, part: Part) -> NDArray[np.uint8] | None:
        """(height, width) of palette entries."""
        if not part.gif:
            return None
        image = self.plugin(io.BytesIO(part.gif))
        self._load(image)
        return np.asarray(image)


class Contents(NamedTuple):
    """The number of frames, the canvas that holds every one of them, and whether there is an end behind them."""

    frames: int
    height: int
    width: int
    ended: bool


def contents(data: bytes) -> Contents:
    """What the file holds, or the beginning of it where it is cut short.

    UndecodablePicture if it consists of so many tiny blocks that walking through them is all it is made for.
    """
    width, height = int.from_bytes(data[6:8], "little"), int.from_bytes(data[8:10], "little")
    at, frames, blocks = 13 + palette_size(data[10:11]), 0, 0
    most = _FEW_BLOCKS + len(data) // _BLOCK_BYTES
    while at < len(data) and data[at : at + 1] != b";":
        kind = data[at : at + 1]
        blocks += 1
        if kind == b",":
            left, top, wide, high = (int.from_bytes(data[at + k : at + k + 2], "little") for k in (1, 3, 5, 7))
            frames, height, width = frames + 1, max(height, top + high), max(width, left + wide)
            at += 11 + palette_size(data[at + 9 : at + 10])
        else:
            at += 2 if kind == b"!" else 1
        if kind in b"!,":
            while at < len(data) and data[at] and blocks <= most:
                at, blocks = at + 1 + data[at], blocks + 1
            at += 1
        if blocks > most:
            raise UndecodablePicture(f"The GIF has more than {most:,} blocks in {len(data):,} bytes. Save it again.")
    return Contents(frames, height, width, ended=data[at : at + 1] == b";")
