"""The requests and retries that both clients share; each client decides how a request is sent."""

import contextlib
import json
import os
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from dataclasses import asdict, replace
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Any
from urllib.parse import quote

import httpx

from lapsrn_client.connection import open_client, proxy_for, reason_of
from lapsrn_client.errors import JobFailed, NotAuthorized, Unreachable, UpscaleError, error_of
from lapsrn_client.events import events
from lapsrn_client.pictures import Picture, data_of
from lapsrn_client.types import Job, Options, Progress, Upscaled

_AGAIN = (429, 503)
_FIRST_PAUSE = 0.5
"""Seconds before the second attempt; each further pause is twice as long."""
_ENDED = "the stream ends as soon as it begins; something in front of the service may not let it through"


class Conversation(ABC):
    """Coroutines that send one request after another. Those of the blocking client never suspend."""

    _client: Callable[..., Any]
    """The class of the httpx client."""

    def __init__(
        self, url: str, api_key: str = "", *, timeout: float = 300.0, retries: int = 5, max_wait: float = 60.0
    ) -> None:
        """`timeout` is in seconds, for one request.

        After 429 and 503, a request is retried at most `retries` times in a row, but not if Retry-After is more than
        `max_wait` seconds. Raises Unreachable if no connection to `url` can be attempted, and NotAuthorized for a key
        that does not fit into a header.
        """
        if not (api_key.isascii() and api_key.isprintable()):
            detail = "it contains a line break or another character that is not printable ASCII; check its source"
            raise NotAuthorized(title="this API key cannot be sent", detail=detail, status=0)
        headers = {"X-API-Key": api_key} if api_key else {}
        self._open = partial(open_client, self._client, url, timeout=timeout, headers=headers)
        self._connections = self._open()
        self._owner: object = None
        self._url, self._retries, self._max_wait = url, retries, max_wait

    @property
    def _http(self) -> Any:
        """The httpx client; a new one after a fork or in another event loop, as connections cannot be shared."""
        here = self._here()
        if self._owner not in (None, here):
            self._connections = self._open()
        self._owner = here
        return self._connections

    def _here(self) -> object:
        """The owner of the connections: this process."""
        return os.getpid()

    def _uninterrupted(self) -> AbstractContextManager[Any]:
        """A context in which requests are sent even if the caller has been cancelled."""
        return contextlib.nullcontext()

    @abstractmethod
    async def _fetch(self, request: httpx.Request, after: float) -> httpx.Response:
        """Sends a request after `after` seconds; returns the answer."""

    @abstractmethod
    def _stream(
        self, request: httpx.Request, after: float
    ) -> AbstractAsyncContextManager[tuple[httpx.Response, AsyncIterator[str]]]:
        """The same for an answer that is read line by line."""

    async def _upscale(self, picture: Picture, scale: float, options: Options, progress: Progress | None) -> Upscaled:
        if progress is None:
            return _upscaled(await self._send(self._post(picture, scale, options, {}), repeatable=False))
        job = await self._begin(picture, scale, options, None)
        return await self._wait(job.id, progress, cancel=True)

    async def _begin(self, picture: Picture, scale: float, options: Options, key: str | None) -> Job:
        # With a key, a request whose answer was lost can be repeated without beginning a second job.
        headers = {"Prefer": "respond-async", "Idempotency-Key": key or uuid.uuid4().hex}
        answer = await self._send(self._post(picture, scale, options, headers), repeatable=True)
        return _job_in(answer.content, answer)

    async def _job(self, id: str) -> Job:
        answer = await self._send(self._http.build_request("GET", _path(id)))
        return _job_in(answer.content, answer)

    async def _cancel(self, id: str) -> None:
        await self._send(self._http.build_request("DELETE", _path(id)))

    async def _wait(self, id: str, progress: Progress | None, cancel: bool = False) -> Upscaled:
        """The result of a job. With `cancel`, the job is cancelled if this call is interrupted."""
        try:
            job = await self._follow(id, progress or (lambda done, total: None))
        except BaseException:
            if cancel:
                request = self._http.build_request("DELETE", _path(id), timeout=5.0)
                # The caller is leaving, whatever the service answers.
                with self._uninterrupted(), contextlib.suppress(httpx.HTTPError):
                    await self._fetch(request, 0.0)
            raise
        if job.state != "done":
            raise JobFailed(**{"title": f"the job is {job.state}"} | dict(job.error or {}))
        if not job.levels:
            raise JobFailed(title=f"the job is {job.state}", detail="it names no result")
        made = await self._level(id, job.levels[-1])
        return replace(made, left_out=job.left_out, model=job.model, truncated=job.truncated)

    async def _follow(self, id: str, progress: Progress) -> Job:
        """Follows the events of a job; returns it once it has finished."""
        reported = None
        async with contextlib.aclosing(self._states(id)) as stream:
            while True:
                job = await anext(stream)
                if reported != (job.done, job.total):
                    reported = (job.done, job.total)
                    progress(job.done, job.total)
                if job.finished:
                    return job

    async def _states(self, id: str) -> AsyncGenerator[Job, None]:
        """The states of a job, without end: an interrupted stream of events is resumed after the last one received."""
        seen, attempts = "", _Attempts(self._retries, self._max_wait)
        while True:
            headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": seen} if seen else {})
            request = self._http.build_request("GET", f"{_path(id)}/events", headers=headers)
            try:
                async with self._stream(request, attempts.pause) as (answer, lines):
                    if not answer.is_success:
                        self._refused(answer, attempts)
                        continue
                    if not answer.headers.get("Content-Type", "").startswith("text/event-stream"):
                        raise _foreign(answer, "events")
                    attempts.pause, received = _FIRST_PAUSE, False
                    async with contextlib.aclosing(events(lines)) as stream:
                        async for event in stream:
                            seen, received = event.id or seen, True
                            attempts.succeeded()
                            if event.kind == "state":
                                yield _job_in(event.data, answer)
                    if not received:
                        attempts.failed(Unreachable(title=f"no events from {self._url}", detail=_ENDED, status=0))
            except httpx.RequestError as error:
                attempts.failed(self._unreachable(error))

    async def _level(self, id: str, level: int) -> Upscaled:
        return _upscaled(
            await self._send(self._http.build_request("GET", "/upscale", params={"id": id, "level": level}))
        )

    def _post(self, picture: Picture, scale: float, options: Options, headers: Mapping[str, str]) -> httpx.Request:
        params = {name: value for name, value in asdict(options).items() if value is not None}
        if not {"width", "height", "long_side"} & params.keys():
            params["scale"] = scale
        files = {"image": data_of(picture)}
        request: httpx.Request = self._http.build_request(
            "POST", "/upscale", params=params, files=files, headers=dict(headers)
        )
        return request

    async def _send(self, request: httpx.Request, repeatable: bool = True) -> httpx.Response:
        """A successful answer. Lost connections are retried only if `repeatable`: the service may have the request."""
        attempts = _Attempts(self._retries, self._max_wait)
        while True:
            try:
                answer = await self._fetch(request, attempts.pause)
            except httpx.RequestError as error:
                # If nothing listens there, waiting does not help.
                if not repeatable or isinstance(error, httpx.ConnectError):
                    raise self._unreachable(error) from error
                attempts.failed(self._unreachable(error))
            else:
                if answer.is_success:
                    return answer
                self._refused(answer, attempts)

    def _refused(self, answer: httpx.Response, attempts: "_Attempts") -> None:
        """Raises the error for an unsuccessful answer, unless the request should be retried."""
        problem = error_of(answer.status_code, answer.reason_phrase, _problem(answer) or self._from_another(answer))
        if answer.status_code not in _AGAIN:
            raise problem
        attempts.failed(problem, _seconds(answer.headers.get("Retry-After", ""), answer.headers.get("Date", "")))

    def _from_another(self, answer: httpx.Response) -> dict[str, Any]:
        """A problem document for an unsuccessful answer that is not the service's own."""
        if answer.has_redirect_location:  # not followed: the picture and the key are for this address
            place = answer.headers["Location"].partition("?")[0]
            return {"detail": f"{self._url} redirects to {place}; give the address that the service has there"}
        if proxy := proxy_for(self._url):
            return {"detail": f"perhaps from the proxy {proxy}, which is set in the environment"}
        return {"detail": f"this is not the service's own answer; check what runs at {self._url}, or in front of it"}

    def _unreachable(self, error: httpx.RequestError) -> Unreachable:
        proxy = proxy_for(self._url)
        way = f" through the proxy {proxy}, which is set in the environment" if proxy else ""
        return Unreachable(title=f"no answer from {self._url}{way}", detail=reason_of(error), status=0)


class _Attempts:
    """Counts consecutive failures; `pause` is the time before the next attempt, in seconds."""

    def __init__(self, retries: int, max_wait: float) -> None:
        self._retries, self._max_wait = retries, max_wait
        self._failures = 0
        self.pause = 0.0

    def succeeded(self) -> None:
        """Resets the count."""
        self._failures = 0

    def failed(self, problem: UpscaleError, wanted: float | None = None) -> None:
        """Counts a failure, and sets the pause: `wanted` seconds if given, otherwise longer after each failure.

        Raises `problem` after too many failures, or if the pause would be too long.
        """
        pause = _FIRST_PAUSE * 2**self._failures if wanted is None else wanted
        if self._failures >= self._retries or pause > self._max_wait:
            raise problem
        self._failures += 1
        self.pause = pause


def _problem(answer: httpx.Response) -> dict[str, Any]:
    """The problem document in an answer; {} if it is not JSON, such as a proxy's."""
    with contextlib.suppress(ValueError):
        document = answer.json()
        if isinstance(document, dict):
            return document
    return {}


def _seconds(retry_after: str, date: str) -> float | None:
    """Seconds until a retry, by Retry-After: a number, or a date on the clock of the header Date (RFC 9110, 10.2.3).

    None if it is neither.
    """
    if retry_after.isascii() and retry_after.isdigit():
        return float(retry_after)
    try:
        then = parsedate_to_datetime(retry_after).timestamp()
    except (ValueError, OverflowError):
        return None
    try:
        now = parsedate_to_datetime(date).timestamp()
    except (ValueError, OverflowError):
        now = time.time()
    return max(0.0, then - now)


def _path(job: str) -> str:
    """The path of a job; special characters in its id are quoted."""
    return f"/jobs/{quote(job, safe='')}"


def _job_in(document: bytes | str, answer: httpx.Response) -> Job:
    """The job in a document that `answer` contains. Raises UpscaleError if the document is not a job's."""
    try:
        return Job.of(json.loads(document))
    except (ValueError, KeyError, TypeError):
        raise _foreign(answer, "a job") from None


def _foreign(answer: httpx.Response, wanted: str) -> UpscaleError:
    """The error for a successful answer that is not the service's, but a login page's or another program's."""
    kind = answer.headers.get("Content-Type", "") or "something without a type"
    place = answer.url.copy_with(query=None)
    return UpscaleError(title=f"{place} does not answer with {wanted}", detail=kind, status=answer.status_code)


def _upscaled(answer: httpx.Response) -> Upscaled:
    """The picture in an answer. Raises UpscaleError if there is none."""
    kind = answer.headers.get("Content-Type", "")
    if not kind.startswith("image/"):
        raise _foreign(answer, "a picture")
    if not answer.content:
        raise _foreign(answer, "the bytes of a picture")
    place = httpx.URL(answer.headers.get("Content-Location", "")).query or answer.url.query
    url = answer.url.copy_with(query=place)
    return Upscaled(
        body=answer.content,
        media_type=kind,
        id=url.params.get("id", ""),
        url=str(url),
        clean=answer.headers.get("X-Upscale-Clean", ""),
        left_out=answer.headers.get("X-Upscale-Metadata", ""),
        model=answer.headers.get("X-Upscale-Model", ""),
        truncated=answer.headers.get("X-Upscale-Truncated") == "true",
    )
