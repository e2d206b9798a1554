"""Jobs: Prefer: respond-async, state, events, cancelling, expiry."""

import asyncio
import functools
import gc
import json
import threading
import time
import weakref
from typing import Any

import httpx
import pytest

from app.api import routes_upscale
from app.api.routes_jobs import state_events
from app.api.turnstile import Turnstile
from app.codec import footprint
from app.service.job_snapshot import JobSnapshot, State
from app.service.jobs import Jobs
from app.service.pipeline import Upload
from tests import pictures
from tests.api.raw import Exchange
from tests.conftest import Running, app_of, service_of, until
from tests.fakes import FakeModel

PNG = pictures.png(pictures.gray())
ASYNC = {"prefer": "respond-async"}


async def begin(client: httpx.AsyncClient, query: str = "", body: bytes = PNG) -> httpx.Response:
    return await client.post(f"/upscale{query}", files={"image": body}, headers=ASYNC)


async def finished(client: httpx.AsyncClient, url: str) -> dict[str, Any]:
    for _ in range(1000):
        document: dict[str, Any] = (await client.get(url)).json()
        if document["state"] not in ("queued", "running"):
            return document
        await asyncio.sleep(0.005)
    raise AssertionError("the job did not end")


def events_of(text: str) -> list[dict[str, str]]:
    events = []
    for block in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if "data" in fields:
            events.append(fields)
    return events


async def test_jobs_are_refused_if_no_results_are_kept(serve: Running) -> None:
    async with serve(result_max_bytes=0) as client:
        refused = await begin(client)
        assert refused.status_code == 422
        assert refused.json()["detail"].startswith("Prefer: no results are kept here, so there are no jobs;")
        assert (await client.post("/upscale", files={"image": PNG})).status_code == 200


async def test_a_job_is_accepted_then_done_then_its_result_fetched(client: httpx.AsyncClient) -> None:
    accepted = await begin(client, "?scale=4")
    assert accepted.status_code == 202
    job_id = accepted.json()["id"]
    assert accepted.headers["location"] == f"/jobs/{job_id}"
    assert accepted.headers["x-upscale-id"] == job_id
    assert accepted.headers["preference-applied"] == "respond-async"
    assert f"upscale_id={job_id}" in accepted.headers["set-cookie"]
    assert await finished(client, accepted.headers["location"]) == {
        "id": job_id,
        "state": "done",
        "progress": {"done": 1, "total": 1},
        "seconds_left": None,
        "results": {"2": f"/upscale?level=2&id={job_id}", "4": f"/upscale?level=4&id={job_id}"},
        "model": "fake_x4",
        "clean": "0",
        "metadata": "",
        "truncated": False,
        "error": None,
    }
    picture = await client.get(f"/upscale?level=4&id={job_id}")
    synchronous = await client.post("/upscale?scale=4", files={"image": PNG})
    assert picture.content == synchronous.content


async def test_a_job_is_queued_until_its_tiles_are_computed(serve: Running) -> None:
    gate = threading.Event()
    async with serve([lambda: FakeModel(gate=gate)]) as client:
        accepted = await begin(client)
        url = accepted.headers["location"]
        await until(lambda: service_of(client).engine.scheduler.requests)
        document = (await client.get(url)).json()
        assert (document["state"], document["progress"], document["results"]) == ("queued", {"done": 0, "total": 1}, {})
        gate.set()
        assert (await finished(client, url))["state"] == "done"


async def test_a_level_of_a_running_job_is_not_ready(serve: Running) -> None:
    gate = threading.Event()
    async with serve([lambda: FakeModel(gate=gate)], root_path="/sr") as client:
        accepted = await begin(client)
        job = accepted.headers["location"]
        picture = f"/upscale?level=4&id={accepted.headers['x-upscale-id']}"
        await until(lambda: service_of(client).engine.scheduler.requests)
        early = await client.get(picture)
        assert (early.status_code, early.json()["type"]) == (409, "urn:lapsrn:problem:not-ready")
        assert (early.json()["job"], early.headers["link"]) == (job, f'<{job}>; rel="monitor"')
        assert job.startswith("/sr/jobs/")
        assert "0 of 1 tiles are done" in early.json()["detail"]
        gate.set()
        await finished(client, job)
        assert (await client.get(picture)).status_code == 200


async def test_a_result_that_is_stored_during_the_lookup_is_found(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    accepted = await begin(client)
    await finished(client, accepted.headers["location"])
    store = service_of(client).store
    answers = [None, await store.get(accepted.headers["x-upscale-id"], "", 4)]

    async def get(*arguments: Any) -> Any:
        return answers.pop(0)

    monkeypatch.setattr(store, "get", get)
    picture = f"/upscale?level=4&id={accepted.headers['x-upscale-id']}"
    assert (await client.get(picture)).status_code == 200
    assert answers == []


async def test_a_failed_job_has_an_error_document(client: httpx.AsyncClient) -> None:
    accepted = await begin(client, body=PNG[:-20])
    document = await finished(client, accepted.headers["location"])
    assert document["state"] == "failed"
    assert document["error"]["type"] == "urn:lapsrn:problem:undecodable-picture"
    assert document["error"]["request_id"] == accepted.headers["x-request-id"]
    assert (await client.get(f"/upscale?level=4&id={document['id']}")).status_code == 404


async def test_a_failed_job_frees_its_upload(client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise the traceback of its error keeps the bytes, uncounted, for as long as the job is remembered."""
    uploads = list[weakref.ref[Upload]]()

    class NotedUpload(Upload):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            uploads.append(weakref.ref(self))

    monkeypatch.setattr(routes_upscale, "Upload", NotedUpload)
    accepted = await begin(client, body=PNG[:-20])
    assert (await finished(client, accepted.headers["location"]))["state"] == "failed"
    gc.collect()
    assert [upload() for upload in uploads] == [None]


async def test_a_result_too_large_to_keep_fails_the_job(serve: Running) -> None:
    async with serve(result_max_bytes=10) as client:
        document = await finished(client, (await begin(client)).headers["location"])
        assert document["state"] == "failed"
        assert document["error"]["type"] == "urn:lapsrn:problem:store-unavailable"


async def test_a_bad_body_is_refused_without_creating_a_job(client: httpx.AsyncClient) -> None:
    answer = await client.post("/upscale", content=b"x", headers=ASYNC | {"content-type": "text/plain"})
    assert answer.status_code == 415


async def test_cancelling_a_job_frees_everything_and_forgets_it(serve: Running) -> None:
    gate = threading.Event()
    async with serve([lambda: FakeModel(gate=gate)]) as client:
        blocker = await begin(client)
        waiting = await begin(client)
        url = waiting.headers["location"]
        await until(lambda: service_of(client).engine.scheduler.requests == 2)
        assert (await client.delete(url)).status_code == 204
        assert (await client.get(url)).status_code == 404
        assert (await client.delete(url)).status_code == 404
        gate.set()
        await finished(client, blocker.headers["location"])
        service = service_of(client)
        assert (service.quota.under_way(), service.uploads.held_bytes, service.jobs.under_way) == (0, 0, 0)
        assert service.engine.status().queue_tiles == 0
        metrics = (await client.get("/metrics")).text
        assert 'lapsrn_cancelled_total{stage="queue"} 1.0' in metrics
        assert "lapsrn_requests_in_flight 0.0" in metrics


async def test_the_event_stream_ends_with_the_result(client: httpx.AsyncClient) -> None:
    accepted = await begin(client)
    answer = await client.get(f"{accepted.headers['location']}/events")
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["cache-control"] == "no-store"
    events = events_of(answer.text)
    assert {event["event"] for event in events} == {"state"}
    ids = [int(event["id"]) for event in events]
    assert ids == sorted(set(ids))
    assert json.loads(events[-1]["data"]) == (await client.get(accepted.headers["location"])).json()


async def test_events_before_last_event_id_are_not_sent_again(client: httpx.AsyncClient) -> None:
    """An EventSource reconnects after the end of every stream, unless it is told with a 204 to stop."""
    accepted = await begin(client)
    url = f"{accepted.headers['location']}/events"
    last = events_of((await client.get(url)).text)[-1]["id"]
    again = await client.get(url, headers={"last-event-id": last})
    assert (again.status_code, again.content) == (204, b"")
    earlier = await client.get(url, headers={"last-event-id": "1"})
    assert [event["id"] for event in events_of(earlier.text)] == [last]


def at(state: State, version: int) -> JobSnapshot:
    return JobSnapshot(
        version=version,
        id="a",
        request_id="r",
        state=state,
        done_tiles=0,
        total_tiles=0,
        seconds_left=None,
        levels=(),
        error=None,
    )


async def test_one_event_stream_is_served_per_pass() -> None:
    """A thousand streams of one job, served in the same pass, would block the event loop for a second."""
    turnstile, passes, number = Turnstile(), list[int](), 0

    class Done:
        snapshot = at("done", 1)

        async def changed(self, since: int, seconds: float) -> bool:
            raise AssertionError("nothing is to come")

    async def listen() -> None:
        async for piece in state_events(Done(), 0, 15.0, "", functools.partial(turnstile.passed, "ann")):
            if piece.startswith("id: 1"):
                passes.append(number)

    listening = [asyncio.create_task(listen()) for _ in range(50)]
    while not all(task.done() for task in listening):
        await asyncio.sleep(0)
        number += 1
    assert len(set(passes)) == 50


async def test_event_streams_send_heartbeats() -> None:
    class Slow:
        """A job that changes after two heartbeats, and is done."""

        def __init__(self) -> None:
            self.snapshot, self.waits = at("queued", 1), 0

        async def changed(self, since: int, seconds: float) -> bool:
            assert (since, seconds) == (1, 15.0)
            self.waits += 1
            if self.waits <= 2:
                return False
            self.snapshot = at("done", 2)
            return True

    def data(state: str) -> str:
        document = {"id": "a", "state": state, "progress": {"done": 0, "total": 0}, "seconds_left": None}
        made = dict.fromkeys(("model", "clean", "metadata", "truncated"))
        return json.dumps(document | {"results": {}, **made, "error": None}, separators=(",", ":"))

    assert [
        piece async for piece in state_events(Slow(), 0, 15.0, "", functools.partial(Turnstile().passed, "ann"))
    ] == [
        "retry: 1000\n\n",
        f"id: 1\nevent: state\ndata: {data('queued')}\n\n",
        ": still here\n\n",
        ": still here\n\n",
        f"id: 2\nevent: state\ndata: {data('done')}\n\n",
    ]


async def test_the_event_stream_of_a_cancelled_job_ends(serve: Running) -> None:
    gate = threading.Event()
    async with serve([lambda: FakeModel(gate=gate)]) as client:
        url = (await begin(client)).headers["location"]
        events = Exchange("GET", f"{url}/events")
        reading = asyncio.create_task(events.run(app_of(client)))
        await until(lambda: events.status)
        await client.delete(url)
        await reading
        assert json.loads(events_of(events.body.decode())[-1]["data"])["state"] == "cancelled"
        gate.set()


async def test_head_of_an_event_stream_returns_immediately(serve: Running) -> None:
    gate = threading.Event()
    async with serve([lambda: FakeModel(gate=gate)]) as client:
        url = (await begin(client)).headers["location"]
        head = await asyncio.wait_for(client.head(f"{url}/events"), timeout=10)
        assert (head.status_code, head.headers["content-type"][:17]) == (200, "text/event-stream")
        assert (await client.get(url)).json()["state"] in ("queued", "running")
        assert service_of(client).fetches.under_way() == 0
        gate.set()


async def test_finished_jobs_expire(serve: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("app.service.service.Jobs", functools.partial(Jobs, clock=lambda: now))
    async with serve(job_ttl_seconds=10.0) as client:
        url = (await begin(client)).headers["location"]
        await finished(client, url)
        now = 10.0
        assert (await client.get(url)).status_code == 200
        now = 10.1
        assert (await client.get(url)).status_code == 404


async def test_the_number_of_remembered_jobs_is_limited(serve: Running) -> None:
    async with serve(max_jobs=1) as client:
        await begin(client)
        refused = await begin(client)
        assert refused.status_code == 503
        assert service_of(client).quota.under_way() <= 1


async def test_jobs_have_their_own_deadline(serve: Running) -> None:
    gate = threading.Event()
    async with serve([lambda: FakeModel(gate=gate)], job_deadline_seconds=0.05) as client:
        document = await finished(client, (await begin(client)).headers["location"])
        assert document["error"]["type"] == "urn:lapsrn:problem:deadline-exceeded"
        assert document["error"]["detail"] == "Not done within 0.05 s. Send a smaller picture."
        gate.set()


async def test_a_deadline_that_passes_while_the_process_is_busy_says_the_same(
    serve: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No timer runs between decoding and the queue if the event loop has much to do."""

    def slowly(*arguments: Any) -> int:
        time.sleep(1.1)
        return footprint(*arguments)

    monkeypatch.setattr("app.service.pipeline.footprint", slowly)
    async with serve(job_deadline_seconds=1.0) as client:
        document = await finished(client, (await begin(client)).headers["location"])
        assert document["error"]["detail"] == "Not done within 1 s. Send a smaller picture."


@pytest.mark.parametrize("job_id", ["A" * 32, "a", "-_"])
async def test_unknown_jobs_are_404(client: httpx.AsyncClient, job_id: str) -> None:
    assert (await client.get(f"/jobs/{job_id}")).status_code == 404
    assert (await client.get(f"/jobs/{job_id}/events")).status_code == 404
