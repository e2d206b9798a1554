"""The metrics of several replicas in one answer."""

import asyncio

import httpx
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from app.api.replicas import merged
from app.api.scrape import SharedScrape
from app.assembly import build_metrics
from tests.conftest import until

PROMETHEUS = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;"
    "q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)
"""As version 3 asks."""


def exposed(pixels: int) -> str:
    metrics = build_metrics()
    metrics.pixels(pixels, 16 * pixels)
    metrics.stage("decode", 0.5)
    return metrics.expose("")[0].decode()


@pytest.mark.parametrize(
    ("accept", "parse"), [("", parse_text), ("application/openmetrics-text; version=1.0.0", parse_openmetrics)]
)
def test_every_sample_is_labelled_with_its_replica(accept: str, parse: object) -> None:
    body, content_type = merged([exposed(3), None, exposed(5)], accept)
    assert ("openmetrics" in content_type) is bool(accept)
    families = {family.name: family for family in parse(body.decode())}  # type: ignore[operator]
    up = {sample.labels["replica"]: sample.value for sample in families["lapsrn_replica_up"].samples}
    assert up == {"0": 1.0, "1": 0.0, "2": 1.0}
    pixels = {
        (sample.labels["replica"], sample.labels["direction"]): sample.value
        for sample in families["lapsrn_pixels"].samples
    }
    assert pixels == {("0", "in"): 3.0, ("0", "out"): 48.0, ("2", "in"): 5.0, ("2", "out"): 80.0}
    stages = families["lapsrn_stage_duration_seconds"]
    assert (stages.type, {sample.labels["replica"] for sample in stages.samples}) == ("histogram", {"0", "2"})


async def test_concurrent_scrapes_share_the_next_collection() -> None:
    """Each gets a state no older than its request, and any number of concurrent requests costs one collection."""
    began, gates = [], [asyncio.Event() for _ in range(3)]

    async def scrape(accept: str) -> tuple[bytes, str]:
        began.append(accept)
        number = len(began)
        await gates[number - 1].wait()
        return b"%d" % number, accept

    shared = SharedScrape(scrape)
    first = asyncio.create_task(shared(""))
    await until(lambda: began)
    later = [asyncio.create_task(shared("text/plain")) for _ in range(100)]
    other = asyncio.create_task(shared(PROMETHEUS))
    later[0].cancel()
    for gate in gates:
        gate.set()
    assert await first == (b"1", "")
    assert set(await asyncio.gather(*later[1:])) == {(b"2", "")}
    assert await other == (b"3", "application/openmetrics-text")
    assert len(began) == 3


async def test_collections_are_spaced_so_that_other_requests_are_served(monkeypatch: pytest.MonkeyPatch) -> None:
    """However fast somebody asks again, the event loop has twice as long for everybody else as a scrape took."""
    at = []
    now = 100.0
    loop = asyncio.get_running_loop()

    async def scrape(accept: str) -> tuple[bytes, str]:
        nonlocal now
        at.append(now)
        now += 0.5
        return b"", accept

    async def sleep(seconds: float) -> None:
        nonlocal now
        now += max(0.0, seconds)

    shared = SharedScrape(scrape)
    monkeypatch.setattr(loop, "time", lambda: now)
    monkeypatch.setattr("app.api.scrape.asyncio.sleep", sleep)
    for _ in range(3):
        await shared("")
    now += 5.0
    await shared("")
    assert at == [100.0, 101.5, 103.0, 108.5]


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        (PROMETHEUS, "application/openmetrics-text; version=1.0.0; charset=utf-8"),
        ("application/openmetrics-text", "application/openmetrics-text; version=1.0.0; charset=utf-8"),
        ("application/openmetrics-text;version=abc", "text/plain; version=0.0.4; charset=utf-8"),
        ("application/openmetrics-text;version=1." + 999 * "9", "text/plain; version=0.0.4; charset=utf-8"),
        ("text/plain;version=abc", "text/plain; version=0.0.4; charset=utf-8"),
        ("a/b," * 512 + "application/openmetrics-text", "text/plain; version=0.0.4; charset=utf-8"),
        ("text/html,*/*;q=0.1", "text/plain; version=0.0.4; charset=utf-8"),
    ],
)
async def test_any_accept_header_gets_one_of_two_text_formats(
    client: httpx.AsyncClient, accept: str, kind: str
) -> None:
    answer = await client.get("/metrics", headers={"accept": accept})
    assert (answer.status_code, answer.headers["content-type"]) == (200, kind)
