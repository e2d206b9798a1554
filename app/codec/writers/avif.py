"""AVIF stills of 8 bits."""

from concurrent.futures import Executor

from app.codec.raster import Raster
from app.codec.writers.pillow import DEFAULT_QUALITY, image_of, saved
from app.options import UpscaleOptions


def write(raster: Raster, options: UpscaleOptions, executor: Executor | None = None) -> bytes:
    """Full chroma resolution, at the encoder's speed 8 of 10: the default takes seconds for a megapixel."""
    settings = {"quality": options.lossy_quality or DEFAULT_QUALITY, "speed": 8, "subsampling": "4:4:4"}
    return saved(image_of(raster.frames[0]), "AVIF", raster.metadata, settings)
