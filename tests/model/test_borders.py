"""No dark or bright frame: the reconstruction is as good at a picture's border as inside it."""

from pathlib import Path

import numpy as np
from PIL import Image

from model.checkpoint import load_weights
from model.color import luma
from model.evaluate import upscale
from model.pictures import read
from model.resample import resize

FRAME = 8  # low-resolution pixels cut off first: some of the pictures have a line drawn round them
OUTER = 16  # high-resolution pixels, 4 of the source


def test_the_error_at_the_border_is_like_that_of_the_interior(bench_dir: Path, weights: Path) -> None:
    """Pooled over the 19 photographs of Set5 and Set14: root mean square error, border over interior."""
    folded = load_weights(weights)[0].requires_grad_(False).fold()
    border, interior = [], []
    for path in sorted(bench_dir.glob("Set*/HR/*.png")):
        low = luma(read(path.parent.parent / "LRx4" / path.name))[FRAME:-FRAME, FRAME:-FRAME]
        truth = luma(read(path))[4 * FRAME : -4 * FRAME, 4 * FRAME : -4 * FRAME]
        error = (upscale(folded, low)[-1] - truth) ** 2
        inside = np.zeros(error.shape, bool)
        inside[OUTER:-OUTER, OUTER:-OUTER] = True
        border.append(error[~inside].mean())
        interior.append(error[inside].mean())
    assert len(border) == 19
    assert np.sqrt(np.mean(border) / np.mean(interior)) < 1.15


def test_the_outermost_pixels_are_better_than_bicubic_ones(bench_dir: Path, weights: Path) -> None:
    """What one pixel of the source becomes all around, pooled as above; the source is cut from a larger picture."""
    folded = load_weights(weights)[0].requires_grad_(False).fold()
    errors = []
    for path in sorted(bench_dir.glob("Set*/HR/*.png")):
        low = luma(read(path.parent.parent / "LRx4" / path.name))[FRAME:-FRAME, FRAME:-FRAME]
        truth = luma(read(path))[4 * FRAME : -4 * FRAME, 4 * FRAME : -4 * FRAME]
        border = np.ones(truth.shape, bool)
        border[4:-4, 4:-4] = False
        made = upscale(folded, low)[-1], resize(low, *truth.shape)
        errors.append([np.mean((each - truth)[border] ** 2) for each in made])
    ours, bicubic = np.mean(errors, axis=0)
    assert ours < 0.9 * bicubic


def test_borders_of_photographs_are_neither_darker_nor_brighter(bench_dir: Path, weights: Path) -> None:
    """The mean of what the network adds to bicubic at the border, over pictures, is a fraction of a level."""
    folded = load_weights(weights)[0].requires_grad_(False).fold()
    shifts = []
    for path in sorted(bench_dir.glob("Set5/HR/*.png")):
        with Image.open(path) as image:
            truth = luma(np.asarray(image.convert("RGB")))
        difference = upscale(folded, luma(read(path.parent.parent / "LRx4" / path.name)))[-1] - truth
        difference[OUTER:-OUTER, OUTER:-OUTER] = 0
        shifts.append(difference.sum() / (difference.size - (difference.shape[0] - 32) * (difference.shape[1] - 32)))
    assert abs(float(np.mean(shifts))) * 255 < 0.5
