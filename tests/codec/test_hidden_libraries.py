"""Decoding where the libraries inside Python packages cannot be called directly, as on Windows."""

import io
from collections.abc import Iterator

import pytest
from PIL import Image

from app.codec import jxl
from app.codec.reader import read
from app.codec.readers import webp
from app.codec.types import DecodeLimits
from app.errors import UndecodablePicture, UnsupportedFormat
from app.options import UpscaleOptions


@pytest.fixture
def _hidden(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("ctypes.CDLL", lambda path: object())
    for library in (jxl.library, webp._libwebp):
        library.cache_clear()
    yield
    for library in (jxl.library, webp._libwebp):
        library.cache_clear()


def picture() -> bytes:
    out = io.BytesIO()
    Image.effect_mandelbrot((64, 48), (-2, -1, 1, 1), 50).convert("RGB").save(out, "WEBP")
    return out.getvalue()


@pytest.mark.usefixtures("_hidden")
def test_jpeg_xl_is_refused_without_its_library() -> None:
    data = b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(100)
    with pytest.raises(UnsupportedFormat, match="JPEG XL cannot be read or written on this system"):
        read(data, UpscaleOptions(), DecodeLimits())


@pytest.mark.usefixtures("_hidden")
def test_without_libwebp_a_complete_webp_is_read_and_a_damaged_one_refused() -> None:
    options, limits = UpscaleOptions(truncated="allow"), DecodeLimits()
    raster = read(picture(), options, limits)
    assert raster.frames[0].shape == (48, 64, 3)
    assert not raster.truncated
    with pytest.raises(UndecodablePicture, match="A damaged WebP cannot be read on this system"):
        read(picture()[:-40], options, limits)
