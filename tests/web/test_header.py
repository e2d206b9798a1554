"""Format and size of a picture's file, as the page reads them before anything is sent."""

import io
from typing import Any

import imagecodecs
import numpy as np
import pillow_heif
import pytest
import tifffile
from PIL import Image

from app.formats import FORMATS
from tests.web.support import Running, Visit

pytestmark = pytest.mark.browser
HEIGHT, WIDTH = 37, 53


def saved(kind: str, mode: str = "RGB", **options: Any) -> bytes:
    body = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH, 4), dtype=np.uint8)
    Image.fromarray(noise).convert(mode).save(body, kind, **options)
    return body.getvalue()


def with_large_exif() -> bytes:
    """A JPEG whose size stands behind 130 kB of segments, one window after another."""
    exif = b"\xff\xe1\xff\xffExif\0\0" + bytes(65527)
    return saved("JPEG").replace(b"\xff\xd8", b"\xff\xd8" + 2 * exif, 1)


def turned_tiff() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return saved("TIFF", exif=exif)


def boxed(brand: bytes, *, angle: int = 0) -> bytes:
    """The parts of an HEIC file that determine its size: a thumbnail, the picture, and its rotation."""

    def box(kind: bytes, body: bytes) -> bytes:
        return (8 + len(body)).to_bytes(4, "big") + kind + body

    def ispe(width: int, height: int) -> bytes:
        return box(b"ispe", bytes(4) + width.to_bytes(4, "big") + height.to_bytes(4, "big"))

    properties = ispe(8, 6) + ispe(WIDTH, HEIGHT) + box(b"irot", bytes([angle]))
    return box(b"ftyp", brand + bytes(4) + b"mif1") + box(b"meta", bytes(4) + box(b"iprp", box(b"ipco", properties)))


def big_tiff() -> bytes:
    body = io.BytesIO()
    tifffile.imwrite(body, np.zeros((HEIGHT, WIDTH), np.uint8), bigtiff=True)
    return body.getvalue()


def heic() -> bytes:
    body = io.BytesIO()
    pillow_heif.from_pillow(Image.new("RGB", (WIDTH, HEIGHT), "teal")).save(body)
    return body.getvalue()


def jxl(*, boxed: bool = False) -> bytes:
    pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    return bytes(imagecodecs.jpegxl_encode(pixels, usecontainer=boxed, lossless=True))


FILES = {
    "png": ("png", saved("PNG")),
    "png, gray": ("png", saved("PNG", "L")),
    "jpeg": ("jpeg", saved("JPEG")),
    "jpeg, progressive": ("jpeg", saved("JPEG", progressive=True)),
    "jpeg, large metadata": ("jpeg", with_large_exif()),
    "webp, lossy": ("webp", saved("WEBP")),
    "webp, lossless": ("webp", saved("WEBP", lossless=True)),
    "webp, with alpha": ("webp", saved("WEBP", "RGBA")),
    "gif": ("gif", saved("GIF", "P")),
    "bmp": ("bmp", saved("BMP")),
    "tiff": ("tiff", saved("TIFF")),
    "tiff, big": ("tiff", big_tiff()),
    "avif": ("avif", saved("AVIF")),
    "heic": ("heic", heic()),
    "heic, with a thumbnail": ("heic", boxed(b"heic")),
    "jxl": ("jxl", jxl()),
    "jxl, in boxes": ("jxl", jxl(boxed=True)),
}


@pytest.fixture(scope="module")
def read(running: Running, visit_long: Visit) -> Any:
    page = visit_long(running.url)
    page.evaluate("async () => { window.header = await import('./static/js/header.js'); }")

    def read(body: bytes) -> Any:
        return page.evaluate("bytes => header.readHeader(new Blob([new Uint8Array(bytes)]))", list(body))

    return read


@pytest.mark.parametrize("name", FILES)
def test_format_and_size_are_read(read: Any, name: str) -> None:
    format, body = FILES[name]
    assert read(body) == {"format": format, "height": HEIGHT, "width": WIDTH}


@pytest.mark.parametrize(
    "body",
    [turned_tiff(), boxed(b"heic", angle=1), boxed(b"heic", angle=3)],
    ids=["tiff", "heic, once", "heic, three times"],
)
def test_the_size_of_a_rotated_picture_is_that_of_the_upright_one(read: Any, body: bytes) -> None:
    found = read(body)
    assert (found["height"], found["width"]) == (WIDTH, HEIGHT)


@pytest.mark.parametrize(("height", "width"), [(8, 8), (64, 96), (120, 160), (90, 160), (256, 264), (40, 70000)])
def test_every_encoding_of_the_size_of_a_jpeg_xl_is_read(read: Any, height: int, width: int) -> None:
    found = read(bytes(imagecodecs.jpegxl_encode(np.zeros((height, width), np.uint8), lossless=True)))
    assert found == {"format": "jxl", "height": height, "width": width}


def test_every_format_of_the_service_is_known(read: Any) -> None:
    assert {row.name for row in FORMATS} <= {format for format, _ in FILES.values()}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("length", [12, 20, 30])
def test_a_truncated_header_is_no_error(read: Any, name: str, length: int) -> None:
    found = read(FILES[name][1][:length])
    assert found is None or found["format"] == FILES[name][0]


@pytest.mark.parametrize(
    "body", [b"", b"notes", b"\xff\xd8", b"II*\0\xff\xff\xff\xff", b"\0\0\0\x18ftypmp42" + bytes(16)]
)
def test_files_that_are_not_pictures_have_no_size(read: Any, body: bytes) -> None:
    found = read(body)
    assert found is None or found["height"] == 0
