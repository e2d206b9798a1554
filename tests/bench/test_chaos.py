"""The chaos bench: it sees every promise that is broken, and the service breaks none."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import pytest

from bench.chaos.clients import Clients
from bench.chaos.pictures import GARBAGE_KINDS, garbage, pictures
from bench.chaos.server import ServiceProcess
from bench.chaos.wire import Reply


class Stub:
    """Stands in for a ServiceProcess that is only asked for its port."""

    def __init__(self, port: int) -> None:
        self.port = port


@asynccontextmanager
async def clients_of(answer: bytes) -> AsyncIterator[Clients]:
    """Clients of a server that gives everybody the same answer."""

    async def reply(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(reply, "127.0.0.1", 0) as server:
        clients = Clients(cast(ServiceProcess, Stub(server.sockets[0].getsockname()[1])))
        clients.right = [Reply(200, {}, b"right", 0.0).digest] * len(clients.pictures)
        yield clients


@pytest.mark.parametrize(
    ("answer", "broken"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nright", []),
        (b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nRetry-After: 5\r\n\r\n", []),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwrong", ["other bytes than unloaded"]),
        (b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", ["503 without Retry-After"]),
        (b"HTTP/1.1 500 Oh\r\nContent-Length: 3\r\n\r\nbad", ["500: b'bad'"]),
        (b"HTTP/1.1 422 No\r\nContent-Length: 3\r\n\r\nbad", ["422: b'bad'"]),
        (b"", ["no answer: IncompleteReadError('0 bytes read on a total of undefined expected bytes')"]),
    ],
)
async def test_responses_that_break_a_promise_are_counted(answer: bytes, broken: list[str]) -> None:
    async with clients_of(answer) as clients:
        await clients.ask()
        assert clients.finding.broken == broken


async def test_garbage_must_be_refused() -> None:
    async with clients_of(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok") as clients:
        await clients.ask_garbage()
        assert clients.finding.broken == ["200: b'ok'"]


def test_garbage_differs_from_the_picture() -> None:
    picture = pictures()[0]
    kinds = [garbage(kind, picture) for kind in range(GARBAGE_KINDS)]
    assert len({*kinds, picture}) == GARBAGE_KINDS + 1


@pytest.mark.slow
@pytest.mark.server
@pytest.mark.parametrize("names", [("die", "hang", "fail", "memory"), ("disk",), ("redis",)], ids=" ".join)
def test_injected_faults_break_no_promise(
    tmp_path: Path, weights: Path, redis_server: object, names: tuple[str, ...]
) -> None:
    """Small and short; `python -m bench.chaos` is the same for longer."""
    file = tmp_path / "chaos.json"
    seconds = str(max(2, len(names)))
    command = [sys.executable, "-m", "bench.chaos", "--seconds", seconds, "--clients", "3", "--json", str(file)]
    done = subprocess.run(
        [*command, "--only", *names], capture_output=True, text=True, cwd=weights.parent.parent, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    idle, *findings = json.loads(file.read_text())
    assert [finding["name"] for finding in findings] == list(names)
    assert all(finding["statuses"]["200"] >= 3 for finding in findings)
    assert idle["threads"] > 1
