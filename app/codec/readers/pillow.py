"""The reader shared by the formats that Pillow opens; each overrides what it does differently."""

import io
from collections.abc import Iterable
from typing import Any, ClassVar

from PIL import Image, ImageFile

from app.codec import samples
from app.codec.readers.base import Frame, Source
from app.codec.readers.carrying import CarryingReader
from app.codec.types import Metadata, Samples
from app.errors import UndecodablePicture


class PillowReader(CarryingReader):
    """A file that is opened and decoded by one of Pillow's plugins.

    The plugin is called directly: Image.open would try others, and its own limit on pixels is one per process.
    """

    plugin: ClassVar[type[ImageFile.ImageFile]]

    def __init__(self, source: Source) -> None:
        super().__init__(source)
        self._full_gray = 255  # the largest gray value that the file can hold
        self._image = self._opened(source.data)
        source.check_pixels(*self.size)
        self._carry(self._own_orientation())

    @classmethod
    def examples(cls) -> Iterable[bytes]:
        """A file that Pillow writes."""
        file = io.BytesIO()
        Image.new("RGB", (1, 1)).save(file, cls.plugin.format)
        return (file.getvalue(),)

    def _opened(self, data: bytes) -> Image.Image:
        """The file with its header read. Override it to check or repair the bytes before Pillow sees them."""
        return self.plugin(io.BytesIO(self._separated(data)))

    def _own_orientation(self) -> int | None:
        """Where the format has an orientation of its own, which counts before any in the metadata."""
        return None

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the frame that Pillow has opened."""
        return self._image.height, self._image.width

    @property
    def has_several_frames(self) -> bool:
        """Whether Pillow finds more than one frame."""
        return bool(getattr(self._image, "is_animated", False))

    def all_frames(self) -> range:
        """The indices of the frames that Pillow counts."""
        return range(int(getattr(self._image, "n_frames", 1)))

    def frame(self, index: int, animated: bool) -> Frame:
        """Decodes a frame after going to it; checks its size first, which may be another than the first one's."""
        if index or self._image.tell() != index:
            self._image.seek(index)
        self.source.check_pixels(*self.size)
        decoded = self._samples(animated)
        value = self._image.info.get("duration", 0)
        duration = max(0, round(value)) if isinstance(value, int | float) and value < 2**31 else 0
        return Frame(decoded, duration)

    def _samples(self, animated: bool) -> Samples:
        """The current frame. Override it for what Pillow does not decode, such as RGB of 16 bits."""
        self._load(self._image)
        return samples.from_pillow(self._image, self._full_gray)

    def _load(self, image: Image.Image) -> None:
        """Decodes what Pillow has opened, or as much of it as is there if that is allowed."""
        size = image.size
        try:
            image.load()
        except (OSError, SyntaxError, ValueError) as error:
            # Pillow keeps what it decoded. Its own switch for this is one for the whole process.
            if not self.source.allow_truncated or getattr(image, "_im", None) is None:
                raise
            if isinstance(image, ImageFile.ImageFile):
                image.tile = []
            self.truncated = self.lacks_pixels = True
            if image.size != size:
                raise UndecodablePicture(
                    "The picture's size changes while it is decoded. Send the whole, undamaged file."
                ) from error

    @property
    def cmyk(self) -> bool:
        """Whether Pillow's mode is CMYK."""
        return self._image.mode == "CMYK"

    @property
    def loop(self) -> int:
        """How often the file says that the animation is played; 0 is for ever."""
        loop = self._image.info.get("loop", 0)
        return loop if isinstance(loop, int) and loop >= 0 else 0

    def _dpi(self) -> Any:
        return self._image.info.get("dpi")

    def _profile(self, channels: int) -> Metadata:
        return Metadata(icc=self._blocks.icc or self._image.info.get("icc_profile"))
