"""The load generator, a process of its own: `python -m bench.load URL CLIENTS SECONDS HEIGHTxWIDTH...`, JSON out.

Every client sends pictures one after the other, and at least one, from its own loopback address.
"""

import asyncio
import json
import ssl
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass

import httpx

from bench.pictures import jpeg
from bench.report import percentile

TIMEOUT = 900.0


@dataclass(frozen=True, slots=True)
class Load:
    """What came of it. `times` are the seconds of the answers with 200, `seconds` goes to the last answer."""

    seconds: float
    statuses: dict[str, int]
    times: list[float]

    @property
    def per_second(self) -> float:
        """Good answers a second."""
        return len(self.times) / self.seconds

    def p(self, share: float) -> float:
        """Seconds that `share` of the good answers took at most."""
        return percentile(self.times, share)


def run(url: str, clients: int, seconds: float, *sizes: tuple[int, int]) -> Load:
    """Load from a child process. Raises RuntimeError when it fails or nothing was answered with 200."""
    shapes = [f"{height}x{width}" for height, width in sizes]
    command = [sys.executable, "-m", "bench.load", url, str(clients), str(seconds), *shapes]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"the load generator failed: {done.stderr[-2000:]}")
    load = Load(**json.loads(done.stdout))
    if not load.times:
        raise RuntimeError(f"{url} answered nothing with 200: {load.statuses}")
    return load


async def generate(url: str, clients: int, seconds: float, sizes: list[tuple[int, int]]) -> Load:
    """Clients in this process."""
    pictures = [[jpeg(*size, seed) for size in sizes] for seed in range(4)]
    statuses: Counter[str] = Counter()
    times: list[float] = []
    context = ssl.create_default_context()
    gate = asyncio.Event()
    end = 0.0

    async def client(number: int) -> None:
        address = f"127.0.{1 + number // 250}.{1 + number % 250}"
        transport = httpx.AsyncHTTPTransport(verify=context, trust_env=False, local_address=address)
        async with httpx.AsyncClient(transport=transport, timeout=TIMEOUT, trust_env=False) as session:
            await gate.wait()
            turn = number
            while True:
                picture = pictures[turn % len(pictures)][turn // len(pictures) % len(sizes)]
                turn += 1
                began = time.perf_counter()
                try:
                    reply = await session.post(url, files={"image": ("picture.jpg", picture, "image/jpeg")})
                    statuses[str(reply.status_code)] += 1
                    if reply.status_code == 200:
                        times.append(time.perf_counter() - began)
                    elif reply.status_code == 503:
                        await asyncio.sleep(float(reply.headers.get("retry-after", 1)))
                except httpx.TransportError as error:
                    statuses[type(error).__name__] += 1
                if time.perf_counter() > end:
                    return

    tasks = [asyncio.create_task(client(number)) for number in range(clients)]
    await asyncio.sleep(0.1)
    began = time.perf_counter()
    end = began + seconds
    gate.set()
    await asyncio.gather(*tasks)
    return Load(time.perf_counter() - began, dict(statuses), times)


def main(arguments: list[str]) -> None:
    """The child."""
    url, clients, seconds, *shapes = arguments
    sizes = [(int(height), int(width)) for height, width in (shape.split("x") for shape in shapes)]
    load = asyncio.run(generate(url, int(clients), float(seconds), sizes))
    print(json.dumps({"seconds": load.seconds, "statuses": load.statuses, "times": load.times}))


if __name__ == "__main__":
    main(sys.argv[1:])
