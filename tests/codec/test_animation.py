"""Animations and pages: refused unless `frames` says which to use, and then kept complete, with their durations."""

import io
import struct
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageFile, ImageSequence

from app.codec import limits, webp_chunks
from app.codec.readers import gif, webp
from app.errors import BadParameter, TooManyPixels, UndecodablePicture
from tests.codec.png_reference import chunk, chunks, write_png
from tests.codec.support import Array, assert_same, codec, nearest, opened, picture, pixels, saved, upscaled, wanted

DURATIONS = [40, 200, 70]


def film_of(form: str, channels: int = 3, **settings: Any) -> tuple[bytes, list[Array]]:
    frames = [picture(6, 5, channels, seed=seed) for seed in range(3)]
    for frame in frames:
        if channels == 4:
            frame[..., 3] = np.where(frame[..., 3] < 128, 0, 255) if form == "GIF" else np.maximum(frame[..., 3], 1)
    images = [Image.fromarray(frame) for frame in frames]
    if form == "GIF":
        images = [image.quantize(16) for image in images]
        frames = [np.asarray(image.convert("RGB")) for image in images]
    file = io.BytesIO()
    images[0].save(
        file, form, save_all=True, append_images=images[1:], duration=DURATIONS, loop=2, disposal=1, **settings
    )
    return file.getvalue(), frames


def _frames(body: bytes) -> tuple[list[Array], list[int]]:
    image = Image.open(io.BytesIO(body))
    found, times = [], []
    for frame in ImageSequence.Iterator(image):
        found.append(np.asarray(frame.convert("RGBA")))
        times.append(round(frame.info["duration"]))
    return found, times


FILMS = [
    ("GIF", 3, {}),
    ("PNG", 3, {}),
    ("PNG", 4, {}),
    ("WEBP", 3, {"lossless": True}),
    ("WEBP", 4, {"lossless": True}),
]


@pytest.mark.parametrize(("form", "channels", "settings"), FILMS)
def test_an_animation_is_refused_by_default(form: str, channels: int, settings: dict[str, Any]) -> None:
    data, _ = film_of(form, channels, **settings)
    with pytest.raises(BadParameter, match=r"more than one frame; frames=first takes the first, frames=all"):
        codec().decode(data, wanted(scale=4))


@pytest.mark.parametrize(("form", "channels", "settings"), FILMS)
def test_frames_first_reads_the_first_frame(form: str, channels: int, settings: dict[str, Any]) -> None:
    data, frames = film_of(form, channels, **settings)
    decoded, encoded = upscaled(data, frames="first")
    assert (len(decoded.frames), decoded.durations_ms) == (1, ())
    assert_same(pixels(encoded.body)[..., :channels], frames[0], f"first-{form}-{channels}", data)


@pytest.mark.parametrize("target", ["png", "webp"])
@pytest.mark.parametrize("scale", [1, 4])
@pytest.mark.parametrize(("form", "channels", "settings"), FILMS)
def test_frames_all_reads_every_frame(
    form: str, channels: int, settings: dict[str, Any], scale: int, target: Any
) -> None:
    data, frames = film_of(form, channels, **settings)
    decoded, encoded = upscaled(data, scale, frames="all", encode=wanted(format=target))
    found, times = _frames(encoded.body)
    plays = 3 if form == "GIF" else 2  # a GIF counts repetitions, not plays
    assert (decoded.durations_ms, times, decoded.loop) == (tuple(DURATIONS), DURATIONS, plays)
    assert [frame.shape for frame in found] == [(6 * scale, 5 * scale, 4)] * 3
    if scale == 1:
        for index, (frame, expected) in enumerate(zip(found, frames, strict=True)):
            assert_same(frame[..., :channels], expected, f"film-{form}-{channels}-{target}-{index}", data)
    elif channels == 4:
        for frame, expected in zip(found, frames, strict=True):
            assert np.array_equal(frame[..., 3], nearest(expected[..., 3], scale))


def test_the_loop_count_is_kept() -> None:
    data, _ = film_of("PNG")
    _, encoded = upscaled(data, frames="all")
    assert (b"acTL", (3).to_bytes(4, "big") + (2).to_bytes(4, "big")) in list(chunks(encoded.body))


@pytest.mark.parametrize(("repeats", "plays"), [(None, 1), (0, 0), (1, 2), (65534, 65535), (65535, 65535)])
def test_the_loop_count_of_a_gif_is_one_more_than_its_repetitions(repeats: int | None, plays: int) -> None:
    says = {} if repeats is None else {"loop": repeats}
    frames = [Image.fromarray(picture(6, 5, 3, seed=seed)).quantize(8) for seed in range(2)]
    file = io.BytesIO()
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:], duration=50, **says)
    _, encoded = upscaled(file.getvalue(), frames="all", encode=wanted(format="webp"))
    assert opened(encoded.body).info["loop"] == plays


def test_a_transparent_gif_stays_transparent() -> None:
    frames = []
    for seed in range(2):
        image = Image.fromarray(picture(6, 5, 3, seed=seed)).quantize(8)
        frames.append(image)
    file = io.BytesIO()
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:], transparency=2, disposal=2, duration=50)
    _, encoded = upscaled(file.getvalue(), frames="all")
    found, _ = _frames(encoded.body)
    holes = np.asarray(frames[0]) == 2
    assert holes.any()
    assert ((found[0][..., 3] == 0) == holes).all()


@pytest.mark.parametrize("frames", ["first", "all"])
def test_a_webp_is_transparent_where_none_of_its_frames_is(frames: Any) -> None:
    """libwebp announces no alpha if every frame is an opaque part of the canvas; browsers show nothing beside it."""
    films = np.zeros((2, 6, 8, 4), np.uint8)
    films[0, 2:4, 2:6], films[1, 2:4, 4:8] = (200, 100, 50, 255), (20, 100, 250, 255)
    first, second = map(Image.fromarray, films)
    file = io.BytesIO()
    first.save(file, "WEBP", save_all=True, append_images=[second], duration=50, lossless=True)
    data = file.getvalue()
    assert data[12:16] == b"VP8X" and not data[20] & 0x10
    _, encoded = upscaled(data, frames=frames)
    found = _frames(encoded.body)[0] if frames == "all" else [pixels(encoded.body)]
    for frame, expected in zip(found, films, strict=frames == "all"):
        assert_same(np.where(frame[..., 3:] > 0, frame, 0), expected, f"sprite-{frames}", data)


def test_a_webp_of_many_frames_is_not_searched_for_alpha_at_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """4,000 frames of 16 x 16, 194 KB, took eleven seconds of CPU time, as each walked through all chunks."""
    walks = []

    def counted(data: bytes) -> Any:
        walks.append(len(data))
        return webp_chunks.chunks(data)

    monkeypatch.setattr(webp, "chunks", counted)

    def walks_of(count: int) -> int:
        walks.clear()
        first, *others = (Image.new("RGB", (2, 2), (number, 0, 0)) for number in range(count))
        data = saved(np.asarray(first), "WEBP", save_all=True, append_images=others, lossless=True)
        assert len(codec().decode(data, wanted(frames="all")).frames) == count
        return len(walks)

    assert walks_of(30) == walks_of(3) > 0


def test_an_opaque_animated_webp_gets_no_alpha() -> None:
    data, _ = film_of("WEBP", 3)
    assert {frame.channels for frame in upscaled(data, frames="all")[0].frames} == {3}


@pytest.mark.parametrize("target", ["jpeg", "avif", "tiff", "jxl"])
def test_formats_without_animation_refuse_it(target: Any) -> None:
    data, _ = film_of("GIF")
    service = codec()
    decoded = service.decode(data, wanted(scale=2, frames="all"))
    with pytest.raises(BadParameter, match="png or webp"):
        service.check(decoded, 2, wanted(format=target))


def test_the_default_image_of_an_apng_is_not_part_of_its_animation() -> None:
    data, frames = film_of("PNG", default_image=True)
    decoded = codec().decode(data, wanted(scale=1, frames="all"))
    assert len(decoded.frames) == 2
    _, encoded = upscaled(data, frames="first")
    assert_same(pixels(encoded.body), frames[1], "default-image", data)


def test_every_frame_counts_towards_the_limits() -> None:
    data, _ = film_of("GIF")
    with pytest.raises(TooManyPixels, match="3 frames"):
        codec(max_input_pixels=89).decode(data, wanted(scale=2, frames="all"))
    with pytest.raises(TooManyPixels, match="3 frames"):
        codec(max_output_pixels=359).decode(data, wanted(scale=2, frames="all"))
    assert (
        len(codec(max_input_pixels=90, max_output_pixels=360).decode(data, wanted(scale=2, frames="all")).frames) == 3
    )


def test_an_apng_that_declares_a_million_frames_is_refused_before_decoding() -> None:
    data = saved(picture(60, 50, 3), "PNG")
    lying = data[:33] + chunk(b"acTL", (10**6).to_bytes(4, "big") + bytes(4)) + data[33:]
    with pytest.raises(TooManyPixels, match="1000000 frames"):
        codec().decode(lying, wanted(scale=2, frames="all"))


def _gif(frames: int, canvas: tuple[int, int], frame: tuple[int, int], data: bytes = b"\2\2D\1\0") -> bytes:
    """Frames of one size on a canvas, both (height, width), each with the data of a single black pixel."""
    head = b"GIF89a" + struct.pack("<HHBBB", canvas[1], canvas[0], 0x80, 0, 0) + b"\0\0\0\xff\xff\xff"
    each = b"," + struct.pack("<HHHHB", 0, 0, frame[1], frame[0], 0) + data
    return head + each * frames + b";"


def test_a_flood_of_frames_in_a_small_gif_is_refused_before_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    def decoded(*_: object) -> None:
        raise AssertionError("a frame is decoded")

    monkeypatch.setattr(ImageFile.ImageFile, "load", decoded)
    with pytest.raises(TooManyPixels, match=r"1000 x 1000 in 20 frames, 20,000,000 pixels; at most"):
        codec().decode(_gif(20, (1000, 1000), (1, 1)), wanted(scale=2, frames="all"))
    with pytest.raises(TooManyPixels, match=r"5,000 frames; at most 4,096 are accepted"):
        codec().decode(_gif(5000, (1, 1), (1, 1)), wanted(scale=2, frames="all"))


def test_gif_frames_beyond_the_canvas_count_in_full() -> None:
    small, large = _gif(1, (1, 1), (1, 1))[:-1], _gif(4, (2, 2), (2500, 2500))
    with pytest.raises(TooManyPixels, match=r"2500 x 2500 in 5 frames"):
        codec().decode(small + large[19:], wanted(scale=2, frames="all"))
    decoded = codec().decode(small + large[19:], wanted(scale=2, frames="first"))
    assert (decoded.height, decoded.width) == (1, 1)


@pytest.mark.parametrize("filler", [b"\1x", b"\0" + b"x" * 9], ids=["blocks of a byte", "bytes between blocks"])
def test_a_gif_of_tiny_blocks_is_refused(filler: bytes) -> None:
    data = _gif(1, (2, 2), (2, 2), b"\2" + filler * 200_000)
    with pytest.raises(UndecodablePicture, match=r"The GIF has more than [\d,]+ blocks"):
        codec().decode(data, wanted(scale=2, frames="first"))


@pytest.mark.parametrize("form", ["GIF", "PNG", "WEBP"])
def test_the_number_of_frames_is_limited(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_FRAMES", 2)
    data, _ = film_of(form)
    with pytest.raises(TooManyPixels, match=r"3 frames; at most 2 are accepted\..*frames=first"):
        codec().decode(data, wanted(scale=2, frames="all"))
    codec().decode(data, wanted(scale=2, frames="first"))


@pytest.mark.parametrize("film", [film_of("GIF")[0], _gif(3, (9, 7), (5, 4))])
def test_gif_frames_are_counted_as_pillow_counts_them(film: bytes) -> None:
    image = Image.open(io.BytesIO(film))
    assert gif.contents(film) == (getattr(image, "n_frames", 1), image.height, image.width, True)


def test_a_tiff_of_several_pages_needs_frames_first() -> None:
    pages = [picture(6, 5, 3, seed=seed) for seed in range(3)]
    images = [Image.fromarray(page) for page in pages]
    file = io.BytesIO()
    images[0].save(file, "TIFF", save_all=True, append_images=images[1:])
    with pytest.raises(BadParameter, match=r"more than one page; frames=first takes the first\."):
        codec().decode(file.getvalue(), wanted(scale=4))
    with pytest.raises(BadParameter, match=r"TIFF with several pages take frames=first\."):
        codec().decode(file.getvalue(), wanted(scale=4, frames="all"))
    _, encoded = upscaled(file.getvalue(), frames="first")
    assert_same(pixels(encoded.body), pages[0], "tiff-page", file.getvalue())


@pytest.mark.parametrize(("kind", "alone"), [(0, False), (1, True), (2, False), (3, False)])
@pytest.mark.parametrize("frames", ["single", "all"])
def test_reduced_resolution_versions_of_a_tiff_are_not_pages(kind: int, alone: bool, frames: Any) -> None:
    page = picture(12, 10, 3)
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        writer.write(page, photometric="rgb", metadata=None)
        writer.write(np.ascontiguousarray(page[::2, ::2]), photometric="rgb", metadata=None, subfiletype=1)
        writer.write(np.ascontiguousarray(page[::4, ::4]), photometric="rgb", metadata=None, subfiletype=kind)
    if alone:
        _, encoded = upscaled(file.getvalue(), frames=frames)
        assert_same(pixels(encoded.body), page, "pyramid", file.getvalue())
    else:
        with pytest.raises(BadParameter, match="frames=first"):
            codec().decode(file.getvalue(), wanted(scale=4, frames=frames))


def test_a_still_keeps_sixteen_bits_with_frames_all() -> None:
    samples = picture(6, 5, 3, np.uint16)
    decoded, encoded = upscaled(write_png(samples, 2, 16), frames="all")
    assert decoded.depth == 16
    assert_same(pixels(encoded.body), samples, "deep-still")


def test_frames_all_accepts_a_still() -> None:
    decoded, encoded = upscaled(saved(picture(6, 5, 3), "PNG"), frames="all")
    assert (len(decoded.frames), decoded.durations_ms) == (1, ())
    assert opened(encoded.body).format == "PNG"
    assert getattr(opened(encoded.body), "n_frames", 1) == 1
