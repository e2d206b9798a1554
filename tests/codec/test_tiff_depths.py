"""TIFFs of every depth, byte order and colour type, written here as specified, are read at their own full scale."""

import io
import itertools
import struct
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from app.codec.reader import read
from app.codec.readers import tiff_page
from app.codec.types import DecodeLimits, Samples
from app.errors import TooManyPixels, UndecodablePicture, UnsupportedFormat
from tests.codec.support import picture, wanted

CASES = Path(__file__).parent / "cases"
Order = Literal["<", ">"]
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE = range(4)
INKS = 5
_FORMATS = {3: "H", 4: "I"}


def tiff(samples: NDArray[Any], bits: int, order: Order, photometric: int, **more: tuple[int, list[int]]) -> bytes:
    """An uncompressed TIFF of one strip; `more` are further tags, as in `t330=(type, values)`."""
    height, width, channels = samples.shape
    if bits == 16:
        body = samples.astype(f"{order}u2").tobytes()
    else:
        ones = samples.reshape(height, -1)[..., None] >> np.arange(bits - 1, -1, -1) & 1
        body = np.packbits(ones.reshape(height, -1).astype(np.uint8), axis=1).tobytes()
    tags: dict[int, tuple[int, list[int]]] = {
        256: (4, [width]), 257: (4, [height]), 258: (3, [bits] * channels), 259: (3, [1]), 262: (3, [photometric]),
        273: (4, [0]), 277: (3, [channels]), 278: (4, [height]), 279: (4, [len(body)]),
    }  # fmt: skip
    if channels == 4:
        tags[338] = (3, [2])
    tags |= {int(name[1:]): value for name, value in more.items()}
    at = 8 + 2 + 12 * len(tags) + 4
    far = b""
    entries: list[tuple[int, int, int, bytes]] = []
    for tag, (kind, values) in sorted(tags.items()):
        packed = struct.pack(f"{order}{len(values)}{_FORMATS[kind]}", *values)
        if len(packed) > 4:
            packed, far = struct.pack(f"{order}I", at + len(far)), far + packed
        entries.append((tag, kind, len(values), packed.ljust(4, b"\0")))
    pixels_at = struct.pack(f"{order}I", at + len(far))
    header = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}IH", 8, len(tags))
    directory = b"".join(
        struct.pack(f"{order}HHI", tag, kind, count) + (pixels_at if tag == 273 else value)
        for tag, kind, count, value in entries
    )
    return header + directory + bytes(4) + far + body


def decoded(data: bytes, **options: Any) -> Samples:
    return read(data, wanted(scale=2, **options), DecodeLimits()).frames[0]


def of_depth(bits: int, channels: int) -> NDArray[Any]:
    samples = picture(5, 7, channels, np.uint16) >> (16 - bits)
    return samples if bits > 8 else samples.astype(np.uint8)


@pytest.mark.parametrize(
    ("channels", "photometric"), [(1, BLACK_IS_ZERO), (1, WHITE_IS_ZERO), (3, RGB), (4, RGB)], ids=str
)
@pytest.mark.parametrize(("bits", "order"), [*itertools.product(range(1, 17), "<>")])
def test_every_depth_has_its_own_full_scale(bits: int, order: Order, channels: int, photometric: int) -> None:
    samples = of_depth(bits, channels)
    full, target = (1 << bits) - 1, 255 if bits <= 8 else 65535
    scaled = np.floor(samples.astype(np.float64) * target / full + 0.5)
    expected = target - scaled if photometric == WHITE_IS_ZERO else scaled
    np.testing.assert_array_equal(decoded(tiff(samples, bits, order, photometric)), expected)


@pytest.mark.parametrize(("bits", "order"), [*itertools.product(range(1, 17), "<>")])
def test_palettes_of_every_depth_are_read(bits: int, order: Order) -> None:
    indices = of_depth(bits, 1)
    colors = np.random.default_rng(bits).integers(0, 256, (3, 1 << bits))
    data = tiff(indices, bits, order, PALETTE, t320=(3, [int(value) * 257 for value in colors.reshape(-1)]))
    np.testing.assert_array_equal(decoded(data), colors.T[indices[..., 0]])


@pytest.mark.parametrize("bits", [1, 4, 8, 12, 16])
@pytest.mark.parametrize("extra", [1, 2], ids=["premultiplied", "straight"])
def test_palettes_with_alpha_are_read(extra: int, bits: int) -> None:
    samples, full = of_depth(bits, 2), (1 << bits) - 1
    colors = np.random.default_rng(bits).integers(0, 256, (3, 1 << bits))
    colormap = [int(value) * 257 for value in colors.reshape(-1)]
    found = decoded(tiff(samples, bits, "<", PALETTE, t320=(3, colormap), t338=(3, [extra])))
    shown, alpha = colors.T[samples[..., 0]], np.floor(samples[..., 1:] * (255 / full) + 0.5)
    if extra == 1:
        shown = np.minimum(np.rint(shown * 255 / np.maximum(alpha, 1)), 255)
    np.testing.assert_array_equal(found, np.concatenate((shown, alpha), axis=2))


@pytest.mark.parametrize("compression", [None, "lzw"])
@pytest.mark.parametrize("colors", [1, 3])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_premultiplied_alpha_is_divided_out_and_rounded(dtype: type, colors: int, compression: str | None) -> None:
    """For eight bits, Pillow rounded down."""
    full = np.iinfo(dtype).max
    samples = np.random.default_rng(colors).integers(0, full, (20, 20, colors + 1), dtype, endpoint=True)
    alpha = samples[..., -1:]
    samples[..., :-1] = np.minimum(samples[..., :-1], alpha)
    file, photometric = io.BytesIO(), "rgb" if colors == 3 else "minisblack"
    stored = samples if colors == 3 else samples[None]
    tifffile.imwrite(file, stored, photometric=photometric, planarconfig="contig", extrasamples=["assocalpha"],
                     compression=compression)  # fmt: skip
    straight = np.rint(samples[..., :-1] * float(full) / np.maximum(alpha, 1))
    np.testing.assert_array_equal(decoded(file.getvalue()), np.concatenate((straight, alpha), axis=2))


def test_twelve_bit_gray_is_read() -> None:
    samples = decoded((CASES / "tiff_gray12_le.tif").read_bytes())
    assert samples.dtype == np.uint16
    assert samples.mean() == 32776


@pytest.mark.parametrize("compression", ["webp", "zstd", "lzma", "packbits"])
def test_compressions_that_pillow_lacks_are_read(compression: str) -> None:
    samples = picture(16, 16, 3)
    file = io.BytesIO()
    arguments = {"lossless": True, "level": 101} if compression == "webp" else None
    tifffile.imwrite(file, samples, photometric="rgb", compression=compression, compressionargs=arguments)
    np.testing.assert_array_equal(decoded(file.getvalue()), samples)


@pytest.mark.parametrize(("horizontal", "vertical"), [(2, 2), (2, 1), (1, 2), (4, 1)])
def test_uncompressed_subsampled_chroma_is_read(horizontal: int, vertical: int) -> None:
    """Blocks of luma, each followed by one Cb and one Cr; for a gray ramp, the siting of chroma does not matter."""
    luma = np.arange(64, dtype=np.uint8).reshape(8, 8) * 3
    blocks = luma.reshape(8 // vertical, vertical, 8 // horizontal, horizontal).swapaxes(1, 2)
    units = blocks.reshape(-1, vertical * horizontal)
    body = np.concatenate((units, np.full((len(units), 2), 128, np.uint8)), axis=1).tobytes()
    data = tiff(luma[..., None].repeat(3, 2), 8, "<", 6, t530=(3, [horizontal, vertical]), t279=(4, [len(body)]))
    data = data[: -luma.size * 3] + body
    np.testing.assert_allclose(decoded(data), luma[..., None].repeat(3, 2), atol=1)


@pytest.mark.parametrize("compression", [None, "zlib", "packbits"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize(
    ("colors", "photometric"), [(1, "minisblack"), (3, "rgb")], ids=["gray and alpha", "RGB and alpha"]
)
def test_separate_planes_of_colour_and_alpha_are_read(
    colors: int, photometric: str, dtype: type, compression: str | None
) -> None:
    samples, file = picture(16, 16, colors + 1, dtype), io.BytesIO()
    planes = np.ascontiguousarray(np.moveaxis(samples, 2, 0))
    settings: dict[str, Any] = {"photometric": photometric, "planarconfig": "separate", "compression": compression}
    tifffile.imwrite(file, planes, extrasamples=["unassalpha"], **settings)
    np.testing.assert_array_equal(decoded(file.getvalue()), samples)


@pytest.mark.parametrize("bits", [4, 8, 12, 16])
@pytest.mark.parametrize(("colors", "photometric"), [(1, BLACK_IS_ZERO), (3, RGB)], ids=["gray", "RGB"])
def test_an_extra_sample_without_a_declared_kind_is_treated_as_alpha(colors: int, photometric: int, bits: int) -> None:
    samples = of_depth(bits, colors + 1)
    told = decoded(tiff(samples, bits, "<", photometric, t338=(3, [2])))
    assert told.shape[2] == colors + 1
    untold = tiff(samples, bits, "<", photometric, t338=(3, [2])).replace(struct.pack("<HH", 338, 3), b"\xe9\xfd\3\0")
    np.testing.assert_array_equal(decoded(untold), told)


@pytest.mark.parametrize("bits", [8, 16])
def test_cmyk_with_alpha_is_read(bits: int) -> None:
    samples = of_depth(bits, 5)
    colors = decoded(tiff(np.ascontiguousarray(samples[..., :4]), bits, "<", INKS, t338=(3, [0])))
    found = decoded(tiff(samples, bits, "<", INKS, t338=(3, [2])))
    np.testing.assert_array_equal(found[..., :3], colors)
    np.testing.assert_array_equal(found[..., 3], samples[..., 4])


@pytest.mark.parametrize("bits", [8, 16])
def test_too_many_samples_per_pixel_are_refused(bits: int) -> None:
    samples = picture(5, 7, 12, np.uint16) >> (16 - bits)
    with pytest.raises(UndecodablePicture, match="12 samples a pixel"):
        decoded(tiff(samples.astype(np.uint16 if bits > 8 else np.uint8), bits, "<", RGB, t338=(3, [0] * 9)))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    "tags",
    [
        {"t50706": (4, [1])},
        {"t254": (4, [1]), "t330": (4, [8])},
        {"t262": (3, [32803])},
    ],
    ids=["DNG version", "preview of sub-images", "colour filter array"],
)
def test_camera_raw_is_refused_with_a_clear_message(tags: dict[str, Any], order: Order) -> None:
    with pytest.raises(UnsupportedFormat, match=r"camera's raw file.*Develop it"):
        decoded(tiff(of_depth(8, 3), 8, order, RGB, **tags))


def test_other_kinds_of_camera_raw_are_refused_as_such() -> None:
    canon = bytearray(tiff(of_depth(8, 3), 8, "<", RGB))
    with pytest.raises(UnsupportedFormat, match="camera's raw file"):
        decoded(bytes(canon[:4]) + struct.pack("<I", 16) + b"CR\x02\0" + bytes(4) + bytes(canon[8:]))
    with pytest.raises(UnsupportedFormat, match="camera's raw file"):
        decoded((CASES / "dng_like.dng").read_bytes())


def test_a_first_page_of_reduced_resolution_is_refused() -> None:
    with pytest.raises(UnsupportedFormat, match="smaller version of another one"):
        decoded(tiff(of_depth(8, 1), 8, "<", BLACK_IS_ZERO, t254=(4, [1])))


@pytest.mark.parametrize(
    ("dtype", "words"),
    [
        (np.int16, "signed integers of 16 bits"),
        (np.int8, "signed integers of 8 bits"),
        (np.uint32, "unsigned integers of 32 bits"),
        (np.float32, "floating-point numbers of 32 bits"),
        (np.float16, "floating-point numbers of 16 bits"),
    ],
)
def test_samples_without_a_full_scale_are_refused_in_one_sentence(dtype: type, words: str) -> None:
    file = io.BytesIO()
    tifffile.imwrite(file, np.ones((4, 4), dtype), photometric="minisblack")
    with pytest.raises(UndecodablePicture, match=rf"^The TIFF's samples are {words}. Send unsigned integers"):
        decoded(file.getvalue())


def test_lab_is_refused_in_one_sentence() -> None:
    with pytest.raises(UndecodablePicture, match="CIE L"):
        decoded(tiff(of_depth(8, 3), 8, "<", 8))


def test_a_missing_palette_is_reported_with_its_tag() -> None:
    with pytest.raises(UndecodablePicture, match="do not decode as TIFF: its tag 320 is missing"):
        read(tiff(picture(4, 6, 1), 8, "<", PALETTE), wanted(2), DecodeLimits())


def test_channels_of_different_depths_are_refused() -> None:
    with pytest.raises(UndecodablePicture, match="differ in depth"):
        decoded(tiff(of_depth(8, 3), 8, "<", RGB, t258=(3, [5, 6, 5])))


@pytest.mark.parametrize("truncated", ["reject", "allow"])
def test_a_strip_that_does_not_decode_is_refused(truncated: str) -> None:
    """libtiff reported no error and left the memory uninitialised."""
    with pytest.raises(UndecodablePicture):
        decoded((CASES / "tiff_uninitialised.tif").read_bytes(), truncated=truncated)


def with_planes_of_kind(planes: int, channels: int) -> bytes:
    """A compressed TIFF of one strip whose PlanarConfiguration is `planes`."""
    file, samples = io.BytesIO(), picture(5, 7, channels, np.uint16)
    kind = "rgb" if channels == 3 else "minisblack"
    tifffile.imwrite(file, samples, photometric=kind, planarconfig="contig", compression="lzw", metadata=None)
    with tifffile.TiffFile(io.BytesIO(file.getvalue())) as written:
        at = written.pages.first.tags[284].valueoffset
    return file.getvalue()[:at] + struct.pack("<H", planes) + file.getvalue()[at + 2 :]


@pytest.mark.parametrize("planes", [0, 3, 99])
@pytest.mark.parametrize("truncated", ["reject", "allow"])
def test_an_unknown_planar_configuration_is_refused(planes: int, truncated: str) -> None:
    with pytest.raises(UndecodablePicture, match=f"PlanarConfiguration, is {planes};"):
        decoded(with_planes_of_kind(planes, 3), truncated=truncated)


def test_parts_of_a_page_without_stored_data_are_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(np, "empty", lambda shape, dtype=float, **_: np.full(shape, 77, dtype))
    found = tiff_page.decoded(with_planes_of_kind(99, 3))
    np.testing.assert_array_equal(found[2:], 0)


@pytest.mark.parametrize("bits", [1, 4, 8])
@pytest.mark.parametrize(
    ("channels", "photometric"),
    [(1, BLACK_IS_ZERO), (1, WHITE_IS_ZERO), (2, BLACK_IS_ZERO), (3, RGB), (4, RGB), (4, 5)],
)
def test_bits_in_reverse_order_are_read(bits: int, channels: int, photometric: int) -> None:
    samples = of_depth(bits, channels)
    more: dict[str, tuple[int, list[int]]] = {"t338": (3, [2])} if channels == 2 else {}
    if photometric == 5:
        more["t338"] = (3, [])
    data = tiff(samples, bits, "<", photometric, **more)
    size = samples.shape[0] * -(-samples.shape[1] * channels * bits // 8)
    turned = tiff(samples, bits, "<", photometric, t266=(3, [2]), **more)
    body = np.unpackbits(np.frombuffer(turned[-size:], np.uint8)).reshape(-1, 8)[:, ::-1]
    turned = turned[:-size] + np.packbits(body).tobytes()
    np.testing.assert_array_equal(decoded(turned), decoded(data))


def test_bits_in_reverse_order_in_separate_planes_are_read() -> None:
    samples = of_depth(8, 3)
    file = io.BytesIO()
    tifffile.imwrite(file, np.moveaxis(samples, 2, 0), photometric="rgb", planarconfig="separate", metadata=None)
    data = bytearray(file.getvalue())
    with tifffile.TiffFile(io.BytesIO(data)) as written:
        page = written.pages.first
        assert isinstance(page, tifffile.TiffPage)
        places = list(zip(page.dataoffsets, page.databytecounts, strict=True))
        spare = page.tags["Software"].offset
    struct.pack_into("<HHII", data, spare, 266, 3, 1, 2)  # tags out of order, which readers accept
    for start, size in places:
        bits = np.unpackbits(np.frombuffer(data[start : start + size], np.uint8)).reshape(-1, 8)[:, ::-1]
        data[start : start + size] = np.packbits(bits).tobytes()
    np.testing.assert_array_equal(decoded(bytes(data)), samples)


@pytest.mark.parametrize(
    ("compression", "name"),
    [
        ("lerc", "34887, LERC"),
        ("jpeg2000", "34712, JPEG2000"),
        (32771, "32771, CCIRLEW"),
        (32809, "32809, THUNDERSCAN"),
        (34676, "34676, SGILOG"),
        (4711, "4711, unknown"),
    ],
)
def test_an_unsupported_compression_is_named(compression: str | int, name: str) -> None:
    file = io.BytesIO()
    samples = of_depth(8, 3)
    if isinstance(compression, str):
        tifffile.imwrite(file, samples, photometric="rgb", compression=compression)
        data = file.getvalue()
    else:
        data = tiff(samples, 8, "<", RGB, t259=(3, [compression]))
    with pytest.raises(UndecodablePicture, match=rf"The TIFF's compression \({name}\) is not supported. Save it with"):
        decoded(data)


@pytest.mark.parametrize(
    ("extra", "kept"), [(("assocalpha",), 4), (("unspecified",), 3), (("unassalpha", "unspecified"), 4)]
)
@pytest.mark.parametrize("compression", [None, "lzw"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_separate_planes_with_extra_samples_are_read(
    extra: tuple[str, ...], kept: int, compression: Any, dtype: type
) -> None:
    samples = picture(11, 13, 3 + len(extra), dtype)
    samples[..., 3:] = np.iinfo(dtype).max
    file = io.BytesIO()
    planes = np.moveaxis(samples, 2, 0)
    settings: dict[str, Any] = {"photometric": "rgb", "planarconfig": "separate", "compression": compression}
    tifffile.imwrite(file, planes, extrasamples=extra, metadata=None, **settings)
    np.testing.assert_array_equal(decoded(file.getvalue()), samples[..., :kept])


@pytest.mark.parametrize("factor", [256, 257])
@pytest.mark.parametrize("bits", [4, 8])
def test_palettes_of_eight_bits_scaled_to_sixteen_in_either_way_are_read(factor: int, bits: int) -> None:
    palette = np.random.default_rng(bits).integers(0, 256, (3, 1 << bits)) * factor
    palette[:, 0] = 255 * factor
    indices = np.arange(1 << bits).reshape(4, -1, 1)
    data = tiff(indices, bits, "<", PALETTE, t320=(3, palette.ravel().tolist()))
    np.testing.assert_array_equal(decoded(data), (palette // factor).T[indices[..., 0]])


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("channels", "photometric"), [(1, BLACK_IS_ZERO), (3, RGB)])
@pytest.mark.parametrize("bits", [8, 16])
def test_samples_of_an_unknown_kind_are_refused(order: Order, channels: int, photometric: int, bits: int) -> None:
    """If tag 262 is missing, Pillow would read gray as its negative, and only the first channel of colour."""
    samples = picture(5, 7, channels, np.uint8 if bits == 8 else np.uint16)
    entry = struct.pack(f"{order}HHI", 262, 3, 1)
    data = tiff(samples, bits, order, photometric)
    assert data.count(entry) == 1
    with pytest.raises(UndecodablePicture, match="does not say what its samples mean"):
        decoded(data.replace(entry, struct.pack(f"{order}HHI", 263, 3, 1)))


@pytest.mark.parametrize("bits", [8, 16])
def test_tiles_far_larger_than_the_picture_are_refused(bits: int) -> None:
    dtype = np.uint8 if bits == 8 else np.uint16
    file = io.BytesIO()
    tile = (65_536, 16)
    tifffile.imwrite(file, np.zeros((1, 80), dtype), photometric="minisblack", tile=tile, compression="zlib")
    with pytest.raises(TooManyPixels, match=r"5 tiles have 5,242,880 pixels, far more than the picture"):
        read(file.getvalue(), wanted(2), DecodeLimits(max_input_pixels=1 << 16))


def test_too_many_strips_are_refused() -> None:
    count = 262_145
    one = tiff(np.zeros((count, 1, 1), np.uint8), 8, "<", BLACK_IS_ZERO, t278=(4, [1]), t279=(4, [1] * count))
    at = one.index(struct.pack("<HHI", 273, 4, 1))
    strips = one[:at] + struct.pack("<HHII", 273, 4, count, len(one)) + one[at + 12 :] + bytes(4 * count)
    with pytest.raises(UndecodablePicture, match=r"262,145 strips or tiles; at most 262,144"):
        decoded(strips)


@pytest.mark.parametrize("bits", [8, 16])
def test_strips_that_overlap_many_times_are_refused(bits: int) -> None:
    """tifffile copies each strip: 262,144 of 25 MiB kept a decoder busy until its time was up."""
    size, most = 4096, 80_000

    def shared(strips: int) -> bytes:
        samples = np.zeros((strips, 1, 1), np.uint16 if bits == 16 else np.uint8)
        one = tiff(samples, bits, "<", BLACK_IS_ZERO, t278=(4, [1]), t279=(4, [size] * strips))
        at = one.index(struct.pack("<HHI", 273, 4, 1))
        placed = one[:at] + struct.pack("<HHII", 273, 4, strips, len(one)) + one[at + 12 :]
        return placed + struct.pack(f"<{strips}I", *[len(placed) + 4 * strips] * strips) + bytes(size)

    limits, strips = DecodeLimits(max_input_bytes=most // 8), most // size
    assert read(shared(strips), wanted(2), limits).frames[0].shape == (strips, 1, 1)
    with pytest.raises(UndecodablePicture, match=r"overlap: together they have 81,920 bytes .* at most 80,000"):
        read(shared(strips + 1), wanted(2), limits)


@pytest.mark.parametrize("bits", [4, 8])
def test_a_strip_with_a_thousand_scans_is_refused(bits: int) -> None:
    """tifffile, which reads 4 bits, decoded 20,000 of them for more than a minute; libtiff refuses them itself."""
    file, side = io.BytesIO(), 16
    Image.new("L", (side, side), 128).save(file, "JPEG", progressive=True)
    whole = file.getvalue()
    last = whole[whole.rindex(b"\xff\xda") : -2]

    def stored(scans: int) -> bytes:
        coded = whole[:-2] + last * (scans - whole.count(b"\xff\xda")) + whole[-2:]
        tags = {"t259": (3, [7]), "t279": (4, [len(coded)])}
        return (
            tiff(np.zeros((side, side, 1), np.uint8), bits, "<", BLACK_IS_ZERO, **tags)[: -side * side * bits // 8]
            + coded
        )

    assert decoded(stored(90)).shape == (side, side, 1)
    with pytest.raises(UndecodablePicture, match="a JPEG of more than 100 scans"):
        decoded(stored(101))


def unlisted(samples: Samples, lost: str, **settings: Any) -> tuple[bytes, bytes, int]:
    """A TIFF, the same without the offset of its last strip or tile, and the number of its strips or tiles."""
    file = io.BytesIO()
    tifffile.imwrite(file, samples, photometric="rgb", **settings)
    data = bytearray(file.getvalue())
    tag, count = (324, 4) if "tile" in settings else (273, 3 if "planarconfig" in settings else 2)
    at = data.index(struct.pack("<HHI", tag, 4, count))
    places = int.from_bytes(data[at + 8 : at + 12], "little")
    if lost == "in the header":
        struct.pack_into("<I", data, places + 4 * (count - 1), 0)
    else:
        struct.pack_into("<I", data, at + 4, count - 1)
        if count == 2:  # a single value replaces the pointer to several
            data[at + 8 : at + 12] = data[places : places + 4]
    return file.getvalue(), bytes(data), count


@pytest.mark.parametrize("compression", [None, "lzw"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("layout", [{"rowsperstrip": 16}, {"tile": (16, 16)}, {"planarconfig": "separate"}], ids=str)
@pytest.mark.parametrize("lost", ["left out", "in the header"])
def test_strips_and_tiles_that_are_not_listed_are_reported_as_missing(
    lost: str, layout: dict[str, Any], dtype: type, compression: str | None
) -> None:
    """They used to be silently black, or to show the bytes of the file's header."""
    samples = picture(32, 32, 3, dtype)
    stored = np.moveaxis(samples, 2, 0) if "planarconfig" in layout else samples
    whole, damaged, count = unlisted(stored, lost, compression=compression, **layout)
    assert np.array_equal(decoded(whole), samples)
    with pytest.raises(UndecodablePicture, match=f"where 1 of its {count} strips or tiles are"):
        decoded(damaged)


@pytest.mark.parametrize("layout", [{"rowsperstrip": 16}, {"tile": (16, 16)}], ids=str)
@pytest.mark.parametrize("lost", ["left out", "in the header"])
def test_truncated_allow_reads_the_listed_strips_and_tiles(lost: str, layout: dict[str, Any]) -> None:
    samples = picture(32, 32, 3)
    raster = read(unlisted(samples, lost, **layout)[1], wanted(2, truncated="allow"), DecodeLimits())
    assert raster.truncated
    assert np.array_equal(raster.frames[0][:16], samples[:16])
    assert (raster.frames[0][16:, 16:] == 0).all()
