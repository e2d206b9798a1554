"""What one client's attack costs another: `python -m bench.chaos.bystander [--seconds 20] [--only NAME ...]`.

Starts the service with its real weights and default settings. A bystander at another address than the attacker's sends
a picture of 64 x 64, fetches its other level, and does so again and again: alone first, and then during each attack.
Exits 1 if an answer was wrong, refused or lost, or if the 95th percentile is over 3 times that alone and a second.
"""

import asyncio
import contextlib
import io
import os
import statistics
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from bench.chaos.attacks import ATTACKS, Attack
from bench.chaos.server import ServiceProcess
from bench.chaos.wire import Reply, exchange
from bench.pictures import photograph
from bench.processes import children_of
from bench.report import percentile
from model.entry import Parser

LEAST = 20
"""Pictures that the bystander sends, however long they take."""
SETTINGS = {"LAPSRN_RESULT_MAX_BYTES": str(512 * 1024 * 1024)}


@dataclass
class Seen:
    """What the bystander saw, in seconds, and what the attack did."""

    name: str
    times: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    attacker: Counter[int] = field(default_factory=Counter)
    peak_mib: float = 0.0

    def percentile(self, share: float) -> float:
        """Of the bystander's times."""
        return percentile(self.times or [0.0], share)


def resident_mib(pid: int) -> float:
    """Of a process and its children."""
    pages = 0
    for each in (pid, *children_of(pid)):
        with contextlib.suppress(OSError):
            pages += int(Path(f"/proc/{each}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


async def watch(service: ServiceProcess, seen: Seen) -> None:
    """Notes the most memory that service and decoders take together, until it is cancelled."""
    while True:
        seen.peak_mib = max(seen.peak_mib, resident_mib(service.process.pid))
        await asyncio.sleep(0.2)


async def stand_by(service: ServiceProcess, seen: Seen, picture: bytes, right: tuple[str, str], until: float) -> None:
    """Sends pictures until time.monotonic() is `until`, and at least LEAST."""
    while time.monotonic() < until or len(seen.times) + len(seen.wrong) < LEAST:
        try:
            made = await exchange(service.port, "POST", "/upscale?scale=4", picture)
            fetched = await level_two(service, made)
        except (OSError, EOFError, TimeoutError) as error:
            seen.wrong.append(repr(error))
            continue
        if (made.status, made.digest) != (200, right[0]):
            seen.wrong.append(f"POST: {made.status} {made.body[:120]!r}")
        elif (fetched.status, fetched.digest) != (200, right[1]):
            seen.wrong.append(f"GET: {fetched.status} {fetched.body[:120]!r}")
        else:
            seen.times.append(made.seconds)


async def level_two(service: ServiceProcess, made: Reply) -> Reply:
    """The other level of what was made."""
    return await exchange(service.port, "GET", f"/upscale?level=2&id={made.headers.get('x-upscale-id', 'A' * 32)}")


async def under(service: ServiceProcess, name: str, picture: bytes, right: tuple[str, str], seconds: float) -> Seen:
    """One attack, and what the bystander sees of it from a second after its beginning."""
    seen = Seen(name)
    attack = Attack(service, seen.attacker)
    tasks = [asyncio.ensure_future(ATTACKS[name](attack)), asyncio.ensure_future(watch(service, seen))]
    await asyncio.sleep(1.0)
    await stand_by(service, seen, picture, right, time.monotonic() + seconds)
    for task in tasks:
        if task.done():
            seen.wrong.append(f"the attack ended: {task.exception()!r}")
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    end = time.monotonic() + 60
    while left := await service.under_way():
        if time.monotonic() > end:
            seen.wrong += left
            break
        await asyncio.sleep(0.2)
    return seen


async def attacked(names: list[str], seconds: float) -> list[Seen]:
    """Alone first, then each attack, on one service."""
    file = io.BytesIO()
    Image.fromarray(photograph(64, 64, 7)).save(file, "PNG")
    picture, found = file.getvalue(), []
    async with ServiceProcess(SETTINGS) as service:
        made = await exchange(service.port, "POST", "/upscale?scale=4", picture)
        right = made.digest, (await level_two(service, made)).digest
        for name in ["nothing", *(name for name in names if name != "nothing")]:
            found.append(await under(service, name, picture, right, seconds))
            print(row(found[-1], found[0]), *found[-1].wrong[:3], sep="\n", flush=True)
        print(*await service.stop_cleanly(), sep="\n", end="")
    return found


def promised(alone: Seen) -> float:
    """Seconds that the 95th percentile may be."""
    return 3 * alone.percentile(0.95) + 1


def row(seen: Seen, alone: Seen) -> str:
    """One row of the table."""
    median, high = statistics.median(seen.times or [0.0]), seen.percentile(0.95)
    kept = "yes" if high <= promised(alone) and not seen.wrong else "no"
    statuses = ", ".join(f"{count} × {status or 'broken off'}" for status, count in sorted(seen.attacker.items()))
    return (
        f"| {seen.name} | {len(seen.times)} | {median:.2f} / {high:.2f} / {max(seen.times, default=0.0):.2f} "
        f"| {len(seen.wrong)} | {seen.peak_mib:.0f} | {statuses} | {kept} |"
    )


def main() -> int:
    """The command line; 1 if the promise was broken."""
    parser = Parser("bench.chaos.bystander", __doc__)
    parser.add_argument("--seconds", type=float, default=20, help="of each attack (default: 20)")
    parser.add_argument("--only", nargs="+", choices=ATTACKS, default=list(ATTACKS), help="these attacks")
    arguments = parser.parse_args()
    print("| attack | pictures | median / p95 / worst s | wrong or lost | peak MiB | attacker's answers | held |")
    print("|---|---|---|---|---|---|---|")
    found = asyncio.run(attacked(arguments.only, arguments.seconds))
    return 1 if any(seen.wrong or seen.percentile(0.95) > promised(found[0]) for seen in found) else 0


if __name__ == "__main__":
    sys.exit(main())
