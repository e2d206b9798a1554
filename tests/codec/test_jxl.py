"""JPEG XL: results that other decoders read, profiles, frames, metadata, damage, and lying headers."""

import ctypes
import struct
from ctypes import byref

import imagecodecs
import numpy as np
import pytest

from app.codec import jxl as libjxl
from app.codec.raster import Raster
from app.codec.reader import read
from app.codec.types import DecodeLimits, Metadata
from app.codec.writers import jxl as writer
from app.errors import TooManyPixels, UndecodablePicture
from tests.codec.metadata.sources import PACKET, exif, exif_block, jxl, png
from tests.codec.support import Array, picture, pixels, saved, upscaled, wanted
from tests.codec.test_metadata import DISPLAY_P3

LIMITS = DecodeLimits()


def _smooth(height: int, width: int) -> Array:
    rows, columns = np.indices((height, width))
    parts = (rows * 200 // height, columns * 200 // width, 250 - rows * 100 // height)
    return np.stack(parts, axis=-1).astype(np.uint8)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_lossless_results_are_exact(channels: int, dtype: type) -> None:
    samples = picture(19, 23, channels, dtype)
    body = writer.write(Raster((samples,), "PNG"), wanted(format="jxl"))
    assert np.array_equal(pixels(body), samples)
    assert np.array_equal(read(body, wanted(2), LIMITS).frames[0], samples)


@pytest.mark.parametrize("lossless", [True, False])
def test_a_profile_is_written_and_read(lossless: bool) -> None:
    raster = Raster((_smooth(40, 48),), "PNG", Metadata(icc=DISPLAY_P3))
    body = writer.write(raster, wanted(format="jxl", lossless=lossless))
    back = read(body, wanted(2), LIMITS)
    assert back.metadata.icc is not None
    in_srgb = read(body, wanted(2, color="srgb"), LIMITS).frames[0].astype(int)
    expected = read(saved(_smooth(40, 48), "PNG", icc_profile=DISPLAY_P3), wanted(2, color="srgb"), LIMITS).frames[0]
    assert np.abs(in_srgb - expected).max() <= (1 if lossless else 30)


def test_srgb_needs_no_profile() -> None:
    body = writer.write(Raster((_smooth(40, 48),), "PNG"), wanted(format="jxl"))
    found = read(body, wanted(2), LIMITS).metadata
    assert (found.icc, found.srgb) == (None, True)


def test_metadata_is_written_to_boxes_and_read_again() -> None:
    data = jxl((b"Exif", bytes(4) + exif_block(exif())), (b"xml ", PACKET.encode()))
    _, encoded = upscaled(data, 2, metadata="keep", encode=wanted(format="jxl"))
    assert b"A. Painter" in encoded.body
    assert b"SECRET" not in encoded.body
    again = read(encoded.body, wanted(2, metadata="keep"), LIMITS).metadata
    assert again.exif is not None and b"A. Painter" in again.exif
    assert again.xmp is not None and b'dc:title="Dunes"' in again.xmp
    assert read(encoded.body, wanted(2), LIMITS).metadata.exif is None


def test_compressed_boxes_that_unpack_to_too_much_are_dropped() -> None:
    bomb = b"xml " + bytes(imagecodecs.brotli_encode(bytes(8 << 20)))
    assert len(bomb) < 10_000
    found = read(jxl((b"brob", bomb)), wanted(2, metadata="all"), LIMITS)
    assert found.metadata.dropped == ("xmp dropped (unreadable)",)


def _film(count: int) -> tuple[bytes, Array]:
    frames = np.stack([picture(9, 8, 3, seed=seed) for seed in range(count)])
    return bytes(imagecodecs.jpegxl_encode(frames, lossless=True)), frames


def test_frames_of_an_animation_are_read_in_order() -> None:
    data, frames = _film(3)
    raster = read(data, wanted(2, frames="all"), LIMITS)
    assert np.array_equal(np.stack(raster.frames), frames)
    assert len(raster.durations_ms) == 3
    assert len(read(data, wanted(2, frames="first"), LIMITS).frames) == 1


def test_frames_count_towards_the_limit_before_any_is_decoded() -> None:
    data, _ = _film(3)
    with pytest.raises(TooManyPixels, match="3 frames"):
        read(data, wanted(2, frames="all"), DecodeLimits(max_input_pixels=2 * 9 * 8))


def _layered(samples: Array) -> bytes:
    """A still made of these layers (N, H, W, 3), each replacing the one below."""
    library, info, colors = libjxl.library(), libjxl.BasicInfo(), libjxl.ColorEncoding()
    encoder, out = library.JxlEncoderCreate(None), ctypes.create_string_buffer(1 << 16)
    library.JxlEncoderInitBasicInfo(byref(info))
    _, info.ysize, info.xsize, info.num_color_channels = samples.shape
    info.bits_per_sample, info.uses_original_profile = 8, 1
    library.JxlEncoderSetBasicInfo(encoder, byref(info))
    library.JxlColorEncodingSetToSRGB(byref(colors), 0)
    library.JxlEncoderSetColorEncoding(encoder, byref(colors))
    settings = library.JxlEncoderFrameSettingsCreate(encoder, None)
    library.JxlEncoderSetFrameLossless(settings, 1)
    layout = libjxl.PixelFormat(3, libjxl.UINT8, 0, 0)
    for layer in samples:
        library.JxlEncoderAddImageFrame(settings, byref(layout), layer.ctypes.data, layer.nbytes)
    library.JxlEncoderCloseInput(encoder)
    end, left = ctypes.c_void_p(ctypes.addressof(out)), ctypes.c_size_t(len(out))
    assert library.JxlEncoderProcessOutput(encoder, byref(end), byref(left)) == libjxl.SUCCESS
    library.JxlEncoderDestroy(encoder)
    return out.raw[: len(out) - left.value]


def test_layers_form_one_picture_and_count_before_any_is_decoded() -> None:
    layers = np.stack([picture(9, 8, 3, seed=seed) for seed in range(10)])
    data = _layered(layers)
    assert np.array_equal(read(data, wanted(2), DecodeLimits(max_input_pixels=2 * 9 * 8)).frames[0], layers[-1])
    with pytest.raises(TooManyPixels, match=r"9 layers or more, which have 648 pixels .* at most 576"):
        read(data, wanted(2), DecodeLimits(max_input_pixels=9 * 8))


def test_a_header_that_declares_too_many_pixels_is_refused() -> None:
    data = saved(picture(9, 8, 3), "JXL")
    assert data[:2] == b"\xff\x0a"
    # SizeHeader: not small, 30 bits of height, ratio 1:1. (18181-1, D.2.)
    bits = 0 | 3 << 1 | (60_000 - 1) << 3 | 1 << 33
    lying = b"\xff\x0a" + struct.pack("<Q", bits)[:5] + data[2:]
    with pytest.raises(TooManyPixels, match="60000 x 60000"):
        read(lying, wanted(2), LIMITS)


def test_truncated_allow_reads_the_decodable_part() -> None:
    samples = _smooth(600, 700) + picture(600, 700, 3) // 8
    data = bytes(imagecodecs.jpegxl_encode(samples, distance=1.0))
    whole = np.asarray(imagecodecs.jpegxl_decode(data)).astype(int)
    cut = data[: len(data) * 3 // 4]
    with pytest.raises(UndecodablePicture):
        read(cut, wanted(2), LIMITS)
    raster = read(cut, wanted(2, truncated="allow"), LIMITS)
    assert raster.truncated
    same = (np.abs(raster.frames[0] - whole) <= 1).all(axis=2)  # imagecodecs dithers
    assert 0.3 < same.mean() < 1


@pytest.mark.parametrize("level", [30, 128])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_flat_colours_are_not_dithered(channels: int, level: int) -> None:
    samples = np.full((64, 64, channels), level, np.uint8)
    decoded = read(bytes(imagecodecs.jpegxl_encode(samples, distance=1.0)), wanted(2), LIMITS).frames[0]
    assert decoded.shape == samples.shape
    assert (decoded == decoded[:1, :1]).all()
    assert np.abs(decoded.astype(int) - samples).max() <= 1


def test_resolution_is_written_to_exif() -> None:
    source = png((b"pHYs", b"\0\0\x2e\x23\0\0\x2e\x23\1"))
    _, encoded = upscaled(source, 2, metadata="keep", encode=wanted(format="jxl"))
    again = read(encoded.body, wanted(2, metadata="keep"), LIMITS).metadata
    assert again.dpi is not None and round(again.dpi[0]) == 600


def test_floating_point_samples_are_refused_with_a_clear_message() -> None:
    data = bytes(imagecodecs.jpegxl_encode(np.zeros((9, 8, 3), np.float32), lossless=True))
    with pytest.raises(UndecodablePicture, match="floating-point numbers of 32 bits"):
        read(data, wanted(2), LIMITS)


def test_many_extra_channels_are_refused() -> None:
    planes = np.zeros((9, 64, 64), np.uint8)
    data = bytes(imagecodecs.jpegxl_encode(planes, photometric="gray", planar=True, lossless=True))
    with pytest.raises(UndecodablePicture, match="8 channels beside its colours"):
        read(data, wanted(2), LIMITS)
