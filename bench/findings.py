"""Counts the pictures in which noise, or shrinking by area or without antialiasing, is recognised.

    python -m bench.findings --cards docs/training.md

Of Set5, Set14 and the photographs that are neither trained on nor scored, shrunk by four in several ways, some made
noisy since.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from app.build import build_formulas
from app.codec.history.pixels import findings_of
from app.codec.split import split
from bench.paths import CALIBRATION, DATA
from model.degradations import noisy, shrink
from model.entry import Parser, file_errors
from model.model_card import renew_block
from model.pictures import Picture, find_pictures, read

SCALE = 4
FOLDERS = (DATA / "Set5" / "HR", DATA / "Set14" / "HR", CALIBRATION / "photos")
KINDS = ("noise", "area", "aliased")


def shrunk(picture: Picture, kernel: str = "bicubic") -> Picture:
    """The low resolution of a picture; rows and columns that are left over are cut off."""
    height, width = (side // SCALE for side in picture.shape[:2])
    return shrink(picture[: height * SCALE, : width * SCALE], height, width, kernel)


def made_noisy(picture: Picture, sigma: float) -> Picture:
    """Its low resolution by bicubic, with noise in every channel, the same each time."""
    return noisy(shrunk(picture), sigma, np.random.default_rng(0))


ROWS: Mapping[str, Callable[[Picture], Picture]] = {
    "shrunk by MATLAB's bicubic": shrunk,
    "bilinear": partial(shrunk, kernel="bilinear"),
    "by Lanczos": partial(shrunk, kernel="lanczos"),
    "in linear light": partial(shrunk, kernel="linear-light"),
    "by area": partial(shrunk, kernel="box"),
    "without antialiasing": partial(shrunk, kernel="aliased"),
    **{f"by bicubic, noise of σ = {sigma} in each channel": partial(made_noisy, sigma=sigma) for sigma in (3, 5, 10)},
}


def recognised(picture: Picture) -> set[str]:
    """The kinds of findings of a picture (H, W) or (H, W, 3) in a file without losses."""
    luma = split(picture.reshape(*picture.shape[:2], -1), build_formulas()).luma
    return {each.kind for each in findings_of(luma, lossless=True)}


def lines(pictures: Sequence[Picture]) -> Iterator[str]:
    """The lines of the table in Markdown."""
    yield f"| of {len(pictures)} pictures, {SCALE} times smaller | noise | shrinking by area | without antialiasing |"
    yield "|---|---:|---:|---:|"
    for name, change in ROWS.items():
        found = [recognised(change(each)) for each in pictures]
        yield f"| {name} | " + " | ".join(str(sum(kind in each for each in found)) for kind in KINDS) + " |"


def main() -> None:
    """Prints the table."""
    parser = Parser("bench.findings", __doc__)
    parser.add_argument("--data", type=Path, nargs="+", default=FOLDERS, help="folders of pictures")
    parser.add_argument("--cards", type=Path, nargs="*", default=[], help="Markdown files: block `findings` to renew")
    arguments = parser.parse_args()
    with file_errors(parser.prog):
        table = "\n".join(lines([read(path) for path in find_pictures(arguments.data)]))
        print(table)
        renew_block(arguments.cards, "findings", table)


if __name__ == "__main__":
    main()
