"""The picture formats: names, signatures, and what each can store.

Facts only, as the settings, the command line and the HTTP layer use them, too; app.codec.formats names the code that
reads and writes each format. To add one, add a row to both: tests/test_formats.py reports what else is missing.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

OutputFormat: TypeAlias = Literal["png", "webp", "jpeg", "avif", "tiff", "jxl"]
"""The formats of results in order of preference: a client that accepts several equally gets the first of them."""

DEFAULT_FORMAT: OutputFormat = "png"
"""The format of results if none was chosen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """A format of input pictures."""

    name: str
    media_type: str
    suffixes: tuple[str, ...]
    """Suffixes of file names, in lower case with the dot; the command line writes results with the first."""
    rare_suffixes: tuple[str, ...] = ()
    """Further suffixes that are found in folders, but with which `lapsrn upscale -o` does not name a file."""
    matches: Callable[[bytes], bool]
    """Whether a file that begins with these bytes is in this format."""

    @property
    def title(self) -> str:
        """The name in LAPSRN_FORMATS, in `Decoded.format` and in error messages."""
        return self.name.upper()


@dataclass(frozen=True, slots=True, kw_only=True)
class WritableFormat(Format):
    """A format of results as well, and what it can store."""

    alpha: bool
    animation: bool
    sixteen_bits: bool
    """Whether 16-bit samples stay 16-bit; otherwise they are reduced to 8."""
    gray: bool = True
    """Whether gray is one channel; otherwise it is written as three, to which no gray profile applies."""
    code_points: bool = False
    """Whether colours can be named by code points (ITU-T H.273), as PQ and HLG have to be."""
    deep_hdr: bool = False
    """Whether 16-bit PQ and HLG keep more than 8 bits, although other samples are reduced to 8."""
    lossless: bool
    lossy: bool
    """Whether `quality=` applies."""
    max_side: int | None = None
    """Maximum width and height in pixels; None if no result can be too large."""
    bytes_per_sample: float = 1.5
    """Memory for writing per sample byte of the result, including its file; less for formats that are written row by
    row, since rows of the planes are freed meanwhile."""
    bytes_per_pixel: int = 44
    """Memory per pixel of a frame in addition, if the encoder works on whole frames."""


def _starts_with(*signatures: bytes) -> Callable[[bytes], bool]:
    return lambda data: data.startswith(signatures)


def _has_brand(*brands: bytes) -> Callable[[bytes], bool]:
    """Matches ISO base media files (ISO/IEC 14496-12) with one of the brands, as the major or a compatible brand."""

    def matches(data: bytes) -> bool:
        if data[4:8] != b"ftyp":
            return False
        size = min(int.from_bytes(data[:4], "big"), 256)
        return data[8:12] in brands or any(data[at : at + 4] in brands for at in range(16, size, 4))

    return matches


FORMATS: tuple[Format, ...] = (
    WritableFormat(
        name="png",
        media_type="image/png",
        suffixes=(".png",),
        matches=_starts_with(b"\x89PNG\r\n\x1a\n"),
        alpha=True,
        animation=True,
        sixteen_bits=True,
        code_points=True,
        lossless=True,
        lossy=False,
        bytes_per_sample=0.35,
        bytes_per_pixel=0,
    ),
    WritableFormat(
        name="jpeg",
        media_type="image/jpeg",
        suffixes=(".jpg", ".jpeg"),
        rare_suffixes=(".jfif",),
        matches=_starts_with(b"\xff\xd8\xff"),
        alpha=False,
        animation=False,
        sixteen_bits=False,
        lossless=False,
        lossy=True,
        max_side=65500,
        bytes_per_sample=3.25,
        bytes_per_pixel=0,
    ),
    WritableFormat(
        name="webp",
        media_type="image/webp",
        suffixes=(".webp",),
        matches=lambda data: data[:4] == b"RIFF" and data[8:12] == b"WEBP",
        alpha=True,
        animation=True,
        sixteen_bits=False,
        gray=False,
        lossless=True,
        lossy=True,
        max_side=16383,
        bytes_per_sample=1.5,
        bytes_per_pixel=36,
    ),
    WritableFormat(
        name="tiff",
        media_type="image/tiff",
        suffixes=(".tif", ".tiff"),
        matches=_starts_with(b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
        alpha=True,
        animation=False,
        sixteen_bits=True,
        lossless=True,
        lossy=False,
        bytes_per_sample=2.5,
        bytes_per_pixel=0,
    ),
    Format(name="bmp", media_type="image/bmp", suffixes=(".bmp",), matches=_starts_with(b"BM")),
    Format(name="gif", media_type="image/gif", suffixes=(".gif",), matches=_starts_with(b"GIF87a", b"GIF89a")),
    WritableFormat(
        name="avif",
        media_type="image/avif",
        suffixes=(".avif",),
        matches=_has_brand(b"avif", b"avis"),
        alpha=True,
        animation=False,
        sixteen_bits=False,
        gray=False,
        code_points=True,
        deep_hdr=True,
        lossless=False,
        lossy=True,
        max_side=16384,
    ),
    Format(
        name="heic",
        media_type="image/heic",
        suffixes=(".heic", ".heif"),
        rare_suffixes=(".hif",),
        matches=_has_brand(b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx"),
    ),
    WritableFormat(
        name="jxl",
        media_type="image/jxl",
        suffixes=(".jxl",),
        matches=_starts_with(b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n"),
        alpha=True,
        animation=False,
        sixteen_bits=True,
        code_points=True,
        lossless=True,
        lossy=True,
    ),
)
"""In the order in which error messages list them; the first whose signature matches is used."""

INPUT_FORMATS = tuple(row.title for row in FORMATS)
"""The names that LAPSRN_FORMATS accepts."""

_WRITABLE = {row.name: row for row in FORMATS if isinstance(row, WritableFormat)}
OUTPUT_FORMATS: Mapping[OutputFormat, WritableFormat] = {
    name: _WRITABLE[name] for name in get_args(OutputFormat) if name in _WRITABLE
}
"""The formats of results, in the order of `OutputFormat`."""


def format_of(data: bytes) -> Format | None:
    """The format of a file by its first bytes; None if it is unknown."""
    return next((row for row in FORMATS if row.matches(data)), None)
