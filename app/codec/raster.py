"""What a reader hands on: samples as they lie in the file's own colours, not yet planes."""

from dataclasses import dataclass, field
from typing import Literal

from app.codec.types import Metadata, Samples


@dataclass(frozen=True, slots=True)
class Raster:
    """Frames of one shape and dtype, upright, palette expanded, in gray or RGB, with or without alpha."""

    frames: tuple[Samples, ...]
    format: str
    metadata: Metadata = field(default_factory=Metadata)
    durations_ms: tuple[int, ...] = ()
    loop: int = 0
    truncated: bool = False

    @property
    def depth(self) -> Literal[8, 16]:
        """Bits of a sample."""
        return 16 if self.frames[0].itemsize == 2 else 8
