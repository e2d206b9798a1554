"""The two clients: one that blocks, and one for asyncio."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Iterator
from contextlib import AbstractContextManager, aclosing, asynccontextmanager
from typing import Any, Self, TypeVar, cast

import anyio
import httpx

from lapsrn_client.conversation import Conversation
from lapsrn_client.pictures import Picture
from lapsrn_client.types import Job, Options, Progress, Upscaled

T = TypeVar("T")
_DEFAULTS = Options()


class Upscaler(Conversation):
    """`Upscaler("http://127.0.0.1:8000").upscale("photo.jpg").save("big.png")` writes a PNG four times as large.

    For use by one thread at a time; a forked process opens its own connections. All methods raise UpscaleError, and
    OSError for a file that cannot be read.
    """

    _client = httpx.Client

    def upscale(
        self, picture: Picture, scale: float = 4, options: Options = _DEFAULTS, progress: Progress | None = None
    ) -> Upscaled:
        """The enlarged picture. With `progress`, it runs as a job, which is cancelled if the call is interrupted."""
        return _result(self._upscale(picture, scale, options, progress))

    def level(self, id: str, level: int = 2) -> Upscaled:
        """Another level of an earlier pass. Raises NotFound once it has expired."""
        return _result(self._level(id, level))

    def begin(
        self,
        picture: Picture,
        scale: float = 4,
        options: Options = _DEFAULTS,
        *,
        idempotency_key: str | None = None,
    ) -> Job:
        """A new job, not waited for. The same key with the same picture and options gives the same job."""
        return _result(self._begin(picture, scale, options, idempotency_key))

    def job(self, id: str) -> Job:
        """The current state of a job."""
        return _result(self._job(id))

    def wait(self, id: str, progress: Progress | None = None) -> Upscaled:
        """Waits for a job; returns its result. Raises JobFailed if it failed or was cancelled."""
        return _result(self._wait(id, progress))

    def cancel(self, id: str) -> None:
        """Stops a job, and has the service forget it."""
        _result(self._cancel(id))

    async def _fetch(self, request: httpx.Request, after: float) -> httpx.Response:
        time.sleep(after)  # noqa: ASYNC251
        return cast(httpx.Response, self._http.send(request))

    @asynccontextmanager
    async def _stream(
        self, request: httpx.Request, after: float
    ) -> AsyncIterator[tuple[httpx.Response, AsyncIterator[str]]]:
        time.sleep(after)  # noqa: ASYNC251
        answer = self._http.send(request, stream=True)
        try:
            if not answer.is_success:
                answer.read()
            async with aclosing(_as_async(answer.iter_lines())) as lines:
                yield answer, lines
        finally:
            answer.close()

    def close(self) -> None:
        """Closes the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AsyncUpscaler(Conversation):
    """Upscaler with coroutines, for use by one event loop at a time.

    Cancelling a task that upscales with `progress` cancels the job.
    """

    _client = httpx.AsyncClient

    def _here(self) -> object:
        """This process and the running event loop."""
        return super()._here(), asyncio.get_running_loop()

    def _uninterrupted(self) -> AbstractContextManager[Any]:
        """In a cancelled scope of anyio (as in Starlette and FastAPI), every await is cancelled, even for clean-up."""
        return anyio.CancelScope(shield=True)

    async def upscale(
        self, picture: Picture, scale: float = 4, options: Options = _DEFAULTS, progress: Progress | None = None
    ) -> Upscaled:
        """As Upscaler."""
        return await self._upscale(picture, scale, options, progress)

    async def level(self, id: str, level: int = 2) -> Upscaled:
        """As Upscaler."""
        return await self._level(id, level)

    async def begin(
        self,
        picture: Picture,
        scale: float = 4,
        options: Options = _DEFAULTS,
        *,
        idempotency_key: str | None = None,
    ) -> Job:
        """As Upscaler."""
        return await self._begin(picture, scale, options, idempotency_key)

    async def job(self, id: str) -> Job:
        """As Upscaler."""
        return await self._job(id)

    async def wait(self, id: str, progress: Progress | None = None) -> Upscaled:
        """As Upscaler."""
        return await self._wait(id, progress)

    async def cancel(self, id: str) -> None:
        """As Upscaler."""
        await self._cancel(id)

    async def _fetch(self, request: httpx.Request, after: float) -> httpx.Response:
        await asyncio.sleep(after)
        return cast(httpx.Response, await self._http.send(request))

    @asynccontextmanager
    async def _stream(
        self, request: httpx.Request, after: float
    ) -> AsyncIterator[tuple[httpx.Response, AsyncIterator[str]]]:
        await asyncio.sleep(after)
        answer = await self._http.send(request, stream=True)
        try:
            if not answer.is_success:
                await answer.aread()
            async with aclosing(answer.aiter_lines()) as lines:
                yield answer, lines
        finally:
            await answer.aclose()

    async def close(self) -> None:
        """Closes the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


def _result(talk: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that never suspends, and so ends with its first step."""
    try:
        talk.send(None)
    except StopIteration as end:
        return cast(T, end.value)
    raise RuntimeError("the conversation suspended")


async def _as_async(lines: Iterator[str]) -> AsyncGenerator[str, None]:
    for line in lines:
        yield line
