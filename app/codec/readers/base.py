"""What the reader of each format provides: an opened file whose frames are decoded one at a time."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from app.codec.limits import check_pixels
from app.codec.types import DecodeLimits, Finding, Metadata, Samples
from app.errors import BadParameter
from app.formats import Format
from app.options import UpscaleOptions


@dataclass(frozen=True, slots=True)
class Source:
    """A file to read, with the options of its request and the limits."""

    data: bytes
    format: Format
    options: UpscaleOptions
    limits: DecodeLimits

    @property
    def allow_truncated(self) -> bool:
        """Whether an incomplete or damaged file is to be decoded as far as possible."""
        return self.options.truncated == "allow"

    def check_pixels(self, height: int, width: int, frames: int = 1) -> None:
        """Raises TooManyPixels for so many frames of this size, by the limits and the options of this source."""
        check_pixels(height, width, frames, self.limits, self.options.least_level)


class Frame(NamedTuple):
    """A decoded frame (H, W, C), uint8 or uint16, and how long an animation shows it.

    Not yet upright; gray or RGB, each with or without alpha, or CMYK.
    """

    samples: Samples
    duration_ms: int


class Reader(ABC):
    """An opened file. The constructor reads the header and checks it against the limits; `frame` decodes.

    Any exception that is not a ClientError means that the file cannot be decoded; app.codec.reader turns it into one.
    `frames` is called first, then `frame` for each of them; `orientation`, `cmyk`, `loop`, `compression`,
    `metadata`, `truncated` and `lacks_pixels` are read after that.
    """

    decodes_truncated: ClassVar[bool] = True
    """Whether a part of an incomplete file can be decoded."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.truncated = False
        """Whether the file was incomplete or damaged and only a part of it was decoded."""
        self.lacks_pixels = False
        """Whether some of the samples, or all, may be what a decoder puts for what is missing."""
        self.orientation = 1
        """The EXIF orientation, 1 to 8, of the samples that `frame` returns."""

    @classmethod
    @abstractmethod
    def examples(cls) -> Iterable[bytes]:
        """Tiny files, which between them make the decoders load all that they load on first use."""

    @property
    @abstractmethod
    def size(self) -> tuple[int, int]:
        """(height, width) of the frame decoded last, or of the first."""

    @property
    def has_several_frames(self) -> bool:
        """Whether there is more than one frame, without counting them."""
        return False

    def all_frames(self) -> range:
        """The indices of an animation's frames. Raises TooManyPixels if their sizes are known and too much."""
        return range(1)

    def frames(self) -> range:
        """The indices of the frames to decode. Raises TooManyPixels, or BadParameter if the options leave them open."""
        if not self.has_several_frames or self.source.options.frames == "first":
            return range(1)
        if self.source.options.frames == "single":
            raise BadParameter(
                f"The {self.source.format.title} has more than one frame; frames=first takes the first, "
                "frames=all takes all."
            )
        return self.all_frames()

    @abstractmethod
    def frame(self, index: int, animated: bool) -> Frame:
        """Decodes a frame; `animated` if it is one of several."""

    @property
    def cmyk(self) -> bool:
        """Whether the samples are CMYK."""
        return False

    @property
    def loop(self) -> int:
        """How many times an animation is played; 0 is for ever."""
        return 0

    @property
    def compression(self) -> Finding | None:
        """How the file is compressed, if with losses; of an animation, its first frame."""
        return None

    @abstractmethod
    def metadata(self, channels: int) -> Metadata:
        """The colour profile, and of the rest what `options.metadata` keeps; `channels` are those of the frames."""
