"""The file of a large result from its bands, written from the top down: PNG, or BigTIFF in tiles."""

import os
import secrets
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from app.bands.work import Work
from app.codec.color_management import for_channels
from app.codec.raster import Raster
from app.codec.types import Metadata, Samples
from app.codec.writers import png, tiff
from app.options import UpscaleOptions

TILE = 256


def assemble(
    target: Path, work: Work, bands: int, shape: tuple[int, int, int], metadata: Metadata, options: UpscaleOptions
) -> None:
    """Joins the bands into the picture `shape` (height, width, channels); a TIFF keeps only the profile of `metadata`.

    `target` appears once it is complete and on disk. Raises OSError.
    """
    part = target.with_name(f".lapsrn-{secrets.token_hex(8)}.part")
    try:
        dtype = work.get(0).dtype
        # One after the other: pages of a mapped file count as this process's memory until it is unmapped.
        samples = map(work.get, range(bands))
        if options.output_format == "png":
            _png(part, samples, dtype, shape, metadata, options)
        else:
            _tiff(part, samples, dtype, shape, metadata)
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def _rows(bands: Iterable[Samples], step: int) -> Iterator[Samples]:
    """The rows of all bands together, `step` at a time."""
    waiting: list[Samples] = []
    have = 0
    for band in bands:
        at = 0
        while at < len(band):
            taken = band[at : at + step - have]
            waiting.append(taken)
            at, have = at + len(taken), have + len(taken)
            if have == step:
                rows = np.concatenate(waiting)
                waiting, have = [], 0
                yield rows
        del band, taken  # a view keeps a band mapped
    if waiting:
        yield np.concatenate(waiting)


def _png(
    path: Path,
    bands: Iterable[Samples],
    dtype: np.dtype[Any],
    shape: tuple[int, int, int],
    metadata: Metadata,
    options: UpscaleOptions,
) -> None:
    """The very bytes that the service would write."""
    with path.open("xb") as file, ThreadPoolExecutor(os.cpu_count() or 1) as threads:
        stream = png.stream(*shape, dtype.itemsize, metadata, file)
        if stream is None:
            file.write(png.write(Raster((np.concatenate(list(bands)),), "PNG", metadata), options, threads))
            return
        for rows in _rows(bands, stream.band):
            stream.add(rows, threads)
        stream.end()


def _tiff(
    path: Path, bands: Iterable[Samples], dtype: np.dtype[Any], shape: tuple[int, int, int], metadata: Metadata
) -> None:
    """A BigTIFF in tiles of TILE x TILE, row of tiles by row of tiles."""
    height, width, channels = shape

    def tiles() -> Iterator[Samples]:
        for rows in _rows(bands, TILE):
            for left in range(0, width, TILE):
                tile = rows[:, left : left + TILE]
                missing = ((0, TILE - tile.shape[0]), (0, TILE - tile.shape[1]), (0, 0))
                tile = np.pad(tile, missing, mode="edge")
                yield tile if channels > 1 else tile[..., 0]

    tifffile.imwrite(
        path,
        tiles(),
        shape=shape if channels > 1 else (height, width),
        dtype=dtype,
        bigtiff=True,
        tile=(TILE, TILE),
        iccprofile=for_channels(metadata.icc, channels),
        maxworkers=os.cpu_count() or 1,
        **tiff.layout(channels),
    )
