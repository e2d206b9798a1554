"""Picture files for training and scoring: finding them, and reading their samples."""

import io
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

import imagecodecs
import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import ExifTags, Image, TiffImagePlugin, UnidentifiedImageError

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"}

Picture = NDArray[np.uint8]


class PictureError(Exception):
    """A file is not a picture that can be read; the message is one line that names it."""


def find_pictures(folders: Sequence[Path]) -> list[Path]:
    """Every picture below `folders`, sorted, so that the order is the same everywhere; none that is hidden.

    Links to folders are followed, as data sets often are such links. Raises FileNotFoundError where a folder is
    missing, or all of them hold no picture.
    """
    for folder in folders:
        if not folder.is_dir():
            raise FileNotFoundError(f"there is no folder {folder}")
    found = [path for folder in folders for path in _files_below(folder) if _is_picture(path)]
    if not found:
        raise FileNotFoundError(f"no pictures below {', '.join(map(str, folders))}; give folders that hold PNG or JPEG")
    return sorted(found, key=str)


def _files_below(folder: Path) -> Iterator[Path]:
    """Everything in a folder and its subfolders but folders and what is hidden, as a Mac's `._a.png` is.

    A folder that several links lead to is searched once, so links to a folder above do no harm.
    """
    seen = set()
    for place, folders, files in os.walk(folder, followlinks=True):
        status = Path(place).stat()
        identity = (status.st_dev, status.st_ino)
        if identity in seen:
            folders.clear()
            continue
        seen.add(identity)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(place, name) for name in files if not name.startswith("."))


def _is_picture(path: Path) -> bool:
    """Whether a path is a regular file with a picture's name.

    A dangling link counts as one: reading it raises the error that says so.
    """
    if path.suffix.lower() not in SUFFIXES:
        return False
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except OSError:
        return True


def low_resolution_of(path: Path, folder: Path, scale: int) -> Path:
    """The file in `folder` that is `path` shrunk: baby.png, babyx4.png or baby_x4.png for baby.png, of any type.

    Raises FileNotFoundError.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder}")
    stems = (path.stem, f"{path.stem}x{scale}", f"{path.stem}_x{scale}")
    suffixes = sorted(SUFFIXES)
    for stem in stems:
        for suffix in (path.suffix, *suffixes, *map(str.upper, suffixes)):
            if (found := folder / f"{stem}{suffix}").is_file():
                return found
    raise FileNotFoundError(f"{folder} has no low resolution of {path.name}; name it {', '.join(stems)}")


def read(path: Path) -> Picture:
    """A picture as the service decodes it, in 8 bits: (H, W) when it is gray, else (H, W, 3).

    It is upright, and without its alpha. Sixteen bits are rounded to eight. Raises PictureError for what is damaged,
    for samples that the service does not take (floating-point numbers, signed ones, and more than 16 bits), and for
    inks of 16 bits.
    """
    try:
        data = path.read_bytes()  # Pillow maps the pixels of uncompressed TIFFs that are files, and turns them wrongly
        with Image.open(io.BytesIO(data)) as image:
            if (deep := _sixteen_bits(image, data, path)) is not None:
                return _upright(_in_eight_bits(deep, path), _orientation(image))
            if image.mode in ("I", "F"):
                raise PictureError(f"{path}: samples of 32 bits are not read; save it with 8 or 16 unsigned bits")
            picture = np.asarray(image.convert("L" if image.mode in ("L", "LA", "1") else "RGB"))
            return _upright(picture, _orientation(image))  # of a TIFF, which Pillow has turned by now, 1
    except FileNotFoundError:
        raise
    except UnidentifiedImageError:  # its message has an address in memory instead of the file's name
        raise PictureError(
            f"{path}: not a readable picture (no PNG, JPEG, TIFF, BMP or WebP of 8 or 16 bits)"
        ) from None
    # What decoders raise for damaged files is of many types.
    except (OSError, SyntaxError, ValueError, RuntimeError, Image.DecompressionBombError) as error:
        raise PictureError(f"{path}: not a readable picture ({' '.join(str(error).split())})") from None


def _sixteen_bits(image: Image.Image, data: bytes, path: Path) -> NDArray[np.generic] | None:
    """The samples of a PNG or TIFF of 16 bits, which Pillow cuts to eight or clips; None for other files."""
    if image.format == "PNG":
        return np.asarray(imagecodecs.png_decode(data)) if data[24:25] == b"\x10" else None
    if isinstance(image, TiffImagePlugin.TiffImageFile) and (
        image.mode[0] in "IF" or 16 in image.tag_v2.get(258, (1,))
    ):
        with tifffile.TiffFile(io.BytesIO(data)) as file:
            page = file.pages.first
            samples = np.asarray(page.asarray())
            if samples.ndim == 3 and page.axes.startswith("S"):
                samples = np.moveaxis(samples, 0, -1)
            match page.photometric:
                case tifffile.PHOTOMETRIC.MINISBLACK | tifffile.PHOTOMETRIC.RGB:
                    return samples
                case tifffile.PHOTOMETRIC.MINISWHITE:
                    return 65535 - samples
                case kind:
                    name = tifffile.PHOTOMETRIC(kind).name
                    raise PictureError(f"{path}: {name} of 16 bits is not read; save it as RGB or gray")
    return None


def _in_eight_bits(samples: NDArray[np.generic], path: Path) -> Picture:
    if samples.dtype != np.uint16 or samples.ndim not in (2, 3):
        raise PictureError(f"{path}: samples are {samples.dtype}; save it with 8 or 16 unsigned bits")
    channels = samples if samples.ndim == 3 else samples[..., None]
    colours = channels[..., :3] if channels.shape[2] >= 3 else channels[..., 0]
    return np.asarray((colours.astype(np.uint32) + 128) // 257, dtype=np.uint8)


def _orientation(image: Image.Image) -> int:
    """EXIF's orientation; 1, upright, if there is none that can be read."""
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    # What is raised for damaged EXIF is of many types.
    except Exception:
        return 1


def _upright(picture: Picture, orientation: int) -> Picture:
    """The picture as EXIF's orientation (1 to 8) has it shown; unchanged for other numbers."""
    if orientation in (2, 3, 7, 8):
        picture = picture[:, ::-1]
    if orientation in (3, 4, 6, 7):
        picture = picture[::-1]
    return np.ascontiguousarray(picture.swapaxes(0, 1) if orientation in (5, 6, 7, 8) else picture)
