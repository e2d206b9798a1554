"""HEIC: tiles, orientation, colours given by code points, alpha, and files whose headers lie about their size."""

import io
import struct

import numpy as np
import pillow_heif
import pytest

from app.codec import heif
from app.codec.metadata import separated
from app.codec.reader import read
from app.codec.types import DecodeLimits
from app.errors import TooManyPixels, UndecodablePicture
from tests.codec.metadata.sources import exif, exif_block, with_all
from tests.codec.support import Array, picture, saved, wanted

LIMITS = DecodeLimits()


def _decoded(data: bytes) -> Array:
    return read(data, wanted(2), LIMITS).frames[0]


def _grid(height: int, width: int) -> tuple[bytes, Array]:
    samples = picture(height, width, 3)
    return saved(samples, "HEIC", tile_size=64), samples


def test_a_grid_of_tiles_is_one_picture() -> None:
    data, samples = _grid(100, 150)
    assert heif.Items(data).coded() == (6, 6 * 64 * 64)
    assert np.array_equal(_decoded(data), samples)


def test_a_grid_of_more_pixels_than_its_picture_is_refused_before_it_is_decoded() -> None:
    data, _ = _grid(100, 150)
    size = struct.pack(">II", 64, 64)
    assert data.count(size) == 1
    lying = data.replace(size, struct.pack(">II", 4096, 4096))
    with pytest.raises(TooManyPixels, match=r"6 pictures of 100,663,296 pixels; at most 4,096 of 33,554,432"):
        _decoded(lying)


def test_a_picture_that_refers_to_itself_does_not_loop() -> None:
    data, _ = _grid(100, 150)
    items = heif.Items(data)
    at = data.index(b"dimg") + 4
    first = struct.pack(">H", items.primary_id)
    looped = data[: at + 4] + first * 6 + data[at + 16 :]
    with pytest.raises((TooManyPixels, UndecodablePicture)):
        _decoded(looped)
    assert heif.Items(looped).coded()[0] > 4096


def _box(kind: bytes, *body: bytes) -> bytes:
    content = b"".join(body)
    return struct.pack(">I", 8 + len(content)) + kind + content


def test_properties_may_be_associated_in_two_boxes() -> None:
    """One with 7-bit property indices and one with 15-bit ones, for different items. (ISO/IEC 23008-12, 9.3.)"""
    size, turned = _box(b"ispe", bytes(4), struct.pack(">II", 30, 20)), _box(b"irot", b"\1")
    short = _box(b"ipma", bytes(4), struct.pack(">IHBBB", 1, 1, 2, 1, 0x82))
    long = _box(b"ipma", struct.pack(">IIHBH", 1, 1, 2, 1, 1))
    for both in (short + long, long + short):
        picture_of = _box(b"iprp", _box(b"ipco", size, turned), both)
        items = heif.Items(_box(b"meta", bytes(4), _box(b"pitm", bytes(4), b"\0\1"), picture_of))
        assert heif.size(items.primary) == heif.size(items.properties(2)) == (20, 30)
        assert (heif.orientation(items.primary), heif.orientation(items.properties(2))) == (8, 1)


@pytest.mark.parametrize("boxes", ["boxes", "items with properties", "extents of no bytes"])
def test_the_number_of_boxes_that_are_read_is_limited(boxes: str) -> None:
    flood = {
        "boxes": _box(b"free") * 65_537,
        "items with properties": _box(b"iprp", _box(b"ipma", struct.pack(">II", 0, 1), bytes(3 * 65_537))),
        "extents of no bytes": _box(
            b"iloc", struct.pack(">IHH", 1 << 24, 0, 2), struct.pack(">4H", 9, 0, 0, 65_535) * 2
        ),
    }[boxes]
    data = saved(picture(9, 8, 3), "HEIC")
    at = data.index(b"meta") - 4
    size = int.from_bytes(data[at : at + 4], "big")
    meta = _box(b"meta", data[at + 8 : at + size], flood)
    with pytest.raises(UndecodablePicture, match="more than 65,536 boxes, or entries"):
        _decoded(data[:at] + meta + data[at + size :])


def test_a_picture_without_a_size_is_refused_with_a_clear_message() -> None:
    data = saved(picture(9, 8, 3), "HEIC")
    with pytest.raises(UndecodablePicture, match=r"how large its picture is \(box ispe\)"):
        _decoded(data.replace(b"ispe", b"free"))


def test_a_header_that_declares_too_many_pixels_is_refused() -> None:
    data = saved(picture(40, 48, 3), "HEIC")
    at = data.index(b"ispe") + 8
    with pytest.raises(TooManyPixels, match="60000 x 60000"):
        _decoded(data[:at] + struct.pack(">II", 60000, 60000) + data[at + 8 :])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_of_the_container_is_applied_once(orientation: int) -> None:
    samples = picture(40, 48, 3)
    made = exif(orientation)
    data = saved(samples, "HEIC", exif=exif_block(made))
    raster = read(data, wanted(2, metadata="keep"), LIMITS)
    expected = samples
    if orientation >= 5:
        expected = expected.transpose(1, 0, 2)
    if orientation in (2, 3, 6, 7):
        expected = expected[:, ::-1]
    if orientation in (3, 4, 7, 8):
        expected = expected[::-1]
    assert np.array_equal(raster.frames[0], expected)
    assert heif.orientation(heif.Items(data).primary) == orientation
    assert raster.metadata.exif is not None and b"A. Painter" in raster.metadata.exif


def test_gray_with_alpha_stays_gray() -> None:
    samples = picture(40, 48, 2)
    samples[..., 1] |= 1
    data = saved(samples, "HEIC")
    own = heif.Items(data).primary
    if own[b"pixi"][4] != 1:
        pytest.skip("this writer stores gray with alpha as RGB")
    assert np.array_equal(_decoded(data), samples)


@pytest.mark.parametrize(("primaries", "converted"), [(12, True), (1, False)])
def test_code_points_become_a_profile(primaries: int, converted: bool) -> None:
    data = saved(np.full((16, 16, 3), (180, 90, 60), np.uint8), "HEIC")
    at = data.index(b"nclx") + 4
    data = data[:at] + struct.pack(">HH", primaries, 13) + data[at + 4 :]
    assert (read(data, wanted(2), LIMITS).metadata.icc is not None) is converted
    shown = read(data, wanted(2, color="srgb"), LIMITS).frames[0][0, 0]
    assert np.abs(shown.astype(int) - ((193, 83, 51) if converted else (180, 90, 60))).max() <= 2


def test_only_the_primary_picture_is_decoded() -> None:
    pictures = [picture(40, 48, 3, seed=seed) for seed in range(3)]
    container = pillow_heif.from_bytes("RGB", (48, 40), pictures[0].tobytes())
    for samples in pictures[1:]:
        container.add_frombytes("RGB", (48, 40), samples.tobytes())
    file = io.BytesIO()
    container.save(file, quality=-1, chroma=444, matrix_coefficients=0, primary_index=1)
    assert np.array_equal(_decoded(file.getvalue()), pictures[1])
    assert len(read(file.getvalue(), wanted(2, frames="all"), LIMITS).frames) == 1


def test_libheif_gets_no_metadata() -> None:
    plain, blocks = separated("HEIC", with_all("HEIC"), 1 << 20)
    assert blocks.exif is not None and len(blocks.xmp) == 1
    info = pillow_heif.open_heif(plain).info
    assert info["exif"] is None
    assert not info.get("xmp")


def test_a_truncated_file_is_refused_with_a_clear_message() -> None:
    data = saved(picture(40, 48, 3), "HEIC")
    with pytest.raises(UndecodablePicture, match=r"HEIC cannot be decoded in part.*send the whole file"):
        read(data[: len(data) // 2], wanted(2, truncated="allow"), LIMITS)
