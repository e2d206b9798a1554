"""What is asked for, and what comes back."""

import io
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

Progress = Callable[[int, int], None]
"""Called with the number of tiles that are done, and of all; both are 0 until the picture is decoded."""
State = Literal["queued", "running", "done", "failed", "cancelled"]


@dataclass(frozen=True, slots=True)
class Options:
    """What else can be asked for; None is the service's default.

    `width`, `height` and `long_side` are pixels of the result, instead of a scale. `effort`: better, and slower; "best"
    is that of `ensemble`. `quality` is that of a lossy format, 1 to 100; a word is another name of `effort`.
    `model`: one that GET /model names. `clean`: 0 to 1, how strongly traces of compression and noise are removed.
    """

    width: int | None = None
    height: int | None = None
    long_side: int | None = None
    format: Literal["png", "webp", "jpeg", "avif", "tiff", "jxl"] | None = None
    quality: int | Literal["medium", "high", "best"] | None = None
    lossless: bool | None = None
    frames: Literal["single", "first", "all"] | None = None
    metadata: Literal["drop", "keep", "all"] | None = None
    color: Literal["keep", "srgb"] | None = None
    depth: Literal["keep", "8"] | None = None
    truncated: Literal["reject", "allow"] | None = None
    ensemble: bool | None = None
    model: str | None = None
    clean: float | Literal["auto"] | None = None
    effort: Literal["medium", "high", "best"] | None = None


@dataclass(frozen=True, slots=True)
class Upscaled:
    """One finished picture; until it expires, `level(id, 2)` is the same pass at x2. No id: the service kept none."""

    body: bytes
    media_type: str
    id: str
    url: str
    clean: str = ""
    """What was removed, and why, such as "0.5; jpeg=90"."""
    left_out: str = ""
    """Metadata that the result could not have, and why; not known to `level`."""
    model: str = ""
    """The network that computed it; not known to `level`."""
    truncated: bool = False
    """Whether the picture was incomplete, and what was there was taken; not known to `level`."""

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the file."""
        Path(path).write_bytes(self.body)

    def image(self) -> "Image.Image":
        """The picture for Pillow, which has to be installed."""
        from PIL import Image

        image = Image.open(io.BytesIO(self.body))
        image.load()
        return image

    def array(self) -> "NDArray[np.uint8]":
        """The samples (height, width) or (height, width, channels) by Pillow and NumPy, which have to be installed.

        Of 16-bit color, Pillow reads the upper 8 bits; `body` has them all.
        """
        import numpy as np

        return np.array(self.image())


@dataclass(frozen=True, slots=True)
class Job:
    """A job at one moment: tiles done and in all, seconds left if known, levels that can be fetched once it is done.

    `left_out`, `model` and `truncated` are as in Upscaled.
    """

    id: str
    state: State
    done: int
    total: int
    seconds_left: float | None
    levels: tuple[int, ...]
    error: Mapping[str, Any] | None
    left_out: str = ""
    model: str = ""
    truncated: bool = False

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> "Job":
        """From the document of GET /jobs/{id}."""
        progress = document["progress"]
        return cls(
            id=document["id"],
            state=document["state"],
            done=progress["done"],
            total=progress["total"],
            seconds_left=document.get("seconds_left"),
            levels=tuple(sorted(map(int, document.get("results") or {}))),
            error=document.get("error"),
            left_out=document.get("metadata") or "",
            model=document.get("model") or "",
            truncated=bool(document.get("truncated")),
        )

    @property
    def finished(self) -> bool:
        """Whether nothing will change any more."""
        return self.state not in ("queued", "running")
