"""Faults on purpose against a real service on 127.0.0.1: `python -m bench.chaos --seconds 120 [--json FILE]`.

Starts the service with the real weights, learns the right answer to each picture while nothing else runs, and then:
clients that leave half-way, uploads of one byte a second, 500 clients at once, workers that die, mixed load with 10%
garbage.
Exits 1 if a promise was broken: a 5xx that is no 503 with Retry-After, a wrong byte, something that leaked.
"""

import argparse
import asyncio
import io
import json
import random
import signal
import statistics
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from bench.chaos_server import ServiceProcess, Vitals
from bench.wire import drip, exchange, leave

SIZES = ((48, 64), (96, 80), (33, 129), (160, 160))
"""(height, width) of the pictures; small, so that there are many of them."""


@dataclass
class Finding:
    """What one scenario saw. `latency` is (median, 99th percentile, worst) in seconds of the answers with 200."""

    name: str
    seconds: float = 0.0
    statuses: Counter[int] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)
    latency: tuple[float, float, float] = (0.0, 0.0, 0.0)
    after: Vitals | None = None


def photograph(height: int, width: int, seed: int) -> bytes:
    """A PNG with smooth areas, edges and noise."""
    random_numbers = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:height, 0:width]
    smooth = 120 + 80 * np.sin(rows / 9 + seed)[..., None] * np.cos(columns / 7)[..., None] * [1.0, 0.7, 0.4]
    smooth[(rows + 2 * columns) % 41 < 9] *= 0.5
    pixels = np.clip(smooth + random_numbers.normal(0, 4, (height, width, 3)), 0, 255).astype(np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


def garbage(kind: int, picture: bytes) -> bytes:
    """What is no picture, in ten ways; answered with 4xx."""
    flipped = bytearray(picture)
    flipped[len(picture) // 2] ^= 0x55
    huge = picture[:16] + (60_000).to_bytes(4, "big") * 2 + picture[24:]
    return (
        b"hello",
        picture[:40],
        picture[: len(picture) // 2],
        bytes(flipped),
        huge,
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        bytes(4096),
        b"\xff\xd8\xff\xe0" + bytes(200),
        b"GIF89a" + bytes(64),
        random.Random(kind).randbytes(2000),
    )[kind % 10]


class Chaos:
    """The scenarios, against one running service."""

    def __init__(self, service: ServiceProcess, seed: int = 1) -> None:
        """`service` answers already."""
        self.service = service
        self.random = random.Random(seed)
        self.pictures = [photograph(height, width, seed) for seed, (height, width) in enumerate(SIZES)]
        self.right: list[str] = []
        self.findings: list[Finding] = []
        self._clients = 0

    def client(self) -> int:
        """The number of a client that has not been there before."""
        self._clients += 1
        return self._clients

    async def learn(self) -> None:
        """The right answers, from a service that does nothing else; three times, to be sure that they are one."""
        for picture in self.pictures:
            replies = [await exchange(self.service.port, "POST", "/upscale?scale=4", picture) for _ in range(3)]
            if {reply.status for reply in replies} != {200} or len({reply.digest for reply in replies}) != 1:
                raise SystemExit(f"the unloaded service does not give one answer: {[r.status for r in replies]}")
            self.right.append(replies[0].digest)

    async def ask(
        self, finding: Finding, times: list[float], client: int | None = None, which: int | None = None
    ) -> None:
        """Posts one of the pictures, or the one that is named, and judges the answer."""
        which = self.random.randrange(len(self.pictures)) if which is None else which
        await self._judged(finding, self.pictures[which], self.right[which], times, client or self.client())

    async def ask_garbage(self, finding: Finding) -> None:
        """Posts what is no picture; anything but 4xx breaks a promise."""
        data = garbage(self.random.randrange(10), self.random.choice(self.pictures))
        await self._judged(finding, data, None, [], self.client())

    async def _judged(self, finding: Finding, data: bytes, right: str | None, times: list[float], client: int) -> None:
        try:
            reply = await exchange(self.service.port, "POST", "/upscale?scale=4", data, client)
        except (OSError, EOFError, TimeoutError) as error:
            finding.broken.append(f"no answer: {error!r}")
            return
        finding.statuses[reply.status] += 1
        if reply.status == 503:
            if "retry-after" not in reply.headers:
                finding.broken.append("503 without Retry-After")
        elif reply.status >= 500 or (right is None) != (400 <= reply.status < 500):
            finding.broken.append(f"{reply.status}: {reply.body[:200]!r}")
        elif right is not None:
            times.append(reply.seconds)
            if reply.digest != right:
                finding.broken.append("other bytes than unloaded")

    async def leaving(self, finding: Finding, times: list[float], seconds: float) -> None:
        """1,000 clients, 50 at a time, hang up at once, in the queue or in the middle of their tiles."""
        end = time.monotonic() + max(15.0, seconds)
        numbers = iter(range(1000))

        async def goers() -> None:
            for _ in numbers:
                if time.monotonic() > end:
                    return
                after = self.random.choice((0.0, 0.005, 0.02, 0.1, 0.3))
                await leave(self.service.port, self.random.choice(self.pictures), after, self.client())
                finding.statuses[0] += 1

        await asyncio.gather(*(goers() for _ in range(50)))
        await self.ask(finding, times)

    async def slow(self, finding: Finding, times: list[float], seconds: float) -> None:
        """200 clients upload one byte a second while one other is served."""
        end = time.monotonic() + seconds
        slow = [asyncio.create_task(drip(self.service.port, 100_000, end, self.client())) for _ in range(200)]
        while time.monotonic() < end:
            await self.ask(finding, times, client=1)
        ends = Counter(await asyncio.gather(*slow))
        finding.broken += [f"{status} to a slow upload" for status in ends if status is not None and status != 408]

    async def burst(self, finding: Finding, times: list[float], seconds: float) -> None:
        """500 clients at once, with the smallest picture; bounded by their number, not by `seconds`."""
        await asyncio.gather(*(self.ask(finding, times, which=0) for _ in range(500)))

    async def worker(self, finding: Finding, times: list[float], seconds: float) -> None:
        """Again and again a worker's thread dies in the middle of a batch, while eight clients are served."""
        end = time.monotonic() + seconds

        async def clients() -> None:
            while time.monotonic() < end:
                await self.ask(finding, times)

        async def killer() -> None:
            while time.monotonic() < end - 1:
                self.service.kill_worker()
                await asyncio.sleep(2)

        await asyncio.gather(killer(), *(clients() for _ in range(8)))

    async def mixed(self, finding: Finding, times: list[float], seconds: float) -> None:
        """Sixteen clients; of their requests 10% are garbage and 5% leave half-way."""
        end = time.monotonic() + seconds

        async def clients() -> None:
            while time.monotonic() < end:
                dice = self.random.random()
                if dice < 0.10:
                    await self.ask_garbage(finding)
                elif dice < 0.15:
                    await leave(self.service.port, self.random.choice(self.pictures), 0.02, self.client())
                else:
                    await self.ask(finding, times)

        await asyncio.gather(*(clients() for _ in range(16)))

    async def run(self, name: str, seconds: float) -> Finding:
        """One scenario, and the wait until the service is idle again."""
        scenario: Callable[[Finding, list[float], float], Awaitable[None]] = getattr(self, name)
        finding, times, began = Finding(name), list[float](), time.monotonic()
        await scenario(finding, times, seconds)
        finding.seconds = time.monotonic() - began
        if times:
            times.sort()
            finding.latency = (statistics.median(times), times[int(0.99 * (len(times) - 1))], times[-1])
        finding.after, left = await self.service.settled()
        finding.broken += left
        self.findings.append(finding)
        return finding


def show(before: Vitals, findings: list[Finding]) -> str:
    """The findings as a Markdown table."""
    lines = [
        "| scenario | seconds | answers | median / p99 / worst s | memory MiB | threads | files | promises broken |",
        "|---|---|---|---|---|---|---|---|",
        f"| (before) | | | | {before.memory_mib:.0f} | {before.threads} | {before.files} | |",
    ]
    for finding in findings:
        vitals = finding.after or before
        answers = ", ".join(f"{n} × {s or 'left'}" for s, n in sorted(finding.statuses.items()))
        times = " / ".join(f"{value:.2f}" for value in finding.latency)
        lines.append(
            f"| {finding.name} | {finding.seconds:.0f} | {answers} | {times} | {vitals.memory_mib:.0f} "
            f"| {vitals.threads} | {vitals.files} | {len(finding.broken)} |"
        )
    return "\n".join(lines)


async def chaos(seconds: float) -> tuple[Vitals, list[Finding]]:
    """All scenarios in about `seconds` and the time that 500 pictures take."""
    async with ServiceProcess() as service:
        run = Chaos(service)
        await run.learn()
        await run.run("mixed", 0.1 * seconds)  # once for nothing: what is allocated once is allocated now
        run.findings.clear()
        before, _ = await service.settled()
        for name, share in (("leaving", 0.1), ("slow", 0.2), ("burst", 0.0), ("worker", 0.2), ("mixed", 0.4)):
            finding = await run.run(name, share * seconds)
            print(show(before, [finding]).splitlines()[-1], *finding.broken[:5], sep="\n", flush=True)
        last = run.findings[-1].after
        if last is not None and last.memory_mib > before.memory_mib * 1.15 + 32:
            run.findings[-1].broken.append(f"memory grew from {before.memory_mib:.0f} to {last.memory_mib:.0f} MiB")
        run.findings[-1].broken += await service.stop_cleanly()
        return before, run.findings


def main() -> int:
    """The command line; 1 if a promise was broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--seconds",
        type=float,
        default=120,
        help="about how long it all takes, less 500 pictures at once (default: 120)",
    )
    parser.add_argument("--json", type=Path, help="write the findings there as well")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGINT))  # the service is taken down with us
    before, findings = asyncio.run(chaos(arguments.seconds))
    print(show(before, findings))
    if arguments.json:
        document = {"before": asdict(before), "findings": [asdict(finding) for finding in findings]}
        arguments.json.write_text(json.dumps(document, indent=1))
    broken = [text for finding in findings for text in finding.broken]
    print(*broken[:20], sep="\n")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
