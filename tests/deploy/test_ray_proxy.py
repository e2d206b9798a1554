"""What stands before Serve's proxy, without Ray."""

import json

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from app.api.bounds import ProtocolLimits
from app.settings import Settings
from deploy.ray.proxy import Bounds, HonestErrors


async def fails(scope: Scope, receive: Receive, send: Send) -> None:
    raise RuntimeError("the actor died")


async def says_nothing(scope: Scope, receive: Receive, send: Send) -> None:
    return


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    await JSONResponse(dict(Request(scope).headers))(scope, receive, send)


async def answer_of(app: ASGIApp, path: str = "/", headers: dict[str, str] | None = None) -> httpx.Response:
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://proxy") as client:
        return await client.get(path, headers=headers)


def bounded(proxy: ASGIApp, settings: Settings) -> Bounds:
    return Bounds(proxy, ProtocolLimits.of(settings))


@pytest.mark.parametrize("proxy", [fails, says_nothing])
async def test_a_lost_replica_is_a_502_with_a_clear_message(proxy: ASGIApp) -> None:
    answer = await answer_of(HonestErrors(proxy), headers={"X-Request-Id": "mine"})
    assert answer.status_code == 502
    assert answer.headers["content-type"] == "application/problem+json"
    document = json.loads(answer.content)
    assert document["type"] == "urn:lapsrn:problem:replica-lost"
    assert document["request_id"] == answer.headers["x-request-id"] == "mine"


async def test_a_problem_has_a_generated_request_id() -> None:
    answer = await answer_of(HonestErrors(fails))
    assert answer.json()["request_id"] == answer.headers["x-request-id"] != ""
    assert answer.headers["cache-control"] == "no-store"


async def test_responses_pass_through_unchanged() -> None:
    answer = await answer_of(HonestErrors(PlainTextResponse("busy", 503, {"retry-after": "2"})))
    assert (answer.status_code, answer.text, answer.headers["retry-after"]) == (503, "busy", "2")


async def test_a_response_that_has_begun_is_not_replaced() -> None:
    async def breaks_off(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise RuntimeError("the actor died")

    with pytest.raises(RuntimeError, match="the actor died"):
        await answer_of(HonestErrors(breaks_off))


async def test_the_request_id_is_sent_once() -> None:
    async def twice(scope: Scope, receive: Receive, send: Send) -> None:
        ids = [(b"x-request-id", b"a"), (b"X-Request-ID", b"a")]
        await send({"type": "http.response.start", "status": 200, "headers": ids})
        await send({"type": "http.response.body", "body": b""})

    answer = await answer_of(HonestErrors(twice))
    assert answer.headers.get_list("x-request-id") == ["a"]


async def test_headers_within_their_limits_pass() -> None:
    answer = await answer_of(bounded(echo, Settings()), headers={"X-A": "b"})
    assert (answer.status_code, answer.json()["x-a"]) == (200, "b")


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/", {"X-A": "a" * 2000}),
        ("/?" + "a" * 2000, {}),
        ("/?" + "&" * 20, {}),
        ("/", {f"X-{number}": "a" for number in range(20)}),
    ],
)
async def test_headers_above_their_limits_are_a_431(path: str, headers: dict[str, str]) -> None:
    answer = await answer_of(bounded(echo, Settings(max_header_bytes=1000, max_header_fields=20)), path, headers)
    assert answer.status_code == 431
    assert answer.json()["type"] == "urn:lapsrn:problem:headers-too-large"


@pytest.mark.parametrize("name", ["X-Request-Timeout-Seconds", "X-Request-Disconnect-Disabled"])
async def test_control_headers_from_clients_are_removed(name: str) -> None:
    answer = await answer_of(bounded(echo, Settings()), headers={name: "1"})
    assert name.lower() not in answer.json()
