"""What docker-compose.scale.yml and its configuration of the balancer promise, read as the files they are."""

import asyncio
import contextlib
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

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
def test_hardened_and_limited(name: str) -> None:
    service = SERVICES[name]
    assert (service["cap_drop"], service["read_only"], service["init"]) == (["ALL"], True, True)
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert {"cpus", "mem_limit", "pids_limit", "tmpfs", "logging"} <= service.keys()


def test_variables_are_settings_and_allow_several_processes() -> None:
    given = SERVICES["lapsrn"]["environment"]
    assert given.keys() <= {f"LAPSRN_{name.upper()}" for name in Settings.model_fields}
    values = {name.removeprefix("LAPSRN_").lower(): value for name, value in given.items()}
    assert Settings(**values).processes > 1


def test_the_balancer_waits_longer_than_the_service() -> None:
    """Whoever gives up first decides what the client is told: it should be the service."""
    seconds = {name: float(value) for name, value in re.findall(r"timeout (\S+) +(\d+)s", HAPROXY.read_text())}
    settings = Settings()
    assert seconds["server"] > settings.deadline_seconds
    assert seconds["client"] > settings.body_timeout_seconds
    assert seconds["http-keep-alive"] < float(SERVICES["lapsrn"]["environment"]["LAPSRN_KEEP_ALIVE_SECONDS"])


def test_the_balancer_takes_its_configuration() -> None:
    haproxy = shutil.which("haproxy")
    if haproxy is None:
        pytest.skip("haproxy, which checks its configuration, is not installed")
    done = subprocess.run([haproxy, "-c", "-f", HAPROXY], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


async def test_one_source_cannot_take_all_connections_of_the_balancer(tmp_path: Path) -> None:
    haproxy = shutil.which("haproxy")
    if haproxy is None:
        pytest.skip("haproxy is not installed: apt-get install haproxy")
    port = free_port()
    sections = HAPROXY.read_text().partition("\ndefaults\n")[2]
    defaults, frontend = (
        part.partition("\n\n")[0] for part in (sections, sections.partition("\nfrontend public\n")[2])
    )
    for given, small in (("bind :8000", f"bind 127.0.0.1:{port}"), ("gt 2048", "gt 5"), ("gt 256", "gt 2")):
        assert given in frontend
        frontend = frontend.replace(given, small)
    configuration = tmp_path / "haproxy.cfg"
    configuration.write_text(f"defaults\n{defaults}\nfrontend public\n{frontend}\nbackend service\n")
    balancer = await asyncio.create_subprocess_exec(
        haproxy, "-db", "-f", str(configuration), stderr=asyncio.subprocess.DEVNULL
    )
    opened = []

    async def admitted(source: str) -> bool:
        with contextlib.suppress(ConnectionError):
            reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(source, 0))
            opened.append(writer)
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            return (await reader.read(12)) == b"HTTP/1.1 503"
        return False

    try:
        await asyncio.to_thread(wait_for_port, port)
        tries = [await admitted("127.0.0.2") for _ in range(5)]
        while sum(tries) < 5 and len(tries) < 100:  # the connection that waited for the port may still be counted
            tries.append(await admitted("127.0.0.2"))
        assert tries[:4] == [True] * 4
        assert [sum(tries), await admitted("127.0.0.2"), await admitted("127.0.0.2")] == [5, False, False]
        assert await admitted("127.0.0.3")
    finally:
        for writer in opened:
            writer.close()
        balancer.terminate()
        await balancer.wait()


async def test_who_leaves_the_balancer_leaves_the_service(tmp_path: Path) -> None:
    """Else pictures are made for nobody while others wait."""
    haproxy = shutil.which("haproxy")
    if haproxy is None:
        pytest.skip("haproxy is not installed: apt-get install haproxy")
    asked, left = asyncio.Event(), asyncio.Event()

    async def never_answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.set()
        with contextlib.suppress(ConnectionError):
            await reader.read()
        left.set()
        writer.close()

    service = await asyncio.start_server(never_answer, "127.0.0.1", 0)
    behind, port = service.sockets[0].getsockname()[1], free_port()
    defaults = HAPROXY.read_text().partition("\ndefaults\n")[2].partition("\nresolvers")[0]
    configuration = tmp_path / "haproxy.cfg"
    configuration.write_text(
        f"defaults\n{defaults}\nlisten all\n bind 127.0.0.1:{port}\n server one 127.0.0.1:{behind}\n"
    )
    balancer = await asyncio.create_subprocess_exec(
        haproxy, "-db", "-f", str(configuration), stderr=asyncio.subprocess.DEVNULL
    )
    try:
        await asyncio.to_thread(wait_for_port, port)
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        async with asyncio.timeout(20.0):
            await asked.wait()
            assert not left.is_set()
            writer.close()
            await left.wait()
    finally:
        balancer.terminate()
        await balancer.wait()
        service.close()
