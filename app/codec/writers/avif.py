"""AVIF stills of 8 bits by Pillow, and those whose colours have code points, of 8 or 10, by imagecodecs."""

from concurrent.futures import Executor

import imagecodecs
import numpy as np

from app.codec.avif_boxes import completed
from app.codec.raster import Raster
from app.codec.types import Samples
from app.codec.writers.pillow import DEFAULT_QUALITY, image_of, saved
from app.options import UpscaleOptions

_SPEED = 8  # of 10: the default takes seconds for a megapixel
_MATRICES = {1: 1, 9: 9}
_BT601 = 6
"""Matrix coefficients of ITU-T H.273 by colour primaries, and for all others."""


def write(raster: Raster, options: UpscaleOptions, executor: Executor | None = None) -> bytes:
    """Full chroma resolution; samples of 16 bits, which only PQ and HLG have here, are rounded to 10."""
    quality = options.lossy_quality or DEFAULT_QUALITY
    if raster.metadata.cicp is not None:
        return _coded(raster.frames[0], raster, quality)
    settings = {"quality": quality, "speed": _SPEED, "subsampling": "4:4:4"}
    return saved(image_of(raster.frames[0]), "AVIF", raster.metadata, settings)


def _coded(samples: Samples, raster: Raster, quality: int) -> bytes:
    assert raster.metadata.cicp is not None
    primaries, transfer = raster.metadata.cicp
    deep = samples.itemsize == 2
    if deep:
        samples = ((samples.astype(np.uint32) * (2 * 1023) + 65535) // (2 * 65535)).astype(np.uint16)
    file = imagecodecs.avif_encode(
        samples if samples.shape[2] > 1 else samples[..., 0],
        quality,
        speed=_SPEED,
        bitspersample=10 if deep else 8,
        pixelformat="444",
        primaries=primaries,
        transfer=transfer,
        matrix=_MATRICES.get(primaries, _BT601),
        numthreads=1,
    )
    return completed(bytes(file), raster.metadata)
