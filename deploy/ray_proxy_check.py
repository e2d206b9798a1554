"""What a client of Serve's proxy sees of the service: ids, limits, slow and lost clients, jobs and their events."""

import http.client
import json
import select
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager

from deploy.check_client import call, picture, post
from deploy.checking import PATIENCE, poll, require

MAX_INPUT_BYTES = 1 << 20
BODY_IDLE_SECONDS = 5
SETTINGS = {"LAPSRN_MAX_INPUT_BYTES": str(MAX_INPUT_BYTES), "LAPSRN_BODY_IDLE_SECONDS": str(BODY_IDLE_SECONDS)}
"""Of the replicas, so that limits are soon met."""
_POST = b"POST /upscale HTTP/1.1\r\nHost: lapsrn\r\nContent-Type: image/png\r\n"
_BLOCK = bytes(65536)


def check_proxy(port: int, data: bytes, expected: bytes) -> None:
    """Every check, with one replica; `expected` is the answer to `data`. Raises CheckFailed."""
    _request_ids(port)
    _bodies(port, data, expected)
    _headers(port)
    _slow_upload(port)
    _disconnect(port)
    _job(port)


def _request_ids(port: int) -> None:
    """The client's own id or a new one, and only once."""
    for sent in ({"X-Request-Id": "mine"}, {}):
        with _asked(port, "GET", "/healthz", headers=sent) as answer:
            ids = [value for name, value in answer.getheaders() if name.lower() == "x-request-id"]
            require(len(ids) == 1 and (not sent or ids == ["mine"]), f"request ids {ids} to {sent}")


def _bodies(port: int, data: bytes, expected: bytes) -> None:
    """Chunked ones are read; too long ones are refused by a replica, before they have come."""
    pieces = [data[at : at + 1000] for at in range(0, len(data), 1000)]
    with _asked(port, "POST", "/upscale", iter(pieces), {"Content-Type": "image/png"}) as answer:
        require(answer.status == 200 and answer.read() == expected, f"a chunked body is answered {answer.status}")
    for size in (b"Content-Length: 1000000000\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n3b9aca00\r\n"):
        with _connected(port) as line:
            line.sendall(_POST + size)
            sent = _send_until_answered(line, 1_000_000_000)
            status = _status(line, "too-many-bytes")
        print(f"ray-check: {size[:17].decode()}: {status} when {sent / 2**20:.1f} MiB had been sent")
        require(status == 413, f"a body that is too long is answered {status}")


def _headers(port: int) -> None:
    for extra in (b"X-A: " + b"a" * 70_000 + b"\r\n", b"".join(b"X-%d: a\r\n" % number for number in range(150))):
        with _connected(port) as line:
            line.sendall(b"GET /healthz HTTP/1.1\r\nHost: lapsrn\r\n" + extra + b"\r\n")
            status = _status(line, "headers-too-large")
            require(status == 431, f"headers past the limits are answered {status}")


def _slow_upload(port: int) -> None:
    with _connected(port) as line:
        line.sendall(_POST + b"Content-Length: 5000\r\n\r\n" + _BLOCK[:100])
        status = _status(line, "slow-client")
        require(status == 408, f"a body that stops is answered {status}")


def _disconnect(port: int) -> None:
    """Work ends when its client leaves."""
    before = _counted(port, "lapsrn_cancelled_total")
    data = picture(700, 800)
    with _connected(port) as line:
        line.sendall(_POST + b"Content-Length: %d\r\n\r\n" % len(data) + data)
        poll("work in the queue", lambda: _counted(port, "lapsrn_queue_tiles") > 0, PATIENCE)
    poll("the work of a client that left", lambda: _counted(port, "lapsrn_cancelled_total") > before, PATIENCE)
    poll("an empty queue", lambda: _counted(port, "lapsrn_queue_tiles") == 0, PATIENCE)


def _job(port: int) -> None:
    """Its events come while it runs, and go on after the last one that was seen."""
    data = picture(300, 400)
    job = accepted(port, data)
    events = _events(port, job)
    seen, document = next(events)
    while document["state"] == "queued":
        seen, document = next(events)
    require(document["state"] == "running", f"the first event after 'queued' is {document['state']}")
    events.close()  # type: ignore[attr-defined]
    rest = list(_events(port, job, seen))
    numbers = [number for number, _ in rest]
    require(numbers == sorted(set(numbers)) and numbers[0] > seen, f"after event {seen} came {numbers}")
    require(rest[-1][1]["state"] == "done", f"the last event is {rest[-1]}")
    print(f"ray-check: {len(numbers)} events after event {seen}")
    _, _, made = call(port, "GET", f"/upscale?level=4&id={job.rpartition('/')[2]}")
    require(made == post(port, data)[2], "a job's picture is another than the answer's")


def accepted(port: int, data: bytes) -> str:
    """The address of a job that makes this picture larger."""
    with _asked(port, "POST", "/upscale", data, {"Content-Type": "image/png", "Prefer": "respond-async"}) as answer:
        require(answer.status == 202, f"a job is answered {answer.status}")
        return answer.headers["Location"]


def _events(port: int, job: str, seen: int = 0) -> Iterator[tuple[int, dict[str, str]]]:
    """(number, document) of each, as they come."""
    with _asked(port, "GET", f"{job}/events", headers={"Last-Event-ID": str(seen)}) as answer:
        number = 0
        for line in answer:
            name, _, value = line.decode().strip().partition(": ")
            if name == "id":
                number = int(value)
            elif name == "data":
                yield number, json.loads(value)


def _counted(port: int, metric: str) -> float:
    """The sum over its labels."""
    lines = call(port, "GET", "/metrics")[2].decode().splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith((metric + "{", metric + " ")))


@contextmanager
def _asked(
    port: int,
    method: str,
    path: str,
    body: bytes | Iterator[bytes] | None = None,
    headers: dict[str, str] | None = None,
) -> Iterator[http.client.HTTPResponse]:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)) as connection:
        connection.request(method, path, body, headers or {}, encode_chunked=True)
        yield connection.getresponse()


@contextmanager
def _connected(port: int) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as line:
        yield line


def _send_until_answered(line: socket.socket, most: int) -> int:
    """Bytes that went out before the first byte of the answer came in."""
    sent = 0
    while sent < most:
        readable, writable, _ = select.select([line], [line], [], PATIENCE)
        require(bool(readable or writable), "neither an answer nor room for more")
        if readable:
            break
        sent += line.send(_BLOCK, socket.MSG_DONTWAIT)
    return sent


def _status(line: socket.socket, slug: str) -> int:
    """Of the answer, which must be the problem document `slug`."""
    answer = http.client.HTTPResponse(line)
    answer.begin()
    document = json.loads(answer.read())
    require(document["type"].endswith(":" + slug), f"{answer.status} with {document}")
    return answer.status
