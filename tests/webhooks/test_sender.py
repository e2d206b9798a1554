"""One message to a real receiver: what it gets, and what it cannot make the sender do."""

import asyncio
import base64
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, nullcontext, suppress
from pathlib import Path

import httpcore
import pytest

from app.webhook_rules import Refused, Rules
from app.webhooks import Sender, signed

LOCAL = Rules.of(("hooks.example.org", "127.0.0.1"))
KEY = bytes(range(32))
OK = b"HTTP/1.1 204 No Content\r\n\r\n"


class Receiver:
    """Answers each request with the same bytes, and remembers the requests."""

    def __init__(self, answer: bytes = OK) -> None:
        self.answer = answer
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self.port = 0

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        first, *lines = head.strip().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines)
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        sent = dict(line.split(": ", 1) for line in lines)
        self.requests.append((first, {name.lower(): value for name, value in sent.items()}, body))
        writer.write(self.answer)
        await writer.drain()
        writer.close()


@asynccontextmanager
async def receiving(receiver: Receiver, context: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """Its port on 127.0.0.1."""
    server = await asyncio.start_server(receiver.take, "127.0.0.1", 0, ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1]


@asynccontextmanager
async def sending(
    rules: Rules = LOCAL,
    seconds: float = 30,
    resolve: Callable[[str], Awaitable[Sequence[str]]] | None = None,
    verify: ssl.SSLContext | None = None,
) -> AsyncIterator[Sender]:
    sender = Sender(rules, (KEY,), seconds, verify, resolve)
    try:
        yield sender
    finally:
        await sender.close()


def leads_to(*addresses: str) -> Callable[[str], Awaitable[Sequence[str]]]:
    async def resolve(host: str) -> Sequence[str]:
        return addresses

    return resolve


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """Of hooks.example.org, and its key."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed: apt-get install openssl")
    pem, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    name = ["-subj", "/CN=hooks.example.org", "-addext", "subjectAltName=DNS:hooks.example.org"]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "36500"]
    subprocess.run([*command, *name, "-out", str(pem), "-keyout", str(key)], check=True, capture_output=True)
    return pem, key


def contexts(certificate: tuple[Path, Path]) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Of a receiver with this certificate, and of a sender that trusts it."""
    served = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    served.load_cert_chain(*certificate)
    return served, ssl.create_default_context(cafile=str(certificate[0]))


def test_the_signature_equals_the_example_of_the_specification() -> None:
    """Its published example."""
    key = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    headers = signed((key,), "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_message_is_signed_with_every_secret() -> None:
    one, two = signed((KEY, b"x" * 24), "msg_1", 5, b"{}")["webhook-signature"].split(" ")
    assert one == signed((KEY,), "msg_1", 5, b"{}")["webhook-signature"]
    assert two == signed((b"x" * 24,), "msg_1", 5, b"{}")["webhook-signature"]


async def test_a_delivered_message_is_signed() -> None:
    receiver = Receiver()
    async with receiving(receiver) as port, sending() as sender:
        assert await sender.send(f"http://127.0.0.1:{port}/hook?a=b", "msg_1", b'{"a":1}') == 204
    ((first, headers, body),) = receiver.requests
    assert first == "POST /hook?a=b HTTP/1.1"
    assert (body, headers["content-type"], headers["host"]) == (b'{"a":1}', "application/json", f"127.0.0.1:{port}")
    assert headers["webhook-id"] == "msg_1"
    expected = signed((KEY,), "msg_1", int(headers["webhook-timestamp"]), body)
    assert headers["webhook-signature"] == expected["webhook-signature"]


async def test_the_connection_goes_to_the_address_that_was_checked() -> None:
    """The name is resolved once; that it resolves to another address the next time does not matter."""
    asked: list[str] = []

    async def rebinding(host: str) -> Sequence[str]:
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else ["192.0.2.1"]

    receiver = Receiver()
    async with receiving(receiver) as port, sending(resolve=rebinding) as sender:
        assert await sender.send(f"http://hooks.example.org:{port}/", "msg_1", b"{}") == 204
    assert asked == ["hooks.example.org"]
    assert receiver.requests[0][1]["host"] == f"hooks.example.org:{port}"


@pytest.mark.parametrize("addresses", [("127.0.0.1",), ("::ffff:127.0.0.1",), ("10.0.0.1", "169.254.169.254"), ()])
async def test_a_name_that_resolves_to_an_internal_address_is_refused(addresses: tuple[str, ...]) -> None:
    receiver = Receiver()
    rules = Rules.of(("hooks.example.org", "192.0.2.0/24"))
    async with receiving(receiver) as port, sending(rules, resolve=leads_to(*addresses)) as sender:
        with pytest.raises(Refused):
            await sender.send(f"http://hooks.example.org:{port}/", "msg_1", b"{}")
    assert receiver.requests == []


async def test_addresses_that_are_not_allowed_are_skipped() -> None:
    receiver = Receiver()
    rules = Rules.of(("hooks.example.org", "127.0.0.1", "127.0.0.2"))
    # Nobody listens at 127.0.0.2.
    async with receiving(receiver) as port, sending(rules, resolve=leads_to("::1", "127.0.0.2", "127.0.0.1")) as sender:
        assert await sender.send(f"http://hooks.example.org:{port}/", "msg_1", b"{}") == 204


async def test_without_tls_a_public_address_is_refused() -> None:
    async with sending(resolve=leads_to("93.184.216.34")) as sender:
        with pytest.raises(Refused):
            await sender.send("http://hooks.example.org/", "msg_1", b"{}")


@pytest.mark.parametrize(("others", "delivered"), [(3, True), (4, False)])
async def test_four_addresses_of_a_name_are_tried(others: int, delivered: bool) -> None:
    receiver, rules = Receiver(), Rules.of(("hooks.example.org", "127.0.0.0/8"))
    addresses = [*("127.0.0.2" for _ in range(others)), "127.0.0.1"]
    async with receiving(receiver) as port, sending(rules, resolve=leads_to(*addresses)) as sender:
        with nullcontext() if delivered else pytest.raises(httpcore.ConnectError):
            await sender.send(f"http://hooks.example.org:{port}/", "msg_1", b"{}")
    assert len(receiver.requests) == delivered


async def test_redirects_are_not_followed() -> None:
    elsewhere = Receiver()
    async with receiving(elsewhere) as port:
        there = f"http://127.0.0.1:{port}/"
        receiver = Receiver(f"HTTP/1.1 307 Go\r\nLocation: {there}\r\nContent-Length: 0\r\n\r\n".encode())
        async with receiving(receiver) as first, sending() as sender:
            assert await sender.send(f"http://127.0.0.1:{first}/", "msg_1", b"{}") == 307
    assert elsewhere.requests == []


async def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    async with receiving(Receiver()) as port, sending() as sender:
        assert await sender.send(f"http://127.0.0.1:{port}/", "msg_1", b"{}") == 204


async def test_the_body_of_a_response_is_not_read() -> None:
    receiver = Receiver(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\nx")
    async with receiving(receiver) as port, sending() as sender:
        assert await sender.send(f"http://127.0.0.1:{port}/", "msg_1", b"{}") == 200


@pytest.mark.parametrize("answer", [b"", b"no HTTP\r\n\r\n", b"HTTP/1.1 200 OK\r\nX: " + 200_000 * b"a"])
async def test_a_malformed_response_is_an_error(answer: bytes) -> None:
    async with receiving(Receiver(answer)) as port, sending() as sender:
        with pytest.raises(httpcore.RemoteProtocolError):
            await sender.send(f"http://127.0.0.1:{port}/", "msg_1", b"{}")


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_endless_interim_responses_are_not_read(certificate: tuple[Path, Path], scheme: str) -> None:
    """They would keep the service's event loop busy for as long as a message may take."""

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while True:
                writer.write(100 * b"HTTP/1.1 103 Early Hints\r\n\r\n")
                await writer.drain()
        writer.close()

    served, trusting = contexts(certificate)
    server = await asyncio.start_server(flood, "127.0.0.1", 0, ssl=served if scheme == "https" else None)
    async with server, sending(resolve=leads_to("127.0.0.1"), verify=trusting) as sender:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(httpcore.RemoteProtocolError, match="more than 32768 bytes"):
            await sender.send(f"{scheme}://hooks.example.org:{port}/", "msg_1", b"{}")


async def test_cookies_of_a_receiver_are_not_sent_with_the_next_message() -> None:
    """That may be another client's, and go to another host below the same domain."""
    receiver = Receiver(b"HTTP/1.1 204 No Content\r\nSet-Cookie: a=b; Path=/\r\n\r\n")
    async with receiving(receiver) as port, sending() as sender:
        for _ in range(2):
            assert await sender.send(f"http://127.0.0.1:{port}/", "msg_1", b"{}") == 204
    assert ["cookie" in headers for _, headers, _ in receiver.requests] == [False, False]


async def test_a_receiver_that_never_answers_costs_no_more_than_the_timeout() -> None:
    release = asyncio.Event()

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await release.wait()
        writer.close()

    server = await asyncio.start_server(hang, "127.0.0.1", 0)
    async with server, sending(seconds=0.1) as sender:
        with pytest.raises(TimeoutError):
            await sender.send(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", "msg_1", b"{}")
        release.set()


@pytest.mark.parametrize(("host", "is_right"), [("hooks.example.org", True), ("other.example.org", False)])
async def test_the_certificate_must_match_the_host_name(
    certificate: tuple[Path, Path], host: str, is_right: bool
) -> None:
    """Not the address that is connected to."""
    served, trusting = contexts(certificate)
    rules = Rules.of((".example.org", "127.0.0.1"))
    resolve = leads_to("127.0.0.1")
    async with receiving(Receiver(), served) as port, sending(rules, resolve=resolve, verify=trusting) as sender:
        if is_right:
            assert await sender.send(f"https://{host}:{port}/", "msg_1", b"{}") == 204
        else:
            with pytest.raises(httpcore.ConnectError, match=r"[Hh]ostname mismatch|not valid for"):
                await sender.send(f"https://{host}:{port}/", "msg_1", b"{}")


async def test_names_are_resolved() -> None:
    async with receiving(Receiver()) as port, sending(Rules.of(("localhost", "127.0.0.1"))) as sender:
        assert await sender.send(f"http://localhost:{port}/", "msg_1", b"{}") == 204
