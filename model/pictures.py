"""Picture files for training and scoring: which there are, and what JPEG makes of one."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"}

Picture = NDArray[np.uint8]


def find_pictures(folders: Sequence[Path]) -> list[Path]:
    """Every picture below `folders`, sorted, so that the order is the same everywhere.

    Raises FileNotFoundError where a folder is missing, or all of them hold no picture.
    """
    for folder in folders:
        if not folder.is_dir():
            raise FileNotFoundError(f"there is no folder {folder}")
    found = [path for folder in folders for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES]
    if not found:
        raise FileNotFoundError(f"no pictures below {', '.join(map(str, folders))}; give folders that hold PNG or JPEG")
    return sorted(found, key=str)


def through_jpeg(picture: Picture, quality: int) -> Picture:
    """The picture, gray or RGB, as a JPEG of this quality (1 to 100, half the chroma) leaves it."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=quality)
    with Image.open(file) as image:
        return np.asarray(image)
