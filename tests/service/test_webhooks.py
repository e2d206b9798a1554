"""What is tried again, when it is given up, and what one client's receivers cost another."""

import asyncio
import itertools
import json
from collections.abc import Iterator
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from app.errors import BadParameter, QueueFull, TooManyRequests
from app.metrics import Metrics
from app.service import webhooks
from app.service.job_snapshot import JobSnapshot
from app.service.webhooks import AT_ONCE, AT_ONCE_OF_CLIENT, Hook, Webhooks
from app.webhook_rules import Refused, Rules
from tests.conftest import until

URL = "https://hooks.example.org/"
RULES = Rules.of(("hooks.example.org",))
JOB = JobSnapshot(
    version=1,
    id="j",
    request_id="r",
    state="done",
    done_tiles=1,
    total_tiles=1,
    seconds_left=None,
    levels=(4,),
    error=None,
)


class Fake:
    """Answers with these statuses or errors in turn, the last one for good; holds those of `stuck` urls."""

    def __init__(self, *answers: int | Exception) -> None:
        self.answers: Iterator[int | Exception] = itertools.chain(answers, itertools.repeat((answers or (200,))[-1]))
        self.sent: list[tuple[str, str, Any]] = []
        self.gate = asyncio.Event()
        self.under_way = 0
        self.closed = False

    async def send(self, url: str, message_id: str, body: bytes) -> int:
        self.sent.append((url, message_id, json.loads(body)))
        if "stuck" in url:
            self.under_way += 1
            await self.gate.wait()
        answer = next(self.answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def close(self) -> None:
        self.closed = True


def made(sender: Fake | None, most: int = 10, tries: int = 4) -> tuple[Webhooks, Metrics]:
    metrics = Metrics(CollectorRegistry())
    return Webhooks(RULES, sender, metrics, most, tries), metrics


def hooked(told: Webhooks, client: str = "c", url: str = URL) -> Hook:
    return told.reserve(client, url, lambda job: {"id": job.id, "state": job.state})


def count(metrics: Metrics, name: str, **labels: str) -> float:
    return metrics.registry.get_sample_value(name, labels) or 0.0


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhooks, "FIRST_PAUSE_SECONDS", 1e-4)


async def test_a_message_says_what_has_happened() -> None:
    sender = Fake()
    told, metrics = made(sender)
    hook = hooked(told)
    changes: list[str] = []
    hook.on_change = lambda: changes.append(hook.state)
    assert hook.state == "pending"
    hook.fire(JOB)
    await until(lambda: changes)
    ((url, message_id, event),) = sender.sent
    assert (url, event["type"], event["data"]) == (URL, "job.done", {"id": "j", "state": "done"})
    assert message_id.startswith("msg_")
    assert event["timestamp"].endswith("Z")
    assert changes == ["delivered"]
    assert count(metrics, "lapsrn_webhooks_total", outcome="delivered") == 1
    assert count(metrics, "lapsrn_webhooks_pending") == 0


@pytest.mark.parametrize(
    ("problem", "result"),
    [
        (500, "status"),
        (302, "status"),
        (410, "status"),
        (TimeoutError(), "timeout"),
        (OSError("no route"), "unreachable"),
        (Refused("inside"), "refused"),
        (RuntimeError("a surprise"), "unreachable"),
    ],
)
async def test_a_message_is_retried_with_the_same_id_until_it_is_delivered(
    problem: int | Exception, result: str
) -> None:
    sender = Fake(problem, problem, 201)
    told, metrics = made(sender)
    hook = hooked(told)
    hook.fire(JOB)
    await until(lambda: hook.state == "delivered")
    assert len({message_id for _, message_id, _ in sender.sent}) == 1
    assert count(metrics, "lapsrn_webhook_tries_total", result=result) == 2
    assert count(metrics, "lapsrn_webhook_tries_total", result="ok") == 1


async def test_pauses_between_tries_grow_and_the_tries_end(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []

    async def noted(self: Webhooks, seconds: float) -> None:
        pauses.append(seconds)

    monkeypatch.setattr(webhooks, "FIRST_PAUSE_SECONDS", 1.0)
    monkeypatch.setattr(Webhooks, "_wait", noted)
    sender = Fake(500)
    told, metrics = made(sender, tries=5)
    hook = hooked(told)
    with capture_logs() as logs:
        hook.fire(JOB)
        await until(lambda: hook.state == "failed")
    assert len(sender.sent) == 5
    assert [0.8 <= pause / 3**n <= 1.2 for n, pause in enumerate(pauses)] == 4 * [True]
    assert [(log["event"], log["tries"]) for log in logs] == [("webhook not delivered", 5)]
    assert count(metrics, "lapsrn_webhooks_total", outcome="failed") == 1
    assert count(metrics, "lapsrn_webhooks_pending") == 0


async def test_a_webhook_is_refused_if_webhooks_are_off() -> None:
    told, _ = made(None)
    with pytest.raises(BadParameter, match="webhooks are off here"):
        hooked(told)


async def test_a_webhook_to_a_host_that_is_not_allowed_is_refused() -> None:
    told, _ = made(Fake())
    with pytest.raises(BadParameter, match=r"Webhook-Url: evil\.org is none of the hosts"):
        hooked(told, url="https://evil.org/")


async def test_one_client_is_limited_to_its_share_and_another_is_admitted() -> None:
    told, metrics = made(Fake(), most=6)
    held = [hooked(told, "one") for _ in range(6)]
    with pytest.raises(QueueFull):
        hooked(told, "one")
    hooked(told, "other")
    with pytest.raises(TooManyRequests, match="6 of your webhooks"):
        hooked(told, "one")
    assert count(metrics, "lapsrn_webhooks_pending") == 7
    for hook in held:
        hook.release()
    hooked(told, "one")


async def test_receivers_that_hang_only_block_the_turns_of_their_own_client() -> None:
    sender = Fake()
    told, _ = made(sender, most=100)
    for _ in range(20):
        hooked(told, "one", URL + "stuck").fire(JOB)
    await until(lambda: sender.under_way == AT_ONCE_OF_CLIENT)
    other = hooked(told, "other")
    other.fire(JOB)
    await until(lambda: other.state == "delivered")
    assert sender.under_way == AT_ONCE_OF_CLIENT
    sender.gate.set()
    await until(lambda: sender.under_way == 20)
    await told.drain(10)


async def test_concurrent_deliveries_of_all_clients_are_limited() -> None:
    sender = Fake()
    told, _ = made(sender, most=1000)
    for number in range(2 * AT_ONCE):
        hooked(told, f"client {number}", URL + "stuck").fire(JOB)
    await until(lambda: sender.under_way == AT_ONCE)
    for _ in range(10):
        await asyncio.sleep(0)
    assert sender.under_way == AT_ONCE
    sender.gate.set()
    await told.drain(10)
    assert sender.under_way == 2 * AT_ONCE


async def test_a_drain_tries_each_waiting_message_once_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhooks, "FIRST_PAUSE_SECONDS", 1e6)
    sender = Fake(500, 200, 500)
    told, _ = made(sender, tries=9)
    good = hooked(told)
    good.fire(JOB)
    await until(lambda: len(sender.sent) == 1)
    await told.drain(10)
    assert good.state == "delivered"
    late = hooked(told)
    late.fire(JOB)
    await told.drain(10)
    assert (late.state, len(sender.sent)) == ("failed", 3)


async def test_closing_does_not_wait_for_receivers() -> None:
    sender = Fake()
    told, metrics = made(sender)
    hook = hooked(told, url=URL + "stuck")
    hook.fire(JOB)
    await until(lambda: sender.under_way)
    await told.drain(0.001)
    await told.close()
    assert (hook.state, sender.closed) == ("failed", True)
    late = hooked(told)
    late.fire(JOB)
    assert late.state == "failed"
    assert count(metrics, "lapsrn_webhooks_pending") == 0
