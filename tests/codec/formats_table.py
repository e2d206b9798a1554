"""The table of accepted inputs and their results: the tests run it, and docs/formats.md contains it.

`python -m tests.codec.formats_table` rewrites the table in docs/formats.md.
"""

import io
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import tifffile
from PIL import Image

from tests.codec.png_reference import Array, write_png
from tests.codec.support import picture, saved

PAGE = Path(__file__).resolve().parent.parent.parent / "docs" / "formats.md"
BEGIN, END = "<!-- table: begin -->", "<!-- table: end -->"
HEIGHT, WIDTH = 24, 20  # large enough for tiles and subsampled chroma
KINDS = {1: "gray", 2: "gray and alpha", 3: "RGB", 4: "RGB and alpha"}

Made = tuple[bytes, Array]


@dataclass(frozen=True)
class Case:
    """A row: the file, and the samples expected at scale 1."""

    format: str
    what: str
    make: Callable[[], Made]
    tolerance: int = 0
    """The levels by which samples may differ."""

    @property
    def result(self) -> str:
        """A description of the expected samples."""
        expected = self.make()[1]
        return f"{KINDS[expected.shape[2]]}, {expected.itemsize * 8} bits"


def _samples(channels: int, dtype: type = np.uint8) -> Array:
    return picture(HEIGHT, WIDTH, channels, dtype, seed=channels)


def _smooth(channels: int) -> Array:
    """A picture that survives lossy encoding, with an alpha that is never zero."""
    rows, columns = np.indices((HEIGHT, WIDTH))
    parts = (rows * 9 + 20, columns * 11 + 10, 250 - rows * 5 - columns * 4, 90 + rows * 6)
    chosen = parts[:channels] if channels != 2 else (parts[0], parts[3])
    return np.stack(chosen, axis=-1).astype(np.uint8)


def _png(color_type: int, depth: int, channels: int, **settings: Any) -> Callable[[], Made]:
    def make() -> Made:
        full = (1 << depth) - 1
        stored = np.random.default_rng(depth).integers(0, full, (HEIGHT, WIDTH, channels), endpoint=True)
        if color_type in (4, 6):
            stored[..., -1] = np.maximum(stored[..., -1], 1)  # colour under alpha 0 would be replaced
        expected = stored * ((65535 if depth == 16 else 255) // full)
        return write_png(stored, color_type, depth, **settings), expected.astype(np.uint16 if depth == 16 else np.uint8)

    return make


def _png_palette(alpha: bool) -> Callable[[], Made]:
    def make() -> Made:
        rng = np.random.default_rng(5)
        stored = rng.integers(0, 15, (HEIGHT, WIDTH, 1), endpoint=True)
        palette = rng.integers(0, 255, (16, 3), dtype=np.uint8, endpoint=True)
        extra, expected = [(b"PLTE", palette.tobytes())], palette[stored[..., 0]]
        if alpha:
            alphas = rng.integers(1, 255, 16, dtype=np.uint8)
            extra.append((b"tRNS", alphas.tobytes()))
            expected = np.concatenate([expected, alphas[stored]], axis=2)
        return write_png(stored, 3, 4, extra=extra), expected

    return make


def _png_keyed(color_type: int, channels: int) -> Callable[[], Made]:
    def make() -> Made:
        stored = np.full((HEIGHT, WIDTH, channels), 200)
        stored[:, : WIDTH // 2] = 40
        extra = [(b"tRNS", struct.pack(f">{channels}H", *[40] * channels))]
        colors = np.full((HEIGHT, WIDTH, channels), 200, np.uint8)  # the visible colour, bled into the invisible pixels
        alpha = np.where(stored[..., :1] == 40, 0, 255).astype(np.uint8)
        return write_png(stored, color_type, 8, extra=extra), np.concatenate([colors, alpha], axis=2)

    return make


def _lossless(form: str, channels: int, mode: str | None = None, **settings: Any) -> Callable[[], Made]:
    def make() -> Made:
        samples = _samples(channels)
        if channels in (2, 4) and mode is None:
            samples[..., -1] = np.maximum(samples[..., -1], 1)
        return saved(samples, form, mode, **settings), samples

    return make


def _lossy(form: str, channels: int, target: str, **settings: Any) -> Callable[[], Made]:
    """The expected samples are those that Pillow decodes from the lossy file."""

    def make() -> Made:
        data = saved(_smooth(channels), form, **settings)
        array = np.asarray(Image.open(io.BytesIO(data)).convert(target))
        return data, array[..., None] if array.ndim == 2 else array

    return make


def _deep_avif(channels: int, bits: int) -> Callable[[], Made]:
    """Lossless, by imagecodecs' encoder; the levels are spread over 16 bits."""

    def make() -> Made:
        full = (1 << bits) - 1
        stored = np.random.default_rng(bits).integers(0, full, (HEIGHT, WIDTH, channels), np.uint16, endpoint=True)
        stored[..., -1] = np.maximum(stored[..., -1], 1)
        data = imagecodecs.avif_encode(stored if channels > 1 else stored[..., 0], 100, bitspersample=bits)
        return bytes(data), np.rint(stored * (65535 / full)).astype(np.uint16)

    return make


def _exact(form: str, channels: int, bits: int = 8) -> Callable[[], Made]:
    """Lossless, by another encoder; levels of more than 8 bits are spread over 16."""

    def make() -> Made:
        full, dtype = (1 << bits) - 1, np.uint16 if bits > 8 else np.uint8
        stored = np.random.default_rng(bits).integers(0, full, (HEIGHT, WIDTH, channels), dtype, endpoint=True)
        stored[..., -1] = np.maximum(stored[..., -1], 1)
        settings: dict[str, Any] = {"bits": bits} if form == "HEIC" and bits > 8 else {}
        if form == "JXL" and 8 < bits < 16:
            settings = {"bitspersample": bits}
        expected = np.rint(stored * (65535 / full)).astype(np.uint16) if bits > 8 else stored
        return saved(stored, form, **settings), expected

    return make


def _lossy_jxl(channels: int) -> Callable[[], Made]:
    """The expected samples are those that imagecodecs decodes, up to its dithering."""

    def make() -> Made:
        data = bytes(imagecodecs.jpegxl_encode(_smooth(channels), distance=1.0))
        return data, np.atleast_3d(np.asarray(imagecodecs.jpegxl_decode(data)))

    return make


def _deep_ink(**settings: Any) -> Callable[[], Made]:
    """16-bit CMYK without a profile."""

    def make() -> Made:
        inks = _samples(4, np.uint16)
        stored = np.moveaxis(inks, 2, 0) if settings.get("planarconfig") == "separate" else inks
        file = io.BytesIO()
        tifffile.imwrite(file, stored, photometric="separated", metadata=None, **settings)
        light = (65535 - inks.astype(float)) / 65535
        return file.getvalue(), np.rint(light[..., :3] * light[..., 3:] * 65535).astype(np.uint16)

    return make


def _ink(form: str, patch: Callable[[bytes], bytes] = bytes, **settings: Any) -> Callable[[], Made]:
    """CMYK without a profile: every ink absorbs its share of the light."""

    def make() -> Made:
        data = patch(saved(_smooth(4), form, "CMYK", **settings))
        inks = np.asarray(Image.open(io.BytesIO(data)))
        light = (255 - inks.astype(float)) / 255
        return data, np.rint(light[..., :3] * light[..., 3:] * 255).astype(np.uint8)

    return make


def _as_ycck(data: bytes) -> bytes:
    """The file with an Adobe marker that declares its four components as YCCK."""
    at = data.index(b"Adobe")
    return data[: at + 11] + b"\2" + data[at + 12 :]


def _indexed(form: str, **settings: Any) -> Callable[[], Made]:
    def make() -> Made:
        image = Image.fromarray(_samples(3)).quantize(16)
        file = io.BytesIO()
        image.save(file, form, **settings)
        expected = np.array(image.convert("RGB"))
        if "transparency" not in settings:
            return file.getvalue(), expected
        hidden = np.asarray(image) == settings["transparency"]
        return file.getvalue(), np.concatenate([expected, np.where(hidden, 0, 255).astype(np.uint8)[..., None]], axis=2)

    return make


def _bilevel(form: str) -> Callable[[], Made]:
    def make() -> Made:
        bits = _samples(1)[..., 0] > 127
        file = io.BytesIO()
        Image.fromarray(bits).save(file, form)
        return file.getvalue(), np.where(bits, 255, 0).astype(np.uint8)[..., None]

    return make


def _tiff(channels: int, dtype: type, *, inverted: bool = False, **settings: Any) -> Callable[[], Made]:
    def make() -> Made:
        samples = _samples(channels, dtype)
        if channels in (2, 4):
            samples[..., -1] = np.maximum(samples[..., -1], 1)
        stored = np.iinfo(dtype).max - samples if inverted else samples
        file = io.BytesIO()
        options: dict[str, Any] = {"photometric": "rgb" if channels >= 3 else "minisblack"} | settings
        if channels in (2, 4):
            options["extrasamples"] = ["unassalpha"]
        if options.get("planarconfig") == "separate":
            stored = np.moveaxis(stored, 2, 0)
        elif channels == 2:
            options["planarconfig"] = "contig"
        tifffile.imwrite(file, stored if channels > 1 else stored[..., 0], metadata=None, **options)
        return file.getvalue(), samples

    return make


def _bmp_alpha() -> Made:
    """A BITMAPV4HEADER with an alpha mask, bottom row first."""
    samples = _samples(4)
    samples[..., 3] = np.maximum(samples[..., 3], 1)
    body = samples[::-1][..., [2, 1, 0, 3]].tobytes()
    masks = struct.pack("<IIII", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    head = struct.pack("<IiiHHIIiiII", 108, WIDTH, HEIGHT, 1, 32, 3, len(body), 2835, 2835, 0, 0)
    head += masks + b"BGRs" + bytes(108 - len(head) - len(masks) - 4)
    return b"BM" + struct.pack("<IHHI", 14 + len(head) + len(body), 0, 0, 14 + len(head)) + head + body, samples


CASES = (
    Case("PNG", "gray, 1 bit", _png(0, 1, 1)),
    Case("PNG", "gray, 2 bits", _png(0, 2, 1)),
    Case("PNG", "gray, 4 bits", _png(0, 4, 1)),
    Case("PNG", "gray, 8 bits", _png(0, 8, 1)),
    Case("PNG", "gray, 16 bits", _png(0, 16, 1)),
    Case("PNG", "gray with a transparent level (tRNS)", _png_keyed(0, 1)),
    Case("PNG", "gray and alpha, 8 bits", _png(4, 8, 2)),
    Case("PNG", "gray and alpha, 16 bits", _png(4, 16, 2)),
    Case("PNG", "palette", _png_palette(False)),
    Case("PNG", "palette with transparency (tRNS)", _png_palette(True)),
    Case("PNG", "RGB, 8 bits", _png(2, 8, 3)),
    Case("PNG", "RGB, 8 bits, interlaced", _png(2, 8, 3, interlaced=True)),
    Case("PNG", "RGB, 16 bits", _png(2, 16, 3)),
    Case("PNG", "RGB with a transparent colour (tRNS)", _png_keyed(2, 3)),
    Case("PNG", "RGB and alpha, 8 bits", _png(6, 8, 4)),
    Case("PNG", "RGB and alpha, 16 bits", _png(6, 16, 4)),
    Case("JPEG", "gray", _lossy("JPEG", 1, "L")),
    Case("JPEG", "YCbCr, full chroma", _lossy("JPEG", 3, "RGB", subsampling=0)),
    Case("JPEG", "YCbCr, chroma halved", _lossy("JPEG", 3, "RGB", subsampling=2)),
    Case("JPEG", "YCbCr, progressive", _lossy("JPEG", 3, "RGB", progressive=True)),
    Case("JPEG", "CMYK without a profile", _ink("JPEG")),
    Case("JPEG", "YCCK without a profile", _ink("JPEG", _as_ycck)),
    Case("WEBP", "lossy", _lossy("WEBP", 3, "RGB")),
    Case("WEBP", "lossy with alpha", _lossy("WEBP", 4, "RGBA")),
    Case("WEBP", "lossless", _lossless("WEBP", 3, lossless=True)),
    Case("WEBP", "lossless with alpha", _lossless("WEBP", 4, lossless=True, exact=True)),
    Case("TIFF", "1 bit", _bilevel("TIFF")),
    Case("TIFF", "gray, 8 bits", _tiff(1, np.uint8)),
    Case("TIFF", "gray, 8 bits, white is zero", _tiff(1, np.uint8, inverted=True, photometric="miniswhite")),
    Case("TIFF", "gray, 16 bits, little-endian", _tiff(1, np.uint16, byteorder="<")),
    Case("TIFF", "gray, 16 bits, big-endian", _tiff(1, np.uint16, byteorder=">")),
    Case("TIFF", "gray, 16 bits, white is zero", _tiff(1, np.uint16, inverted=True, photometric="miniswhite")),
    Case("TIFF", "gray and alpha, 16 bits", _tiff(2, np.uint16)),
    Case("TIFF", "palette", _indexed("TIFF")),
    Case("TIFF", "RGB, 8 bits", _tiff(3, np.uint8)),
    Case("TIFF", "RGB, 8 bits, tiled", _tiff(3, np.uint8, tile=(16, 16))),
    Case("TIFF", "RGB, 8 bits, LZW with predictor", _tiff(3, np.uint8, compression="lzw", predictor=True)),
    Case("TIFF", "RGB, 8 bits, one plane after another", _tiff(3, np.uint8, planarconfig="separate")),
    Case("TIFF", "RGB, 16 bits", _tiff(3, np.uint16)),
    Case("TIFF", "RGB, 16 bits, tiled", _tiff(3, np.uint16, tile=(16, 16))),
    Case("TIFF", "RGB, 16 bits, deflate with predictor", _tiff(3, np.uint16, compression="zlib", predictor=True)),
    Case("TIFF", "RGB, 16 bits, one plane after another", _tiff(3, np.uint16, planarconfig="separate")),
    Case("TIFF", "RGB and alpha, 8 bits", _tiff(4, np.uint8)),
    Case("TIFF", "RGB and alpha, 16 bits", _tiff(4, np.uint16)),
    Case("TIFF", "CMYK, 8 bits, without a profile", _ink("TIFF")),
    Case("TIFF", "CMYK, 16 bits, without a profile", _deep_ink()),
    Case("TIFF", "CMYK, 16 bits, one plane after another", _deep_ink(planarconfig="separate")),
    Case("TIFF", "BigTIFF, RGB, 16 bits", _tiff(3, np.uint16, bigtiff=True)),
    Case("TIFF", "BigTIFF, big-endian, gray, 8 bits", _tiff(1, np.uint8, bigtiff=True, byteorder=">")),
    Case("TIFF", "BigTIFF, big-endian, RGB and alpha, 8 bits", _tiff(4, np.uint8, bigtiff=True, byteorder=">")),
    Case("TIFF", "BigTIFF, big-endian, RGB, 16 bits", _tiff(3, np.uint16, bigtiff=True, byteorder=">")),
    Case("BMP", "1 bit", _bilevel("BMP")),
    Case("BMP", "gray palette", _lossless("BMP", 1)),
    Case("BMP", "palette", _indexed("BMP")),
    Case("BMP", "RGB", _lossless("BMP", 3)),
    Case("BMP", "RGB and alpha (version 4 header)", _bmp_alpha),
    Case("GIF", "palette", _indexed("GIF")),
    Case("GIF", "palette with a transparent colour", _indexed("GIF", transparency=3)),
    Case("AVIF", "RGB", _lossy("AVIF", 3, "RGB")),
    Case("AVIF", "RGB and alpha", _lossy("AVIF", 4, "RGBA")),
    Case("AVIF", "gray", _lossy("AVIF", 1, "L")),
    Case("AVIF", "gray, 10 bits", _deep_avif(1, 10)),
    Case("AVIF", "gray and alpha, 10 bits", _deep_avif(2, 10)),
    Case("AVIF", "RGB, 10 bits", _deep_avif(3, 10)),
    Case("AVIF", "RGB and alpha, 10 bits", _deep_avif(4, 10)),
    Case("AVIF", "RGB, 12 bits", _deep_avif(3, 12)),
    Case("AVIF", "RGB and alpha, 12 bits", _deep_avif(4, 12)),
    Case("HEIC", "gray", _exact("HEIC", 1)),
    Case("HEIC", "RGB", _exact("HEIC", 3)),
    Case("HEIC", "RGB and alpha", _exact("HEIC", 4)),
    Case("HEIC", "gray, 10 bits", _exact("HEIC", 1, 10)),
    Case("HEIC", "RGB, 10 bits", _exact("HEIC", 3, 10)),
    Case("HEIC", "RGB and alpha, 10 bits", _exact("HEIC", 4, 10)),
    Case("HEIC", "RGB, 12 bits", _exact("HEIC", 3, 12)),
    Case("JXL", "lossy", _lossy_jxl(3), 1),
    Case("JXL", "lossy with alpha", _lossy_jxl(4), 1),
    Case("JXL", "gray", _exact("JXL", 1)),
    Case("JXL", "gray and alpha", _exact("JXL", 2)),
    Case("JXL", "RGB", _exact("JXL", 3)),
    Case("JXL", "RGB and alpha", _exact("JXL", 4)),
    Case("JXL", "gray, 16 bits", _exact("JXL", 1, 16)),
    Case("JXL", "RGB, 16 bits", _exact("JXL", 3, 16)),
    Case("JXL", "RGB and alpha, 16 bits", _exact("JXL", 4, 16)),
)


def table() -> str:
    """The table in Markdown."""
    rows = [f"| {case.format} | {case.what} | {case.result} |" for case in CASES]
    return "\n".join(["| format | in the file | comes out as |", "|---|---|---|", *rows])


def page_with(new: str) -> str:
    """The text of docs/formats.md with this table."""
    page = PAGE.read_text()
    head, rest = page.split(BEGIN)
    return f"{head}{BEGIN}\n{new}\n{END}{rest.split(END)[1]}"


if __name__ == "__main__":
    PAGE.write_text(page_with(table()))
