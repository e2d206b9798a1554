"""The threads that decode and encode: small pictures have their own, so that they do not wait behind large ones."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from app.codec import give_way

T = TypeVar("T")
SMALL_PIXELS = 2**20
"""Results up to this size are small: their work takes milliseconds."""


class CodecThreads:
    """`count` threads for large pictures, which give way, and at least two for small ones: a level each."""

    def __init__(self, count: int) -> None:
        self._small = ThreadPoolExecutor(max(2, count), thread_name_prefix="codec-small")
        self._large = ThreadPoolExecutor(count, thread_name_prefix="codec", initializer=give_way)

    async def run(self, work: Callable[[], T], pixels: int) -> T:
        """What `work` returns or raises, for a result of so many pixels. Cancelling does not stop what has begun."""
        executor = self._small if pixels <= SMALL_PIXELS else self._large
        return await asyncio.get_running_loop().run_in_executor(executor, work)

    async def close(self) -> None:
        """Waits for what has begun; what has not is cancelled."""
        for executor in (self._small, self._large):
            await asyncio.to_thread(executor.shutdown, wait=True, cancel_futures=True)
