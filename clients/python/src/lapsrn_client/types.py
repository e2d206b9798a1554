"""The options of an upscale, its result, and the state of a job."""

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
"""Called with the number of finished tiles and their total; both are 0 until the picture is decoded."""
State = Literal["queued", "running", "done", "failed", "cancelled"]


@dataclass(frozen=True, slots=True)
class Options:
    """The options of an upscale besides the scale; None is the service's default.

    `width`, `height` and `long_side` are the result's size in pixels, instead of a scale. `effort` gives a better
    result in more time; "best" is the same as `ensemble`. `quality` is that of a lossy format, 1 to 100; a word is
    another name for `effort`. `model` is one that GET /model lists. `clean`, 0 to 1, is how strongly traces of
    compression and noise are removed.
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
    """One finished picture. Until it expires, `level(id, 2)` fetches the result of the same pass at x2.

    `id` is "" if the service did not keep the result.
    """

    body: bytes
    media_type: str
    id: str
    url: str
    clean: str = ""
    """The strength of clean-up and the reason for it, such as "0.5; jpeg=90"."""
    left_out: str = ""
    """Metadata that is missing from the result, and why; "" if it comes from `level`."""
    model: str = ""
    """The network that computed it; "" if it comes from `level`."""
    truncated: bool = False
    """Whether the file was incomplete, and what was there was upscaled; False if it comes from `level`."""

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the file."""
        Path(path).write_bytes(self.body)

    def image(self) -> "Image.Image":
        """The picture as a Pillow image. Needs Pillow."""
        from PIL import Image

        image = Image.open(io.BytesIO(self.body))
        image.load()
        return image

    def array(self) -> "NDArray[np.uint8]":
        """The samples (height, width) or (height, width, channels). Needs Pillow and NumPy.

        Pillow reads only the upper 8 bits of 16-bit colour; `body` has them all.
        """
        import numpy as np

        return np.array(self.image())


@dataclass(frozen=True, slots=True)
class Job:
    """The state of a job at one moment.

    `done` of `total` tiles are finished; `seconds_left` is None if unknown; `levels` can be fetched once it is done.
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
        """Reads the document of GET /jobs/{id}. Raises KeyError, TypeError or ValueError if it is not one."""
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
