"""What a reader of any format offers: an opened file, whose frames are decoded one after another."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from app.codec.limits import check_pixels
from app.codec.types import DecodeLimits, Metadata, Samples
from app.errors import BadParameter
from app.formats import Format
from app.options import UpscaleOptions


@dataclass(frozen=True, slots=True)
class Source:
    """A file to read, what is asked of it, and what is accepted."""

    data: bytes
    format: Format
    options: UpscaleOptions
    limits: DecodeLimits

    @property
    def allow_truncated(self) -> bool:
        """Whether a part is taken of a file that is damaged."""
        return self.options.truncated == "allow"

    def check_pixels(self, height: int, width: int, frames: int = 1) -> None:
        """Raises TooManyPixels, or UndecodablePicture where there are none."""
        check_pixels(height, width, frames, self.limits, self.options)


class Frame(NamedTuple):
    """One decoded frame: (H, W, C), not turned upright, CMYK still in four inks; and how long it is shown."""

    samples: Samples
    duration_ms: int


class Reader(ABC):
    """An opened file. Opening reads the header and checks it against the limits; `frame` decodes.

    Both raise ClientErrors of their own; any other exception means that the file is damaged, and app.codec.reader
    says so. Methods are called in this order: `frames`, `frame` for each of them, then everything else.
    """

    decodes_parts: ClassVar[bool] = True
    """Whether something can be taken of a file that is cut short."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.truncated = False
        """Whether the file turned out to be incomplete or damaged, and a part of it was taken."""
        self.orientation = 1
        """The EXIF orientation, 1 to 8, in which `frame` leaves the samples."""

    @classmethod
    @abstractmethod
    def examples(cls) -> Iterable[bytes]:
        """Tiny files that between them make the decoders load whatever they load at their first use."""

    @property
    @abstractmethod
    def size(self) -> tuple[int, int]:
        """(height, width) of the frame decoded last, or of the first."""

    @property
    @abstractmethod
    def has_several_frames(self) -> bool:
        """Whether there is more than one; cheap, unlike counting them."""

    @abstractmethod
    def all_frames(self) -> range:
        """The indices of an animation's frames. Raises TooManyPixels if already their number tells."""

    def frames(self) -> range:
        """The indices of the frames asked for. Raises BadParameter if it was not said which, TooManyPixels."""
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
        """A frame decoded; `animated` if it is one of several."""

    @property
    @abstractmethod
    def cmyk(self) -> bool:
        """Whether four channels are inks."""

    @property
    @abstractmethod
    def loop(self) -> int:
        """How often an animation is played; 0 for ever."""

    @abstractmethod
    def metadata(self, channels: int) -> Metadata:
        """The profile, and of the rest what `options.metadata` keeps; `channels` are those of the frames."""
