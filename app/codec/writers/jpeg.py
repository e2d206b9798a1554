"""JPEG, gray or YCbCr."""

from concurrent.futures import Executor
from typing import Any

import numpy as np

from app.codec.metadata.jpeg import segments
from app.codec.raster import Raster
from app.codec.writers.pillow import DEFAULT_QUALITY, image_of, saved
from app.options import UpscaleOptions


def write(raster: Raster, options: UpscaleOptions, executor: Executor | None = None) -> bytes:
    """Full chroma resolution from quality 90 up, half below. An alpha channel, which must be opaque, is left out."""
    samples, dpi = raster.frames[0], raster.metadata.dpi
    quality = options.lossy_quality or DEFAULT_QUALITY
    settings: dict[str, Any] = {"quality": quality, "subsampling": 0 if quality >= 90 else 2}
    settings["extra"] = segments(raster.metadata)
    if dpi is not None:
        settings["dpi"] = (round(dpi[1]), round(dpi[0]))
    colors = samples[..., : samples.shape[2] - (samples.shape[2] in (2, 4))]
    return saved(image_of(np.ascontiguousarray(colors)), "JPEG", raster.metadata, settings)
