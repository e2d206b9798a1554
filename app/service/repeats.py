"""Requests that are sent again: by their Idempotency-Key they get the job that the first one began.

(draft-ietf-httpapi-idempotency-key-header.) A key is remembered as long as its job.
"""

import asyncio
import hashlib
import json
import time
from contextlib import suppress
from dataclasses import asdict
from typing import NamedTuple

from pydantic import TypeAdapter, ValidationError

from app.errors import BadParameter, NotFound
from app.results import JobBoard
from app.service.caller import Caller
from app.service.job_directory import JobDirectory
from app.service.job_view import JobView
from app.service.pipeline import Order

_MISUSED = (
    "Idempotency-Key: it was used for another picture or other options. Take a new key for each job, such as a UUID."
)
_SHOWN = TypeAdapter(tuple[str, str])
_PATIENCE_SECONDS, _POLL_SECONDS = 2.0, 0.05
"""For the job to be shown of a request that has just taken a key, here or in another process."""


class Repeats:
    """Keys of this process and, where there is a board, of the others."""

    def __init__(self, directory: JobDirectory, board: JobBoard | None, most: int) -> None:
        """Remembers at most `most` keys, which should be as many as jobs are; beyond, the largest user's oldest go."""
        self._directory, self._board, self._most = directory, board, most
        self._known: dict[str, dict[str, _Began]] = {}  # by client

    async def find(self, key: str, caller: Caller, asked: str, job_id: str) -> JobView | None:
        """The job that a request with this key began; if None, `job_id` is to be begun at once.

        If that is never begun, the next request with the key takes its place. Raises BadParameter if the first request
        asked for something else, and StoreUnavailable.
        """
        place, mine = _place(key, caller), _Began(job_id, asked)
        began = self._known.get(caller.name, {}).get(place)
        job = None if began is None else await self._job(began, caller)
        if job is None and self._board is not None:
            began, job = await self._agreed(self._board, place, caller, mine)
        if job is None or began is None:
            self._remember(place, caller, mine)
            return None
        if began.asked != asked:
            raise BadParameter(_MISUSED)
        return job

    async def _agreed(
        self, board: JobBoard, place: str, caller: Caller, mine: "_Began"
    ) -> tuple["_Began | None", JobView | None]:
        """What all processes take for begun with a key: `mine`, without a job, or another one and its job."""
        shown = await board.read(place, caller.owner)
        before, began = shown.document, _read(shown.document)
        patience = _PATIENCE_SECONDS if shown.leased else 0.0
        while True:
            job = None if began is None else await self._job(began, caller, patience)
            if job is not None:
                return began, job
            before = await board.agree(place, caller.owner, before, json.dumps(mine), _PATIENCE_SECONDS)
            began, patience = _read(before), _PATIENCE_SECONDS
            if began in (mine, None):  # nothing of ours, if it cannot be read
                return mine, None

    async def _job(self, began: "_Began", caller: Caller, patience: float = 0.0) -> JobView | None:
        """The job, which may take so many seconds to appear; None if it does not, or is forgotten."""
        end = time.monotonic() + patience
        while True:
            with suppress(NotFound):
                return await self._directory.find(began.job_id, caller.owner)
            if time.monotonic() >= end:
                return None
            await asyncio.sleep(_POLL_SECONDS)

    def _remember(self, place: str, caller: Caller, began: "_Began") -> None:
        self._known.setdefault(caller.name, {})[place] = began
        if sum(map(len, self._known.values())) > self._most:
            client = max(self._known, key=lambda client: len(self._known[client]))
            del self._known[client][next(iter(self._known[client]))]
            if not self._known[client]:
                del self._known[client]


class _Began(NamedTuple):
    """What is remembered of a key: the job, and the fingerprint of what was asked for."""

    job_id: str
    asked: str


def fingerprint(order: Order, data: bytes, webhook: str = "") -> str:
    """What was asked for: the picture, the options, the format that is preferred, and where its end is told.

    Options at their defaults do not count, nor do further formats: the version before an upgrade, which has fewer of
    them, sees the same.
    """
    plain = asdict(type(order.options)())
    options = {name: value for name, value in asdict(order.options).items() if value != plain[name]}
    told = json.dumps([options, order.formats[:1], webhook]).encode()
    return hashlib.sha256(hashlib.sha256(told).digest() + hashlib.sha256(data).digest()).hexdigest()


def _read(shown: str | None) -> _Began | None:
    """As another process has shown it; None without, or where something else is there."""
    try:
        return None if shown is None else _Began(*_SHOWN.validate_json(shown))
    except ValidationError:
        return None


def _place(key: str, caller: Caller) -> str:
    """Keys are a client's own."""
    return hashlib.sha256("\0".join(("idempotency", caller.owner, caller.name, key)).encode()).hexdigest()
