"""The code that reads and writes each format of app.formats, by the format's name."""

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Protocol

from app.codec.raster import Raster
from app.codec.readers.avif import AvifReader
from app.codec.readers.base import Reader
from app.codec.readers.bmp import BmpReader
from app.codec.readers.gif import GifReader
from app.codec.readers.jpeg import JpegReader
from app.codec.readers.jxl import JxlReader
from app.codec.readers.png import PngReader
from app.codec.readers.tiff import TiffReader
from app.codec.readers.webp import WebpReader
from app.codec.types import Metadata, Samples
from app.codec.writers import avif, jpeg, jxl, png, tiff, webp
from app.formats import OutputFormat
from app.options import UpscaleOptions


class Stream(Protocol):
    """The file of a still, written from the top down."""

    band: int
    """Rows that `add` takes at a time; the last ones may be fewer."""

    def add(self, samples: Samples, executor: Executor | None) -> None:
        """The next rows."""
        ...

    def finish(self) -> bytes:
        """The file; every row has been added."""
        ...


@dataclass(frozen=True, slots=True)
class Writer:
    """How a format is written."""

    write: Callable[[Raster, UpscaleOptions, Executor | None], bytes]
    """The whole file at once. Every frame is there, and `Codec.check` has made sure that the format can hold them."""
    stream: Callable[[int, int, int, int, Metadata], Stream | None] | None = None
    """Begins the file of a still of (height, width, channels, bytes a sample); None if it is better written at once."""


READERS: dict[str, type[Reader]] = {
    "png": PngReader,
    "jpeg": JpegReader,
    "webp": WebpReader,
    "tiff": TiffReader,
    "bmp": BmpReader,
    "gif": GifReader,
    "avif": AvifReader,
    "jxl": JxlReader,
}
if find_spec("pillow_heif") is not None:  # the extra `heif`
    from app.codec.readers.heic import HeicReader

    READERS["heic"] = HeicReader


def readable(titles: Iterable[str]) -> tuple[str, ...]:
    """Those of these titles of formats that there are packages to read."""
    return tuple(title for title in titles if title.lower() in READERS)


WRITERS: Mapping[OutputFormat, Writer] = {
    "png": Writer(png.write, png.stream),
    "webp": Writer(webp.write),
    "jpeg": Writer(jpeg.write),
    "avif": Writer(avif.write),
    "tiff": Writer(tiff.write),
    "jxl": Writer(jxl.write),
}
