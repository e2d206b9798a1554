"""Delivers webhooks for jobs that have ended: limits per client, retries, and when to give up."""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import Any, Literal, Protocol

import structlog

from app.errors import BadParameter
from app.metrics import Metrics
from app.results import new_id
from app.service.job_snapshot import JobSnapshot
from app.shares import Shares
from app.webhook_rules import Refused, Rules

HEADER = "Webhook-Url"
AT_ONCE = 64
"""Messages sent concurrently, of all clients; of one client, AT_ONCE_OF_CLIENT."""
AT_ONCE_OF_CLIENT = 4
FIRST_PAUSE_SECONDS = 1.0
LAST_SECONDS = 1.0
"""Time for a last attempt to deliver the webhooks of jobs that end only when the grace time is over."""
GROWTH = 3
"""Each pause between two tries is this many times as long as the one before."""
State = Literal["pending", "delivered", "failed"]
Render = Callable[[JobSnapshot], dict[str, Any]]
"""Renders a job as GET /jobs/{id} shows it."""


class Sender(Protocol):
    """Sends a message, without retries."""

    async def send(self, url: str, message_id: str, body: bytes) -> int:
        """The status of the response; raises whatever went wrong."""

    async def close(self) -> None:
        """Closes the connections."""


class Hook:
    """The webhook of one job."""

    def __init__(self, webhooks: "Webhooks", client: str, url: str, render: Render) -> None:
        self._webhooks = webhooks
        self.client, self.url, self.render = client, url, render
        self.state: State = "pending"
        self.on_change: Callable[[], None] = lambda: None

    def release(self) -> None:
        """Gives the reserved room back: the job was not started."""
        self._webhooks.release(self)

    def fire(self, job: JobSnapshot) -> None:
        """Starts the delivery, once the job has ended."""
        self._webhooks.begin(self, job)


class Webhooks:
    """Pending messages. Used on the event loop only; what is not delivered when the loop stops is lost."""

    def __init__(
        self,
        rules: Rules,
        sender: Sender | None,
        metrics: Metrics,
        max_pending: int,
        max_tries: int,
    ) -> None:
        """Off without a `sender`. `rules` say which addresses are allowed; a message is given up after `max_tries`.

        Up to `max_pending` messages of one client alone are accepted; see Shares for several.
        """
        self._rules, self._sender, self._metrics = rules, sender, metrics
        self._max_tries = max_tries
        self._shares = Shares(max_pending)
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._turns_of: dict[str, asyncio.Semaphore] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._hurry = asyncio.Event()
        self._closed = False

    def check(self, url: str) -> None:
        """Raises BadParameter if webhooks are off, or `url` is not allowed."""
        if self._sender is None:
            raise BadParameter(f"{HEADER}: webhooks are off here; ask for the job's state instead.")
        if complaint := self._rules.complaint(url):
            raise BadParameter(f"{HEADER}: {complaint}.")

    def reserve(self, client: str, url: str, render: Render) -> Hook:
        """Reserves room for one message. Raises BadParameter, QueueFull and TooManyRequests."""
        self.check(url)
        if self._shares.room(client) < 1:
            raise self._shares.refusal(
                client,
                f"{self._shares.total} webhooks wait to be delivered. Try again later, or without one.",
                f"{self._shares.of(client)} of your webhooks wait to be delivered, which is your share while other "
                "clients are here. Try again later, or without one.",
                retry_after=FIRST_PAUSE_SECONDS * GROWTH**3,
            )
        self._shares.add(client)
        self._metrics.webhooks_pending(self._shares.total)
        return Hook(self, client, url, render)

    def release(self, hook: Hook) -> None:
        """Gives the room back."""
        self._shares.remove(hook.client)
        self._metrics.webhooks_pending(self._shares.total)
        if not self._shares.of(hook.client):
            self._turns_of.pop(hook.client, None)

    def begin(self, hook: Hook, job: JobSnapshot) -> None:
        """Delivers the message in the background; after `close` it fails at once."""
        if self._closed:
            self._end(hook, job, "failed", 0)
            return
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        event = {"type": f"job.{job.state}", "timestamp": now, "data": hook.render(job)}
        body = json.dumps(event, separators=(",", ":")).encode()
        task = asyncio.create_task(self._deliver(hook, job, body))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def drain(self, seconds: float) -> None:
        """Tries every message one last time, without pauses, and waits up to `seconds` for that.

        A second call waits LAST_SECONDS at most.
        """
        if self._hurry.is_set():
            seconds = min(seconds, LAST_SECONDS)
        self._hurry.set()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=seconds)

    async def close(self) -> None:
        """Gives up undelivered messages, and closes the sender."""
        self._closed = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._sender is not None:
            await self._sender.close()

    async def _deliver(self, hook: Hook, job: JobSnapshot, body: bytes) -> None:
        message_id = f"msg_{new_id()}"
        state: State = "failed"
        tries = 0
        try:
            while True:
                last = self._hurry.is_set()
                async with self._turn(hook.client):
                    result = await self._try(hook.url, message_id, body)
                self._metrics.webhook_tried(result)
                tries += 1
                if result == "ok":
                    state = "delivered"
                if result == "ok" or last or tries >= self._max_tries:
                    return
                await self._wait(FIRST_PAUSE_SECONDS * GROWTH ** (tries - 1) * random.uniform(0.8, 1.2))
        finally:
            self._end(hook, job, state, tries)

    def _end(self, hook: Hook, job: JobSnapshot, state: State, tries: int) -> None:
        self.release(hook)
        self._metrics.webhook_ended(state)
        if state == "failed":
            log = structlog.get_logger("lapsrn")
            log.warning("webhook not delivered", client=hook.client, request_id=job.request_id, tries=tries)
        hook.state = state
        hook.on_change()

    async def _try(self, url: str, message_id: str, body: bytes) -> str:
        """Makes one attempt; returns one of WEBHOOK_RESULTS."""
        if self._sender is None:
            return "unreachable"
        try:
            status = await self._sender.send(url, message_id, body)
        except TimeoutError:
            return "timeout"
        except Refused:
            return "refused"
        except Exception as error:  # whatever the receiver does must not count as a failure of this service
            structlog.get_logger("lapsrn").debug("webhook", error=type(error).__name__)
            return "unreachable"
        return "ok" if 200 <= status < 300 else "status"

    async def _wait(self, seconds: float) -> None:
        """Pauses, but not beyond the start of `drain`."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._hurry.wait()

    @asynccontextmanager
    async def _turn(self, client: str) -> AsyncIterator[None]:
        """A turn to send. Limited per client, so that its unresponsive receivers cannot take the turns of others."""
        async with self._turns_of.setdefault(client, asyncio.Semaphore(AT_ONCE_OF_CLIENT)), self._turns:
            yield
