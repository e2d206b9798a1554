"""Faults on purpose against a real service on 127.0.0.1: `python -m bench.chaos --seconds 120 [--only NAME ...]`.

Starts the service with the real weights, learns the right answer to each picture while nothing else runs, and then:
clients that leave half-way, uploads of one byte a second, 500 clients at once; workers that die or hang, batches that
fail or find no memory; mixed load with 10% garbage; logs on a full disk; a Redis that goes away.
Exits 1 if a promise was broken: a 5xx that is no 503 with Retry-After, a wrong byte, something that leaked.
"""

import asyncio
import json
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from itertools import groupby
from pathlib import Path

from bench.chaos.clients import Clients
from bench.chaos.finding import Finding, row, table
from bench.chaos.scenarios import SCENARIOS, Context, Setup, burst, die, mixed
from bench.chaos.server import ServiceProcess
from bench.redis_server import RedisServer
from bench.servers import free_port
from model.entry import Parser

_WARM_SHARE, _WARM_SECONDS, _WARM_DEATHS = 0.05, 20.0, 6
"""Mixed load (of the time, at most), a burst, and a death for each second of it (at most): what is allocated once is
allocated before anything counts."""

_A_WORKER_MIB = 300
"""What a worker takes that is being replaced while the memory is read: three networks, each with buffers of its own."""


@asynccontextmanager
async def redis_of(setup: Setup) -> AsyncIterator[RedisServer | None]:
    """A real Redis, if the setup has one."""
    if setup != "redis":
        yield None
        return
    if shutil.which("redis-server") is None:
        raise SystemExit("redis-server is not installed: apt-get install redis-server, or leave out redis with --only")
    with tempfile.TemporaryDirectory() as folder:
        server = RedisServer(free_port(), Path(folder))
        await asyncio.to_thread(server.start)
        try:
            yield server
        finally:
            server.stop()


async def on_setup(setup: Setup, seconds: Mapping[str, float], at_once: int, warm: float) -> list[Finding]:
    """One service, and the scenarios in `seconds` against it, each for so long; the first finding is of its rest."""
    async with redis_of(setup) as redis:
        settings = {} if redis is None else {"LAPSRN_REDIS_URL": redis.url}
        log = Path("/dev/full") if setup == "full disk" else None
        async with ServiceProcess(settings, log) as service:
            clients = Clients(service)
            await clients.learn()
            await mixed(Context(clients, warm, at_once))
            if "burst" in seconds:
                await burst(Context(clients, 0.0, at_once))
            if {"die", "hang"} & set(seconds):
                for _ in range(min(_WARM_DEATHS, int(warm))):
                    await die(Context(clients, 0.0, at_once))
            idle, _ = await service.settled()
            findings = [Finding(f"({setup}, idle)", after=idle)]
            for name, share in seconds.items():
                clients.finding = finding = Finding(name)
                began = time.monotonic()
                await SCENARIOS[name].run(Context(clients, share, at_once, redis))
                finding.seconds = time.monotonic() - began
                finding.after, left = await service.settled()
                finding.broken += left
                findings.append(finding)
                print(row(finding), *finding.broken[:5], sep="\n", flush=True)
            now = service.vitals()
            if now.memory_mib > idle.memory_mib * 1.15 + _A_WORKER_MIB:
                clients.expect(False, f"memory grew from {idle.memory_mib:.0f} to {now.memory_mib:.0f} MiB")
            clients.finding.broken += await service.stop_cleanly()
            return findings


async def chaos(names: list[str], seconds: float, at_once: int) -> list[Finding]:
    """The scenarios in about `seconds` and the time that 500 pictures take; of each setup first its idle service."""
    total = sum(SCENARIOS[name].share for name in names) or 1.0
    shares = {name: seconds * SCENARIOS[name].share / total for name in SCENARIOS if name in names}
    findings = []
    for setup, group in groupby(shares, key=lambda name: SCENARIOS[name].setup):
        warm = min(_WARM_SHARE * seconds, _WARM_SECONDS)
        findings += await on_setup(setup, {name: shares[name] for name in group}, at_once, warm)
    return findings


def main() -> int:
    """The command line; 1 if a promise was broken."""
    parser = Parser("bench.chaos", __doc__)
    parser.add_argument("--seconds", type=float, default=120, help="about how long all scenarios take (default: 120)")
    parser.add_argument("--only", nargs="+", choices=SCENARIOS, default=list(SCENARIOS), help="these scenarios")
    parser.add_argument("--clients", type=int, default=8, help="clients of a load, all at once (default: 8)")
    parser.add_argument("--json", type=Path, help="write the findings there as well")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGINT))  # the service is taken down with us
    findings = asyncio.run(chaos(arguments.only, arguments.seconds, arguments.clients))
    print(table(findings))
    if arguments.json:
        arguments.json.write_text(json.dumps([finding.document() for finding in findings], indent=1))
    broken = [text for finding in findings for text in finding.broken]
    print(*broken[:20], sep="\n")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
