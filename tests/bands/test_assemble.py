"""What is held of the bands while the file is written."""

import weakref
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from app.bands.assemble import assemble
from app.bands.work import Work
from app.codec.types import Metadata, Samples
from app.formats import OutputFormat
from app.options import UpscaleOptions

COUNT, ROWS, WIDTH = 12, 300, 1700


class Counted(Work):
    """Bands of a picture in memory, and how many of them live at once at most."""

    def __init__(self, picture: Samples) -> None:
        self._picture, self._alive, self.most = picture, 0, 0

    def get(self, band: int) -> Samples:
        samples = self._picture[band * ROWS : (band + 1) * ROWS].copy()
        self._alive += 1
        self.most = max(self.most, self._alive)
        weakref.finalize(samples, self._gone)
        return samples

    def _gone(self) -> None:
        self._alive -= 1


@pytest.mark.parametrize("output_format", ["png", "tiff"])
def test_only_a_few_bands_are_in_memory_at_once(tmp_path: Path, output_format: OutputFormat) -> None:
    rows, columns = np.mgrid[: COUNT * ROWS, :WIDTH]
    picture = np.stack([rows % 251, columns % 241, (rows ^ columns) % 256], axis=2).astype(np.uint8)
    work, target = Counted(picture), tmp_path / f"out.{output_format}"
    assemble(target, work, COUNT, picture.shape, Metadata(), UpscaleOptions(format=output_format))
    made = tifffile.imread(target) if output_format == "tiff" else np.asarray(Image.open(target))
    assert np.array_equal(made, picture)
    assert work.most <= 3
