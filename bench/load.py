"""The load generator, a process of its own: `python -m bench.load URL CLIENTS SECONDS HEIGHTxWIDTH ...`, JSON out.

Every client sends pictures one after the other, and at least one, from its own loopback address.
"""

import argparse
import asyncio
import base64
import json
import ssl
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass

import httpx

from bench.pictures import jpeg
from bench.report import percentile

TIMEOUT = 900.0
JSON_PATH = "/predict"
"""Here a picture goes as base64 in JSON, as LitServe's examples do; elsewhere as it is."""


@dataclass(frozen=True, slots=True)
class Load:
    """What came of it. `times` are the seconds of the answers with 200, `seconds` goes to the last answer.

    `cpu_seconds` are the generator's own.
    """

    seconds: float
    statuses: dict[str, int]
    times: list[float]
    cpu_seconds: float

    @property
    def per_second(self) -> float:
        """Good answers a second."""
        return len(self.times) / self.seconds

    def p(self, share: float) -> float:
        """Seconds that `share` of the good answers took at most."""
        return percentile(self.times, share)


def command(url: str, clients: int, seconds: float, *sizes: tuple[int, int], first: int = 0) -> list[str]:
    """The child's command line; `first` is the number of the first client, and so says from which addresses."""
    shapes = [f"{height}x{width}" for height, width in sizes]
    return [sys.executable, "-m", "bench.load", "--first", str(first), url, str(clients), str(seconds), *shapes]


def run(url: str, clients: int, seconds: float, *sizes: tuple[int, int], first: int = 0) -> Load:
    """Load from a child process. Raises RuntimeError when it fails or nothing was answered with 200."""
    arguments = command(url, clients, seconds, *sizes, first=first)
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"the load generator failed: {done.stderr[-2000:]}")
    load = Load(**json.loads(done.stdout))
    if not load.times:
        raise RuntimeError(f"{url} answered nothing with 200: {load.statuses}")
    return load


def run_several(url: str, clients: int, generators: int, seconds: float, *sizes: tuple[int, int]) -> Load:
    """As `run`, the clients shared out among so many processes, as one cannot load a server of many cores.

    It lasts as long as the longest of them.
    """
    share = clients // generators
    starts = range(0, share * generators, share)
    with ThreadPoolExecutor(generators) as threads:
        found = list(threads.map(lambda first: run(url, share, seconds, *sizes, first=first), starts))
    return Load(
        max(each.seconds for each in found),
        dict(sum((Counter(each.statuses) for each in found), Counter())),
        [taken for each in found for taken in each.times],
        sum(each.cpu_seconds for each in found),
    )


async def generate(url: str, clients: int, seconds: float, sizes: list[tuple[int, int]], first: int) -> Load:
    """Clients in this process."""
    kind = "application/json" if url.endswith(JSON_PATH) else "image/jpeg"
    pictures = [[jpeg(*size, seed) for size in sizes] for seed in range(4)]
    if url.endswith(JSON_PATH):
        pictures = [
            [json.dumps({"image": base64.b64encode(each).decode()}).encode() for each in row] for row in pictures
        ]
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
                    reply = await session.post(url, content=picture, headers={"Content-Type": kind})
                    statuses[str(reply.status_code)] += 1
                    if reply.status_code == 200:
                        times.append(time.perf_counter() - began)
                    elif reply.status_code == 503:
                        await asyncio.sleep(float(reply.headers.get("retry-after", 1)))
                except httpx.TransportError as error:
                    statuses[type(error).__name__] += 1
                if time.perf_counter() > end:
                    return

    tasks = [asyncio.create_task(client(first + number)) for number in range(clients)]
    await asyncio.sleep(0.1)
    began, before = time.perf_counter(), time.process_time()
    end = began + seconds
    gate.set()
    await asyncio.gather(*tasks)
    return Load(time.perf_counter() - began, dict(statuses), times, time.process_time() - before)


def main() -> None:
    """The child."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("url")
    parser.add_argument("clients", type=int)
    parser.add_argument("seconds", type=float)
    parser.add_argument("shapes", nargs="+")
    given = parser.parse_args()
    sizes = [(int(height), int(width)) for height, width in (shape.split("x") for shape in given.shapes)]
    load = asyncio.run(generate(given.url, given.clients, given.seconds, sizes, given.first))
    print(json.dumps(asdict(load)))


if __name__ == "__main__":
    main()
