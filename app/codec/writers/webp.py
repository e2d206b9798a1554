"""WebP, with or without loss, and animations."""

from concurrent.futures import Executor
from typing import Any

from app.codec.raster import Raster
from app.codec.writers.pillow import DEFAULT_QUALITY, image_of, saved
from app.options import UpscaleOptions


def write(raster: Raster, options: UpscaleOptions, executor: Executor | None = None) -> bytes:
    """Lossless unless a quality is given or `lossless` is False; several frames make an animation."""
    lossless = options.lossless if options.lossless is not None else options.lossy_quality is None
    settings: dict[str, Any] = {"lossless": lossless, "exact": lossless, "method": 2 if lossless else 4}
    if not lossless:
        settings["quality"] = options.lossy_quality or DEFAULT_QUALITY
    first, *others = (image_of(frame) for frame in raster.frames)
    if others:
        settings |= {
            "save_all": True,
            "append_images": others,
            "duration": list(raster.durations_ms),
            "loop": raster.loop,
        }
    return saved(first, "WEBP", raster.metadata, settings)
