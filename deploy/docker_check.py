"""Builds the image, runs docker-compose.yml, uses the service as a client would, asks Prometheus, stops it, cleans up.

Needs Docker with BuildKit and compose, and nothing but Python's standard library. If PIP_FIND_LINKS names a folder,
PyTorch's wheel is taken from there. Exits 0 only if everything held.
"""

import http.client
import json
import sys
import tempfile
import threading
from functools import partial
from pathlib import Path

from deploy import checking
from deploy.check_client import call, picture, png_size, post, query
from deploy.checking import PATIENCE, CheckFailed, poll, require
from deploy.compose import Docker, checked

CPU_IMAGE_LIMIT = 350_000_000
"""Bytes. The promise of docs/operations.md."""
# So that the service drains as long as it takes.
OVERRIDE = f"services: {{lapsrn: {{environment: {{LAPSRN_GRACE_SECONDS: '{PATIENCE}'}}}}}}\n"

step = partial(checking.step, "docker-check")


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


def check_hardening(docker: Docker, container: str) -> None:
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
    docker.run("exec", container, "python", "-c", inside)


def stop_under_load(docker: Docker, container: str) -> None:
    """Stops the service while clients post one picture after the other, and judges by the order of its log.

    What was under way when the drain began gets its picture, no answer is lost, and the exit code is 0.
    """
    clients = [Poster(docker.service_port) for _ in range(3)]
    before = len(answers(docker, container)[0])
    for client in clients:
        client.start()
    poll("every client has an answer", lambda: all(client.pictures for client in clients), PATIENCE)
    docker.compose("stop", "--timeout", str(PATIENCE), "lapsrn")
    for client in clients:
        client.join()
        require(not client.wrong, f"a client got {client.wrong}")
    answered, under_way = answers(docker, container)
    received = sum(client.pictures for client in clients)
    require(under_way > 0, "nothing was under way when the drain began")
    late = answered.count("draining")
    require(late >= under_way, f"of {under_way} requests under way, {late} were answered")
    sent = len(answered) - before
    require(sent == received, f"{sent} pictures were sent, and {received} arrived")
    code = docker.run("inspect", "--format", "{{.State.ExitCode}}", container)
    require(code == "0", f"the service's exit code is {code}, not 0")


def answers(docker: Docker, container: str) -> tuple[list[str], int]:
    """Whether each picture was answered while "serving" or "draining", and how many were under way at the drain."""
    found, phase, under_way = list[str](), "serving", 0
    for line in docker.run("logs", container).splitlines():
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
        check_hardening(docker, container)
    with step("Prometheus has the counter"):
        ask_prometheus(docker.prometheus_port)
    with step("stop under load, exit 0"):
        stop_under_load(docker, container)


def main() -> int:
    """Runs every step; the exit code."""
    with tempfile.TemporaryDirectory() as folder:
        override = Path(folder) / "patience.yml"
        override.write_text(OVERRIDE)
        docker = Docker("lapsrn-check", override)
        return checked("docker-check", docker, lambda: check_service(docker))


if __name__ == "__main__":
    sys.exit(main())
