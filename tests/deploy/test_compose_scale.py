"""What docker-compose.scale.yml and its configuration of the balancer promise, read as the files they are."""

import asyncio
import contextlib
import json
import re
import shutil
import subprocess
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
import yaml

from app.api.problems import KINDS
from app.errors import PROBLEM_TYPE, TooManyRequests
from app.settings import Settings
from tests.proxy import wait_for_port
from tests.service_process import free_port

ROOT = Path(__file__).parents[2]
HAPROXY = ROOT / "deploy" / "scale" / "haproxy.cfg"


class Loader(yaml.SafeLoader):
    """Knows Compose's own tag for what an earlier file has and this one takes away."""


Loader.add_constructor("!reset", lambda loader, node: "reset")
SERVICES: dict[str, Any] = yaml.load((ROOT / "docker-compose.scale.yml").read_text(), Loader)["services"]
ADDED = pytest.mark.parametrize("name", ["balancer", "redis"])


def test_only_the_balancer_is_published() -> None:
    assert SERVICES["lapsrn"]["ports"] == "reset"
    assert SERVICES["balancer"]["ports"] == ["127.0.0.1:${SERVICE_PORT:-8000}:8000"]
    assert "ports" not in SERVICES["redis"]


@ADDED
def test_containers_are_hardened_and_limited(name: str) -> None:
    service = SERVICES[name]
    assert (service["cap_drop"], service["read_only"], service["init"]) == (["ALL"], True, True)
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert {"cpus", "mem_limit", "pids_limit", "tmpfs", "logging"} <= service.keys()


def test_variables_are_settings_and_allow_several_processes() -> None:
    given = SERVICES["lapsrn"]["environment"]
    assert given.keys() <= {f"LAPSRN_{name.upper()}" for name in Settings.model_fields}
    values = {name.removeprefix("LAPSRN_").lower(): value for name, value in given.items()}
    assert Settings(**values).processes > 1


def test_timeouts_of_the_balancer_exceed_those_of_the_service() -> None:
    """Whichever times out first determines the client's error: it should be the service."""
    seconds = {name: float(value) for name, value in re.findall(r"timeout (\S+) +(\d+)s", HAPROXY.read_text())}
    settings = Settings()
    assert seconds["server"] > settings.deadline_seconds
    assert seconds["client"] > settings.body_timeout_seconds
    assert seconds["http-keep-alive"] < float(SERVICES["lapsrn"]["environment"]["LAPSRN_KEEP_ALIVE_SECONDS"])


def test_a_container_accepts_all_connections_that_the_balancer_opens() -> None:
    """Above its limit, it would refuse any further connection, as it cannot tell whose they are."""
    opened = re.findall(r"\n    maxconn (\d+)", HAPROXY.read_text())
    assert opened == [SERVICES["lapsrn"]["environment"]["LAPSRN_MAX_CONNECTIONS"]]


def test_the_configuration_of_the_balancer_is_valid() -> None:
    haproxy = shutil.which("haproxy")
    if haproxy is None:
        pytest.skip("haproxy, which checks its configuration, is not installed")
    done = subprocess.run([haproxy, "-c", "-f", HAPROXY], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


class Behind:
    """The service behind the balancer: responds with the request's headers, or never."""

    def __init__(self, *, answers: bool) -> None:
        self._answers = answers
        self.connections = 0
        self.heads: asyncio.Queue[bytes] = asyncio.Queue()
        self.left = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                self.heads.put_nowait(await reader.readuntil(b"\r\n\r\n"))
                if self._answers:
                    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        self.left.set()
        writer.close()


class Source:
    """One client on a connection of its own."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    def ask(self, *headers: str) -> None:
        self.send("\r\n".join(("GET / HTTP/1.1", "Host: x", *headers, "", "")).encode())

    def send(self, data: bytes) -> None:
        self._writer.write(data)

    async def head(self) -> str:
        return (await self._reader.readuntil(b"\r\n\r\n")).decode().lower()

    async def read(self, count: int) -> bytes:
        return await self._reader.readexactly(count)

    def leave(self) -> None:
        self._writer.close()


class Balancer:
    """A real HAProxy, and who has connected to it."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._sources: list[Source] = []

    async def source(self, address: str = "127.0.0.2") -> Source:
        streams = await asyncio.open_connection("127.0.0.1", self._port, local_addr=(address, 0))
        self._sources.append(Source(*streams))
        return self._sources[-1]

    def close(self) -> None:
        for source in self._sources:
            source.leave()


@contextlib.asynccontextmanager
async def balancer(
    folder: Path, behind: Behind, changes: Mapping[str, str] = MappingProxyType({})
) -> AsyncIterator[Balancer]:
    haproxy = shutil.which("haproxy")
    if haproxy is None:
        pytest.skip("haproxy is not installed: apt-get install haproxy")
    service = await asyncio.start_server(behind.serve, "127.0.0.1", 0)
    port, server_port = free_port(), service.sockets[0].getsockname()[1]
    text = re.sub(r"resolvers docker\n(    .*\n)+", "", HAPROXY.read_text())
    here = {
        "/tmp/haproxy.sock": f"{folder}/haproxy.sock",
        "bind :8000": f"bind 127.0.0.1:{port}",
        "default-server check inter 1s fall 1 rise 1 resolvers docker init-addr none": "",
        "server-template lapsrn 20 lapsrn:8000": f"server one 127.0.0.1:{server_port}",
    }
    for given, replaced in (here | dict(changes)).items():
        assert text.count(given) == 1, given
        text = text.replace(given, replaced)
    configuration = folder / "haproxy.cfg"
    configuration.write_text(text)
    process = await asyncio.create_subprocess_exec(
        haproxy, "-db", "-f", str(configuration), stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
    )
    running = Balancer(port)
    try:
        await asyncio.to_thread(wait_for_port, port)
        async with asyncio.timeout(30.0):
            yield running
    finally:
        running.close()
        process.terminate()
        await process.wait()
        service.close()


async def test_one_source_cannot_take_all_connections_of_the_balancer(tmp_path: Path) -> None:
    changes = {"fe_conn gt 2048": "fe_conn gt 5", "sc0_conn_cur gt 256": "sc0_conn_cur gt 2"}
    async with balancer(tmp_path, Behind(answers=True), changes) as entry:

        async def admitted(address: str) -> bool:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                source = await entry.source(address)
                source.ask()
                return (await source.head()).startswith("http/1.1 200")
            return False

        tries = [await admitted("127.0.0.2") for _ in range(5)]
        while sum(tries) < 5 and len(tries) < 100:  # the connection that waited for the port may still be counted
            tries.append(await admitted("127.0.0.2"))
        assert tries[:4] == [True] * 4
        assert [sum(tries), await admitted("127.0.0.2"), await admitted("127.0.0.2")] == [5, False, False]
        assert await admitted("127.0.0.3")


async def test_one_source_cannot_occupy_all_requests_of_the_balancer(tmp_path: Path) -> None:
    behind = Behind(answers=False)
    changes = {
        "be_conn(service) gt 512": "be_conn(service) gt 3",
        "gt 256\n    http": "gt 2\n    http",
        "tarpit 1s": "tarpit 10ms",
    }
    async with balancer(tmp_path, behind, changes) as entry:
        for _ in range(4):
            (await entry.source()).ask()
            await behind.heads.get()
        greedy = await entry.source()
        greedy.ask()
        head = await greedy.head()
        assert head.startswith("http/1.1 429") and "retry-after: 2" in head
        assert "content-type: application/problem+json" in head
        document = json.loads(await greedy.read(int(re.findall(r"content-length: (\d+)", head)[0])))
        kind = KINDS[TooManyRequests]
        assert document.pop("detail")
        assert document == {"type": PROBLEM_TYPE + kind.slug, "title": kind.title, "status": kind.status}
        (await entry.source("127.0.0.3")).ask()
        await behind.heads.get()


async def test_connections_to_the_service_are_reused_for_many_clients(tmp_path: Path) -> None:
    """Else each request of a flood costs the service a connection."""
    behind = Behind(answers=True)
    async with balancer(tmp_path, behind, {"maxconn 4096": "maxconn 60"}) as entry:
        sources = [await entry.source() for _ in range(50)]
        for _ in range(3):
            for source in sources:
                source.ask()
                assert (await source.head()).startswith("http/1.1 200")
        assert behind.connections <= len(sources)


async def test_the_balancer_refuses_http2_without_tls(tmp_path: Path) -> None:
    """An HTTP/2 connection carries a hundred requests, which limits on connections do not cover."""
    async with balancer(tmp_path, Behind(answers=True)) as entry:
        source = await entry.source()
        source.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(4) + b"\x04" + bytes(4))
        assert await source.read(12) == b"HTTP/1.1 400"


@pytest.mark.parametrize(("proxy", "told"), [("192.0.2.1", {"127.0.0.2"}), ("127.0.0.2", {"203.0.113.9", "https"})])
async def test_forwarded_headers_are_only_accepted_from_trusted_proxies(
    tmp_path: Path, proxy: str, told: set[str]
) -> None:
    """And only what it has added itself: the address before that is whatever the client has sent."""
    behind = Behind(answers=True)
    async with balancer(tmp_path, behind, {"192.0.2.1": proxy}) as entry:
        addresses = "X-Forwarded-For: 198.51.100.1", "X-Forwarded-For: 198.51.100.2, 203.0.113.9"
        (await entry.source()).ask(*addresses, "X-Forwarded-Proto: https")
        head = (await behind.heads.get()).decode().lower()
    assert set(re.findall(r"x-forwarded-\w+: (\S+)", head)) == told


async def test_a_client_that_disconnects_from_the_balancer_disconnects_from_the_service(tmp_path: Path) -> None:
    """Else pictures are made for nobody while others wait."""
    behind = Behind(answers=False)
    async with balancer(tmp_path, behind) as entry:
        source = await entry.source()
        source.ask()
        await behind.heads.get()
        assert not behind.left.is_set()
        source.leave()
        await behind.left.wait()
