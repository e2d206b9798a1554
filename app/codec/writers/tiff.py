"""TIFF at 8 or 16 bits: the pixels by tifffile, and a directory with all that travels along by Pillow."""

import io
import struct
from concurrent.futures import Executor
from typing import Any

import tifffile
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from app.codec import metadata as tags
from app.codec.color_management import profile_channels
from app.codec.raster import Raster
from app.codec.types import Metadata
from app.options import UpscaleOptions

_STRIPS, _XMP, _ICC, _UNIT, _INCH = 273, 700, 34675, 296, 2


def write(raster: Raster, options: UpscaleOptions, executor: Executor | None = None) -> bytes:
    """The file, deflated with a predictor; profile, EXIF, XMP and resolution in its directory."""
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
    added = _directory(raster.metadata, 1 if channels <= 2 else 3)
    return _with_directory(file, added) if added else file.getvalue()


def _directory(metadata: Metadata, colors: int) -> dict[int, Any]:
    """Tags and their values; the EXIF and GPS directories are dicts of their own."""
    added: dict[int, Any] = {}
    if metadata.exif is not None:
        exif = Image.Exif()
        exif.load(metadata.exif)
        added |= dict(exif)
        for tag in (tags.EXIF_IFD, tags.GPS_IFD):
            added.pop(tag, None)
            if inner := exif.get_ifd(tag):
                added[tag] = dict(inner)
    if metadata.dpi is not None:
        added |= {tags.Y_RESOLUTION: metadata.dpi[0], tags.X_RESOLUTION: metadata.dpi[1], _UNIT: _INCH}
    if metadata.xmp is not None:
        added[_XMP] = metadata.xmp
    if profile_channels(metadata.icc) == colors:
        added[_ICC] = metadata.icc
    return added


def _with_directory(file: io.BytesIO, added: dict[int, Any]) -> bytes:
    """The file with a directory that says what its own did and what is added.

    tifffile writes no directories inside of the directory, as EXIF needs, and Pillow no RGB of 16 bits.
    """
    body = file.getvalue()
    directory = ImageFileDirectory_v2(body[:8])
    file.seek(directory.next)
    directory.load(file)
    for tag, value in (dict(directory) | added).items():
        directory[tag] = value
    strips = directory[_STRIPS]
    directory[_STRIPS] = tuple(at - strips[0] for at in strips)  # from the directory's end, as Pillow writes them
    return body[:4] + struct.pack("<I", 8) + directory.tobytes(8) + body[strips[0] :]
