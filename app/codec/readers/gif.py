"""GIF: read by Pillow; frames are counted in the blocks first, without decoding. (GIF89a, sections 17 to 27.)"""

from typing import NamedTuple

from PIL import GifImagePlugin, Image

from app.codec.readers.pillow import PillowReader
from app.errors import UndecodablePicture

_BACKGROUND, _PREVIOUS = 2, 3  # of the disposal method
_FEW_BLOCKS, _BLOCK_BYTES = 65_536, 64  # writers fill blocks of 255 bytes


class GifReader(PillowReader):
    """A GIF; every frame counts against the limits before the first is decoded."""

    plugin = GifImagePlugin.GifImageFile
    default_loop = 1

    def _opened(self, data: bytes) -> Image.Image:
        self._contents = contents(data)
        return super()._opened(_with_sound_disposal(data))

    def all_frames(self) -> range:
        """The indices of the frames. Raises TooManyPixels if they are too much by the sizes in their headers."""
        # A frame that reaches out of the canvas makes it larger.
        self.source.check_pixels(self._contents.height, self._contents.width, self._contents.frames)
        return super().all_frames()


class Contents(NamedTuple):
    """The number of frames, and the canvas that holds every one of them."""

    frames: int
    height: int
    width: int


def contents(data: bytes) -> Contents:
    """What the file holds, or the beginning of it where it is cut short.

    UndecodablePicture if it consists of so many tiny blocks that walking through them is all it is made for.
    """
    width, height = int.from_bytes(data[6:8], "little"), int.from_bytes(data[8:10], "little")
    at, frames, blocks = 13 + _table(data[10:11]), 0, 0
    most = _FEW_BLOCKS + len(data) // _BLOCK_BYTES
    while at < len(data) and data[at : at + 1] != b";":
        kind = data[at : at + 1]
        blocks += 1
        if kind == b",":
            left, top, wide, high = (int.from_bytes(data[at + k : at + k + 2], "little") for k in (1, 3, 5, 7))
            frames, height, width = frames + 1, max(height, top + high), max(width, left + wide)
            at += 11 + _table(data[at + 9 : at + 10])
        else:
            at += 2 if kind == b"!" else 1
        if kind in b"!,":
            while at < len(data) and data[at] and blocks <= most:
                at, blocks = at + 1 + data[at], blocks + 1
            at += 1
        if blocks > most:
            raise UndecodablePicture(f"The GIF has more than {most:,} blocks in {len(data):,} bytes. Save it anew.")
    return Contents(frames, height, width)


def _with_sound_disposal(data: bytes) -> bytes:
    """Before the first frame there is nothing to go back to: if it asks for that, what it covers is cleared.

    Pillow would leave it; browsers, ffmpeg and libvips clear it.
    """
    at = 13 + _table(data[10:11])
    while data[at : at + 1] == b"!":
        flags = at + 3
        if data[at + 1 : at + 3] == b"\xf9\x04" and data[flags] >> 2 & 7 == _PREVIOUS:
            return data[:flags] + bytes([data[flags] & ~0x1C | _BACKGROUND << 2]) + data[flags + 1 :]
        at += 2
        while at < len(data) and data[at]:
            at += 1 + data[at]
        at += 1
    return data


def _table(flags: bytes) -> int:
    """Bytes of the colour table that the flags announce."""
    return 3 << (flags[0] & 7) + 1 if flags and flags[0] & 0x80 else 0
