"""Picture files: found in a fixed order, and taken through JPEG as Pillow writes and reads it."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from model.pictures import find_pictures, through_jpeg
from tests.model.networks import save_pictures


def test_pictures_are_found_below_folders_in_a_fixed_order(tmp_path: Path) -> None:
    save_pictures(tmp_path / "b" / "deep", [(4, 4)])
    save_pictures(tmp_path / "a", [(4, 4), (4, 4)])
    (tmp_path / "a" / "notes.txt").write_text("not a picture")
    (tmp_path / "a" / "c.JPG").write_bytes(b"")
    found = find_pictures([tmp_path / "b", tmp_path / "a"])
    assert [str(path.relative_to(tmp_path)) for path in found] == ["a/a.png", "a/b.png", "a/c.JPG", "b/deep/a.png"]


def test_no_pictures(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no pictures below .*; give folders that hold PNG or JPEG"):
        find_pictures([tmp_path])


def test_a_jpeg_has_the_picture_that_pillow_reads_back(tmp_path: Path) -> None:
    (picture,) = save_pictures(tmp_path / "hr", [(40, 50)])
    Image.fromarray(picture).save(tmp_path / "same.jpg", quality=75)
    assert np.array_equal(through_jpeg(picture, 75), np.asarray(Image.open(tmp_path / "same.jpg")))
