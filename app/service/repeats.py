"""Requests that are sent again: by their Idempotency-Key they get the job that the first one began.

(draft-ietf-httpapi-idempotency-key-header.) A key is remembered as long as its job.
"""

import hashlib
import json
from dataclasses import asdict

from pydantic import TypeAdapter, ValidationError

from app.errors import BadParameter, NotFound
from app.results import JobBoard
from app.service.caller import Caller
from app.service.job_directory import JobDirectory, JobView
from app.service.jobs import Job
from app.service.pipeline import Order

_MISUSED = (
    "Idempotency-Key: it was used for another picture or other options. Take a new key for each job, such as a UUID."
)
_BEGAN = TypeAdapter(tuple[str, str])


class Repeats:
    """Keys of this process and, where there is a board, of the others."""

    def __init__(self, directory: JobDirectory, board: JobBoard | None, most: int) -> None:
        """Remembers at most `most` keys, which should be as many as jobs are; beyond, the largest user's oldest go."""
        self._directory, self._board, self._most = directory, board, most
        self._known: dict[str, dict[str, tuple[str, str]]] = {}  # by client

    async def find(self, key: str, caller: Caller, asked: str) -> JobView | None:
        """The job that a request with this key began. Raises BadParameter if it asked for something else.

        Nothing is awaited after this process's own keys have been looked at, so that a job that the caller begins at
        once is the only one.
        """
        place = _place(key, caller)
        shown = None
        if self._board is not None and place not in self._known.get(caller.name, {}):
            shown = (await self._board.read(place, caller.owner)).document
        began = self._known.get(caller.name, {}).get(place) or _read(shown)
        if began is None:
            return None
        job_id, before = began
        try:
            job = await self._directory.find(job_id, caller.owner)
        except NotFound:
            return None
        if before != asked:
            raise BadParameter(_MISUSED)
        return job

    async def remember(self, key: str, caller: Caller, asked: str, job: Job) -> None:
        """The job was begun with this key; known here before the first pause. Raises StoreUnavailable."""
        place = _place(key, caller)
        began = job.order.result_id, asked
        self._known.setdefault(caller.name, {})[place] = began
        if sum(map(len, self._known.values())) > self._most:
            client = max(self._known, key=lambda client: len(self._known[client]))
            del self._known[client][next(iter(self._known[client]))]
            if not self._known[client]:
                del self._known[client]
        if self._board is not None:
            await self._board.show(place, caller.owner, json.dumps(began))


def fingerprint(order: Order, data: bytes, webhook: str = "") -> str:
    """What was asked for: the picture, the options, the formats that are accepted, and where its end is told."""
    told = json.dumps([asdict(order.options), order.formats, webhook]).encode()
    return hashlib.sha256(hashlib.sha256(told).digest() + hashlib.sha256(data).digest()).hexdigest()


def _read(shown: str | None) -> tuple[str, str] | None:
    """Job and fingerprint as another process has shown them; None without, or where something else is there."""
    try:
        return None if shown is None else _BEGAN.validate_json(shown)
    except ValidationError:
        return None


def _place(key: str, caller: Caller) -> str:
    """Keys are a client's own."""
    return hashlib.sha256("\0".join(("idempotency", caller.owner, caller.name, key)).encode()).hexdigest()
