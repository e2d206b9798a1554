"""Redis over TLS: certificates are read rarely, as that takes long, but renewed ones are noticed."""

import asyncio
import shutil
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.results.redis_link import RedisLink
from bench.redis_server import RedisServer
from tests.service_process import free_port
from tests.tcp_proxy import proxied

pytestmark = pytest.mark.server


NEW = ("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "36500")


def openssl(*command: str) -> None:
    subprocess.run(["openssl", *command], check=True, capture_output=True)


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A self-signed one for this machine; `key.pem` beside it is its key."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed: apt-get install openssl")
    key, made = tmp_path / "key.pem", tmp_path / "cert.pem"
    name = ("-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1")
    openssl(*NEW, *name, "-keyout", str(key), "-out", str(made))
    return made


@pytest.fixture
def url(tmp_path: Path, certificate: Path) -> Iterator[str]:
    """A Redis that trusts clients with its own certificate only."""
    if shutil.which("redis-server") is None:
        pytest.skip("redis-server is not installed: apt-get install redis-server")
    port = free_port()
    files = ("--tls-cert-file", "cert.pem", "--tls-key-file", "key.pem", "--tls-ca-cert-file", "cert.pem")
    server = RedisServer(port, tmp_path, "--port", "0", "--tls-port", str(port), *files)
    server.start()
    yield f"rediss://127.0.0.1:{port}/0?ssl_certfile={certificate}&ssl_keyfile={tmp_path}/key.pem"
    server.stop()


async def test_certificates_are_read_once_for_many_connections(
    url: str, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[ssl.SSLContext] = []

    def make(default: object = ssl.create_default_context) -> ssl.SSLContext:
        assert callable(default)
        made.append(default())
        return made[-1]

    monkeypatch.setattr(ssl, "create_default_context", make)
    link = RedisLink(f"{url}&ssl_ca_certs={certificate}")

    async def call() -> bool:
        async with link.talking() as redis:
            return bool(await redis.set("a", "b"))

    assert all(await asyncio.gather(*(call() for _ in range(20))))
    assert len(link.redis.connection_pool._available_connections) > 1
    assert len(made) == 1
    await link.close()


async def test_renewed_certificates_are_read(url: str, certificate: Path, tmp_path: Path) -> None:
    """And for a missing one, the next attempt does not wait."""
    now = 0.0
    trusted = tmp_path / "trusted.pem"
    link = RedisLink(f"{url}&ssl_ca_certs={trusted}", clock=lambda: now)
    await link.probe()
    assert "No such file" in link.reason
    openssl(*NEW, "-subj", "/CN=other", "-keyout", "/dev/null", "-out", str(trusted))
    await link.probe()
    assert "CERTIFICATE_VERIFY_FAILED" in link.reason
    shutil.copy(certificate, trusted)
    now = 61.0
    await link.probe()
    assert link.state == "ok"
    await link.close()


async def test_nobody_is_asked_for_the_password_of_a_key(
    url: str, certificate: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The event loop would block until somebody types at the terminal."""
    key = tmp_path / "locked.pem"
    openssl("pkey", "-in", f"{tmp_path}/key.pem", "-aes256", "-passout", "pass:secret", "-out", str(key))
    address = f"{url.partition('&')[0]}&ssl_ca_certs={certificate}&ssl_keyfile={key}"
    for password, state in (("", "unavailable"), ("&ssl_password=secret", "ok")):
        link = RedisLink(address + password)
        await link.probe()
        assert link.state == state
        await link.close()
    assert "pass phrase" not in "".join(capfd.readouterr())


async def test_connections_are_closed_even_if_redis_hangs(url: str, certificate: Path) -> None:
    port = url.partition("?")[0].removesuffix("/0").rpartition(":")[2]
    async with proxied(int(port)) as proxy:
        link = RedisLink(f"{url.replace(port, str(proxy.port))}&ssl_ca_certs={certificate}")
        await link.probe()
        assert link.state == "ok"
        proxy.hang()
        await link.close()
