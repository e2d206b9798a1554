"""Idempotency keys: a request that is sent again gets the job that the first one with its Idempotency-Key began.

See draft-ietf-httpapi-idempotency-key-header. A key is remembered as long as its job.
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
_DOCUMENT = TypeAdapter(tuple[str, str])
_PATIENCE_SECONDS, _POLL_SECONDS = 2.0, 0.05
"""How long, and how often, to look for the job of a request that has just claimed a key, here or elsewhere."""


class Repeats:
    """The keys of this process and, if there is a board, of all processes."""

    def __init__(self, directory: JobDirectory, board: JobBoard | None, max_keys: int) -> None:
        """Remembers at most `max_keys`, which should be the limit of jobs; beyond that, the client with the most keys
        loses its oldest.
        """
        self._directory, self._board, self._max_keys = directory, board, max_keys
        self._known: dict[str, dict[str, _Claim]] = {}  # by client, then by place

    async def find(self, key: str, caller: Caller, asked: str, job_id: str) -> JobView | None:
        """The job that an earlier request with this key began.

        None if there is none: the key now belongs to `job_id`, which the caller must begin at once. If it never does,
        the next request with the key takes it over. `asked` is the request's fingerprint. Raises BadParameter if the
        earlier request asked for something else, and StoreUnavailable.
        """
        place, own = _place(key, caller), _Claim(job_id, asked)
        claim = self._known.get(caller.name, {}).get(place)
        job = None if claim is None else await self._job(claim, caller)
        if job is None and self._board is not None:
            claim, job = await self._agreed(self._board, place, caller, own)
        if job is None or claim is None:
            self._remember(place, caller, own)
            return None
        if claim.asked != asked:
            raise BadParameter(_MISUSED)
        return job

    async def _agreed(
        self, board: JobBoard, place: str, caller: Caller, own: "_Claim"
    ) -> tuple["_Claim", JobView | None]:
        """The claim on a key that all processes agree on: `own`, without a job, or another one with its job."""
        shown = await board.read(place, caller.owner)
        before, claim = shown.document, _parsed(shown.document)
        patience = _PATIENCE_SECONDS if shown.leased else 0.0
        while True:
            if claim is not None and (job := await self._job(claim, caller, patience)) is not None:
                return claim, job
            before = await board.agree(place, caller.owner, before, json.dumps(own), _PATIENCE_SECONDS)
            claim, patience = _parsed(before), _PATIENCE_SECONDS
            if claim in (own, None):  # a document that cannot be read is not a claim
                return own, None

    async def _job(self, claim: "_Claim", caller: Caller, patience: float = 0.0) -> JobView | None:
        """The job, waiting up to `patience` seconds for it to appear; None if it does not, or is forgotten."""
        end = time.monotonic() + patience
        while True:
            with suppress(NotFound):
                return await self._directory.find(claim.job_id, caller.owner)
            if time.monotonic() >= end:
                return None
            await asyncio.sleep(_POLL_SECONDS)

    def _remember(self, place: str, caller: Caller, claim: "_Claim") -> None:
        self._known.setdefault(caller.name, {})[place] = claim
        if sum(map(len, self._known.values())) > self._max_keys:
            client = max(self._known, key=lambda client: len(self._known[client]))
            del self._known[client][next(iter(self._known[client]))]
            if not self._known[client]:
                del self._known[client]


class _Claim(NamedTuple):
    """What is remembered about a key: its job, and the fingerprint of the request that began it."""

    job_id: str
    asked: str


def fingerprint(order: Order, data: bytes, webhook: str = "") -> str:
    """SHA-256 of a request: the picture, the options, the preferred format, and the webhook's address.

    Options at their defaults are left out, as are further formats, so that versions with fewer of them, during an
    upgrade, compute the same fingerprint.
    """
    defaults = asdict(type(order.options)())
    options = {name: value for name, value in asdict(order.options).items() if value != defaults[name]}
    header = json.dumps([options, order.formats[:1], webhook]).encode()
    return hashlib.sha256(hashlib.sha256(header).digest() + hashlib.sha256(data).digest()).hexdigest()


def _parsed(document: str | None) -> _Claim | None:
    """A claim from the board; None if there is none, or if the document is not a claim."""
    try:
        return None if document is None else _Claim(*_DOCUMENT.validate_json(document))
    except ValidationError:
        return None


def _place(key: str, caller: Caller) -> str:
    """Where the board keeps a key: each client has its own key space."""
    return hashlib.sha256("\0".join(("idempotency", caller.owner, caller.name, key)).encode()).hexdigest()
