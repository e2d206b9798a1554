"""Webhook-Url: a real receiver gets messages about jobs that have ended."""

import asyncio
import base64
import json
import threading
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import ValidationError

from app.service import webhooks
from app.settings import Settings
from app.webhooks import signed
from bench.redis_server import RedisServer
from tests import pictures
from tests.conftest import Running, service_of, until
from tests.fakes import FakeModel
from tests.webhooks.test_sender import Receiver, receiving

PNG = pictures.png(pictures.gray())
KEY = bytes(range(32))
SECRET = "whsec_" + base64.b64encode(KEY).decode()
ON = {"webhook_hosts": "127.0.0.1", "webhook_secret": SECRET}
ASYNC = {"Prefer": "respond-async"}


async def begin(client: httpx.AsyncClient, url: str, body: bytes = PNG, key: str = "") -> httpx.Response:
    headers = ASYNC | {"Webhook-Url": url} | ({"Idempotency-Key": key} if key else {})
    return await client.post("/upscale", files={"image": body}, headers=headers)


async def delivered(client: httpx.AsyncClient, job: httpx.Response) -> dict[str, Any]:
    """The job's document once its webhook is settled."""
    for _ in range(1000):
        document: dict[str, Any] = (await client.get(job.headers["Location"])).json()
        if document["webhook"] != "pending":
            return document
        await asyncio.sleep(0.005)
    raise AssertionError("the webhook was neither delivered nor given up")


async def test_the_signed_message_holds_the_job_document(serve: Running) -> None:
    receiver = Receiver()
    async with receiving(receiver) as port, serve(**ON) as client:
        job = await begin(client, f"http://127.0.0.1:{port}/hook")
        assert (job.status_code, job.json()["webhook"]) == (202, "pending")
        document = await delivered(client, job)
    ((_, headers, body),) = receiver.requests
    event = json.loads(body)
    assert event["type"] == "job.done"
    assert {**event["data"], "webhook": "delivered"} == document
    assert (
        headers["webhook-signature"]
        == signed((KEY,), headers["webhook-id"], int(headers["webhook-timestamp"]), body)["webhook-signature"]
    )


async def test_failed_and_cancelled_jobs_are_reported(serve: Running) -> None:
    gate, receiver = threading.Event(), Receiver()
    async with receiving(receiver) as port, serve([lambda: FakeModel(gate=gate)], **ON) as client:
        url = f"http://127.0.0.1:{port}/"
        await delivered(client, await begin(client, url, PNG[:50]))
        job = await begin(client, url)
        await client.delete(job.headers["Location"])
        gate.set()
        await until(lambda: len(receiver.requests) == 2)
    events = [json.loads(body) for _, _, body in receiver.requests]
    assert [event["type"] for event in events] == ["job.failed", "job.cancelled"]
    assert events[0]["data"]["error"]["type"] == "urn:lapsrn:problem:undecodable-picture"


async def test_a_message_is_retried_until_it_is_accepted(serve: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhooks, "FIRST_PAUSE_SECONDS", 1e-3)
    receiver = Receiver(b"HTTP/1.1 503 Later\r\n\r\n")
    async with receiving(receiver) as port, serve(**ON, webhook_tries=9) as client:
        job = await begin(client, f"http://127.0.0.1:{port}/")
        await until(lambda: len(receiver.requests) == 3)
        receiver.answer = b"HTTP/1.1 200 OK\r\n\r\n"
        assert (await delivered(client, job))["webhook"] == "delivered"
    assert len({headers["webhook-id"] for _, headers, _ in receiver.requests}) == 1


async def test_a_job_says_if_its_message_could_not_be_delivered(serve: Running) -> None:
    async with serve(**ON, webhook_tries=1) as client:
        document = await delivered(client, await begin(client, "http://127.0.0.1:1/"))
    assert (document["state"], document["webhook"]) == ("done", "failed")


@pytest.mark.parametrize(
    ("settings", "url", "words"),
    [
        ({}, "https://example.org/", "webhooks are off here"),
        (ON, "https://example.org/", "example.org is none of the hosts"),
        (ON, "http://169.254.169.254/latest/", "169.254.169.254 is none of the hosts"),
        (ON, "http://localhost/", "localhost is none of the hosts"),
        (ON, "nonsense", "has to be an address"),
    ],
)
async def test_webhooks_that_are_not_allowed_are_422(serve: Running, settings: Any, url: str, words: str) -> None:
    async with serve(**settings) as client:
        answer = await begin(client, url)
        assert service_of(client).jobs.under_way == 0
    assert answer.status_code == 422
    assert words in answer.json()["detail"]


async def test_a_synchronous_request_cannot_have_a_webhook(serve: Running) -> None:
    async with serve(**ON) as client:
        answer = await client.post("/upscale", files={"image": PNG}, headers={"Webhook-Url": "http://127.0.0.1/"})
    assert (answer.status_code, answer.json()["detail"][:34]) == (422, "Webhook-Url: only jobs have webhoo")


async def test_a_job_without_a_webhook_does_not_mention_it(client: httpx.AsyncClient) -> None:
    job = await client.post("/upscale", files={"image": PNG}, headers=ASYNC)
    assert "webhook" not in job.json()


async def test_a_repeated_request_is_reported_once_and_another_webhook_url_is_another_request(serve: Running) -> None:
    receiver = Receiver()
    async with receiving(receiver) as port, serve(**ON) as client:
        url = f"http://127.0.0.1:{port}/"
        answers = [await begin(client, url, key="k") for _ in range(2)]
        other = await begin(client, f"{url}other", key="k")
        await delivered(client, answers[0])
    assert answers[0].json()["id"] == answers[1].json()["id"]
    assert other.status_code == 422
    assert len(receiver.requests) == 1


async def test_the_number_of_pending_webhooks_is_limited(serve: Running) -> None:
    """A job that is refused because of the limit leaves nothing reserved."""
    gate, receiver = threading.Event(), Receiver()
    async with receiving(receiver) as port, serve([lambda: FakeModel(gate=gate)], **ON, max_webhooks=1) as client:
        url = f"http://127.0.0.1:{port}/"
        job = await begin(client, url)
        refused = await begin(client, url)
        assert (refused.status_code, refused.json()["type"]) == (503, "urn:lapsrn:problem:queue-full")
        assert service_of(client).jobs.under_way == 1
        gate.set()
        await delivered(client, job)
        assert (await begin(client, url)).status_code == 202


async def test_a_drain_reports_the_jobs_that_it_finishes(serve: Running) -> None:
    gate, receiver = threading.Event(), Receiver()
    async with receiving(receiver) as port, serve([lambda: FakeModel(gate=gate)], **ON) as client:
        await begin(client, f"http://127.0.0.1:{port}/")
        service = service_of(client)
        draining = asyncio.create_task(service.drain())
        await until(lambda: service.phase == "draining")
        gate.set()
        await draining
        assert [json.loads(body)["type"] for _, _, body in receiver.requests] == ["job.done"]


@pytest.mark.server
async def test_another_process_shows_that_a_message_was_delivered(serve: Running, redis_server: RedisServer) -> None:
    gate, receiver = threading.Event(), Receiver()
    shared = {**ON, "redis_url": redis_server.url, "processes": 2}
    async with (
        receiving(receiver) as port,
        serve([lambda: FakeModel(gate=gate)], **shared) as one,
        serve(**shared) as two,
    ):
        job = await begin(one, f"http://127.0.0.1:{port}/")
        gate.set()
        await delivered(one, job)
        for _ in range(1000):
            document = (await two.get(job.headers["Location"])).json()
            if document["webhook"] == "delivered":
                break
            await asyncio.sleep(0.01)
        assert document["webhook"] == "delivered"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"webhook_hosts": "example.org"}, "webhooks have to be signed"),
        ({"webhook_hosts": "http://example.org", "webhook_secret": SECRET}, "is neither a host"),
        ({"webhook_secret": "guess"}, "a secret is whsec_"),
        ({"webhook_secret": SECRET, "webhook_secret_file": "x"}, "are both set"),
    ],
)
def test_contradictory_webhook_settings_are_refused(settings: Any, words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        Settings(**settings)


def test_the_secret_can_be_read_from_a_file_and_is_not_shown(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(f"{SECRET}\n")
    settings = Settings(webhook_hosts="example.org", webhook_secret_file=tmp_path / "secret")  # type: ignore[arg-type]
    assert settings.webhook_keys == (KEY,)
    assert SECRET not in repr(settings)
