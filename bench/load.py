"""The load generator, a process of its own: `python -m bench.load URL CLIENTS SECONDS HEIGHTxWIDTH ...`, JSON out.

Every client sends pictures one after the other, and at least one, from its own loopback address.
"""

import argparse
import base64
import itertools
import json
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from http.client import HTTPConnection, HTTPException
from urllib.parse import urlsplit, urlunsplit

from bench.pictures import jpeg
from bench.report import percentile

TIMEOUT = 900.0
LOST = "connection lost"
"""Counted beside the statuses: requests that had no answer."""
JSON_PATH = "/predict"
"""Here a picture goes as base64 in JSON, as LitServe's examples do; elsewhere as it is."""


@dataclass(frozen=True, slots=True)
class Load:
    """The outcome. `times` are the seconds of the answers with 200, `seconds` goes to the last answer.

    `cpu_seconds` are the generator's own.
    """

    seconds: float
    statuses: dict[str, int]
    times: list[float]
    cpu_seconds: float

    @property
    def per_second(self) -> float:
        """Answers with 200 a second."""
        return len(self.times) / self.seconds

    def p(self, share: float) -> float:
        """Seconds within which `share` (0..1) of the answers with 200 came."""
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
    """As `run`, the clients divided among `generators` processes, as one cannot load a server of many cores.

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


def generate(url: str, clients: int, seconds: float, sizes: list[tuple[int, int]], first: int) -> Load:
    """Clients in this process, each a thread: what it takes of the CPU is not the service's to use."""
    bodies = [[_body(url, jpeg(*size, seed)) for size in sizes] for seed in range(4)]
    crowd = [_Client(url, number, bodies) for number in range(first, first + clients)]
    gate = threading.Barrier(clients + 1)
    with ThreadPoolExecutor(clients) as threads:
        running = [threads.submit(client.run, gate, seconds) for client in crowd]
        began, before = time.perf_counter(), time.process_time()
        gate.wait()
        for each in running:
            each.result()
    return Load(
        time.perf_counter() - began,
        dict(sum((client.statuses for client in crowd), Counter[str]())),
        [taken for client in crowd for taken in client.times],
        time.process_time() - before,
    )


def _body(url: str, picture: bytes) -> bytes:
    """The picture as the server at `url` takes it."""
    return json.dumps({"image": base64.b64encode(picture).decode()}).encode() if url.endswith(JSON_PATH) else picture


class _Client:
    """Sends pictures one after the other; counts the statuses, and notes the seconds of the answers with 200."""

    def __init__(self, url: str, number: int, bodies: Sequence[Sequence[bytes]]) -> None:
        """`number` decides the loopback address, and with which of the `bodies` of each size it begins."""
        parts = urlsplit(url)
        self._target = urlunsplit(("", "", parts.path, parts.query, ""))
        self._headers = {"Content-Type": "application/json" if url.endswith(JSON_PATH) else "image/jpeg"}
        address = f"127.0.{1 + number // 250}.{1 + number % 250}"
        self._connection = HTTPConnection(parts.netloc, timeout=TIMEOUT, source_address=(address, 0))
        self._bodies = (bodies[n % len(bodies)][n // len(bodies) % len(bodies[0])] for n in itertools.count(number))
        self.statuses: Counter[str] = Counter()
        self.times: list[float] = []

    def run(self, gate: threading.Barrier, seconds: float) -> None:
        """At least one picture, and more until the time is over, once all have come to the gate."""
        gate.wait()
        end = time.perf_counter() + seconds
        for body in self._bodies:
            try:
                self._send(body)
            except (HTTPException, OSError):
                self.statuses[LOST] += 1
                self._connection.close()
            if time.perf_counter() > end:
                break
        self._connection.close()

    def _send(self, body: bytes) -> None:
        began = time.perf_counter()
        self._connection.request("POST", self._target, body, self._headers)
        reply = self._connection.getresponse()
        reply.read()
        self.statuses[str(reply.status)] += 1
        if reply.status == 200:
            self.times.append(time.perf_counter() - began)
        elif reply.status == 503:
            self._connection.close()  # the server may have done so by then
            time.sleep(float(reply.headers.get("Retry-After", 1)))


def main() -> None:
    """The child's command line."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.load", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("url")
    parser.add_argument("clients", type=int)
    parser.add_argument("seconds", type=float)
    parser.add_argument("shapes", nargs="+")
    given = parser.parse_args()
    sizes = [(int(height), int(width)) for height, width in (shape.split("x") for shape in given.shapes)]
    load = generate(given.url, given.clients, given.seconds, sizes, given.first)
    print(json.dumps(asdict(load)))


if __name__ == "__main__":
    main()
