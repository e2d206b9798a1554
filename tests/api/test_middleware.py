"""Ids in and out, security headers, the log line, CORS."""

import io
import json
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import structlog

from app import logging
from app.api.tracing import trace_of
from tests import pictures
from tests.conftest import Running, service_of

PNG = pictures.png(pictures.gray())
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """What is logged as JSON, with the test run's own logging put back afterwards."""
    import logging as standard

    root = standard.getLogger()
    handlers, level = root.handlers, root.level
    stream = io.StringIO()
    logging.configure("info", "json", stream)
    yield stream
    root.handlers, root.level = handlers, level
    structlog.reset_defaults()


def lines(log: io.StringIO, event: str = "request") -> list[dict[str, Any]]:
    return [entry for entry in map(json.loads, log.getvalue().splitlines()) if entry["event"] == event]


async def test_each_request_is_logged_in_one_line(log: io.StringIO, client: httpx.AsyncClient) -> None:
    answer = await client.post("/upscale?scale=2", files={"image": PNG}, headers={"x-request-id": "mine-1"})
    (line,) = lines(log)
    assert {key: line[key] for key in ("request_id", "method", "route", "status", "client", "height", "width")} == {
        "request_id": "mine-1",
        "method": "POST",
        "route": "/upscale",
        "status": 200,
        "client": "192.0.2.1",
        "height": 12,
        "width": 18,
    }
    assert line["bytes_in"] == len(PNG)
    assert line["bytes_out"] == len(answer.content)
    assert list(line["stages"]) == ["read", "decode", "queue", "infer", "merge", "encode"]
    assert line["seconds"] > 0


async def test_result_ids_are_not_logged(log: io.StringIO, client: httpx.AsyncClient) -> None:
    made = await client.post("/upscale", files={"image": PNG}, headers={"prefer": "respond-async"})
    await client.get(made.headers["location"])
    await client.get(f"/upscale?level=2&id={made.headers['x-upscale-id']}")
    await client.get(f"/nowhere/{made.headers['x-upscale-id']}")
    assert [line["route"] for line in lines(log)] == ["/upscale", "/jobs/{job_id}", "/upscale", "unmatched"]
    own = [line for line in log.getvalue().splitlines() if json.loads(line)["logger"] != "httpx"]
    assert made.headers["x-upscale-id"] not in "".join(own)


async def test_the_kind_of_problem_is_logged(log: io.StringIO, client: httpx.AsyncClient) -> None:
    await client.post("/upscale", content=b"x", headers={"content-type": "text/plain"})
    assert [(line["status"], line["problem"]) for line in lines(log)] == [(415, "unsupported-format")]


async def test_probes_are_not_logged(log: io.StringIO, client: httpx.AsyncClient) -> None:
    for path in ("/healthz", "/readyz", "/metrics"):
        await client.get(path)
    assert lines(log) == []


async def test_probes_that_fail_are_logged(log: io.StringIO, client: httpx.AsyncClient) -> None:
    service_of(client).phase = "draining"
    await client.get("/readyz")
    assert [(line["route"], line["status"]) for line in lines(log)] == [("/readyz", 503)]


async def test_files_of_the_page_are_logged_as_one_route(log: io.StringIO, client: httpx.AsyncClient) -> None:
    await client.get("/static/js/main.js")
    await client.get("/static/nothing")
    assert [(line["route"], line["status"]) for line in lines(log)] == [("/static", 200), ("/static", 404)]


def test_a_full_disk_loses_log_lines_and_nothing_else(log: io.StringIO) -> None:
    class FullDisk(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(28, "No space left on device")

        def flush(self) -> None:
            raise OSError(28, "No space left on device")

    logging.configure("info", "json", FullDisk())
    structlog.get_logger("lapsrn").info("nobody reads this")


@pytest.mark.parametrize("sent", ["", "with space", "x" * 65, "a/b", "ümlaut", "a\tb"])
def test_malformed_request_ids_are_replaced(sent: str) -> None:
    assert re.fullmatch(r"[0-9a-f]{16}", trace_of(sent, "").request_id)


async def test_a_request_id_is_returned_or_generated(client: httpx.AsyncClient) -> None:
    assert (await client.get("/model", headers={"x-request-id": "A.b_c-9"})).headers["x-request-id"] == "A.b_c-9"
    first, second = [(await client.get("/model")).headers["x-request-id"] for _ in range(2)]
    assert first != second


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        (f"00-{TRACE}-00f067aa0ba902b7-01", True),
        (f"00-{TRACE}-0000000000000000-01", False),
        (f"00-{'0' * 32}-00f067aa0ba902b7-01", False),
        (f"ff-{TRACE}-00f067aa0ba902b7-01", False),
        ("nonsense", False),
    ],
)
async def test_a_trace_context_is_continued(log: io.StringIO, client: httpx.AsyncClient, sent: str, kept: bool) -> None:
    answer = (await client.get("/model", headers={"traceparent": sent})).headers["traceparent"]
    version, trace, span, flags = answer.split("-")
    assert (version, len(trace), len(span)) == ("00", 32, 16)
    assert span != "00f067aa0ba902b7"
    assert ((trace, flags) == (TRACE, "01")) is kept
    assert [line["trace_id"] for line in lines(log)] == [trace]


@pytest.mark.parametrize("path", ["/", "/model", "/nowhere", "/metrics", "/docs"])
async def test_responses_have_security_headers(client: httpx.AsyncClient, path: str) -> None:
    headers = (await client.get(path)).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["content-security-policy"].startswith("default-src 'none'")
    assert "unsafe" not in headers["content-security-policy"]


async def test_the_content_security_policy_allows_only_what_the_page_needs(client: httpx.AsyncClient) -> None:
    policy = (await client.get("/")).headers["content-security-policy"].split("; ")
    assert {"script-src 'self'", "style-src 'self'", "img-src 'self' blob: data:", "connect-src 'self'"} <= set(policy)
    assert (await client.get("/static/js/main.js")).headers["content-security-policy"].split("; ") == policy


async def test_cors_is_off_by_default(client: httpx.AsyncClient) -> None:
    answer = await client.get("/model", headers={"origin": "https://a.example"})
    assert "access-control-allow-origin" not in answer.headers


async def test_cors_allows_listed_origins(serve: Running) -> None:
    async with serve(cors_origins="https://a.example") as client:
        allowed = await client.get("/model", headers={"origin": "https://a.example"})
        assert allowed.headers["access-control-allow-origin"] == "https://a.example"
        assert "X-Upscale-Id" in allowed.headers["access-control-expose-headers"]
        other = await client.get("/model", headers={"origin": "https://b.example"})
        assert "access-control-allow-origin" not in other.headers
        preflight = await client.options(
            "/upscale",
            headers={
                "origin": "https://a.example",
                "access-control-request-method": "POST",
                "access-control-request-headers": "prefer",
            },
        )
        assert preflight.status_code == 200


async def test_cors_exposes_every_documented_header(serve: Running) -> None:
    async with serve(cors_origins="https://a.example") as client:
        answer = await client.get("/openapi.json", headers={"origin": "https://a.example"})
    exposed = {name.strip().lower() for name in answer.headers["access-control-expose-headers"].split(",")}
    documented = {
        name.lower()
        for operations in answer.json()["paths"].values()
        for operation in operations.values()
        for response in operation["responses"].values()
        for name in response.get("headers", ())
    }
    always = {"cache-control", "content-type"}  # readable in any case
    hidden = {"accept-encoding", "set-cookie", "vary", "www-authenticate", "traceparent"}
    assert documented - always - hidden == exposed - always
    assert {name for name in documented if name.startswith("x-upscale-")} <= exposed


async def test_listed_origins_can_read_internal_errors(
    serve: Running, monkeypatch: pytest.MonkeyPatch, log: io.StringIO
) -> None:
    def explode(accept: str, *, strict: bool) -> None:
        raise RuntimeError("the reason")

    monkeypatch.setattr("app.api.routes_upscale.acceptable_formats", explode)
    async with serve(cors_origins="https://a.example") as client:
        answer = await client.post("/upscale", files={"image": PNG}, headers={"origin": "https://a.example"})
        assert answer.status_code == 500
        assert answer.headers["access-control-allow-origin"] == "https://a.example"
    assert "the reason" in log.getvalue()


@pytest.mark.parametrize("path", ["/", "/docs", "/docs/start.js", "/openapi.json", "/model", "/healthz", "/readyz"])
async def test_head_is_get_without_the_body(log: io.StringIO, client: httpx.AsyncClient, path: str) -> None:
    get, head = await client.get(path), await client.head(path)
    assert (head.status_code, head.content) == (200, b"")
    ours = {"x-request-id", "traceparent"}
    assert {name: value for name, value in head.headers.items() if name not in ours} == {
        name: value for name, value in get.headers.items() if name not in ours
    }
    for line in lines(log):
        assert line["route"] == path
        assert (line["method"], line["bytes_out"]) == (("GET", len(get.content)) if line["bytes_out"] else ("HEAD", 0))


async def test_head_of_results_jobs_events_and_metrics(client: httpx.AsyncClient) -> None:
    made = await client.post("/upscale", files={"image": PNG}, headers={"prefer": "respond-async"})
    events = f"{made.headers['location']}/events"
    picture = f"/upscale?level=4&id={made.headers['x-upscale-id']}"
    await client.get(events)  # to its end
    for path in (picture, made.headers["location"], events, "/metrics"):
        get, head = await client.get(path), await client.head(path)
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-type"] == get.headers["content-type"]
        assert head.headers.get("etag") == get.headers.get("etag")
    assert (await client.head("/nothing")).status_code == 404
    assert (await client.head(f"/upscale?level=4&id={'A' * 32}")).status_code == 404


async def test_without_its_folder_there_is_no_page(client: httpx.AsyncClient, tmp_path: Any) -> None:
    from fastapi import FastAPI

    from app.api.routes_page import mount_page

    app = FastAPI()
    mount_page(app, tmp_path)
    assert all(getattr(route, "path", "") != "/" for route in app.routes)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"sec-fetch-site": "cross-site", "origin": "https://evil.example"}, 403),
        ({"sec-fetch-site": "cross-site", "origin": "null"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "cross-site", "origin": "https://a.example"}, 200),
        ({"sec-fetch-site": "same-origin", "origin": "http://test"}, 200),
        ({"sec-fetch-site": "none"}, 200),
        ({}, 200),
    ],
)
async def test_cross_site_posts_are_refused_unless_the_origin_is_listed(
    serve: Running, headers: dict[str, str], status: int
) -> None:
    async with serve(cors_origins="https://a.example") as client:
        answer = await client.post("/upscale", files={"image": PNG}, headers=headers)
    assert answer.status_code == status
    if status == 403:
        assert answer.json()["type"] == "urn:lapsrn:problem:cross-site"


@pytest.mark.parametrize("path", ["/", "/static/js/main.js", "/static/css/base.css"])
async def test_the_page_is_revalidated_on_each_load(client: httpx.AsyncClient, path: str) -> None:
    """Caches ask each time."""
    answer = await client.get(path)
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-cache")
    same = await client.get(path, headers={"if-none-match": answer.headers["etag"]})
    assert (same.status_code, same.headers["cache-control"]) == (
        (304, "no-cache") if path != "/" else (200, "no-cache")
    )


async def test_an_unchanged_file_of_the_page_is_answered_with_304(client: httpx.AsyncClient) -> None:
    tag = (await client.get("/static/js/main.js")).headers["etag"]
    same = await client.get("/static/js/main.js", headers={"if-none-match": tag})
    assert (same.status_code, same.headers["cache-control"]) == (304, "no-cache")
