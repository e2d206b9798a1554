"""The content of a picture file, as readers return it and writers take it: samples in the file's own colours."""

from dataclasses import dataclass, field
from typing import Literal

from app.codec.types import Finding, Metadata, Samples


@dataclass(frozen=True, slots=True)
class Raster:
    """Frames of one shape and dtype, upright, palette expanded, in gray or RGB, with or without alpha."""

    frames: tuple[Samples, ...]
    format: str
    """The title of its row in app.formats."""
    metadata: Metadata = field(default_factory=Metadata)
    durations_ms: tuple[int, ...] = ()
    loop: int = 0
    truncated: bool = False
    compression: Finding | None = None
    """That of the file that it was read from, if it is lossy and tells how strong."""

    @property
    def depth(self) -> Literal[8, 16]:
        """Bits of a sample."""
        return 16 if self.frames[0].itemsize == 2 else 8
