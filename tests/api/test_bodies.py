"""Bodies: what is refused, when, and that nothing stays counted afterwards."""

import asyncio
import gc
import itertools
import re
import time
import weakref

import httpx
import pytest
from fastapi import FastAPI
from hypothesis import assume, given
from hypothesis import strategies as st
from starlette.requests import Request

from app.api.body import BodyLimits, RawSink, read_picture
from app.api.form import FormSink
from app.errors import MalformedRequest, QueueFull, SlowClient, TooManyBytes
from app.service.upload_budget import UploadBudget
from tests import pictures
from tests.api.raw import Exchange
from tests.conftest import Running, app_of, service_of, until

PNG = pictures.png(pictures.gray())
BOUNDARY = "XXX"
FORM = {"content-type": f"multipart/form-data; boundary={BOUNDARY}"}


def part(name: str, data: bytes = PNG, filename: str = "a.png") -> bytes:
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"; filename="{filename}"\r\n'
    return head.encode() + b"Content-Type: image/png\r\n\r\n" + data + b"\r\n"


END = f"--{BOUNDARY}--\r\n".encode()


@pytest.mark.parametrize(
    ("headers", "body", "status", "slug", "says"),
    [
        (FORM, b"", 400, "malformed-request", "ends before"),
        (FORM, END, 400, "malformed-request", "The form has no picture"),
        (FORM, part("picture") + END, 400, "malformed-request", "'picture'"),
        (FORM, part("image").replace(b"image", b"\xff") + END, 400, "malformed-request", "unknown field '\ufffd'"),
        (FORM, part("image") + part("image") + END, 400, "malformed-request", "two pictures"),
        (FORM, part("image") + part("file") + END, 400, "malformed-request", "two pictures"),
        (FORM, part("image", b"") + END, 400, "malformed-request", "empty (0 bytes)"),
        (FORM, part("image"), 400, "malformed-request", "last boundary"),
        (FORM, b"no boundary at all", 400, "malformed-request", "parsed"),
        ({"content-type": "multipart/form-data"}, END, 400, "malformed-request", "boundary"),
        ({"content-type": f"multipart/form-data;{2000 * ' '}boundary=XXX"}, END, 400, "malformed-request", "boundary"),
        ({"content-type": "image/png"}, b"", 400, "malformed-request", "empty"),
        ({"content-type": "application/json"}, b"{}", 415, "unsupported-format", "application/json"),
        ({"content-type": "application/x-www-form-urlencoded"}, PNG, 415, "unsupported-format", "-F image=@"),
        ({}, b"", 400, "malformed-request", "empty"),
        ({"content-type": "image/png"}, b"<svg/>", 415, "unsupported-format", "PNG, JPEG"),
        ({"content-type": "image/png"}, PNG[:-20], 422, "undecodable-picture", ""),
    ],
)
async def test_bad_bodies_are_refused_with_a_problem_document(
    client: httpx.AsyncClient, headers: dict[str, str], body: bytes, status: int, slug: str, says: str
) -> None:
    answer = await client.post("/upscale", content=body, headers=headers)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["type"] == f"urn:lapsrn:problem:{slug}"
    assert problem["status"] == status
    assert says in problem["detail"]
    assert problem["request_id"] == answer.headers["x-request-id"]
    service = service_of(client)
    assert service.uploads.held_bytes == 0
    assert service.quota.under_way() == 0


@pytest.mark.parametrize("coding", ["gzip", "identity, X-GZIP", "deflate", "br", "zstd"])
@pytest.mark.parametrize("headers", [FORM, {"content-type": "image/png"}], ids=["form", "raw"])
async def test_a_compressed_body_is_refused_as_such(
    client: httpx.AsyncClient, headers: dict[str, str], coding: str
) -> None:
    """Otherwise the error would be about a missing boundary or an unknown format."""
    answer = await client.post("/upscale", content=bytes(9), headers=headers | {"content-encoding": coding})
    assert (answer.status_code, answer.headers["accept-encoding"]) == (415, "identity")
    assert answer.json()["type"] == "urn:lapsrn:problem:unsupported-coding"
    assert f"Content-Encoding {coding.rpartition(' ')[2]}: send the body as it is" in answer.json()["detail"]


@pytest.mark.parametrize("coding", ["identity", "", "binary", "utf-8"])
async def test_a_body_with_an_identity_content_encoding_is_accepted(client: httpx.AsyncClient, coding: str) -> None:
    answer = await client.post("/upscale", content=PNG, headers={"content-encoding": coding})
    assert answer.status_code == 200


@pytest.mark.parametrize("headers", [{}, {"content-type": "application/octet-stream"}], ids=["none", "octets"])
async def test_a_body_without_a_type_of_its_own_is_the_picture(
    client: httpx.AsyncClient, headers: dict[str, str]
) -> None:
    """As requests sends it with data=, and curl with -T."""
    assert (await client.post("/upscale", content=PNG, headers=headers)).status_code == 200


def test_a_form_may_have_a_boundary_of_up_to_256_bytes() -> None:
    boundary = 256 * b"b"
    sink = FormSink(boundary, 10_000)
    sink.feed(form(PNG).replace(BOUNDARY.encode(), boundary))
    assert sink.finish() == PNG
    with pytest.raises(MalformedRequest, match="more than 256 bytes"):
        FormSink(boundary + b"b", 10_000)


@pytest.mark.parametrize("fold", [b"\r\n ", b"\r\n\t", b"\n  "])
async def test_headers_of_a_form_part_may_be_folded(client: httpx.AsyncClient, fold: bytes) -> None:
    body = (part("image") + END).replace(b"form-data; ", b"form-data;" + fold)
    assert (await client.post("/upscale", content=body, headers=FORM)).status_code == 200


async def test_names_of_headers_of_a_form_part_may_be_in_lower_case(client: httpx.AsyncClient) -> None:
    body = (part("image") + END).replace(b"Content-Disposition", b"content-disposition")
    assert (await client.post("/upscale", content=body, headers=FORM)).status_code == 200


@pytest.mark.parametrize("cut", [1, 7, 63, 1000])
async def test_a_form_may_arrive_in_pieces(app: FastAPI, cut: int) -> None:
    body = part("image") + END
    pieces = [body[start : start + cut] for start in range(0, len(body), cut)]
    exchange = await Exchange("POST", "/upscale", FORM, pieces).run(app)
    assert exchange.status == 200
    assert pictures.opened(exchange.body).shape == (24, 36)


async def test_a_declared_length_above_the_limit_is_refused_before_reading(serve: Running) -> None:
    async with serve(max_input_bytes=1000) as client:
        headers = {"content-type": "image/png", "content-length": "1001"}
        exchange = await Exchange("POST", "/upscale", headers, [bytes(1001)]).run(app_of(client))
        assert (exchange.status, exchange.taken) == (413, 0)


async def test_a_body_of_undeclared_length_is_refused_once_above_the_limit(serve: Running) -> None:
    async with serve(max_input_bytes=1000) as client:
        exchange = Exchange("POST", "/upscale", {"content-type": "image/png"}, [bytes(300)] * 50)
        await exchange.run(app_of(client))
        assert (exchange.status, exchange.taken) == (413, 4)
        assert b'"urn:lapsrn:problem:too-many-bytes"' in exchange.body
        assert service_of(client).uploads.held_bytes == 0


async def test_a_picture_may_have_exactly_the_maximum_of_bytes_also_in_a_form(serve: Running) -> None:
    async with serve(max_input_bytes=len(PNG)) as client:
        assert (await client.post("/upscale", files={"image": PNG})).status_code == 200
        assert (await client.post("/upscale", files={"image": PNG + b"\0"})).status_code == 413
        assert (await client.post("/upscale", content=PNG)).status_code == 200
        assert (await client.post("/upscale", content=PNG + b"\0")).status_code == 413


@pytest.mark.parametrize(
    ("settings", "seconds"), [({"body_idle_seconds": 0.05}, "0.05"), ({"body_timeout_seconds": 0.07}, "0.07")]
)
async def test_a_body_that_stalls_is_408(serve: Running, settings: dict[str, float], seconds: str) -> None:
    async with serve(**settings) as client:
        exchange = Exchange("POST", "/upscale", {"content-type": "image/png"}, [PNG[:10]], stall=True)
        await exchange.run(app_of(client))
        assert exchange.status == 408
        assert f"{seconds} s".encode() in exchange.body
        assert service_of(client).quota.under_way() == 0


async def test_a_body_that_never_begins_is_408(serve: Running) -> None:
    async with serve(body_idle_seconds=0.05) as client:
        exchange = Exchange("POST", "/upscale", {"content-type": "image/png"}, stall=True)
        await asyncio.wait_for(exchange.run(app_of(client)), 30.0)
        assert exchange.status == 408


async def test_a_body_that_trickles_has_no_more_than_the_time_of_a_whole_body() -> None:
    pieces = 300

    async def receive() -> dict[str, object]:
        nonlocal pieces
        pieces -= 1
        await asyncio.sleep(0.01)
        return {"type": "http.request", "body": b"x", "more_body": pieces > 0}

    request = Request({"type": "http", "headers": []}, receive)
    with pytest.raises(SlowClient):
        await read_picture(request, BodyLimits(1000, 60.0, 0.1), UploadBudget(1000).reserve())


async def test_a_body_that_has_arrived_is_not_cut_off_for_others() -> None:
    """Its bytes are still held, so giving them back would exceed the budget."""
    now = 0.0
    budget = UploadBudget(1000, 1.0, lambda: now)

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": bytes(900), "more_body": False}

    request = Request({"type": "http", "headers": []}, receive)
    await read_picture(request, BodyLimits(1000, 60.0, 60.0), budget.reserve("ann"))
    now = 1000.0
    with pytest.raises(QueueFull):
        budget.reserve("bob").grow(900)
    assert budget.held_bytes == 900


async def test_a_slow_body_whose_memory_another_client_needs_is_408(
    serve: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serve(max_input_bytes=3000, max_body_bytes_in_flight=3000) as client:
        budget = service_of(client).uploads
        headers = {"content-type": "image/png", "content-length": "3000"}
        exchange = Exchange("POST", "/upscale", headers, [bytes(900)], stall=True)
        running = asyncio.create_task(exchange.run(app_of(client)))
        await until(lambda: budget.held_bytes)
        budget.reserve("another").grow(1500)
        monkeypatch.setattr(budget._transfers, "_clock", lambda: time.monotonic() + 60.0)
        asking = budget.reserve("a third")
        asking.grow(1500)
        await asyncio.wait_for(running, 10.0)
        assert exchange.status == 408
        assert b"arrived slowly while others found no room" in exchange.body
        assert budget.held_bytes == 3000


async def test_too_many_pixels_is_413_from_the_header(serve: Running) -> None:
    async with serve(max_input_pixels=53) as client:
        answer = await client.post("/upscale", files={"image": PNG})
        assert (answer.status_code, answer.json()["type"]) == (413, "urn:lapsrn:problem:too-many-pixels")
    async with serve(max_output_pixels=54 * 16 - 1) as client:
        assert (await client.post("/upscale?scale=4", files={"image": PNG})).status_code == 413
        assert (await client.post("/upscale?scale=2", files={"image": PNG})).status_code == 200


async def test_accepted_formats_can_be_set(serve: Running) -> None:
    async with serve(formats="jpeg, webp") as client:
        answer = await client.post("/upscale", files={"image": PNG})
        assert answer.status_code == 415
        assert "JPEG, WEBP" in answer.json()["detail"]


async def test_bodies_of_all_clients_share_one_budget(serve: Running) -> None:
    async with serve(max_body_bytes_in_flight=10_000) as client:
        budget = service_of(client).uploads
        other = budget.reserve("another")
        other.grow(10_000 - len(PNG) // 4)
        answer = await client.post("/upscale", content=PNG + bytes(4000))
        assert answer.status_code == 503
        assert answer.json()["type"] == "urn:lapsrn:problem:queue-full"
        assert answer.headers["retry-after"] == "2"
        other.release()
        assert budget.held_bytes == 0


@pytest.mark.parametrize("declared", [True, False])
async def test_a_body_that_could_never_fit_is_413(serve: Running, declared: bool) -> None:
    """A 503 would make clients send it again and again."""
    async with serve(max_body_bytes_in_flight=len(PNG) - 1) as client:
        length = {"content-length": f"{len(PNG)}"} if declared else {}
        exchange = await Exchange("POST", "/upscale", length, [PNG[:20], PNG[20:]]).run(app_of(client))
        assert (exchange.status, exchange.taken) == (413, 0 if declared else 2)
        assert f"at most {len(PNG) - 1} bytes".encode() in exchange.body
        assert service_of(client).uploads.held_bytes == 0


def test_the_upload_budget_counts_reservations_and_releases_them_once() -> None:
    budget = UploadBudget(10)
    first, second = budget.reserve(), budget.reserve()
    first.grow(6)
    second.grow(4)
    with pytest.raises(QueueFull):
        second.grow(1)
    assert budget.held_bytes == 10
    first.release()
    first.release()
    assert budget.held_bytes == 4


def test_sinks_return_the_bytes_unchanged() -> None:
    raw = RawSink()
    raw.feed(b"ab")
    raw.feed(b"c")
    assert raw.finish() == b"abc"
    form = FormSink(BOUNDARY.encode(), 3)
    form.feed(part("file", b"\r\n-") + END)
    assert form.finish() == b"\r\n-"


def form(data: bytes, *, eol: bytes = b"\r\n", before: bytes = b"", after: bytes = b"", blanks: bytes = b"") -> bytes:
    """A form with `data` in its one field, in the ways that RFC 2046 allows."""
    headers = eol.join(
        [b'Content-Disposition: form-data; name="image"; filename="a"', b"Content-Type: image/png", b"", b""]
    )
    first, last = b"--" + BOUNDARY.encode() + blanks + eol, eol + b"--" + BOUNDARY.encode() + b"--"
    return before + first + headers + data + last + blanks + after


LENIENT: dict[str, dict[str, bytes]] = {
    "plain": {},
    "nothing after the end": {"after": b""},
    "a preamble": {"before": b"This is a multi-part message in MIME format.\r\n--X\r\n-\r\n"},
    "an empty line first": {"before": b"\r\n"},
    "a long preamble": {"before": b"line after line\r\n" * 500},
    "lines end with LF": {"eol": b"\n"},
    "LF and a preamble": {"eol": b"\n", "before": b"\n"},
    "padding": {"blanks": b" \t "},
    "an epilogue": {"after": b"\r\nThe end.\r\n--XXX\r\nmore"},
    "an epilogue without a line end": {"after": b"anything"},
}
TRICKY = [
    PNG,
    b"\r\n",
    b"\n\r",
    b"ends with CR\r",
    b"\n--XXX\n in the middle",
    b"\r\n--XXXX",
    b"\r\n--XXX-",
    b"\r\n--XX",
    b"\r\n--XXX \t x",
    b"\r\n\r\n--XX\r\n--XXX!\r\n",
]


@pytest.mark.parametrize("cut", [1, 2, 3, 7, 64, 100_000])
@pytest.mark.parametrize("shape", LENIENT.values(), ids=LENIENT)
def test_forms_of_every_allowed_shape_give_exactly_the_bytes_sent(shape: dict[str, bytes], cut: int) -> None:
    for data in TRICKY:
        if shape.get("eol") == b"\n" and b"\n--XXX\n" in data:
            continue  # there it is a boundary
        body = form(data, **shape)
        sink = FormSink(BOUNDARY.encode(), 10_000)
        for start in range(0, len(body), cut):
            sink.feed(body[start : start + cut])
        assert sink.finish() == data


@given(
    data=st.lists(st.sampled_from([b"\r", b"\n", b"-", b"X", b" ", b"--XXX", b"a", PNG]), min_size=1).map(b"".join),
    cuts=st.lists(st.integers(1, 30), min_size=1),
)
def test_any_bytes_survive_a_form_in_any_pieces(data: bytes, cuts: list[int]) -> None:
    assume(re.search(rb"\r\n--XXX(--|[ \t]*\r?\n)", data + b"\r\n") is None)
    body, sink = form(data), FormSink(BOUNDARY.encode(), 1_000_000)
    for cut in itertools.cycle(cuts):
        if not body:
            break
        sink.feed(body[:cut])
        body = body[cut:]
    assert sink.finish() == data


@pytest.mark.parametrize("shape", LENIENT.values(), ids=LENIENT)
async def test_forms_of_every_allowed_shape_are_accepted(client: httpx.AsyncClient, shape: dict[str, bytes]) -> None:
    answer = await client.post("/upscale", content=form(PNG, **shape), headers=FORM)
    assert answer.status_code == 200
    assert pictures.opened(answer.content).shape == (24, 36)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"x" * 2000, "does not occur"),
        (b"--XXY\r\n\r\n", "does not occur"),
        (b"--XXX\r\nContent-Type: image/png\r\n\r\n" + PNG + b"\r\n--XXX--", "field ''"),
        (b"--XXX\r\n\r\n" + PNG + b"\r\n--XXX--", "field ''"),
        (b"--XXX\r\nX: " + b"y" * 10_000, "more than 8192 bytes"),
        (b"--XXX\r\nX: " + b"y" * 10_000 + b"\r\n\r\n", "more than 8192 bytes"),
        (form(PNG)[:-2], "before its last boundary"),
    ],
)
def test_malformed_forms_are_refused_in_plain_words(body: bytes, says: str) -> None:
    sink = FormSink(BOUNDARY.encode(), 10_000)
    with pytest.raises(MalformedRequest, match=says):
        sink.feed(body)
        sink.finish()


def test_a_form_leaves_no_reference_cycles() -> None:
    gc.disable()
    try:
        sink = FormSink(BOUNDARY.encode(), 10_000)
        sink.feed(form(PNG))
        sink.finish()
        gone = weakref.ref(sink)
        del sink
        assert gone() is None
    finally:
        gc.enable()


def test_a_form_is_refused_above_the_byte_limit() -> None:
    form = FormSink(BOUNDARY.encode(), 3)
    with pytest.raises(TooManyBytes):
        form.feed(part("image", b"abcd"))


def test_an_unusable_form_boundary_is_refused() -> None:
    with pytest.raises(MalformedRequest, match="boundary"):
        FormSink(b"x" * 5000, 3)
