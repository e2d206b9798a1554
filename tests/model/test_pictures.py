"""Picture files: found in a fixed order, and taken through JPEG as Pillow writes and reads it."""

import io
import os
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps

from model.degradations import through_jpeg
from model.pictures import PictureError, find_pictures, low_resolution_of, read
from tests.model.networks import save_pictures


def test_pictures_are_found_recursively_in_a_fixed_order(tmp_path: Path) -> None:
    save_pictures(tmp_path / "b" / "deep", [(4, 4)])
    save_pictures(tmp_path / "a", [(4, 4), (4, 4)])
    (tmp_path / "a" / "notes.txt").write_text("not a picture")
    (tmp_path / "a" / "c.JPG").write_bytes(b"")
    found = find_pictures([tmp_path / "b", tmp_path / "a"])
    assert [str(path.relative_to(tmp_path)) for path in found] == ["a/a.png", "a/b.png", "a/c.JPG", "b/deep/a.png"]


def test_hidden_files_folders_and_pipes_are_not_taken_for_pictures(tmp_path: Path) -> None:
    """What a Mac puts beside each picture, what tools hide, folders, and pipes, which would be waited for."""
    save_pictures(tmp_path / ".here" / "hr", [(4, 4)])
    folder = tmp_path / ".here"
    for hidden in ("hr/._a.png", "hr/.ipynb_checkpoints/a.png"):
        (folder / hidden).parent.mkdir(exist_ok=True)
        (folder / hidden).write_bytes(b"")
    (folder / "album.png").mkdir()
    os.mkfifo(folder / "pipe.png")
    (folder / "gone.png").symlink_to("nowhere.png")
    assert [path.name for path in find_pictures([folder])] == ["gone.png", "a.png"]


def test_links_to_folders_are_followed_once(tmp_path: Path) -> None:
    """Data sets are often links; one that leads back up, or a second one to the same folder, adds nothing."""
    save_pictures(tmp_path / "elsewhere" / "deep", [(4, 4)])
    data = tmp_path / "data"
    data.mkdir()
    for name in ("set", "the same"):
        (data / name).symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "up").symlink_to(data)
    assert find_pictures([data]) == [data / "set" / "deep" / "a.png"]


def test_folders_without_pictures_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no pictures below .*; give folders that hold PNG or JPEG"):
        find_pictures([tmp_path])


def test_through_jpeg_equals_saving_and_reading_with_pillow(tmp_path: Path) -> None:
    (picture,) = save_pictures(tmp_path / "hr", [(40, 50)])
    Image.fromarray(picture).save(tmp_path / "same.jpg", quality=75)
    assert np.array_equal(through_jpeg(picture, 75), np.asarray(Image.open(tmp_path / "same.jpg")))


GRAY_16 = np.arange(0, 65536, 53, dtype=np.uint16)[:1200].reshape(30, 40)
RGB_16 = np.stack([GRAY_16, GRAY_16[::-1], GRAY_16[:, ::-1]], axis=-1)


def save_16(path: Path, samples: NDArray[np.uint16]) -> Path:
    """A PNG or TIFF of 16 bits, by its suffix."""
    if path.suffix == ".png":
        path.write_bytes(imagecodecs.png_encode(samples))
    else:
        tifffile.imwrite(path, samples, photometric="rgb" if samples.ndim == 3 else "minisblack")
    return path


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("samples", [GRAY_16, RGB_16], ids=["gray", "RGB"])
def test_sixteen_bits_are_rounded_to_eight(tmp_path: Path, samples: NDArray[np.uint16], suffix: str) -> None:
    found = read(save_16(tmp_path / f"deep{suffix}", samples))
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, np.floor(samples / 257 + 0.5))


def test_sixteen_bits_have_the_same_mean_as_eight(tmp_path: Path) -> None:
    """A picture of mean 129 must not be clipped to 250."""
    (picture,) = save_pictures(tmp_path, [(40, 50)])
    deep = read(save_16(tmp_path / "deep.png", picture.astype(np.uint16) * 257))
    np.testing.assert_array_equal(deep, picture)


def test_sixteen_bit_planar_tiff_and_alpha_are_read(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "planes.tif", np.moveaxis(RGB_16, -1, 0), photometric="rgb", planarconfig="separate")
    with_alpha = np.dstack([RGB_16, GRAY_16])
    (tmp_path / "alpha.png").write_bytes(imagecodecs.png_encode(with_alpha))
    tifffile.imwrite(tmp_path / "white.tif", 65535 - GRAY_16, photometric="miniswhite")
    expected = np.floor(RGB_16 / 257 + 0.5)
    np.testing.assert_array_equal(read(tmp_path / "planes.tif"), expected)
    np.testing.assert_array_equal(read(tmp_path / "alpha.png"), expected)
    np.testing.assert_array_equal(read(tmp_path / "white.tif"), np.floor(GRAY_16 / 257 + 0.5))


def test_sixteen_bit_cmyk_is_refused_by_name(tmp_path: Path) -> None:
    """Read as red, green and blue, the inks would give a negative."""
    tifffile.imwrite(tmp_path / "odd.tif", np.ones((20, 30, 4), np.uint16), photometric="separated")
    with pytest.raises(PictureError, match=r"odd\.tif: SEPARATED of 16 bits is not read; save it as RGB"):
        read(tmp_path / "odd.tif")


@pytest.mark.parametrize("orientation", range(10))
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_exif_orientation_is_applied(tmp_path: Path, orientation: int, bits: int, suffix: str) -> None:
    """As its EXIF has it shown, like the low resolution that a viewer or the service makes of it."""
    picture = Image.fromarray(GRAY_16 if bits == 16 else (GRAY_16 // 257).astype(np.uint8))
    path, exif = (tmp_path / "a").with_suffix(suffix), picture.getexif()
    exif[ExifTags.Base.Orientation] = orientation
    picture.save(path, exif=exif)
    with Image.open(io.BytesIO(path.read_bytes())) as turned:
        shown = np.asarray(ImageOps.exif_transpose(turned)).astype(int)
    expected = (shown + 128) // 257 if bits == 16 else shown
    np.testing.assert_array_equal(read(path), expected)


def test_damaged_exif_is_ignored(tmp_path: Path) -> None:
    (picture,) = save_pictures(tmp_path, [(40, 50)])
    Image.fromarray(picture).save(tmp_path / "a.png", exif=b"Exif\0\0MM\0\x2a\xff\xff\xff\xff")
    np.testing.assert_array_equal(read(tmp_path / "a.png"), picture)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int16", "int32", "uint32"])
def test_unsupported_sample_types_are_refused_by_name(tmp_path: Path, dtype: str) -> None:
    """A float TIFF in 0..1 must not become black."""
    tifffile.imwrite(tmp_path / "odd.tif", np.ones((20, 30), dtype))
    with pytest.raises(PictureError, match=r"odd\.tif: ") as refused:
        read(tmp_path / "odd.tif")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif", "a.webp"])
def test_a_damaged_picture_is_named(tmp_path: Path, name: str) -> None:
    (picture,) = save_pictures(tmp_path / "hr", [(40, 50)])
    path = tmp_path / name
    Image.fromarray(picture).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(PictureError, match=rf"{name}: not a readable picture") as refused:
        read(path)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK"])
def test_every_mode_becomes_gray_or_rgb(tmp_path: Path, mode: str) -> None:
    path = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
    Image.new("RGB", (12, 8), (200, 200, 200)).convert(mode).save(path)
    assert read(path).shape == ((8, 12) if mode in ("1", "L", "LA") else (8, 12, 3))


@pytest.mark.parametrize("name", ["baby.png", "babyx4.png", "baby_x4.png", "babyx4.tif", "baby.PNG", "babyx4.JPG"])
def test_low_resolution_files_are_found_by_common_naming_schemes(tmp_path: Path, name: str) -> None:
    for file in (name, "babyx2.png", "babysitterx4.png"):
        (tmp_path / file).touch()
    assert low_resolution_of(Path("HR/baby.png"), tmp_path, 4) == tmp_path / name


def test_a_missing_low_resolution_file_is_reported(tmp_path: Path) -> None:
    (tmp_path / "babyx2.png").touch()
    with pytest.raises(FileNotFoundError, match=r"has no low resolution of baby.png; name it baby, babyx4, baby_x4"):
        low_resolution_of(Path("HR/baby.png"), tmp_path, 4)
