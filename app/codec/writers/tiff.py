"""TIFF at 8 or 16 bits: the pixels by tifffile, which writes no directories inside of a directory, as EXIF needs."""

import io
from concurrent.futures import Executor
from typing import Any

import tifffile

from app.codec.color_management import for_channels
from app.codec.metadata.tiff import with_metadata
from app.codec.raster import Raster
from app.options import UpscaleOptions


def write(raster: Raster, options: UpscaleOptions, executor: Executor | None = None) -> bytes:
    """The file, deflated with a predictor; profile and metadata in its directory."""
    samples = raster.frames[0]
    channels = samples.shape[2]
    file = io.BytesIO()
    tifffile.imwrite(
        file,
        samples if channels > 1 else samples[..., 0],
        byteorder="<",
        bigtiff=False,
        **layout(channels),
    )
    return with_metadata(file.getvalue(), raster.metadata, for_channels(raster.metadata.icc, channels))


def layout(channels: int) -> dict[str, Any]:
    """How tifffile is to store samples of 1 to 4 `channels`: deflated with a predictor, without tags of its own."""
    return {
        "photometric": "rgb" if channels >= 3 else "minisblack",
        "planarconfig": "contig" if channels > 1 else None,
        "extrasamples": ["unassalpha"] if channels in (2, 4) else None,
        "compression": "adobe_deflate",
        "predictor": True,
        "metadata": None,
        "software": False,
    }
