"""A Python client of the service, `Upscaler` and `AsyncUpscaler`; needs httpx and nothing else of this project."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Coroutine
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO, Generic, Literal, Self, TypeVar, cast

import httpx

Picture = bytes | Path | BinaryIO
Progress = Callable[[int, int], None]  # tiles done, tiles in all
Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Options:
    """What else can be asked for; None is the service's default.

    `ensemble`: better, and eight times slower. `model`: one that GET /model names. `clean`: 0 to 1; see docs/api.md.
    """

    format: Literal["png", "webp", "jpeg", "avif", "tiff", "jxl"] | None = None
    quality: int | Literal["high"] | None = None
    lossless: bool | None = None
    frames: Literal["single", "first", "all"] | None = None
    metadata: Literal["drop", "keep", "all"] | None = None
    color: Literal["keep", "srgb"] | None = None
    depth: Literal["keep", "8"] | None = None
    truncated: Literal["reject", "allow"] | None = None
    ensemble: bool | None = None
    model: str | None = None
    clean: float | Literal["auto"] | None = None


@dataclass(frozen=True, slots=True)
class Upscaled:
    """One finished picture; until it expires, `level(id, 2)` is the same pass at x2. No id: the service kept none."""

    body: bytes
    media_type: str
    id: str
    url: str
    clean: str = ""
    """What was removed, and why, such as "0.5; jpeg=90"."""


class UpscaleError(Exception):
    """The service said no, in the words of its problem+json answer; `status` is the HTTP status."""

    def __init__(self, type: str = "about:blank", title: str = "", detail: str = "", status: int = 500, **_: object):
        super().__init__(f"{title}: {detail}" if detail else title)
        self.type, self.title, self.detail, self.status = type, title, detail, status


class _Client(Generic[Answer]):  # the conversation; how a request is sent, and waited for, is left to the two below
    _open: Callable[..., Any]
    _run: Callable[[Coroutine[Any, Any, Upscaled]], Answer]
    _fetch: Callable[[httpx.Request, float], Coroutine[Any, Any, httpx.Response]]

    def __init__(self, url: str, api_key: str = "", timeout: float = 300.0, retries: int = 5, max_wait: float = 60.0):
        """`timeout`: seconds for one request. 429 and 503 are tried again, unless Retry-After is over `max_wait`."""
        self._http = self._open(base_url=url, timeout=timeout, headers={"X-API-Key": api_key} if api_key else {})
        self._retries, self._max_wait = retries, max_wait

    def upscale(
        self, picture: Picture, scale: int = 4, options: Options = Options(), progress: Progress | None = None
    ) -> Answer:
        """Raises UpscaleError, or httpx.HTTPError without an answer. With `progress` it runs as a job, and polls."""
        return self._run(self._upscale(picture, scale, options, progress))

    def level(self, id: str, level: int = 2) -> Answer:
        """Fetch another level of an earlier pass; UpscaleError with status 404 once it has expired."""
        return self._run(self._picture(self._http.build_request("GET", "/upscale", params={"id": id, "level": level})))

    async def _upscale(self, picture: Picture, scale: int, options: Options, progress: Progress | None) -> Upscaled:
        data = picture.read_bytes() if isinstance(picture, Path) else picture
        files = {"image": data if isinstance(data, bytes) else data.read()}
        headers = {"Prefer": "respond-async"} if progress else {}
        params = {name: value for name, value in asdict(options).items() if value is not None} | {"scale": scale}
        request = self._http.build_request("POST", "/upscale", params=params, files=files, headers=headers)
        return await self._picture(request, progress)

    async def _picture(self, request: httpx.Request, progress: Progress | None = None) -> Upscaled:
        answer = await self._send(request)
        if answer.status_code == 202 and progress:
            answer = await self._job(answer, progress)
        place = httpx.URL(answer.headers.get("Content-Location", "")).query or answer.url.query
        url = answer.url.copy_with(query=place)
        clean = answer.headers.get("X-Upscale-Clean", "")
        return Upscaled(answer.content, answer.headers["Content-Type"], url.params.get("id", ""), str(url), clean)

    async def _job(self, answer: httpx.Response, progress: Progress) -> httpx.Response:
        url = f"/jobs/{answer.json()['id']}"  # below the address of the service, whatever prefix that has
        try:
            while (job := answer.json())["state"] in ("queued", "running"):
                progress(job["progress"]["done"], job["progress"]["total"])
                answer = await self._send(self._http.build_request("GET", url), after=0.1)
            progress(job["progress"]["done"], job["progress"]["total"])
        except BaseException:
            with contextlib.suppress(httpx.HTTPError):  # the caller is leaving, whatever the service answers
                await self._fetch(self._http.build_request("DELETE", url, timeout=5.0), 0.0)
            raise
        if job["state"] != "done":
            raise UpscaleError(**{"title": f"the job is {job['state']}"} | (job["error"] or {}))
        level = {"id": job["id"], "level": list(job["results"])[-1]}
        return await self._send(self._http.build_request("GET", "/upscale", params=level))

    async def _send(self, request: httpx.Request, after: float = 0.0) -> httpx.Response:
        for attempt in range(self._retries + 1):
            answer = await self._fetch(request, after)
            if answer.is_success:
                return answer
            wanted = answer.headers.get("Retry-After", "")
            after = float(wanted) if wanted.isdigit() else 0.5 * 2**attempt
            if answer.status_code not in (429, 503) or after > self._max_wait:
                break
        problem = answer.json() if "json" in answer.headers.get("Content-Type", "") else {}
        raise UpscaleError(**{"title": answer.reason_phrase, "status": answer.status_code} | problem)


class Upscaler(_Client[Upscaled]):
    """`Upscaler("http://127.0.0.1:8000").upscale(Path("photo.jpg")).body` is a PNG four times as wide and high."""

    _open = httpx.Client

    def _run(self, talk: Coroutine[Any, Any, Upscaled]) -> Upscaled:
        try:
            talk.send(None)  # never suspends, as _fetch blocks: one step takes it to its end
        except StopIteration as end:
            return cast(Upscaled, end.value)
        raise RuntimeError("the conversation suspended")

    async def _fetch(self, request: httpx.Request, after: float) -> httpx.Response:
        time.sleep(after)  # noqa: ASYNC251
        return cast(httpx.Response, self._http.send(request))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()


class AsyncUpscaler(_Client[Coroutine[Any, Any, Upscaled]]):
    """The same for asyncio. Cancelling the task that waits for a job cancels the job."""

    _open = httpx.AsyncClient

    def _run(self, talk: Coroutine[Any, Any, Upscaled]) -> Coroutine[Any, Any, Upscaled]:
        return talk

    async def _fetch(self, request: httpx.Request, after: float) -> httpx.Response:
        await asyncio.sleep(after)
        return cast(httpx.Response, await self._http.send(request))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()
