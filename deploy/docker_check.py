"""Builds the image, runs docker-compose.yml, uses the service as a client would, asks Prometheus, stops it, cleans up.

Needs Docker with BuildKit and compose, and nothing but Python's standard library. If PIP_FIND_LINKS names a folder,
PyTorch's wheel is taken from there. Exits 0 only if everything held.
"""

import http.client
import json
import os
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

ROOT = Path(__file__).resolve().parent.parent
CPU_IMAGE_LIMIT = 350_000_000
"""Bytes. The promise of docs/operations.md."""
PATIENCE = 900
"""Seconds after which something hangs, on however busy a machine."""
# So that the service drains as long as it takes.
OVERRIDE = f"services: {{lapsrn: {{environment: {{LAPSRN_GRACE_SECONDS: '{PATIENCE}'}}}}}}\n"

Answer = tuple[int, dict[str, str], bytes]


class CheckFailed(Exception):
    """Something that was promised did not hold; the text says what."""


def require(condition: bool, message: str) -> None:
    """Raises CheckFailed(message) unless `condition`."""
    if not condition:
        raise CheckFailed(message)


def picture(height: int, width: int) -> bytes:
    """An 8-bit RGB PNG of (height, width) with ramps and rings in it, so that a swapped axis would show."""
    rows = bytearray()
    for y in range(height):
        rows.append(0)
        for x in range(width):
            ring = ((x - width // 3) ** 2 + (y - height // 2) ** 2) // 64 % 2 * 80
            rows += bytes((255 * x // width, 255 * y // height, 60 + ring))

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(rows), 1)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def png_size(data: bytes) -> tuple[int, int]:
    """(height, width) of an 8-bit RGB PNG, after checking every chunk's sum and that all of its pixels are there."""
    require(data[:8] == b"\x89PNG\r\n\x1a\n", f"not a PNG: {data[:16]!r}")
    at, chunks = 8, list[tuple[bytes, bytes]]()
    while at < len(data):
        (length,) = struct.unpack_from(">I", data, at)
        kind, body = data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        (crc,) = struct.unpack_from(">I", data, at + 8 + length)
        require(zlib.crc32(kind + body) == crc, f"chunk {kind!r} has a wrong checksum")
        chunks.append((kind, body))
        at += 12 + length
    width, height, depth, colour = struct.unpack_from(">IIBB", chunks[0][1])
    require((depth, colour) == (8, 2), f"not 8-bit RGB: depth {depth}, colour type {colour}")
    pixels = len(zlib.decompress(b"".join(body for kind, body in chunks if kind == b"IDAT")))
    require(pixels == height * (1 + 3 * width), f"{pixels} bytes of rows for {height}x{width}")
    return height, width


def call(
    port: int, method: str, path: str, body: bytes | None = None, kind: str = "", timeout: float = PATIENCE
) -> Answer:
    """One request to 127.0.0.1:`port`: status, headers (lower-case names), body."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request(method, path, body, {"Content-Type": kind} if kind else {})
        response = connection.getresponse()
        return response.status, {k.lower(): v for k, v in response.getheaders()}, response.read()
    finally:
        connection.close()


def post(port: int, data: bytes, path: str = "/upscale?scale=4") -> Answer:
    """The picture as a browser's form sends it, in the field `image`."""
    form = b'--X\r\nContent-Disposition: form-data; name="image"; filename="p.png"\r\nContent-Type: image/png\r\n\r\n'
    return call(port, "POST", path, form + data + b"\r\n--X--\r\n", "multipart/form-data; boundary=X")


def poll(what: str, probe: Callable[[], bool], seconds: float) -> None:
    """Asks `probe` until it says yes; raises CheckFailed after `seconds`."""
    end = time.monotonic() + seconds
    while not probe():
        require(time.monotonic() < end, f"{what}: not within {seconds:.0f} s")
        time.sleep(0.2)


def query(port: int, expression: str) -> list[float]:
    """The values that Prometheus answers to an instant query, one a series."""
    status, _, body = call(port, "GET", "/api/v1/query?query=" + quote(expression))
    require(status == 200, f"Prometheus answered {status} to {expression}: {body[:200]!r}")
    return [float(series["value"][1]) for series in json.loads(body)["data"]["result"]]


def use_service(port: int) -> None:
    """Posts a picture, fetches its other level, and sends what is no picture."""
    status, headers, body = post(port, picture(45, 61))
    require(status == 200, f"POST /upscale answered {status}: {body[:300]!r}")
    require(png_size(body) == (180, 244), f"x4 of 45x61 is {png_size(body)}")
    status, _, body = call(port, "GET", f"/upscale?level=2&id={headers['x-upscale-id']}")
    require(status == 200, f"GET /upscale?level=2 answered {status}: {body[:300]!r}")
    require(png_size(body) == (90, 122), f"x2 of 45x61 is {png_size(body)}")
    status, _, _ = post(port, b"this is no picture")
    require(status == 415, f"garbage is answered with {status}, not 415")
    status, _, body = call(port, "GET", "/")
    require(status == 200 and b"<html" in body, f"the page is not in the image: {status}")


def ask_prometheus(port: int) -> None:
    """Waits until Prometheus has scraped the POST, and checks that it took every rule."""
    wanted = 'sum(lapsrn_http_requests_total{job="lapsrn",route="/upscale",method="POST",status="200"})'
    poll("Prometheus counts the POST", lambda: query(port, wanted) == [1.0], PATIENCE)
    require(query(port, "lapsrn_worker_up") != [] and min(query(port, "lapsrn_worker_up")) == 1, "a worker is down")
    _, _, body = call(port, "GET", "/api/v1/rules")
    rules = [rule for group in json.loads(body)["data"]["groups"] for rule in group["rules"]]
    bad = [rule["name"] for rule in rules if rule.get("lastError")]
    require(len(rules) >= 20 and not bad, f"{len(rules)} rules, with errors: {bad}")


class Docker:
    """`docker compose` on this repository's files, as a project of its own on free ports."""

    def __init__(self, *overrides: Path) -> None:
        """Nothing is started yet; `overrides` are compose files that go over docker-compose.yml."""
        self.service_port, self.prometheus_port = _free_ports(2)
        self.environment = os.environ | {
            "COMPOSE_FILE": os.pathsep.join(map(str, (ROOT / "docker-compose.yml", *overrides))),
            "COMPOSE_PROJECT_NAME": "lapsrn-check",
            "RESTART_POLICY": "no",
            "SERVICE_PORT": str(self.service_port),
            "PROMETHEUS_PORT": str(self.prometheus_port),
        }

    def run(self, *arguments: str, check: bool = True) -> str:
        """`docker ARGUMENTS`; returns its standard output. Raises CheckFailed if it fails and `check`."""
        done = subprocess.run(
            ["docker", *arguments], cwd=ROOT, env=self.environment, stdout=subprocess.PIPE, text=True, check=False
        )
        require(not check or done.returncode == 0, f"docker {' '.join(arguments)} failed with {done.returncode}")
        return done.stdout.strip()

    def compose(self, *arguments: str, check: bool = True) -> str:
        """`docker compose ARGUMENTS`, with progress on standard error as plain lines."""
        return self.run("compose", "--progress", "plain", *arguments, check=check)

    def hardening(self, container: str) -> None:
        """Checks, from inside the running container, that what docs/operations.md promises of it holds."""
        inside = (
            "import importlib.util as u, os, pathlib, shutil\n"
            "assert os.getuid() == 10001, os.getuid()\n"
            "assert not any(u.find_spec(m) for m in ('pip', 'setuptools')), 'pip or setuptools is there'\n"
            "assert not any(map(shutil.which, ('pip', 'gcc', 'cc', 'make', 'curl', 'wget'))), 'a tool is there'\n"
            "status = pathlib.Path('/proc/self/status').read_text()\n"
            "assert 'CapEff:\\t0000000000000000' in status and 'NoNewPrivs:\\t1' in status, status\n"
            "try:\n    pathlib.Path('/opt/lapsrn/x').write_text('')\n"
            "except OSError as error:\n    assert error.errno == 30, error\n"
            "else:\n    raise SystemExit('the root is writable')\n"
        )
        self.run("exec", container, "python", "-c", inside)

    def stop_under_load(self, container: str) -> None:
        """Stops the service while clients post one picture after the other, and judges by the order of its log.

        What was under way when the drain began gets its picture, no answer is lost, and the exit code is 0.
        """
        clients = [Poster(self.service_port) for _ in range(3)]
        before = len(self.answered(container)[0])
        for client in clients:
            client.start()
        poll("every client has an answer", lambda: all(client.pictures for client in clients), PATIENCE)
        self.compose("stop", "--timeout", str(PATIENCE), "lapsrn")
        for client in clients:
            client.join()
            require(not client.wrong, f"a client got {client.wrong}")
        answered, under_way = self.answered(container)
        received = sum(client.pictures for client in clients)
        require(under_way > 0, "nothing was under way when the drain began")
        late = answered.count("draining")
        require(late >= under_way, f"of {under_way} requests under way, {late} were answered")
        sent = len(answered) - before
        require(sent == received, f"{sent} pictures were sent, and {received} arrived")
        code = self.run("inspect", "--format", "{{.State.ExitCode}}", container)
        require(code == "0", f"the service's exit code is {code}, not 0")

    def answered(self, container: str) -> tuple[list[str], int]:
        """When each picture was answered with another, "serving" or "draining"; and how many were due at the drain."""
        found, phase, under_way = list[str](), "serving", 0
        for line in self.run("logs", container).splitlines():
            event = json.loads(line) if line.startswith("{") else {}
            if event.get("event") == "draining":
                phase, under_way = "draining", event["under_way"]
            if (event.get("method"), event.get("route"), event.get("status")) == ("POST", "/upscale", 200):
                found.append(phase)
        return found, under_way


class Poster(threading.Thread):
    """A client that posts a picture again and again, until it is refused or nobody answers."""

    def __init__(self, port: int) -> None:
        """`port` is the service's."""
        super().__init__(daemon=True)
        self.port, self.pictures, self.wrong = port, 0, ""

    def run(self) -> None:
        """Counts the pictures that come back whole, and notes what must not come back."""
        data = picture(160, 200)
        while not self.wrong:
            try:
                status, _, body = post(self.port, data)
            except (OSError, http.client.HTTPException):
                return
            if status == 503:
                return
            try:
                require(status == 200 and png_size(body) == (640, 800), f"an answer {status}")
                self.pictures += 1
            except CheckFailed as error:
                self.wrong = str(error)


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


@contextmanager
def step(name: str, check: str = "docker-check") -> Iterator[None]:
    """Prints how long the step took."""
    began = time.monotonic()
    print(f"{check}: {name} ...", flush=True)
    yield
    print(f"{check}: {name}: ok, {time.monotonic() - began:.1f} s", flush=True)


def checked(name: str, docker: Docker, steps: Callable[[], None]) -> int:
    """Runs `steps`, shows what the containers say where one fails, and cleans up; the exit code."""
    if subprocess.run(["docker", "info"], capture_output=True, check=False).returncode != 0:
        print(f"{name}: no Docker engine answers (docker info failed)", file=sys.stderr)
        return 1
    try:
        steps()
    except (CheckFailed, OSError, http.client.HTTPException) as error:
        print(docker.compose("ps", "--all", check=False), file=sys.stderr)
        print(docker.compose("logs", "--no-color", "--tail", "60", check=False), file=sys.stderr)
        print(f"{name}: FAILED: {error}", file=sys.stderr)
        return 1
    finally:
        docker.compose("down", "--volumes", "--remove-orphans", "--timeout", "5", check=False)
    print(f"{name}: all held")
    return 0


def check_service(docker: Docker) -> None:
    """Every step, on the service alone."""
    with step("build"):
        docker.compose("build", "lapsrn")
    image = docker.environment.get("SERVICE_IMAGE", "lapsrn:cpu")
    size = int(docker.run("image", "inspect", "--format", "{{.Size}}", image))
    print(f"docker-check: {image} is {size / 1e9:.3f} GB")
    require(size <= CPU_IMAGE_LIMIT, f"the CPU image has {size} bytes; the limit is {CPU_IMAGE_LIMIT}")
    with step("up, until healthy"):
        docker.compose("up", "--no-build", "--detach", "--wait", "--wait-timeout", str(PATIENCE))
    container = docker.compose("ps", "--quiet", "lapsrn")
    with step("pictures through it"):
        use_service(docker.service_port)
    with step("user, root, capabilities, tools"):
        docker.hardening(container)
    with step("Prometheus has the counter"):
        ask_prometheus(docker.prometheus_port)
    with step("stop under load, exit 0"):
        docker.stop_under_load(container)


def main() -> int:
    """Runs every step; the exit code."""
    with tempfile.TemporaryDirectory() as folder:
        override = Path(folder) / "patience.yml"
        override.write_text(OVERRIDE)
        docker = Docker(override)
        return checked("docker-check", docker, lambda: check_service(docker))


if __name__ == "__main__":
    sys.exit(main())
