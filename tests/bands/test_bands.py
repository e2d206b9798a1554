"""Pictures upscaled in bands, against the service's way of the whole picture, with the shipped weights."""

import asyncio
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, cast

import imagecodecs
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from app.bands.png_source import PngSource
from app.bands.run import BandUpscaler, folder_of
from app.bands.tiff_source import TiffSource
from app.build import build_formulas
from app.cli.local import LocalBackend, local_settings
from app.errors import BadParameter, LapsrnError, StartupError, UndecodablePicture, UnsupportedFormat
from app.options import UpscaleOptions
from model.checkpoint import save_weights
from model.config import LapSRNConfig
from tests.codec.profiles import cmyk_profile
from tests.model.networks import DEEP, form, random_network

HEIGHT, WIDTH = 211, 61
SMALL_BANDS = 1
"""Bytes, in which no band fits: bands have the fewest rows, 64."""
Samples = NDArray[Any]


def samples(channels: int, dtype: type = np.uint8, low: int = 0) -> Samples:
    """Waves, ramps and noise (HEIGHT, WIDTH, channels), so that rows differ and colours are clipped."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    noise = np.random.default_rng(7).normal(0, 0.1, (HEIGHT, WIDTH, channels))
    waves = [0.5 + 0.6 * np.sin(x / (3 + 2 * c) + y / (5 + c)) * (y / HEIGHT) for c in range(channels)]
    full = np.iinfo(dtype).max
    values: Samples = ((np.stack(waves, axis=2) + noise) * full).clip(low, full).astype(dtype)
    return values


def png(values: Samples, mode: str | None = None, **more: Any) -> bytes:
    file = io.BytesIO()
    flat = values[..., 0] if values.shape[2] == 1 else values
    image = Image.fromarray(flat)
    (image if mode is None else image.convert(mode)).save(file, "PNG", **more)
    return file.getvalue()


def deep_png(values: Samples) -> bytes:
    return bytes(imagecodecs.png_encode(np.squeeze(values)))


def tiff(values: Samples, **more: Any) -> bytes:
    file = io.BytesIO()
    flat = values[..., 0] if values.shape[2] == 1 else values
    kind = {1: "minisblack", 2: "minisblack"}.get(values.shape[2], "rgb")
    tifffile.imwrite(file, flat, **{"photometric": kind, "metadata": None} | more)
    return file.getvalue()


def with_alpha(alpha: Samples) -> Samples:
    return np.concatenate([samples(3), alpha[..., None]], axis=2)


def coded(data: bytes, full_range: int) -> bytes:
    """The PNG with chunks that say that it is in PQ, and how bright."""
    bodies = (b"cICP" + bytes((9, 16, 0, full_range)), b"cLLI" + bytes(range(8)))
    added = b"".join((len(body) - 4).to_bytes(4, "big") + body + crc(body) for body in bodies)
    at = data.index(b"IDAT") - 4
    return data[:at] + added + data[at:]


FULL = np.full((HEIGHT, WIDTH), 255, np.uint8)
HALF = FULL.copy()
HALF[100:120, 20:40] = 77
"""Transparent in one band only."""
P3 = imagecodecs.cms_profile(
    "rgb", whitepoint=[0.3127, 0.329, 1.0], primaries=[0.68, 0.32, 1, 0.265, 0.69, 1, 0.15, 0.06, 1], gamma=2.2
)
SPLIT = np.moveaxis(samples(3), 2, 0)
SOURCES: dict[str, Callable[[], bytes]] = {
    "png gray": lambda: png(samples(1)),
    "png rgb": lambda: png(samples(3)),
    "png palette": lambda: png(samples(3), "P"),
    "png 1 bit": lambda: png(samples(1), "1"),
    "png 4 bits": lambda: png(samples(3), "P", bits=4),
    "png 16 bits": lambda: deep_png(samples(3, np.uint16)),
    "png gray 16 bits": lambda: deep_png(samples(1, np.uint16)),
    "png rgba 16 bits": lambda: deep_png(samples(4, np.uint16, low=1)),
    "png gray alpha": lambda: deep_png(samples(2, low=1)),
    "png opaque": lambda: png(with_alpha(FULL)),
    "png alpha in one band": lambda: png(with_alpha(HALF)),
    "png profile": lambda: png(samples(3), icc_profile=P3),
    "png pq": lambda: coded(deep_png(samples(3, np.uint16)), 1),
    "png narrow range": lambda: coded(png(samples(3)), 0),
    "jpeg once": lambda: png(np.asarray(Image.open(io.BytesIO(jpeg(samples(3)))))),
    "tiff gray strips": lambda: tiff(samples(1), rowsperstrip=7),
    "tiff white is zero": lambda: tiff(samples(1), photometric="miniswhite"),
    "tiff one strip": lambda: tiff(samples(3), rowsperstrip=HEIGHT),
    "tiff tiles, lzw": lambda: tiff(samples(3), tile=(48, 32), compression="lzw"),
    "bigtiff tiles, deflate, predictor": lambda: tiff(
        samples(3), tile=(64, 64), compression="adobe_deflate", predictor=True, bigtiff=True
    ),
    "tiff 16 bits, zstd, big-endian": lambda: tiff(
        samples(3, np.uint16), rowsperstrip=10, compression="zstd", predictor=True, byteorder=">"
    ),
    "tiff planes": lambda: tiff(SPLIT, planarconfig="separate", rowsperstrip=16, photometric="rgb"),
    "tiff planes in tiles": lambda: tiff(SPLIT, planarconfig="separate", tile=(32, 32), photometric="rgb"),
    "tiff alpha": lambda: tiff(with_alpha(HALF), extrasamples=["unassalpha"], compression="packbits"),
    "tiff premultiplied": lambda: tiff(with_alpha(HALF), extrasamples=["assocalpha"]),
    "tiff cmyk": lambda: tiff(samples(4), photometric="separated"),
    "tiff cmyk profile": lambda: tiff(samples(4), photometric="separated", iccprofile=cmyk_profile()),
    "tiff palette": lambda: tiff(
        samples(1), photometric="palette", colormap=np.arange(768, dtype=np.uint16).reshape(3, 256) * 85
    ),
    "tiff profile": lambda: tiff(samples(3), iccprofile=P3),
    "tiff pyramid": lambda: pages(smaller=True),
    "tiff undeclared alpha": lambda: undeclared(tiff(with_alpha(HALF)[..., 2:], planarconfig="contig")),
}


def entry_at(data: bytes, tag: int) -> int:
    """Where the entry of a tag is in the only directory of a little-endian TIFF, which is before the pixels."""
    start = int.from_bytes(data[4:8], "little") + 2
    return next(at for at in range(start, len(data), 12) if data[at : at + 2] == tag.to_bytes(2, "little"))


def undeclared(data: bytes) -> bytes:
    """The TIFF without ExtraSamples: in its place is the SampleFormat of unsigned integers."""
    at = entry_at(data, 338)
    return data[:at] + (339).to_bytes(2, "little") + data[at + 2 : at + 8] + b"\1\0" + data[at + 10 :]


def missing_strip(tag: int) -> bytes:
    """A TIFF of strips, whose third one has a zero for its offset (273) or number of bytes (279)."""
    data = tiff(samples(3), rowsperstrip=8)
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        entry = file.pages.first.tags[tag]
    size, at = entry.valuebytecount // entry.count, entry.valueoffset
    return data[: at + 2 * size] + bytes(size) + data[at + 3 * size :]


def damaged_strip(compression: str) -> bytes:
    data = tiff(samples(3), rowsperstrip=8, compression=compression)
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        page = file.pages.first
        assert isinstance(page, tifffile.TiffPage)
        at, size = page.dataoffsets[20], page.databytecounts[20]
    return data[:at] + bytes(size) + data[at + size :]


TURNED_XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b'<rdf:Description rdf:about="" xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/>'
    b"</rdf:RDF></x:xmpmeta>"
)


def jpeg(values: Samples) -> bytes:
    file = io.BytesIO()
    Image.fromarray(values).save(file, "JPEG", quality=60)
    return file.getvalue()


async def in_bands_and_whole(
    folder: Path, data: bytes, options: UpscaleOptions, memory: int = SMALL_BANDS
) -> tuple[bytes, bytes, int]:
    """The two files, and how many bands there were."""
    source, target = folder / "source", folder / "result"
    source.write_bytes(data)
    backend = LocalBackend(local_settings(None, "cpu"), options, None)
    await backend.start()
    try:
        upscaler = BandUpscaler(source, target, options, backend.engine, build_formulas(), memory)
        seen: list[tuple[int, int]] = []
        try:
            await upscaler.run(lambda done, total: seen.append((done, total)))
        finally:
            upscaler.close()
        whole = await backend.upscale(data, None)
    finally:
        await backend.close()
    assert not folder_of(target).exists()
    return target.read_bytes(), whole.body, seen[-1][1]


@pytest.mark.parametrize("name", SOURCES)
async def test_a_png_made_in_bands_has_the_same_bytes_as_the_whole(tmp_path: Path, name: str) -> None:
    options = UpscaleOptions(scale=2, format="png")
    bands, whole, count = await in_bands_and_whole(tmp_path, SOURCES[name](), options)
    assert count == -(-HEIGHT // 64)
    assert bands == whole
    assert (b"cICP" in bands) is (name in ("png pq", "png narrow range"))


@pytest.mark.parametrize(
    "options",
    [
        UpscaleOptions(scale=4, format="png"),
        UpscaleOptions(scale=8, format="png"),
        UpscaleOptions(scale=4, format="png", ensemble=True),
        UpscaleOptions(scale=4, format="png", effort="medium"),
        UpscaleOptions(scale=4, format="png", clean=1.0),
        UpscaleOptions(scale=4, format="png", clean=0.5),
        UpscaleOptions(scale=4, format="png", depth="8"),
        UpscaleOptions(scale=4, format="png", color="srgb"),
    ],
    ids=["x4", "x8", "ensemble", "medium", "clean", "half clean", "8 bits", "srgb"],
)
async def test_every_option_gives_the_same_result_as_the_whole(tmp_path: Path, options: UpscaleOptions) -> None:
    data = tiff(samples(3, np.uint16), iccprofile=P3)
    bands, whole, count = await in_bands_and_whole(tmp_path, data, options)
    assert count > 1
    assert bands == whole


@pytest.mark.parametrize("config", [DEEP, LapSRNConfig(scale=8, depths=(15, 3, 3), skips=True)], ids=form)
async def test_networks_with_wide_margins_give_the_same_result_as_the_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, config: LapSRNConfig
) -> None:
    """In 16 bits, where the last bits of sums show."""
    save_weights(tmp_path / "far.safetensors", random_network(config))
    monkeypatch.setenv("LAPSRN_WEIGHTS", str(tmp_path / "far.safetensors"))
    monkeypatch.setenv("LAPSRN_MORE_WEIGHTS", "")
    options = UpscaleOptions(scale=config.scale, format="png", clean=0.0)
    bands, whole, count = await in_bands_and_whole(tmp_path, tiff(samples(3, np.uint16)), options)
    assert count > 1
    assert bands == whole


@pytest.mark.usefixtures("written_in_bands")
async def test_a_large_png_is_written_from_the_top_down(tmp_path: Path) -> None:
    """The service compresses it in bands, too."""
    data = png(np.tile(samples(3), (5, 1, 1)))
    bands, whole, count = await in_bands_and_whole(tmp_path, data, UpscaleOptions(scale=4, format="png"))
    assert count > 10
    assert bands == whole


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
async def test_a_tiff_made_in_bands_has_the_same_pixels_as_the_whole(
    tmp_path: Path, channels: int, dtype: type
) -> None:
    data = deep_png(samples(channels, dtype, low=1))
    bands, whole, _ = await in_bands_and_whole(tmp_path, data, UpscaleOptions(scale=4, format="tiff"))
    with tifffile.TiffFile(io.BytesIO(bands)) as file:
        page = file.pages.first
        assert isinstance(page, tifffile.TiffPage)
        assert file.is_bigtiff
        assert page.is_tiled
        with tifffile.TiffFile(io.BytesIO(whole)) as other:
            reference = other.pages.first
            assert isinstance(reference, tifffile.TiffPage)
            assert (page.photometric, page.extrasamples) == (reference.photometric, reference.extrasamples)
            np.testing.assert_array_equal(page.asarray(), reference.asarray())


async def test_a_tiff_keeps_the_profile(tmp_path: Path) -> None:
    data = png(samples(3), icc_profile=P3)
    bands, _, _ = await in_bands_and_whole(tmp_path, data, UpscaleOptions(scale=2, format="tiff"))
    with tifffile.TiffFile(io.BytesIO(bands)) as file:
        assert file.pages.first.tags[34675].value == P3


def interlaced() -> bytes:
    data = bytearray(deep_png(samples(3)))
    return bytes(data[:28]) + b"\1" + crc(bytes(data[12:28]) + b"\1") + bytes(data[33:])


def crc(body: bytes) -> bytes:
    return int(imagecodecs.zlib_crc32(body)).to_bytes(4, "big")


def pages(*, smaller: bool = False) -> bytes:
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        writer.write(samples(3), photometric="rgb", metadata=None)
        writer.write(samples(3), photometric="rgb", metadata=None, subfiletype=int(smaller))
    return file.getvalue()


REFUSED: dict[str, tuple[Callable[[], bytes], type[LapsrnError], str]] = {
    "invisible pixels": (lambda: png(with_alpha(FULL * np.uint8(0))), UndecodablePicture, "fully transparent"),
    "a transparent colour": (lambda: png(samples(1), transparency=255), UndecodablePicture, "fully transparent"),
    "interlaced": (interlaced, UndecodablePicture, "interlaced"),
    "turned": (lambda: tiff(samples(3), extratags=[(274, "H", 1, 6, True)]), UndecodablePicture, "orientation"),
    "turned by xmp": (
        lambda: tiff(samples(3), extratags=[(700, "B", len(TURNED_XMP), TURNED_XMP, True)]),
        UndecodablePicture,
        "orientation",
    ),
    "smaller version": (lambda: tiff(samples(3), subfiletype=1), UnsupportedFormat, "smaller version"),
    "camera raw": (
        lambda: tiff(samples(3), extratags=[(50706, "B", 4, (1, 4, 0, 0), True)]),
        UnsupportedFormat,
        "camera's raw file",
    ),
    "palette and alpha": (
        lambda: undeclared(tiff(with_alpha(HALF)[..., 2:], planarconfig="contig")).replace(
            b"\x06\x01\3\0\1\0\0\0\1", b"\x06\x01\3\0\1\0\0\0\3", 1
        ),
        UndecodablePicture,
        "colours",
    ),
    "strip without a place": (lambda: missing_strip(273), UndecodablePicture, "does not say where"),
    "strip without bytes": (lambda: missing_strip(279), UndecodablePicture, "does not say where"),
    "damaged lzw": (lambda: damaged_strip("lzw"), UndecodablePicture, "does not decode"),
    "damaged deflate": (lambda: damaged_strip("adobe_deflate"), UndecodablePicture, "does not decode"),
    "damaged packbits": (lambda: damaged_strip("packbits"), UndecodablePicture, "does not decode"),
    "turned by exif": (lambda: png(samples(3), exif=turned_exif()), UndecodablePicture, "orientation"),
    "jpeg in tiff": (lambda: tiff(samples(1), compression="jpeg"), UndecodablePicture, "compression"),
    "floats": (lambda: tiff(samples(1).astype(np.float32)), UndecodablePicture, "float32"),
    "samples of an unknown kind": (
        lambda: tiff(samples(1)).replace(b"\x06\x01\3\0\1\0\0\0", b"\x07\x01\3\0\1\0\0\0", 1),
        UndecodablePicture,
        "what its samples mean",
    ),
    "pages": (pages, BadParameter, "more than one page"),
    "jpeg": (lambda: jpeg(samples(3)), UnsupportedFormat, "Only TIFF"),
    "cut png": (lambda: png(samples(3))[:-4000], UndecodablePicture, "ends before|cut short"),
    "cut tiff": (lambda: tiff(samples(3), rowsperstrip=8)[:-4000], UndecodablePicture, "ends before"),
    "spoilt png": (lambda: spoilt(png(samples(3))), UndecodablePicture, "wrong checksum|does not inflate"),
    "film": (
        lambda: png(samples(3), save_all=True, append_images=[Image.new("RGB", (WIDTH, HEIGHT))]),
        UndecodablePicture,
        "animation",
    ),
    "nothing": (lambda: b"", UnsupportedFormat, "Only TIFF"),
    "half a header": (lambda: tiff(samples(3))[:9], UndecodablePicture, "TIFF"),
}


def turned_exif() -> bytes:
    exif = Image.Exif()
    exif[274] = 6
    return exif.tobytes()


def spoilt(data: bytes) -> bytes:
    at = len(data) // 2
    return data[:at] + bytes([data[at] ^ 255]) + data[at + 1 :]


@pytest.mark.parametrize("name", REFUSED)
async def test_pictures_and_formats_that_cannot_be_made_in_bands_are_refused(tmp_path: Path, name: str) -> None:
    make, kind, text = REFUSED[name]
    with pytest.raises(kind, match=text):
        await in_bands_and_whole(tmp_path, make(), UpscaleOptions(scale=2, format="png"))
    assert os.listdir(tmp_path) == ["source"]  # noqa: PTH208  # no blocking pathlib in async code


@pytest.mark.parametrize("options", [UpscaleOptions(scale=3, format="png"), UpscaleOptions(width=99, format="png")])
async def test_sizes_other_than_levels_are_refused(tmp_path: Path, options: UpscaleOptions) -> None:
    with pytest.raises(BadParameter, match="levels"):
        await in_bands_and_whole(tmp_path, png(samples(3)), options)


async def test_a_run_resumes_with_bands_of_the_same_work_only(tmp_path: Path) -> None:
    source, target, options = tmp_path / "a.png", tmp_path / "b.png", UpscaleOptions(scale=2, format="png")
    source.write_bytes(png(samples(3)))
    backend = LocalBackend(local_settings(None, "cpu"), options, None)
    await backend.start()

    def upscaler(scale: Literal[2, 4] = 2) -> BandUpscaler:
        asked = UpscaleOptions(scale=scale, format="png")
        return BandUpscaler(source, target, asked, backend.engine, build_formulas(), SMALL_BANDS)

    try:
        task: list[asyncio.Task[None]] = []

        def stop_at_two(done: int, _: int) -> None:
            if done == 2:
                task[0].cancel()

        task.append(asyncio.create_task(upscaler().run(stop_at_two)))
        with pytest.raises(asyncio.CancelledError):
            await task[0]
        first = (folder_of(target) / "000000.npy").stat().st_ino
        with pytest.raises(StartupError, match="options differ"):
            upscaler(4)
        seen: list[int] = []
        again = upscaler()

        def note(done: int, _: int) -> None:
            seen.append(done)
            assert (folder_of(target) / "000000.npy").stat().st_ino == first

        await again.run(note)
        assert seen == [2, 3, 4]
        whole = await backend.upscale(source.read_bytes(), None)
    finally:
        await backend.close()
    assert target.read_bytes() == whole.body


def test_a_png_that_has_been_replaced_is_unpacked_again(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(deep_png(samples(3)))
    os.utime(path, ns=(1, 1))
    PngSource(path, tmp_path).close()
    other = samples(3)[::-1].copy()
    path.write_bytes(deep_png(other))
    os.utime(path, ns=(2, 2))
    source = PngSource(path, tmp_path)
    np.testing.assert_array_equal(imagecodecs.png_decode(source.rows(0, HEIGHT)), other)


def test_a_tiff_that_is_overwritten_while_it_is_read_is_told(tmp_path: Path) -> None:
    path, other = tmp_path / "a.tif", tmp_path / "b.tif"
    path.write_bytes(tiff(samples(3)))
    other.write_bytes(tiff(samples(3)[::-1].copy()))
    os.utime(path, ns=(1, 1))
    source = TiffSource(path)
    before = source.rows(0, 64)
    path.rename(tmp_path / "old.tif")
    other.rename(path)
    assert source.rows(0, 64) == before
    (tmp_path / "old.tif").write_bytes(path.read_bytes())
    os.utime(tmp_path / "old.tif", ns=(2, 2))
    with pytest.raises(UndecodablePicture, match="changed while it was being read"):
        source.rows(64, 128)
    source.close()


def test_nothing_stays_of_a_source_that_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        BandUpscaler(tmp_path / "a.png", tmp_path / "b.png", UpscaleOptions(), cast(Any, None), build_formulas(), 1)
    assert not list(tmp_path.iterdir())


async def test_several_processes_share_the_bands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, target, options = tmp_path / "a.png", tmp_path / "b.png", UpscaleOptions(scale=2, format="png")
    source.write_bytes(png(samples(3)))
    backend = LocalBackend(local_settings(None, "cpu"), options, None)
    await backend.start()
    made = [BandUpscaler(source, target, options, backend.engine, build_formulas(), SMALL_BANDS) for _ in range(3)]
    bands: list[int] = []
    make = BandUpscaler._band

    async def noted(self: BandUpscaler, band: int) -> Samples:
        bands.append(band)
        return await make(self, band)

    monkeypatch.setattr(BandUpscaler, "_band", noted)
    try:
        await asyncio.gather(*(each.run(lambda done, total: None) for each in made))
        whole = await backend.upscale(source.read_bytes(), None)
    finally:
        await backend.close()
    assert sorted(bands) == [0, 1, 2, 3]
    assert target.read_bytes() == whole.body
    assert not folder_of(target).exists()
