"""The Python client against the real service on loopback, with a network that repeats pixels."""

import asyncio
import copy
import gc
import hashlib
import io
import json
import pickle
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import httpx
import numpy as np
import pytest
from lapsrn_client import (
    AsyncUpscaler,
    Busy,
    JobFailed,
    NotAuthorized,
    NotFound,
    Options,
    Picture,
    ServerError,
    Unreachable,
    UnsupportedFormat,
    UpscaleError,
    Upscaler,
)
from lapsrn_client.pictures import data_of
from numpy.typing import NDArray
from PIL import Image

from app.service.service import Service
from tests import pictures
from tests.cli.live import listening, service
from tests.codec.metadata.sources import png
from tests.codec.png_reference import read_png
from tests.codec.profiles import cmyk_profile
from tests.fakes import FakeModel

pytestmark = pytest.mark.server
GRAY = pictures.gray(5, 7)
FILE = pictures.png(GRAY)


def enlarged(scale: int) -> NDArray[np.uint8]:
    return GRAY.repeat(scale, axis=0).repeat(scale, axis=1)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with service() as (address, _):
        yield address


class Scripted:
    """An ASGI application that gives these responses in turn, then repeats the last one, and records requests."""

    def __init__(self, *answers: tuple[int, dict[str, str], bytes]) -> None:
        self.answers = answers
        self.requests: list[str] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        while (await receive()).get("more_body"):
            pass
        status, headers, body = self.answers[min(len(self.requests), len(self.answers) - 1)]
        self.requests.append(f"{scope['method']} {scope['path']}")
        raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": status, "headers": raw})
        await send({"type": "http.response.body", "body": body})


PROBLEM = {"Content-Type": "application/problem+json"}
EVENTS = {"Content-Type": "text/event-stream"}
BUSY = (503, PROBLEM | {"Retry-After": "2"}, b'{"type": "urn:x", "title": "Busy", "status": 503, "detail": "Wait."}')
LIMITED = (429, {"Retry-After": "0"}, b"")
GOOD = (200, {"Content-Type": "image/png", "Content-Location": "/upscale?level=4&id=abc"}, b"picture")


@pytest.mark.parametrize("scale", [2, 4])
@pytest.mark.parametrize("kind", ["bytes", "path", "text", "stream", "pillow", "array", "view"])
def test_every_kind_of_picture_can_be_sent(url: str, tmp_path: Path, kind: str, scale: int) -> None:
    path = tmp_path / "photo.png"
    path.write_bytes(FILE)
    kinds: dict[str, Picture] = {
        "bytes": FILE,
        "path": path,
        "text": str(path),
        "stream": io.BytesIO(FILE),
        "pillow": Image.open(io.BytesIO(FILE)),
        "array": GRAY,
        "view": GRAY[:, :],
    }
    with Upscaler(url) as upscaler:
        result = upscaler.upscale(kinds[kind], scale)
    assert result.media_type == "image/png"
    np.testing.assert_array_equal(pictures.opened(result.body), enlarged(scale))


@pytest.mark.parametrize(
    ("options", "passes"),
    [
        (Options(ensemble=True), 8),
        (Options(quality="best"), 8),
        (Options(quality="high"), 8),
        (Options(quality="medium"), 2),
    ],
    ids=["ensemble", "best", "high", "medium"],
)
def test_higher_efforts_compute_several_times_the_tiles(url: str, options: Options, passes: int) -> None:
    totals: list[int] = []
    with Upscaler(url) as upscaler:
        upscaler.upscale(FILE, progress=lambda done, total: totals.append(total))
        plain = totals[-1]
        result = upscaler.upscale(FILE, options=options, progress=lambda done, total: totals.append(total))
    np.testing.assert_array_equal(pictures.opened(result.body), enlarged(4))
    assert totals[-1] == passes * plain


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 1), (5, 7, 2), (5, 7, 3), (5, 7, 4)])
def test_arrays_are_sent_as_files_with_exactly_their_samples(shape: tuple[int, ...], dtype: type) -> None:
    samples = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)
    for array in (samples, np.asfortranarray(samples), samples.astype(samples.dtype.newbyteorder())):
        assert np.array_equal(read_png(data_of(array)).reshape(shape), samples)


@pytest.mark.parametrize(
    ("array", "error"),
    [
        (np.zeros((3, 3)), TypeError),
        (np.zeros((3, 3, 5), np.uint8), ValueError),
        (np.zeros((0, 3), np.uint8), ValueError),
    ],
)
def test_arrays_of_other_types_and_shapes_are_refused(array: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="an array has to be"):
        data_of(array)


DEEP = np.array([[0, 300, 65535], [1, 256, 40000]], np.uint16)


@pytest.mark.parametrize(
    "image",
    [
        Image.frombytes("I;16", (3, 2), DEEP.astype("<u2").tobytes()),
        Image.frombytes("I;16B", (3, 2), DEEP.astype(">u2").tobytes()),
        Image.frombytes("I;16L", (3, 2), DEEP.astype("<u2").tobytes()),
        Image.fromarray(DEEP.astype(np.int32)),
    ],
    ids=lambda image: str(image.mode),
)
def test_16_bit_pillow_images_keep_every_level(image: Image.Image) -> None:
    """A big-endian TIFF is of mode I;16B, and came out white."""
    np.testing.assert_array_equal(read_png(data_of(image)).reshape(2, 3), DEEP)


@pytest.mark.parametrize(("mode", "sent"), [("La", "LA"), ("RGBa", "RGBA"), ("PA", "RGBA"), ("YCbCr", "RGB")])
def test_pillow_images_of_other_modes_keep_their_alpha(mode: str, sent: str) -> None:
    gray = Image.fromarray(GRAY)
    original = gray if mode == "YCbCr" else Image.merge("LA", (gray, Image.new("L", gray.size, 128)))
    image = original.convert("RGBA").convert(mode) if mode in ("PA", "RGBa") else original.convert(mode)
    file = Image.open(io.BytesIO(data_of(image)))
    assert file.mode == sent
    if sent != "RGB":
        assert file.getchannel("A").getextrema() == (128, 128)


def test_a_cmyk_image_of_pillow_is_sent_with_its_inks_and_profile() -> None:
    inks = Image.merge("CMYK", [Image.fromarray(GRAY)] * 4)
    inks.info["icc_profile"] = profile = cmyk_profile()
    file = Image.open(io.BytesIO(data_of(inks)))
    assert (file.mode, file.tobytes(), file.info["icc_profile"]) == ("CMYK", inks.tobytes(), profile)


def test_a_pillow_image_of_floating_point_samples_is_refused() -> None:
    with pytest.raises(TypeError, match="integer samples, not mode F"):
        data_of(Image.fromarray(GRAY.astype(np.float32)))


def test_results_can_be_saved_or_opened_as_pillow_images_and_arrays(url: str, tmp_path: Path) -> None:
    with Upscaler(url) as upscaler:
        result = upscaler.upscale(GRAY, 2)
    result.save(tmp_path / "big.png")
    assert (tmp_path / "big.png").read_bytes() == result.body
    assert result.image().size == (14, 10)
    np.testing.assert_array_equal(result.array(), enlarged(2))


@pytest.mark.parametrize(
    ("scale", "options", "size"),
    [
        (3, {}, (15, 21)),
        (1.5, {}, (8, 11)),
        (1, {}, (5, 7)),
        (4, {"long_side": 20}, (14, 20)),
        (4, {"width": 14}, (10, 14)),
    ],
)
def test_results_have_the_requested_size(
    url: str, scale: float, options: dict[str, Any], size: tuple[int, int]
) -> None:
    with Upscaler(url) as upscaler:
        assert upscaler.upscale(GRAY, scale, Options(**options)).array().shape == size
        job = upscaler.upscale(GRAY, scale, Options(**options), progress=lambda done, total: None)
        assert job.array().shape == size


def test_jobs_can_be_followed_by_their_id(url: str) -> None:
    with Upscaler(url) as upscaler:
        begun = upscaler.begin(FILE, 4)
        assert begun.state in ("queued", "running", "done")
        result = upscaler.wait(begun.id)
        ended = upscaler.job(begun.id)
        assert (ended.state, ended.levels, ended.finished) == ("done", (2, 4), True)
        np.testing.assert_array_equal(result.array(), enlarged(4))
        upscaler.cancel(begun.id)
        with pytest.raises(NotFound):
            upscaler.job(begun.id)


def test_a_broken_event_stream_is_resumed() -> None:
    def state(number: int, name: str) -> dict[str, Any]:
        results = {"2": "/upscale?level=2&id=1"} if name == "done" else {}
        return {"id": "1", "state": name, "progress": {"done": number, "total": 3}, "results": results}

    asked: list[str | None] = []

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/upscale":
            return httpx.Response(200, content=b"picture", headers={"Content-Type": "image/png"})
        asked.append(request.headers.get("Last-Event-ID"))
        number = len(asked)
        whole = (
            f"id: {number}\nevent: state\ndata: {json.dumps(state(number, 'done' if number == 3 else 'running'))}\n\n"
        )
        return httpx.Response(200, content=whole + "data: {cut", headers=EVENTS)

    class Cut(Upscaler):
        _client = staticmethod(partial(httpx.Client, transport=httpx.MockTransport(answer)))  # type: ignore[assignment]

    told: list[tuple[int, int]] = []
    with Cut("http://service") as upscaler:
        assert upscaler.wait("1", lambda done, total: told.append((done, total))).body == b"picture"
    assert asked == [None, "1", "2"]
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_a_failed_job_raises_job_failed(url: str) -> None:
    with Upscaler(url) as upscaler, pytest.raises(JobFailed) as caught:
        upscaler.wait(upscaler.begin(b"no picture").id)
    assert caught.value.status == 415


def test_an_unreachable_service_is_reported_in_one_line() -> None:
    with Upscaler("http://127.0.0.1:9") as upscaler, pytest.raises(Unreachable) as caught:
        upscaler.upscale(FILE)
    assert str(caught.value).startswith("no answer from http://127.0.0.1:9: ")
    assert "\n" not in str(caught.value)


def test_errors_have_classes_of_their_own(url: str) -> None:
    with Upscaler(url) as upscaler, pytest.raises(UnsupportedFormat):
        upscaler.upscale(b"no picture")
    stub = Scripted(LIMITED)
    with listening(stub) as busy, Upscaler(busy, retries=0) as upscaler, pytest.raises(Busy):
        upscaler.upscale(FILE)


def test_another_level_of_the_same_pass_can_be_fetched(url: str) -> None:
    with Upscaler(url) as upscaler:
        result = upscaler.upscale(FILE)
        half = upscaler.level(result.id, 2)
    assert result.url == f"{url}/upscale?level=4&id={result.id}"
    assert half.id == result.id
    np.testing.assert_array_equal(pictures.opened(half.body), enlarged(2))


def test_options_are_sent(url: str) -> None:
    with Upscaler(url) as upscaler:
        result = upscaler.upscale(FILE, options=Options(format="webp", lossless=True))
    assert result.media_type == "image/webp"
    np.testing.assert_array_equal(pictures.opened(result.body)[..., 0], enlarged(4))


def test_the_model_can_be_chosen_and_is_named_in_the_result(url: str) -> None:
    with Upscaler(url) as upscaler:
        result = upscaler.upscale(FILE, options=Options(model="fake_x4"))
        assert (result.media_type, result.model) == ("image/png", "fake_x4")
        assert upscaler.upscale(FILE, progress=lambda done, total: None).model == "fake_x4"  # a job
        with pytest.raises(UpscaleError, match="no model 'other' here; there are fake_x4"):
            upscaler.upscale(FILE, options=Options(model="other"))


@pytest.mark.parametrize("progress", [None, lambda done, total: None], ids=["at once", "as a job"])
def test_a_result_says_whether_its_picture_was_truncated(url: str, progress: Any) -> None:
    with Upscaler(url) as upscaler:
        for data, expected in [(FILE[:-20], True), (FILE, False)]:
            assert upscaler.upscale(data, options=Options(truncated="allow"), progress=progress).truncated is expected


@pytest.mark.parametrize("progress", [None, lambda done, total: None], ids=["at once", "as a job"])
def test_a_result_says_which_metadata_was_left_out(url: str, progress: Any) -> None:
    with Upscaler(url) as upscaler:
        result = upscaler.upscale(png((b"eXIf", b"no directory of anything")), progress=progress)
        assert result.left_out == "exif dropped (unreadable)"


def test_progress_is_reported_in_tiles(url: str) -> None:
    seen: list[tuple[int, int]] = []
    with Upscaler(url) as upscaler:
        result = upscaler.upscale(FILE, progress=lambda done, total: seen.append((done, total)))
        assert upscaler.level(result.id, 4).body == result.body
    np.testing.assert_array_equal(pictures.opened(result.body), enlarged(4))
    assert seen[-1] == (1, 1)
    assert seen == sorted(set(seen))  # each once


async def test_the_asyncio_client_runs_several_requests_at_once(url: str) -> None:
    async with AsyncUpscaler(url) as upscaler:
        results = await asyncio.gather(*(upscaler.upscale(FILE, 2) for _ in range(5)))
        half = await upscaler.level((await upscaler.upscale(FILE, progress=lambda done, total: None)).id, 2)
    assert len({result.id for result in results}) == 5
    for result in (*results, half):
        np.testing.assert_array_equal(pictures.opened(result.body), enlarged(2))


@pytest.mark.parametrize("as_job", [False, True])
def test_problem_documents_are_raised_with_their_fields(url: str, as_job: bool) -> None:
    with Upscaler(url) as upscaler, pytest.raises(UpscaleError) as caught:
        upscaler.upscale(b"no picture", progress=(lambda done, total: None) if as_job else None)
    error = caught.value
    assert (error.type, error.status) == ("urn:lapsrn:problem:unsupported-format", 415)
    assert str(error) == f"{error.title}: {error.detail}"
    assert "PNG" in error.detail


def test_an_unknown_result_is_404(url: str) -> None:
    with Upscaler(url) as upscaler, pytest.raises(UpscaleError) as caught:
        upscaler.level("unknown")
    assert caught.value.status == 404


def test_the_api_key_is_sent() -> None:
    key = {"name": "me", "sha256": hashlib.sha256(b"secret").hexdigest()}
    with service(api_keys=(key,)) as (url, _):
        with Upscaler(url) as upscaler, pytest.raises(UpscaleError) as caught:
            upscaler.upscale(FILE)
        assert caught.value.status == 401
        with Upscaler(url, api_key="secret") as upscaler:
            np.testing.assert_array_equal(pictures.opened(upscaler.upscale(FILE).body), enlarged(4))


@pytest.mark.parametrize("key", ["secret\n", "sécret", "secret\x00"])
def test_an_invalid_key_is_reported_without_showing_it(key: str) -> None:
    """A key read from a file often ends with a line break."""
    with pytest.raises(NotAuthorized, match="this API key cannot be sent") as caught:
        Upscaler("http://service", key)
    assert "cret" not in str(caught.value)


def test_retries_wait_as_long_as_retry_after_says(monkeypatch: pytest.MonkeyPatch) -> None:
    stub = Scripted(BUSY, LIMITED, (503, {}, b""), GOOD)
    with listening(stub) as url, Upscaler(url) as upscaler:
        slept: list[float] = []
        monkeypatch.setattr("lapsrn_client.client.time", type("Clock", (), {"sleep": slept.append}))
        result = upscaler.upscale(FILE)
    assert (result.body, result.id) == (b"picture", "abc")
    assert slept == [0.0, 2.0, 0.0, 2.0], "then Retry-After: 2, Retry-After: 0, and its own 0.5 * 2**2"
    assert stub.requests == ["POST /upscale"] * 4


@pytest.mark.parametrize(
    ("wanted", "seconds"),
    [
        ("Fri, 31 Jan 2026 12:00:07 GMT", 7.0),
        ("Friday, 31-Jan-26 12:00:07 GMT", 7.0),
        ("Fri, 31 Jan 2026 11:00:00 GMT", 0.0),
        ("Fri, 31 Feb 2026 12:00:00 GMT", 0.5),
        ("soon", 0.5),
        ("-5", 0.5),
        ("\u00b2", 0.5),
        ("", 0.5),
    ],
)
def test_retries_wait_until_a_date_or_a_default_time(
    monkeypatch: pytest.MonkeyPatch, wanted: str, seconds: float
) -> None:
    busy = (503, {"Date": "Fri, 31 Jan 2026 12:00:00 GMT", "Retry-After": wanted}, b"")
    with listening(Scripted(busy, GOOD), date_header=False) as url, Upscaler(url) as upscaler:
        slept: list[float] = []
        monkeypatch.setattr("lapsrn_client.client.time", type("Clock", (), {"sleep": slept.append}))
        assert upscaler.upscale(FILE).body == b"picture"
    assert slept == [0.0, seconds]


@pytest.mark.parametrize("body", [b"{", b"[]", b"null", b"\xff", b'{"self": 1, "status": "?"}'])
def test_a_malformed_problem_document_is_still_an_error(body: bytes) -> None:
    """A proxy between client and service may send anything."""
    with listening(Scripted((500, PROBLEM, body))) as url, Upscaler(url) as upscaler:
        with pytest.raises(ServerError, match="Internal Server Error") as caught:
            upscaler.upscale(FILE)
        assert caught.value.status == 500


@pytest.mark.parametrize("headers", [{"Content-Type": "text/html; charset=utf-8"}, {}])
def test_an_html_page_is_not_taken_for_a_picture_or_a_job(headers: dict[str, str]) -> None:
    """It may be a login page, or come from another program on that port."""
    kind = headers.get("Content-Type", "something without a type")
    with listening(Scripted((200, headers, b"<!doctype html>"))) as url, Upscaler(url) as upscaler:
        with pytest.raises(UpscaleError, match=f"/upscale does not answer with a picture: {kind}"):
            upscaler.upscale(FILE)
        with pytest.raises(UpscaleError, match=f"/upscale does not answer with a job: {kind}"):
            upscaler.begin(FILE)


def test_an_empty_answer_is_not_taken_for_a_picture() -> None:
    empty = Scripted((200, {"Content-Type": "image/png"}, b""))
    error = pytest.raises(UpscaleError, match="/upscale does not answer with the bytes of a picture: image/png")
    with listening(empty) as url, Upscaler(url) as upscaler, error:
        upscaler.upscale(FILE)


@pytest.mark.parametrize(
    ("headers", "body", "told"),
    [
        ({"Content-Type": "text/html"}, b"<!doctype html>", "/events does not answer with events: text/html"),
        (EVENTS, b"event: state\ndata: {cut\n\n", "does not answer with a job"),
        (EVENTS, b"event: state\ndata: [1]\n\n", "does not answer with a job"),
        (EVENTS, b'event: state\ndata: {"id": "a"}\n\n', "does not answer with a job"),
        (EVENTS, b"", "no events from http://.*: the stream ends as soon as it begins"),
    ],
)
def test_a_response_that_is_not_an_event_stream_is_an_error_and_not_retried_forever(
    headers: dict[str, str], body: bytes, told: str
) -> None:
    other = Scripted((200, headers, body))
    with listening(other) as url, Upscaler(url, retries=1) as upscaler, pytest.raises(UpscaleError, match=told):
        upscaler.wait("a")
    assert len(other.requests) <= 2


def test_a_finished_job_without_results_is_an_error() -> None:
    done = {"id": "a", "state": "done", "progress": {"done": 1, "total": 1}, "results": {}}
    body = f"event: state\ndata: {json.dumps(done)}\n\n".encode()
    told = pytest.raises(JobFailed, match="the job is done: it names no result")
    with listening(Scripted((200, EVENTS, body))) as url, Upscaler(url) as upscaler, told:
        upscaler.wait("a")


@pytest.mark.parametrize("status", [200, 422])
def test_a_body_that_cannot_be_decompressed_raises_an_error_of_the_client(status: int) -> None:
    garbled = Scripted((status, EVENTS | {"Content-Encoding": "gzip"}, b"not gzip"))
    with listening(garbled) as url, Upscaler(url, retries=0) as upscaler:
        with pytest.raises(Unreachable, match="decompressing"):
            upscaler.upscale(FILE)
        with pytest.raises(Unreachable, match="decompressing"):
            upscaler.wait("a")


def test_job_ids_are_escaped_in_paths() -> None:
    other = Scripted((404, PROBLEM, b"{}"))
    with listening(other) as url, Upscaler(url) as upscaler:
        for ask in (upscaler.job, upscaler.cancel, upscaler.wait):
            with pytest.raises(NotFound):
                ask("../model\n?a#b")
    assert {request.split("/jobs/")[1].count("\n") for request in other.requests} == {1}


def test_a_forked_process_has_connections_of_its_own(url: str) -> None:
    """If both used the same one, one process would get the other's picture."""
    opened: list[httpx.Client] = []

    class Counted(httpx.Client):
        def __init__(self, **settings: Any) -> None:
            super().__init__(**settings)
            opened.append(self)

    class Here(Upscaler):
        _client = Counted

    with Here(url) as upscaler, pytest.MonkeyPatch.context() as patch:
        assert upscaler.upscale(FILE).body
        assert len(opened) == 1
        patch.setattr("lapsrn_client.conversation.os.getpid", lambda: 1)
        assert upscaler.upscale(FILE).body
        assert upscaler.upscale(FILE).body
        assert len(opened) == 2
    for client in opened:
        client.close()


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_the_asyncio_client_can_be_used_in_several_event_loops(url: str) -> None:
    """As in a program that calls asyncio.run for each picture."""
    upscaler = AsyncUpscaler(url)

    async def last() -> bytes:
        async with upscaler:
            return (await upscaler.upscale(FILE)).body

    assert len({asyncio.run(upscaler.upscale(FILE)).body, asyncio.run(last())}) == 1
    gc.collect()  # so that what the first loop has left open, as loops do, is not found during another test


@pytest.mark.parametrize("through", [copy.copy, lambda error: pickle.loads(pickle.dumps(error))])
def test_errors_can_be_pickled_with_their_fields(through: Callable[[UpscaleError], UpscaleError]) -> None:
    error = NotFound("urn:x", "No result", "It has expired.", 404, request_id="a1")
    there = through(error)
    assert type(there) is NotFound
    assert (str(there), vars(there)) == (str(error), vars(error))


async def test_the_asyncio_client_retries() -> None:
    stub = Scripted(LIMITED, LIMITED, GOOD)
    with listening(stub) as url:
        async with AsyncUpscaler(url) as upscaler:
            assert (await upscaler.upscale(FILE)).body == b"picture"
    assert len(stub.requests) == 3


@pytest.mark.parametrize(
    ("answer", "arguments", "requests"),
    [
        (LIMITED, {"retries": 2}, 3),
        (LIMITED, {"retries": 0}, 1),
        (BUSY, {"max_wait": 1.0}, 1),
        ((500, {}, b""), {}, 1),
        ((504, PROBLEM, b'{"title": "Deadline exceeded"}'), {}, 1),
    ],
)
def test_retries_end_within_their_limits(
    answer: tuple[int, dict[str, str], bytes], arguments: dict[str, Any], requests: int
) -> None:
    stub = Scripted(answer)
    with listening(stub) as url, Upscaler(url, **arguments) as upscaler:
        with pytest.raises(UpscaleError) as caught:
            upscaler.upscale(FILE)
        assert caught.value.status == answer[0]
    assert len(stub.requests) == requests


def wait_until_idle(running: Service) -> None:
    until = time.monotonic() + 10
    while running.jobs.under_way:
        assert time.monotonic() < until, "the job was not cancelled"
        time.sleep(0.01)


class Left(Exception):
    """The caller's own code gave up."""


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, Left])
def test_an_exception_while_waiting_cancels_the_job(interruption: type[BaseException]) -> None:
    def interrupt(done: int, total: int) -> None:
        raise interruption

    gate = threading.Event()
    with service([partial(FakeModel, gate=gate)]) as (url, running), Upscaler(url) as upscaler:
        try:
            with pytest.raises(interruption):
                upscaler.upscale(FILE, progress=interrupt)
            wait_until_idle(running)
        finally:
            gate.set()


async def test_cancelling_the_task_cancels_the_job() -> None:
    gate, begun = threading.Event(), asyncio.Event()
    with service([partial(FakeModel, gate=gate)]) as (url, running):
        try:
            async with AsyncUpscaler(url) as upscaler:
                task = asyncio.create_task(upscaler.upscale(FILE, progress=lambda done, total: begun.set()))
                await begun.wait()
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                wait_until_idle(running)
        finally:
            gate.set()


async def test_a_cancelled_scope_of_anyio_cancels_the_job() -> None:
    """As Starlette does when the client of a page that upscales disconnects: every later await is cancelled, too."""
    gate = threading.Event()
    with service([partial(FakeModel, gate=gate)]) as (url, running):
        try:
            with anyio.CancelScope() as scope:
                async with AsyncUpscaler(url) as upscaler:
                    await upscaler.upscale(FILE, progress=lambda done, total: scope.cancel())
            assert scope.cancelled_caught
            wait_until_idle(running)
        finally:
            gate.set()


def test_a_followed_job_leaves_no_generator_to_the_collector(url: str) -> None:
    """A loop around the blocking client, as in a notebook, would have to close it; trio warns about each."""
    begun = list[Any]()
    hooks = sys.get_asyncgen_hooks()
    sys.set_asyncgen_hooks(firstiter=begun.append)
    try:
        with Upscaler(url) as upscaler:
            upscaler.upscale(FILE, progress=lambda done, total: None)
    finally:
        sys.set_asyncgen_hooks(*hooks)
    assert begun
    assert [each for each in begun if each.ag_frame is not None] == []


def test_an_interrupted_client_does_not_wait_for_an_unresponsive_service() -> None:
    job = {"id": "1", "state": "queued", "progress": {"done": 0, "total": 1}}
    timeouts: list[float] = []

    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            return httpx.Response(202, json=job)
        if request.method == "GET":
            return httpx.Response(200, headers=EVENTS, content=f"event: state\ndata: {json.dumps(job)}\n\n")
        timeouts.append(request.extensions["timeout"]["read"])
        raise httpx.ReadTimeout("no answer", request=request)

    class Cut(Upscaler):
        _client = staticmethod(partial(httpx.Client, transport=httpx.MockTransport(answer)))  # type: ignore[assignment]

    def leave(done: int, total: int) -> None:
        raise Left

    with Cut("http://service") as upscaler, pytest.raises(Left):
        upscaler.upscale(FILE, progress=leave)
    assert timeouts == [5.0]


@pytest.fixture
def surroundings(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """An environment that names no proxy yet, and no certificates."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR"):
        for each in (name, name.lower()):
            monkeypatch.delenv(each, raising=False)
    yield monkeypatch


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:1", "http://127.0.0.1:1"])
def test_a_service_on_loopback_is_reached_without_a_proxy(
    url: str, surroundings: pytest.MonkeyPatch, proxy: str
) -> None:
    surroundings.setenv("ALL_PROXY", proxy)
    with Upscaler(url) as upscaler:
        assert upscaler.upscale(FILE, scale=2).media_type == "image/png"


@pytest.mark.parametrize(("name", "value"), [("HTTP_PROXY", "ftp://127.0.0.1:1"), ("SSL_CERT_FILE", "/nowhere.pem")])
@pytest.mark.parametrize("kind", [Upscaler, AsyncUpscaler])
def test_invalid_proxy_settings_of_the_environment_are_reported(
    surroundings: pytest.MonkeyPatch, kind: type[Upscaler | AsyncUpscaler], name: str, value: str
) -> None:
    surroundings.setenv(name, value)
    with pytest.raises(Unreachable, match=f"^no way to http://pictures.test: .*; check the address, and .*{name}"):
        kind("http://pictures.test")


def test_an_error_from_another_program_is_reported_as_such(surroundings: pytest.MonkeyPatch) -> None:
    """Such as a web server at a mistyped address, whose "Not Implemented" alone would explain nothing."""
    answers = Scripted((501, {"Content-Type": "text/html"}, b"<h1>no</h1>"))
    with listening(answers) as url, Upscaler(url) as upscaler, pytest.raises(ServerError) as refused:
        upscaler.job("x")
    assert str(refused.value) == (
        f"Not Implemented: this is not the service's own answer; check what runs at {url}, or in front of it"
    )


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirection_names_the_address_to_use(surroundings: pytest.MonkeyPatch, status: int) -> None:
    """As from http to https; it was no more than "Moved Permanently"."""
    answers = Scripted((status, {"Location": "https://pictures.test/upscale?scale=4"}, b""))
    with listening(answers) as url, Upscaler(url) as upscaler, pytest.raises(UpscaleError) as refused:
        upscaler.upscale(FILE)
    assert refused.value.status == status
    assert refused.value.detail == (
        f"{url} redirects to https://pictures.test/upscale; give the address that the service has there"
    )
    assert answers.requests == ["POST /upscale"]


def test_an_error_from_a_proxy_names_it_without_its_password(surroundings: pytest.MonkeyPatch) -> None:
    answers = Scripted((403, {"Content-Type": "text/html"}, b"<h1>Forbidden</h1>"))
    with listening(answers) as proxy:
        surroundings.setenv("HTTP_PROXY", proxy.replace("://", "://me:secret@"))
        with Upscaler("http://pictures.test") as upscaler, pytest.raises(NotAuthorized) as refused:
            upscaler.job("x")
    host = proxy.removeprefix("http://")
    assert str(refused.value) == f"Forbidden: perhaps from the proxy {host}, which is set in the environment"
    with Upscaler("http://pictures.test") as upscaler, pytest.raises(Unreachable) as lost:
        upscaler.upscale(FILE)
    assert lost.value.title == (
        f"no answer from http://pictures.test through the proxy {host}, which is set in the environment"
    )


Answer = httpx.Response | httpx.TransportError


def scripted(monkeypatch: pytest.MonkeyPatch, *answers: Answer, **options: Any) -> tuple[Upscaler, list[float]]:
    """A client whose requests get these answers in turn, and the pauses before each of its requests."""
    turns = iter(answers)

    def answer(request: httpx.Request) -> httpx.Response:
        each = next(turns)
        if isinstance(each, httpx.TransportError):
            raise each
        return each

    class Here(httpx.Client):
        def __init__(self, **settings: Any) -> None:
            super().__init__(transport=httpx.MockTransport(answer), **settings)

    class InProcess(Upscaler):
        _client = Here

    pauses: list[float] = []
    monkeypatch.setattr("lapsrn_client.client.time.sleep", pauses.append)
    return InProcess("http://service", **options), pauses


def busy(**headers: str) -> httpx.Response:
    return httpx.Response(503, headers={name.replace("_", "-"): value for name, value in headers.items()})


QUEUED = {"id": "a", "state": "queued", "progress": {"done": 0, "total": 0}}


def test_broken_connections_are_retried_with_growing_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = [httpx.ReadError("broken") for _ in range(3)]
    upscaler, pauses = scripted(monkeypatch, *broken, httpx.Response(200, json=QUEUED), retries=3)
    assert upscaler.job("a").state == "queued"
    assert pauses == [0.0, 0.5, 1.0, 2.0]
    upscaler, pauses = scripted(monkeypatch, *broken, retries=2)
    with pytest.raises(Unreachable, match="no answer from http://service: broken") as caught:
        upscaler.job("a")
    assert caught.value.status == 0
    assert len(pauses) == 3


def untrusted(code: int, message: str) -> httpx.ConnectError:
    cause = ssl.SSLCertVerificationError(1, "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed (_ssl.c:1)")
    cause.verify_code, cause.verify_message = code, message
    error = httpx.ConnectError(str(cause))
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (httpx.ReadError(""), "the connection was closed before the answer was complete"),
        (httpx.ReadTimeout(""), "it took too long"),
        (httpx.ReadTimeout("timed out"), "timed out"),
        (
            untrusted(18, "self-signed"),
            "its certificate is not trusted (self-signed); SSL_CERT_FILE may name the file of its authority",
        ),
        (
            untrusted(62, "Hostname mismatch"),
            "its certificate is not for this address (Hostname mismatch); check the address",
        ),
    ],
)
def test_reasons_for_connection_errors_are_given_in_plain_words(
    monkeypatch: pytest.MonkeyPatch, error: httpx.TransportError, reason: str
) -> None:
    upscaler, _ = scripted(monkeypatch, error, retries=0)
    with pytest.raises(Unreachable) as caught:
        upscaler.job("a")
    assert caught.value.detail == reason


def test_a_service_without_tls_is_distinguished_from_an_unreachable_one(url: str) -> None:
    with Upscaler(url.replace("http://", "https://")) as upscaler, pytest.raises(Unreachable) as caught:
        upscaler.job("a")
    assert caught.value.detail.endswith("; perhaps it does not speak https: try http")


def test_a_retry_time_above_the_limit_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    upscaler, pauses = scripted(monkeypatch, busy(retry_after="10"), busy(retry_after="11"), max_wait=10)
    with pytest.raises(Busy):
        upscaler.job("a")
    assert pauses == [0.0, 10.0]


def test_events_of_unknown_kinds_are_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    done = QUEUED | {"state": "done", "results": {"4": ""}}
    lines = f"event: news\ndata: [1]\n\ndata: plain\n\nevent: state\ndata: {json.dumps(done)}\n\n"
    stream = httpx.Response(200, headers={"Content-Type": "text/event-stream"}, text=lines)
    picture = httpx.Response(200, headers={"Content-Type": "image/png"}, content=b"picture")
    upscaler, pauses = scripted(monkeypatch, stream, picture)
    assert upscaler.wait("a").body == b"picture"
    assert len(pauses) == 2
