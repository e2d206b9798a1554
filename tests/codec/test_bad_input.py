"""Any bytes give at worst a ClientError with a helpful message, and never use more memory than the limits allow."""

import gzip
import io
import re
import struct
import tracemalloc
import zlib
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from app.codec import DecodeLimits, png_chunks, webp_chunks
from app.codec.reader import read
from app.codec.readers.webp import WebpReader
from app.errors import ClientError, TooManyBytes, TooManyPixels, UndecodablePicture, UnsupportedFormat
from app.formats import INPUT_FORMATS
from tests.codec.png_reference import chunk, header, write_png
from tests.codec.support import codec, picture, pixels, saved, upscaled, wanted

OPTIONS = wanted(scale=4)
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
IEND = chunk(b"IEND", b"")
HUGE = 60_000

NOT_PICTURES = {
    "empty": b"",
    "one byte": b"\x89",
    "text": b"hello",
    "svg": b"<?xml version='1.0'?><svg xmlns='http://www.w3.org/2000/svg'/>",
    "html": b"<!DOCTYPE html><html></html>",
    "zip": b"PK\x03\x04" + bytes(30),
    "gzip": gzip.compress(bytes(100)),
    "pdf": b"%PDF-1.7\n",
    "postscript": b"%!PS-Adobe-3.0 EPSF-3.0\n",
    "mp4": b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom",
    "wave": b"RIFF\x24\0\0\0WAVEfmt ",
    "portable pixmap": b"P6 1 1 255 \0\0\0",
    "icon": b"\0\0\1\0\1\0" + bytes(40),
}


@pytest.mark.parametrize("data", NOT_PICTURES.values(), ids=NOT_PICTURES)
def test_files_that_are_not_pictures_are_refused_with_the_accepted_formats(data: bytes) -> None:
    with pytest.raises(UnsupportedFormat) as caught:
        codec().decode(data, OPTIONS)
    for name in INPUT_FORMATS:
        assert name in str(caught.value)


def test_the_accepted_formats_can_be_limited() -> None:
    service = codec(formats=("PNG", "JPEG"))
    with pytest.raises(UnsupportedFormat, match=r"GIF is not accepted here. Accepted formats: PNG, JPEG\."):
        service.decode(saved(picture(3, 3, 1), "GIF"), OPTIONS)
    service.decode(saved(picture(3, 3, 3), "JPEG"), OPTIONS)


def _spoilt(kind: bytes) -> bytes:
    """A PNG in which one chunk has a wrong checksum."""
    bodies = {
        b"gAMA": struct.pack(">I", 45455),
        b"tRNS": bytes(6),
        b"tEXt": b"Author\0me",
        b"eXIf": b"II*\0\x08\0\0\0\0\0",
    }
    data = write_png(picture(9, 7, 3), 2, 8, extra=[(kind, bodies.get(kind, b"abc"))])
    end = data.index(kind) + 4 + len(bodies.get(kind, b"abc"))
    return data[:end] + bytes(4) + data[end + 4 :]


@pytest.mark.parametrize("kind", [b"tEXt", b"zTXt", b"iTXt", b"eXIf", b"iCCP", b"gAMA", b"tIME", b"cICP", b"prVt"])
@pytest.mark.parametrize("metadata", ["drop", "keep"])
def test_a_metadata_or_colour_chunk_with_a_wrong_checksum_is_dropped(kind: bytes, metadata: str) -> None:
    decoded = codec().decode(_spoilt(kind), wanted(scale=2, metadata=metadata))
    whole = codec().decode(write_png(picture(9, 7, 3), 2, 8), wanted(scale=2))
    np.testing.assert_array_equal(decoded.frames[0].luma, whole.frames[0].luma)
    assert not decoded.truncated
    assert decoded.metadata.dropped == (f"{kind.decode()} dropped (damaged)",)


@pytest.mark.parametrize("kind", [b"tRNS", b"acTL", b"fcTL", b"PLTE", b"ABCD"])
def test_an_essential_chunk_with_a_wrong_checksum_is_refused(kind: bytes) -> None:
    with pytest.raises(UndecodablePicture, match=f"chunk '{kind.decode()}' is cut short or has a wrong checksum"):
        codec().decode(_spoilt(kind), OPTIONS)


def test_only_a_few_of_many_damaged_chunks_are_named() -> None:
    kinds = [bytes((97 + i // 26, 97 + i % 26, 65, 97)) for i in range(600)]
    spoilt = b"".join(chunk(kind, b"")[:-4] + b"\0\0\0\0" for kind in kinds)
    data = write_png(picture(9, 7, 3), 2, 8)
    assert len(codec().decode(data[:33] + spoilt + data[33:], OPTIONS).metadata.dropped) == 16


@pytest.mark.parametrize("form", INPUT_FORMATS)
def test_the_format_is_detected_from_the_bytes(form: str) -> None:
    assert codec().decode(saved(picture(16, 16, 3), form), OPTIONS).format == form


def _webp_header(height: int, width: int) -> bytes:
    body = bytes(4) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    chunk_bytes = b"VP8X" + struct.pack("<I", 10) + body
    return b"RIFF" + struct.pack("<I", 4 + len(chunk_bytes)) + b"WEBP" + chunk_bytes


def _jpeg_header(height: int, width: int) -> bytes:
    data = saved(picture(8, 8, 3), "JPEG")
    at = data.index(b"\xff\xc0")
    return data[: at + 5] + struct.pack(">HH", height, width) + data[at + 9 :]


def _gif_header(height: int, width: int) -> bytes:
    data = saved(picture(8, 8, 1), "GIF")
    return data[:6] + struct.pack("<HH", width, height) + data[10:]


def _bmp_header(height: int, width: int) -> bytes:
    data = saved(picture(8, 8, 3), "BMP")
    return data[:18] + struct.pack("<ii", width, height) + data[26:]


def _tiff(**tags: int) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, picture(16, 16, 3, np.uint16), photometric="rgb", tile=(16, 16), metadata=None)
    data = bytearray(file.getvalue())
    with tifffile.TiffFile(io.BytesIO(bytes(data))) as parsed:
        for name, value in tags.items():
            tag = parsed.pages[0].tags[name]  # type: ignore[union-attr]
            size = {3: 2, 4: 4}[int(tag.dtype)]
            data[tag.valueoffset : tag.valueoffset + size] = value.to_bytes(size, "little")
    return bytes(data)


LYING = {
    "PNG": PNG_SIGNATURE + header(HUGE, HUGE, 8, 2) + chunk(b"IDAT", zlib.compress(bytes(1000))) + IEND,
    "PNG, 2 GB a side": PNG_SIGNATURE + header(2**31 - 1, 2**31 - 1, 16, 6) + chunk(b"IDAT", b"") + IEND,
    "JPEG": _jpeg_header(HUGE, HUGE),
    "GIF": _gif_header(HUGE, HUGE),
    "BMP": _bmp_header(HUGE, HUGE),
    "WEBP": _webp_header(16384, 16384),
    "TIFF": _tiff(ImageWidth=HUGE, ImageLength=HUGE),
    "TIFF, tiles": _tiff(TileWidth=HUGE // 16 * 16, TileLength=HUGE // 16 * 16),
}


@pytest.mark.parametrize("data", LYING.values(), ids=LYING)
def test_a_header_that_declares_too_many_pixels_is_refused_before_decoding(data: bytes) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(TooManyPixels, match="accepted"):
            codec().decode(data, OPTIONS)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


def test_the_pixel_limits_are_inclusive_and_cover_the_result() -> None:
    data = saved(picture(10, 10, 3), "PNG")
    codec(max_input_pixels=100, max_output_pixels=1600).decode(data, OPTIONS)
    with pytest.raises(TooManyPixels, match=r"10 x 10, 100 pixels; at most 99"):
        codec(max_input_pixels=99).decode(data, OPTIONS)
    with pytest.raises(TooManyPixels, match=r"becomes 1,600 pixels; at most 1,599.*smaller scale"):
        codec(max_output_pixels=1599).decode(data, OPTIONS)
    codec(max_output_pixels=1599).decode(data, wanted(scale=2))


def test_the_byte_limit_is_inclusive() -> None:
    data = saved(picture(10, 10, 3), "PNG")
    codec(max_input_bytes=len(data)).decode(data, OPTIONS)
    with pytest.raises(TooManyBytes):
        codec(max_input_bytes=len(data) - 1).decode(data, OPTIONS)


def _damaged_png() -> dict[str, bytes]:
    good = write_png(picture(9, 7, 3), 2, 8)
    at = good.index(b"IDAT")
    size = struct.unpack_from(">I", good, at - 4)[0]
    wrong_crc = good[: at + 4 + size] + b"\0\0\0\0" + IEND
    stream = zlib.compress(bytes(9 * 22))
    return {
        "half": good[: len(good) // 2],
        "header only": good[:33],
        "header cut": good[:20],
        "no end": good[: -len(IEND)],
        "wrong checksum": wrong_crc,
        "header checksum": good[:29] + b"\0\0\0\0" + good[33:],
        "no data": PNG_SIGNATURE + header(9, 7, 8, 2) + IEND,
        "empty data": PNG_SIGNATURE + header(9, 7, 8, 2) + chunk(b"IDAT", b"") + IEND,
        "too little data": PNG_SIGNATURE + header(9, 7, 8, 2) + chunk(b"IDAT", stream[:-10]) + IEND,
        "not deflate": PNG_SIGNATURE + header(9, 7, 8, 2) + chunk(b"IDAT", b"nonsense" * 9) + IEND,
        "impossible depth": PNG_SIGNATURE + header(9, 7, 4, 2) + chunk(b"IDAT", stream) + IEND,
        "no pixels": PNG_SIGNATURE + header(0, 7, 8, 2) + chunk(b"IDAT", stream) + IEND,
        "palette missing": PNG_SIGNATURE + header(9, 7, 8, 3) + chunk(b"IDAT", stream[:-10]) + IEND,
        "length of 4 GB": good[: at - 4] + b"\xff\xff\xff\xff" + good[at:],
        "wrong first chunk": PNG_SIGNATURE + chunk(b"tEXt", b"a\0b") + good[8:],
    }


DAMAGED = _damaged_png()


@pytest.mark.parametrize("data", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_png_is_refused(data: bytes) -> None:
    with pytest.raises(UndecodablePicture):
        codec().decode(data, OPTIONS)


def _with_data(color_type: int, depth: int, interlaced: bool, data: bytes, *extra: bytes) -> bytes:
    head = header(9, 7, depth, color_type, interlaced)
    return b"".join((PNG_SIGNATURE, head, *extra, chunk(b"IDAT", zlib.compress(data)), IEND))


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize(("color_type", "depth"), [(0, 1), (0, 8), (0, 16), (2, 8), (3, 4), (4, 8), (6, 8), (6, 16)])
def test_a_png_whose_data_ends_cleanly_but_too_early_is_refused(color_type: int, depth: int, interlaced: bool) -> None:
    palette = chunk(b"PLTE", bytes(range(48)))
    size = png_chunks.Header(9, 7, depth, color_type, interlaced).raw_size
    codec().decode(_with_data(color_type, depth, interlaced, bytes(size), palette), OPTIONS)
    for missing in (1, size // 2):
        data = _with_data(color_type, depth, interlaced, bytes(size - missing), palette)
        with pytest.raises(UndecodablePicture, match=rf"data ends after {size - missing:,} of {size:,} bytes"):
            codec().decode(data, OPTIONS)


def test_a_png_whose_last_bytes_need_no_further_input_is_complete() -> None:
    icon = np.zeros((512, 512, 4), np.uint8)  # with its filter bytes, slightly more than a mebibyte
    decoded = codec().decode(saved(icon, "PNG"), wanted(scale=2))
    assert (decoded.height, decoded.width, decoded.truncated) == (512, 512, False)


def test_truncated_allow_reads_the_rows_of_a_png_that_ends_too_early() -> None:
    rows = b"".join(b"\0" + bytes(range(row, row + 7)) for row in range(4))
    for padding in (b"", chunk(b"IDAT", b"")):
        data = _with_data(0, 8, False, rows).replace(IEND, padding + IEND)
        decoded, encoded = upscaled(data, truncated="allow")
        assert decoded.truncated
        assert pixels(encoded.body)[3:5, :, 0].tolist() == [[*range(3, 10)], [0] * 7]


@pytest.mark.parametrize("spoilt", [0, -1])
def test_truncated_allow_accepts_a_png_with_a_wrong_zlib_header_or_checksum(spoilt: int) -> None:
    rows = b"".join(b"\0" + bytes(range(row, row + 7)) for row in range(9))
    stream = bytearray(zlib.compress(rows))
    stream[spoilt] ^= 1
    data = b"".join((PNG_SIGNATURE, header(9, 7, 8, 0, False), chunk(b"IDAT", bytes(stream)), IEND))
    with pytest.raises(UndecodablePicture, match="truncated=allow"):
        codec().decode(data, OPTIONS)
    decoded, encoded = upscaled(data, truncated="allow")
    assert decoded.truncated
    assert pixels(encoded.body)[..., 0].tolist() == [[*range(row, row + 7)] for row in range(9)]


@pytest.mark.parametrize("where", ["nowhere", "behind the data"])
def test_a_palette_picture_without_a_palette_is_refused(where: str) -> None:
    data = _with_data(3, 8, False, b"".join(b"\0" + bytes(range(7)) for _ in range(9)))
    if where == "behind the data":
        data = data.replace(IEND, chunk(b"PLTE", bytes(range(48))) + IEND)
    with pytest.raises(UndecodablePicture, match="no palette"):
        codec().decode(data, OPTIONS)
    with pytest.raises(UndecodablePicture, match="no palette"):
        codec().decode(data, wanted(scale=2, truncated="allow"))


@pytest.mark.parametrize("form", INPUT_FORMATS)
@pytest.mark.parametrize("part", [0.05, 0.3, 0.6, 0.9])
def test_a_truncated_file_is_refused(form: str, part: float) -> None:
    settings: dict[str, Any] = {"compression": "tiff_deflate"} if form == "TIFF" else {}
    data = saved(picture(64, 64, 3), form, **settings)
    with pytest.raises(ClientError):
        codec().decode(data[: int(len(data) * part)], OPTIONS)


@pytest.mark.parametrize("kind", [b"zTXt", b"iTXt", b"iCCP"])
def test_a_zip_bomb_in_a_png_is_refused(kind: bytes) -> None:
    bomb = zlib.compress(bytes(40 << 20), 9)
    prefix = {b"zTXt": b"Comment\0\0", b"iTXt": b"Comment\0\1\0\0\0", b"iCCP": b"x\0\0"}[kind]
    data = write_png(picture(9, 7, 3), 2, 8, extra=[(kind, prefix + bomb)])
    tracemalloc.start()
    try:
        with pytest.raises(UndecodablePicture, match="too large"):
            codec().decode(data, OPTIONS)
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()


def _gif() -> bytes:
    """A GIF cut off inside its image descriptor."""
    file = io.BytesIO()
    Image.new("P", (1, 1)).save(file, "GIF")
    data = file.getvalue()
    return data[: data.index(b",", 13) + 3]


def _deflated_tiff() -> bytes:
    """A deflated TIFF with one byte of the data changed."""
    file = io.BytesIO()
    Image.effect_noise((9, 9), 50).save(file, "TIFF", compression="tiff_adobe_deflate")
    data = bytearray(file.getvalue())
    data[8] ^= 0xFF
    return bytes(data)


def _packed_tiff(compression: str) -> bytes:
    """A 16-bit TIFF whose compressed data is overwritten with zeros."""
    file = io.BytesIO()
    tifffile.imwrite(file, picture(9, 7, 3, np.uint16), photometric="rgb", compression=compression, metadata=None)
    data = file.getvalue()
    with tifffile.TiffFile(io.BytesIO(data)) as read:
        page = read.pages.first
        assert isinstance(page, tifffile.TiffPage)
        at, size = page.dataoffsets[0], page.databytecounts[0]
    return data[:at] + bytes(size) + data[at + size :]


NO_PICTURE = b"\xff\xd8\xff\xe1\0\x08Exif\0\0\xff\xd9"
"""A JPEG that holds only metadata."""


TINY_WEBP = saved(picture(9, 7, 3), "WEBP")
WRITTEN_BADLY = {
    "GIF": _gif(),
    "TIFF": _deflated_tiff(),
    "TIFF, zlib": _packed_tiff("zlib"),
    "TIFF, LZW": _packed_tiff("lzw"),
    "TIFF, Zstandard": _packed_tiff("zstd"),
    "WEBP": TINY_WEBP[:-40],
    "JPEG": NO_PICTURE,
}


@pytest.mark.parametrize("data", WRITTEN_BADLY.values(), ids=WRITTEN_BADLY)
def test_internal_messages_of_decoders_are_not_passed_on(data: bytes) -> None:
    with pytest.raises(UndecodablePicture) as refused:
        codec().decode(data, wanted(2))
    assert not re.search(r"index|range|error|buffer|driver|object|returned|_|-\d", str(refused.value))
    assert re.search(r"Send the whole(, undamaged file\.| file, or ask for what is there)", str(refused.value))


def test_a_png_with_a_million_chunks_is_refused() -> None:
    data = write_png(picture(9, 7, 3), 2, 8)
    flood = data[:33] + chunk(b"teSt", b"") * 1_000_000 + data[33:]
    with pytest.raises(UndecodablePicture, match="more than 65,536 chunks"):
        codec().decode(flood, OPTIONS)


def test_an_apng_with_too_many_chunks_is_refused() -> None:
    data = write_png(picture(9, 7, 3), 2, 8)
    film = data[:33] + chunk(b"acTL", struct.pack(">II", 1, 0)) + chunk(b"fcTL", bytes(26)) * 65_536 + data[33:]
    with pytest.raises(UndecodablePicture, match="more than 65,536 chunks"):
        codec().decode(film, wanted(2, frames="first"))


def test_picture_data_is_not_inflated_beyond_the_picture() -> None:
    endless = zlib.compress(bytes(60 << 20), 9)
    data = PNG_SIGNATURE + header(9, 7, 8, 2) + chunk(b"IDAT", endless) + IEND
    tracemalloc.start()
    try:
        read(data, wanted(scale=4, truncated="allow"), DecodeLimits())
    except ClientError:
        pass
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 16 << 20


def test_floating_point_samples_are_refused_with_a_clear_message() -> None:
    file = io.BytesIO()
    Image.fromarray(np.zeros((4, 4), np.float32)).save(file, "TIFF")
    with pytest.raises(UndecodablePicture, match="floating-point numbers of 32 bits"):
        codec().decode(file.getvalue(), OPTIONS)


@pytest.mark.parametrize(
    "data",
    [
        saved(picture(13, 7, 3), "WEBP"),
        saved(picture(13, 7, 3), "WEBP", lossless=True),
        saved(picture(13, 7, 4), "WEBP"),
    ],
    ids=["lossy", "lossless", "extended"],
)
def test_the_size_of_a_webp_is_read_from_its_header(data: bytes) -> None:
    assert webp_chunks.size(data) == (13, 7)
    assert webp_chunks.size(data[:25]) is None


def test_decoder_errors_give_the_reason_and_what_to_do() -> None:
    data = saved(picture(64, 64, 3), "JPEG")
    with pytest.raises(UndecodablePicture, match=r"The JPEG is damaged: Premature end.*\. Send the whole file"):
        codec().decode(data[:900], OPTIONS)


def test_the_size_of_a_webp_is_checked_before_it_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    def opened(_: object) -> None:
        raise AssertionError("Pillow makes room for the whole canvas here")

    monkeypatch.setattr(WebpReader, "plugin", staticmethod(opened))
    with pytest.raises(TooManyPixels):
        codec().decode(LYING["WEBP"], OPTIONS)
