"""Decoding in separate processes gives the same results, and the service survives the death of a decoder."""

import fcntl
import io
import os
import resource
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import tifffile

from app.codec import Codec, DecodeLimits, decoder_child, decoder_protocol
from app.codec.decoder_child import DecoderChild
from app.codec.decoder_pool import DecoderPool
from app.codec.raster import Raster
from app.codec.reader import read
from app.codec.readers.jxl import JxlReader
from app.errors import ClientError, UndecodablePicture, UnsupportedFormat
from tests.codec.formats_table import CASES
from tests.codec.png_reference import write_png
from tests.codec.support import FORMULAS, picture, saved, wanted
from tests.codec.test_animation import film_of
from tests.codec.test_bad_input import DAMAGED, LYING
from tests.codec.test_metadata import DISPLAY_P3, with_everything
from tests.codec.test_tiff_depths import tiff

pytestmark = pytest.mark.slow

LIMITS = DecodeLimits()
OPTIONS = wanted(scale=2, frames="all", metadata="all")


def _tiff(compression: str | None, dtype: type, **settings: Any) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, picture(16, 16, 3, dtype), photometric="rgb", compression=compression, **settings)
    return file.getvalue()


TIFFS = [
    *(_tiff(each, np.uint8) for each in ("lzw", "zlib", "packbits", "jpeg", "lzma", "zstd", "webp")),
    *(_tiff(each, np.uint16, predictor=True) for each in ("lzw", "zlib", "lzma", "zstd")),
    tiff(picture(4, 4, 3), 8, "<", 6, t530=(3, [2, 2]), t279=(4, [24])),
    tiff(picture(5, 7, 3, np.uint16) >> 6, 10, ">", 2),
    tiff(picture(5, 7, 3), 8, "<", 2, t266=(3, [2])),
]
"""Decoded by libraries that load on first use, which a confined process can no longer do."""


@pytest.fixture(scope="module")
def processes() -> Iterator[DecoderPool]:
    pool = DecoderPool(2, LIMITS)
    pool.start()
    yield pool
    pool.close()


def _equal(one: Raster, other: Raster) -> bool:
    facts: list[Any] = [
        (raster.format, raster.depth, raster.metadata, raster.durations_ms, raster.loop, raster.truncated)
        for raster in (one, other)
    ]
    same = len(one.frames) == len(other.frames) and facts[0] == facts[1]
    return same and all(np.array_equal(a, b) for a, b in zip(one.frames, other.frames, strict=True))


def test_a_profile_that_a_png_compresses_to_a_few_kilobytes_is_read(processes: DecoderPool) -> None:
    """As those that this service writes; the process was killed for it, as if it had been taken over."""
    profile = DISPLAY_P3.ljust(20 << 20, b"\0")
    data = saved(picture(4, 4, 3), "PNG", icc_profile=profile)
    assert len(data) < 1 << 16
    processes.check()
    before = set(processes.pids)
    assert processes.read(data, OPTIONS, LIMITS).metadata.icc == profile
    assert set(processes.pids) == before


@pytest.mark.parametrize(
    "data",
    [
        *(case.make()[0] for case in CASES[::5]),
        with_everything(),
        film_of("GIF")[0],
        saved(picture(5, 7, 3), "PNG", icc_profile=DISPLAY_P3),
        next(case.make()[0] for case in CASES if case.what == "RGB and alpha, 10 bits"),
        pytest.param(tuple(JxlReader.examples())[-1], id="JXL with compressed metadata"),
        pytest.param(write_png(picture(5, 7, 3), 2, 8, extra=[(b"cICP", b"\x09\x10\0\1")]), id="PNG in PQ"),
        *(pytest.param(data, id=f"TIFF {index}") for index, data in enumerate(TIFFS)),
    ],
)
def test_a_decoder_process_gives_the_same_raster(processes: DecoderPool, data: bytes) -> None:
    assert _equal(processes.read(data, OPTIONS, LIMITS), read(data, OPTIONS, LIMITS))


def test_a_decoder_process_converts_hdr(processes: DecoderPool) -> None:
    data = write_png(picture(5, 7, 3, np.uint16), 2, 16, extra=[(b"cICP", b"\x09\x12\0\1")])
    options = wanted(scale=2, color="srgb")
    assert _equal(processes.read(data, options, LIMITS), read(data, options, LIMITS))
    assert processes.read(data, options, LIMITS).metadata.srgb


@pytest.mark.parametrize("data", [DAMAGED["half"], LYING["JPEG"], LYING["WEBP"], b"", b"<svg/>"])
def test_a_decoder_process_gives_the_same_refusal(processes: DecoderPool, data: bytes) -> None:
    with pytest.raises(ClientError) as inside:
        read(data, OPTIONS, LIMITS)
    with pytest.raises(ClientError) as outside:
        processes.read(data, OPTIONS, LIMITS)
    assert (type(outside.value), str(outside.value)) == (type(inside.value), str(inside.value))


def test_a_codec_can_decode_through_the_pool(processes: DecoderPool) -> None:
    service = Codec(FORMULAS, LIMITS, threads=1, read=processes.read)
    samples = picture(7, 5, 4)
    decoded = service.decode(saved(samples, "PNG"), wanted(scale=1))
    encoded = service.encode(decoded, [decoded.frames[0].planes], 1, wanted())
    assert encoded.body == _inline(samples)
    with pytest.raises(UnsupportedFormat):
        service.decode(b"nothing", wanted(scale=1))


def _inline(samples: Any) -> bytes:
    service = Codec(FORMULAS, LIMITS, threads=1)
    decoded = service.decode(saved(samples, "PNG"), wanted(scale=1))
    return service.encode(decoded, [decoded.frames[0].planes], 1, wanted()).body


def test_pipes_are_widened_to_hold_most_messages() -> None:
    """Otherwise service and decoder would wait for each other after every 64 KiB."""
    out, into = os.pipe()
    os.set_blocking(into, False)
    decoder_child._widen(into)
    assert os.write(into, bytes(1 << 20)) == 1 << 20
    os.close(out)
    os.close(into)


def test_a_pipe_that_cannot_be_widened_is_used_unchanged(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: int) -> int:
        raise PermissionError

    monkeypatch.setattr(fcntl, "fcntl", refuse)
    out, into = os.pipe()
    decoder_child._widen(into)
    os.close(out)
    os.close(into)


def test_concurrent_threads_get_their_own_pictures(processes: DecoderPool) -> None:
    pictures = [picture(20 + i, 30, 3, seed=i) for i in range(24)]
    with ThreadPoolExecutor(6) as pool:
        found = pool.map(lambda samples: processes.read(saved(samples, "PNG"), OPTIONS, LIMITS), pictures)
        for samples, raster in zip(pictures, found, strict=True):
            assert np.array_equal(raster.frames[0], samples)


def test_a_process_that_died_while_idle_is_replaced_without_losing_a_picture() -> None:
    pool = DecoderPool(1, LIMITS)
    data = saved(picture(7, 5, 3), "PNG")
    try:
        pool.read(data, OPTIONS, LIMITS)
        (pid,) = pool.pids
        os.kill(pid, signal.SIGKILL)
        assert np.array_equal(pool.read(data, OPTIONS, LIMITS).frames[0], picture(7, 5, 3))
        assert pool.pids != [pid]
    finally:
        pool.close()


def test_a_hanging_process_is_killed_and_its_picture_refused() -> None:
    pool = DecoderPool(1, LIMITS, timeout_seconds=0.3)
    data = saved(picture(7, 5, 3), "PNG")
    try:
        while True:  # until the process is up, which takes longer on a busy machine
            try:
                pool.read(data, OPTIONS, LIMITS)
                break
            except UndecodablePicture:
                continue
        (pid,) = pool.pids
        os.kill(pid, signal.SIGSTOP)
        with pytest.raises(UndecodablePicture, match="The PNG was given up: the decoder took too long on it"):
            pool.read(data, OPTIONS, LIMITS)
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    finally:
        pool.close()


def test_a_picture_that_kills_its_decoder_twice_is_refused_and_the_pool_recovers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pool = DecoderPool(1, LIMITS)
    data = saved(picture(7, 5, 3), "PNG")
    sent = decoder_protocol.request
    try:
        pool.read(data, OPTIONS, LIMITS)
        # A header that is not JSON ends the process, as a crash in a C library would.
        monkeypatch.setattr(decoder_protocol, "request", lambda *_: [bytes([1, 0, 0, 0]), b"{"])
        with pytest.raises(UndecodablePicture, match="The PNG was given up: the decoder crashed on it"):
            pool.read(data, OPTIONS, LIMITS)
        monkeypatch.setattr(decoder_protocol, "request", sent)
        assert np.array_equal(pool.read(data, OPTIONS, LIMITS).frames[0], picture(7, 5, 3))
    finally:
        pool.close()


LINGERS = """
import time
from app.codec import decoder_process, reader
read = reader.read
def lingering(data, *arguments):
    if len(data) > 1000:
        time.sleep(600)
    return read(data, *arguments)
reader.read = lingering
decoder_process.main(int(sys.argv[2]), int(sys.argv[3]))
"""


def test_an_answer_for_which_there_is_no_memory_is_not_taken_for_the_next_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    received = DecoderChild._received

    def short_of_memory(child: DecoderChild, size: int, deadline: float) -> memoryview:
        if size >= 300 * 300 * 3:
            raise MemoryError
        return received(child, size, deadline)

    pool = DecoderPool(1, LIMITS)
    try:
        small, large = saved(picture(5, 7, 3), "PNG"), saved(picture(300, 300, 3), "PNG")
        with monkeypatch.context() as patch, pytest.raises(MemoryError):
            patch.setattr(DecoderChild, "_received", short_of_memory)
            pool.read(large, OPTIONS, LIMITS)
        for data in (small, large):
            assert _equal(pool.read(data, OPTIONS, LIMITS), read(data, OPTIONS, LIMITS))
    finally:
        pool.close()


def test_a_check_that_fails_leaves_the_pool_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = DecoderPool(2, LIMITS)

    def short_of_memory(child: DecoderChild) -> None:
        raise MemoryError

    pool.start()
    with monkeypatch.context() as patch, pytest.raises(MemoryError):
        patch.setattr(DecoderChild, "wait", short_of_memory)
        pool.check()
    pool.check()
    assert len(pool.pids) == 2
    pool.close()


def test_a_client_with_slow_pictures_leaves_a_process_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    children: list[DecoderChild] = []

    class Child(DecoderChild):
        asked = 0

        def ask(self, *arguments: Any) -> Raster:
            type(self).asked += 1
            return super().ask(*arguments)

        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            children.append(self)

    monkeypatch.setattr("app.codec.decoder_pool.DecoderChild", Child)
    pool = DecoderPool(3, LIMITS, timeout_seconds=600.0, program=LINGERS)
    long, small = saved(picture(64, 64, 3), "PNG"), saved(picture(7, 5, 3), "PNG")
    assert len(long) > 1000 > len(small)
    with ThreadPoolExecutor(6) as threads:
        anns = [threads.submit(pool.read, long, OPTIONS, LIMITS, "ann") for _ in range(5)]
        try:
            while Child.asked < 2:
                time.sleep(0.01)
            for name in ("bob", "bob", "carl"):
                raster = threads.submit(pool.read, small, OPTIONS, LIMITS, name).result(60)
                assert np.array_equal(raster.frames[0], picture(7, 5, 3))
            assert Child.asked == 5, "two of ann's pictures, and not one more"
            assert not any(each.done() for each in anns)
        finally:
            while not all(each.done() for each in anns):
                for child in list(children):
                    child.end()
                time.sleep(0.01)
    pool.close()
    assert all(each.exception() for each in anns)


def test_the_memory_of_a_process_is_limited() -> None:
    pool = DecoderPool(1, DecodeLimits(max_input_pixels=1 << 26, max_output_pixels=1 << 28), memory_bytes=48 << 20)
    limits = DecodeLimits(max_input_pixels=1 << 26, max_output_pixels=1 << 28)
    large = saved(np.zeros((3500, 3500, 3), np.uint8), "PNG")
    small = saved(picture(7, 5, 3), "PNG")
    try:
        with pytest.raises(UndecodablePicture):
            pool.read(large, wanted(scale=2), limits)
        assert np.array_equal(pool.read(small, OPTIONS, limits).frames[0], picture(7, 5, 3))
        (pid,) = pool.pids
        space = resource.prlimit(pid, resource.RLIMIT_AS)
        assert space[0] == space[1] != resource.RLIM_INFINITY
    finally:
        pool.close()


def test_closing_ends_the_processes() -> None:
    pool = DecoderPool(2, LIMITS)
    pool.check()
    pids = pool.pids
    assert len(pids) == 2
    pool.close()
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_a_process_that_hangs_before_it_is_warm_ends_without_its_service() -> None:
    hangs = (
        "from app.codec import decoder_process as it; it._START_SECONDS = 1; it._warm_up = __import__('signal').pause; "
    )
    child = DecoderChild(1 << 30, 600.0, hangs + "it.main(int(sys.argv[2]), int(sys.argv[3]))")
    try:
        assert child._child.wait(60) == -signal.SIGALRM
    finally:
        child.kill()


def test_one_process_starts_first_and_decodes_before_the_others_are_up() -> None:
    """The others would compete for the cores while it warms up, and one is enough for a service to be ready."""
    pool = DecoderPool(3, LIMITS)
    try:
        pool.start()
        pool.start()
        (first,) = pool.pids
        for _ in range(2):
            pool.read(saved(picture(7, 5, 3), "PNG"), OPTIONS, LIMITS)
        assert pool.state == "ok"
        assert pool.pids == [first]
        pool.check()
        assert len(pool.pids) == 3
        assert first in pool.pids
    finally:
        pool.close()
