"""What Serve's proxy answers for a replica that is gone, without Ray."""

import json

import httpx
import pytest
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from deploy.ray.proxy import HonestErrors


async def fails(scope: Scope, receive: Receive, send: Send) -> None:
    raise RuntimeError("the actor died")


async def says_nothing(scope: Scope, receive: Receive, send: Send) -> None:
    return


async def answer_of(proxy: ASGIApp) -> httpx.Response:
    transport = httpx.ASGITransport(HonestErrors(proxy))
    async with httpx.AsyncClient(transport=transport, base_url="http://proxy") as client:
        return await client.get("/")


@pytest.mark.parametrize("proxy", [fails, says_nothing])
async def test_a_lost_replica_is_a_502_that_says_so(proxy: ASGIApp) -> None:
    answer = await answer_of(proxy)
    assert answer.status_code == 502
    assert answer.headers["content-type"] == "application/problem+json"
    assert json.loads(answer.content)["type"] == "urn:lapsrn:problem:replica-lost"


async def test_answers_pass_through() -> None:
    answer = await answer_of(PlainTextResponse("busy", 503, {"retry-after": "2"}))
    assert (answer.status_code, answer.text, answer.headers["retry-after"]) == (503, "busy", "2")


async def test_a_response_that_has_begun_is_not_answered_again() -> None:
    async def breaks_off(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise RuntimeError("the actor died")

    with pytest.raises(RuntimeError, match="the actor died"):
        await answer_of(breaks_off)
