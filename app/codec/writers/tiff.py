"""TIFF at 8 or 16 bits: the pixels by tifffile, which writes no directories inside of a directory, as EXIF needs."""

import io
from concurrent.futures import Executor

import tifffile

from app.codec.color_management import profile_channels
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
        photometric="rgb" if channels >= 3 else "minisblack",
        planarconfig="contig" if channels > 1 else None,
        extrasamples=["unassalpha"] if channels in (2, 4) else None,
        compression="adobe_deflate",
        predictor=True,
        byteorder="<",
        bigtiff=False,
        metadata=None,
        software=False,
    )
    icc = raster.metadata.icc
    icc = icc if profile_channels(icc) == (1 if channels <= 2 else 3) else None
    return with_metadata(file.getvalue(), raster.metadata, icc)
