"""What pixels tell of JPEG: by the steps of their coefficients or, where these are gone, by what rings around edges."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from app.codec.history import grid, ringing
from app.codec.types import Compression


def compression_of(luma: NDArray[np.float32], lossless: bool) -> Compression | None:
    """That luma (H, W), studio range in units of full scale, went through once.

    `lossless`: the file that it comes from has no losses itself. Otherwise what rings is that file's.
    """
    height, width = luma.shape
    return compression_of_rows(height, width, lambda first, last: luma[first:last], lossless)


def compression_of_rows(
    height: int, width: int, rows: Callable[[int, int], NDArray[np.float32]], lossless: bool
) -> Compression | None:
    """The same of luma that `rows` gives, as for `grid.tiles_of`."""
    tiles = list(grid.tiles_of(height, width, rows))
    quality = grid.quality_of(tiles)
    if quality is None and lossless:
        quality = ringing.quality_of(tiles)
    return None if quality is None else Compression("grid", quality)
