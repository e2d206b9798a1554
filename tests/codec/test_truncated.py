"""truncated=allow: the data present in an incomplete file is read exactly, the rest is empty, and this is reported."""

import io
import struct
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from app.codec import webp_chunks
from app.codec.reader import read
from app.codec.types import DecodeLimits
from app.errors import UndecodablePicture
from app.formats import INPUT_FORMATS
from tests.codec.png_reference import write_png
from tests.codec.support import Array, codec, picture, pixels, saved, upscaled, wanted

OPTIONS = wanted(scale=4)
ALLOW = wanted(scale=1, truncated="allow")


def _smooth(channels: int = 3, side: int = 160) -> Array:
    rows, columns = np.indices((side, side))
    parts = (rows, columns, (rows * columns) % 256, np.maximum(255 - rows, 1))
    return np.stack(parts[:channels], axis=-1).astype(np.uint8)


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("interlaced", [False, True])
def test_truncated_allow_reads_the_complete_rows_of_a_png(depth: int, interlaced: bool) -> None:
    samples = picture(40, 30, 3, np.uint8 if depth == 8 else np.uint16)
    data = write_png(samples, 2, depth, interlaced=interlaced)
    decoded, encoded = upscaled(data[: len(data) // 2], truncated="allow")
    assert decoded.truncated
    out = pixels(encoded.body)
    if interlaced:
        assert np.array_equal(out[::8, ::8], samples[::8, ::8])
    else:
        assert np.array_equal(out[:15], samples[:15])
        assert (out[30:] == 0).all()


def test_truncated_allow_accepts_a_whole_png_with_a_wrong_checksum() -> None:
    data = bytearray(write_png(picture(9, 7, 3), 2, 8))
    at = data.index(b"IDAT")
    end = at + 4 + struct.unpack_from(">I", data, at - 4)[0]
    data[end : end + 4] = bytes(4)
    decoded, encoded = upscaled(bytes(data), truncated="allow")
    assert decoded.truncated
    assert np.array_equal(pixels(encoded.body), picture(9, 7, 3))


@pytest.mark.parametrize(
    ("form", "settings"),
    [("JPEG", {}), ("JPEG", {"progressive": True}), ("BMP", {}), ("GIF", {"interlace": 0}), ("TIFF", {})],
)
def test_truncated_allow_reads_the_decodable_part_of_other_formats(form: str, settings: dict[str, Any]) -> None:
    whole = saved(_smooth(), form, **settings)
    cut = whole[: len(whole) * 6 // 10]
    with pytest.raises(UndecodablePicture):
        codec().decode(cut, OPTIONS)
    decoded, encoded = upscaled(cut, truncated="allow")
    assert decoded.truncated
    complete = np.asarray(Image.open(io.BytesIO(whole)).convert("RGB")).astype(int)
    out = pixels(encoded.body)
    assert not np.array_equal(out, complete)
    if settings.get("progressive"):  # every row is present, but coarse
        assert np.abs(out - complete).mean() < 30
    else:
        there = slice(120, 160) if form == "BMP" else slice(0, 40)  # a BMP is stored from its last row up
        assert np.array_equal(out[there], complete[there])


@pytest.mark.parametrize("form", INPUT_FORMATS)
def test_a_complete_file_is_not_reported_as_truncated(form: str) -> None:
    decoded, _ = upscaled(saved(picture(16, 16, 3), form), truncated="allow")
    assert not decoded.truncated


WEBPS = [(3, False), (4, False), (3, True), (4, True)]


@pytest.mark.parametrize("riff", ["as it was", "zero", "of the cut file"])
@pytest.mark.parametrize(("channels", "lossless"), WEBPS)
def test_truncated_allow_reads_the_complete_rows_of_a_webp(channels: int, lossless: bool, riff: str) -> None:
    whole = saved(_smooth(channels), "WEBP", lossless=lossless, exact=True)
    cut = bytearray(whole[: len(whole) * 6 // 10])
    if riff != "as it was":
        cut[4:8] = (0 if riff == "zero" else len(cut) - 8).to_bytes(4, "little")
    with pytest.raises(UndecodablePicture):
        codec().decode(bytes(cut), OPTIONS)
    decoded, encoded = upscaled(bytes(cut), truncated="allow")
    assert decoded.truncated
    out, complete = pixels(encoded.body), np.asarray(Image.open(io.BytesIO(whole)))
    assert np.array_equal(out[:60], complete[:60])
    assert (out[130:, :, 3] == 0).all() if channels == 4 else (out[130:] == 0).all()


def test_truncated_allow_reads_the_rows_above_the_damage_in_a_webp() -> None:
    whole = saved(_smooth(), "WEBP", lossless=True)
    half = len(whole) // 2
    damaged = whole[:half] + bytes(len(whole) - half)
    complete = np.asarray(Image.open(io.BytesIO(whole)))
    _, encoded = upscaled(damaged, truncated="allow")
    assert np.array_equal(pixels(encoded.body)[:40], complete[:40])


def test_a_webp_cut_after_its_picture_keeps_its_exif_and_pixels() -> None:
    exif = Image.Exif()
    exif[0x013B] = "A. Painter " * 20
    samples = picture(9, 7, 3)
    whole = saved(samples, "WEBP", lossless=True, exif=exif, xmp=b"<x/>" * 40)
    decoded, encoded = upscaled(whole[:-4], truncated="allow", metadata="keep")
    assert decoded.truncated
    assert decoded.metadata.xmp is None
    assert decoded.metadata.exif is not None
    assert np.array_equal(pixels(encoded.body), samples)


def test_orientation_is_applied_to_a_truncated_webp() -> None:
    whole = saved(_smooth()[:, :100], "WEBP", lossless=True)
    kind = whole[12:]
    body = b"VP8X" + struct.pack("<I", 10) + bytes([8, 0, 0, 0, 99, 0, 0, 159, 0, 0])
    tag = b"EXIF" + struct.pack("<I", 26) + b"II*\0\x08\0\0\0\1\0\x12\1\3\0\1\0\0\0\6\0\0\0" + bytes(4)
    data = b"RIFF" + struct.pack("<I", 4 + len(body + tag + kind)) + b"WEBP" + body + tag + kind
    decoded, _ = upscaled(data[:-400], truncated="allow")
    assert (decoded.height, decoded.width) == (100, 160)


@pytest.mark.parametrize("part", [12, 20, 29, 40])
@pytest.mark.parametrize(("channels", "lossless"), WEBPS)
def test_a_webp_without_a_complete_row_is_refused_with_a_clear_message(
    channels: int, lossless: bool, part: int
) -> None:
    whole = saved(_smooth(channels), "WEBP", lossless=lossless)
    with pytest.raises(UndecodablePicture, match="The WebP"):
        codec().decode(whole[:part], ALLOW)


def _film(form: str, frames: list[Array], **settings: Any) -> bytes:
    images = [Image.fromarray(frame) for frame in frames]
    if form == "GIF":
        images = [image.quantize(16) for image in images]
    file = io.BytesIO()
    images[0].save(file, form, save_all=True, append_images=images[1:], duration=40, **settings)
    return file.getvalue()


def test_truncated_allow_reads_the_complete_frames_of_an_animated_webp() -> None:
    frames = [picture(40, 30, 3, seed=seed) for seed in range(3)]
    whole = _film("WEBP", frames, lossless=True)
    cut = whole[:-100]
    with pytest.raises(UndecodablePicture):
        codec().decode(cut, wanted(scale=1, frames="all"))
    decoded, _ = upscaled(cut, truncated="allow", frames="all")
    assert (decoded.truncated, len(decoded.frames)) == (True, 2)
    _, encoded = upscaled(cut, truncated="allow", frames="first")
    assert np.array_equal(pixels(encoded.body), frames[0])
    with pytest.raises(UndecodablePicture, match="ends before its first frame does"):
        codec().decode(whole[:200], ALLOW)


def test_a_complete_animated_webp_is_unchanged() -> None:
    whole = _film("WEBP", [picture(40, 30, 3, seed=seed) for seed in range(3)], lossless=True)
    assert webp_chunks.whole_frames(whole) == whole
    assert not upscaled(whole, truncated="allow", frames="all")[0].truncated


def test_truncated_allow_reads_the_complete_frames_of_a_gif() -> None:
    frames = [picture(40, 30, 3, seed=seed) for seed in range(3)]
    whole = _film("GIF", frames)
    decoded, _ = upscaled(whole[: len(whole) * 8 // 10], truncated="allow", frames="all")
    assert decoded.truncated
    assert 2 <= len(decoded.frames) <= 3
    complete = np.asarray(Image.open(io.BytesIO(whole)).convert("RGB"))
    _, encoded = upscaled(whole[: len(whole) * 8 // 10], truncated="allow", frames="first")
    assert np.array_equal(pixels(encoded.body)[..., :3], complete)


@pytest.mark.parametrize("kept", [1, 2, 3])
def test_a_gif_cut_between_frames_is_reported_as_truncated(kept: int) -> None:
    """Every frame present is complete; only the end of the file is missing."""
    parts = [_film("GIF", [picture(40, 30, 3, seed=seed) for seed in range(count)])[:-1] for count in (1, 2, 3)]
    cut = parts[2][: len(parts[kept - 1])]
    with pytest.raises(UndecodablePicture, match="The GIF has no end"):
        codec().decode(cut, wanted(2, frames="all"))
    decoded, _ = upscaled(cut, truncated="allow", frames="all")
    assert (decoded.truncated, len(decoded.frames)) == (True, kept)
    assert not codec().decode(cut, wanted(2, frames="first")).truncated


@pytest.mark.parametrize("part", [0.3, 0.6, 0.95])
def test_a_truncated_avif_is_refused_with_a_clear_message(part: float) -> None:
    whole = saved(_smooth(), "AVIF")
    with pytest.raises(UndecodablePicture, match=r"AVIF cannot be decoded in part.*send the whole file"):
        codec().decode(whole[: int(len(whole) * part)], ALLOW)


def _deep_tiff(**settings: Any) -> tuple[bytes, Array]:
    samples = picture(64, 48, 3, np.uint16)
    file = io.BytesIO()
    tifffile.imwrite(file, samples, photometric="rgb", metadata=None, **settings)
    return file.getvalue(), samples


@pytest.mark.parametrize("settings", [{}, {"rowsperstrip": 8}])
def test_truncated_allow_reads_the_complete_strips_of_a_sixteen_bit_tiff(settings: dict[str, Any]) -> None:
    whole, samples = _deep_tiff(**settings)
    cut = whole[: len(whole) * 6 // 10]
    with pytest.raises(UndecodablePicture):
        codec().decode(cut, OPTIONS)
    decoded, encoded = upscaled(cut, truncated="allow")
    assert (decoded.truncated, decoded.depth) == (True, 16)
    out = pixels(encoded.body)
    assert np.array_equal(out[:36], samples[:36])
    assert (out[40:] == 0).all()
    assert not upscaled(whole, truncated="allow")[0].truncated


@pytest.mark.parametrize("settings", [{"rowsperstrip": 27}, {"tile": (128, 128)}, {"tile": (16, 32)}], ids=str)
def test_only_an_incomplete_sixteen_bit_tiff_is_reported_as_truncated(settings: dict[str, Any]) -> None:
    """Also with a last strip of fewer rows than the others, and tiles that extend beyond the edge."""
    whole, samples = _deep_tiff(**settings)
    decoded, encoded = upscaled(whole, truncated="allow")
    assert not decoded.truncated
    assert np.array_equal(pixels(encoded.body), samples)
    decoded, encoded = upscaled(whole[:-9], truncated="allow")
    assert decoded.truncated
    assert np.array_equal(pixels(encoded.body)[:54], samples[:54])


def test_an_incomplete_compressed_sixteen_bit_tiff_is_refused() -> None:
    whole, _ = _deep_tiff(compression="zlib")
    with pytest.raises(UndecodablePicture, match="Send the whole, undamaged file"):
        codec().decode(whole[:-2000], ALLOW)


@pytest.mark.parametrize("settings", [{}, {"byteorder": ">"}, {"bigtiff": True}, {"bigtiff": True, "byteorder": ">"}])
@pytest.mark.parametrize("truncated", ["refuse", "allow"])
def test_a_tiff_without_its_whole_directory_says_so(settings: dict[str, Any], truncated: Any) -> None:
    """libtiff and Pillow write it behind the samples, and it names the predictor near its end."""
    samples, file = picture(20, 30, 3), io.BytesIO()
    tifffile.imwrite(file, samples, photometric="rgb", metadata=None, **settings)
    whole = file.getvalue()
    big, order = settings.get("bigtiff", False), "big" if "byteorder" in settings else "little"
    place, last = (slice(8, 16), 20) if big else (slice(4, 8), 12)
    start = int.from_bytes(whole[place], order)  # type: ignore[arg-type]  # it is one of two
    with tifffile.TiffFile(io.BytesIO(whole)) as opened_file:
        page = opened_file.pages.first
        assert isinstance(page, tifffile.TiffPage)
        end = start + (8 if big else 2) + last * len(page.tags)
    moved = bytearray(whole + whole[start : end + last])
    moved[place] = len(whole).to_bytes(place.stop - place.start, order)  # type: ignore[arg-type]
    _, encoded = upscaled(bytes(moved))
    assert np.array_equal(pixels(encoded.body), samples)
    for at in (len(whole) - 100, len(whole), len(whole) + 1, len(moved) - last - 5):
        with pytest.raises(UndecodablePicture, match="before the directory that says what is in it"):
            codec().decode(bytes(moved[:at]), wanted(2, truncated=truncated))


@pytest.mark.parametrize("form", ["TIFF", "WEBP", "GIF"])
def test_the_error_of_a_file_cut_in_its_samples_says_what_can_be_asked_for(form: str) -> None:
    whole = saved(_smooth(), form)
    with pytest.raises(UndecodablePicture, match="or ask for what is there with truncated=allow"):
        codec().decode(whole[: len(whole) * 3 // 4], wanted(2))


@pytest.mark.parametrize("form", ["TIFF", "BMP", "GIF", "JPEG", "PNG"])
def test_a_file_that_ends_in_its_header_is_refused(form: str) -> None:
    with pytest.raises(UndecodablePicture):
        codec().decode(saved(_smooth(), form)[:16], ALLOW)


@pytest.mark.parametrize(
    ("form", "settings", "missing"),
    [("PNG", {}, 12), ("JPEG", {}, 2), ("JPEG", {"progressive": True}, 2), ("GIF", {}, 1), ("WEBP", {}, 1)],
)
def test_a_flat_picture_that_lacks_only_its_end_mark_is_accepted(
    form: str, settings: dict[str, Any], missing: int
) -> None:
    whole = saved(np.full((16, 24, 3), (250, 250, 250), np.uint8), form, **settings)
    raster = read(whole[:-missing], wanted(2, truncated="allow", frames="all"), DecodeLimits())
    assert raster.truncated
    assert (raster.frames[0][..., :3] == 250).all()


def test_an_animation_of_flat_frames_that_lacks_its_end_mark_is_accepted() -> None:
    file, stills = io.BytesIO(), [Image.new("L", (24, 16), level) for level in (0, 200)]
    stills[0].save(file, "GIF", save_all=True, append_images=stills[1:])
    raster = read(file.getvalue()[:-1], wanted(2, truncated="allow", frames="all"), DecodeLimits())
    assert raster.truncated
    assert [frame[..., :3].mean() for frame in raster.frames] == [0, 200]


def test_a_gif_without_any_pixel_is_refused() -> None:
    whole = saved(_smooth(), "GIF")
    with pytest.raises(UndecodablePicture, match="Nothing of the GIF's pixels"):
        read(whole[: whole.rindex(b",", 0, 810) + 12], wanted(2, truncated="allow"), DecodeLimits())
