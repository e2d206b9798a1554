"""Runs docker-compose.scale.yml with three containers, restarts and kills them under load, and counts what was lost.

Needs what docker_check.py needs. `--debian` builds the images of the balancer and Redis from Debian's packages, for
machines that reach no registry of images. Exits 0 only if everything held.
"""

import argparse
import http.client
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from deploy import checking
from deploy.check_client import call, picture, png_size, post, query
from deploy.checking import CheckFailed, poll, require
from deploy.compose import ROOT, Docker, checked

CONTAINERS = 3
CLIENTS = 4

step = partial(checking.step, "scale-check")


class Scaled(Docker):
    """Docker with the balancer's file, and containers that can be restarted one by one."""

    def __init__(self) -> None:
        """Nothing is started yet."""
        super().__init__("lapsrn-scale-check", ROOT / "docker-compose.scale.yml")

    def containers(self) -> list[str]:
        """The service's containers."""
        return self.compose("ps", "--quiet", "lapsrn").split()

    def await_health(self, container: str) -> None:
        """Until the container's own check passes, and the balancer's, a second later."""
        health = ("inspect", "--format", "{{.State.Health.Status}}", container)
        poll(f"{container[:12]} is healthy", lambda: self.run(*health) == "healthy", 300)
        time.sleep(3)

    def build_from_debian(self) -> None:
        """The balancer and Redis as images of this machine."""
        for name in ("haproxy", "redis"):
            tag = f"{name}:debian"
            self.run("build", "--quiet", "--tag", tag, "--file", f"deploy/debian/{name}.Dockerfile", "deploy/debian")
            self.environment[f"{name.upper()}_IMAGE"] = tag


class Load:
    """Clients that send one picture after the other, each on a connection of its own, and fetch its other level."""

    def __init__(self, port: int) -> None:
        """Sends to 127.0.0.1:`port`."""
        self._port = port
        self._stop = threading.Event()
        self.outcomes: Counter[str] = Counter()
        self.worst = 0.0

    @contextmanager
    def running(self) -> Iterator["Load"]:
        """Meanwhile clients are at work; afterwards `outcomes` is complete."""
        threads = [threading.Thread(target=self._client, args=(number,)) for number in range(CLIENTS)]
        for thread in threads:
            thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            for thread in threads:
                thread.join()

    def _client(self, number: int) -> None:
        data = picture(40 + number, 60)
        while not self._stop.is_set():
            began = time.monotonic()
            self.outcomes[self._once(data, (160 + 4 * number, 240))] += 1
            self.worst = max(self.worst, time.monotonic() - began)

    def _once(self, data: bytes, size: tuple[int, int]) -> str:
        try:
            status, headers, body = post(self._port, data)
            if status != 200:
                return str(status)
            require(png_size(body) == size, f"{png_size(body)} instead of {size}")
            if "x-upscale-id" not in headers:
                return "not kept"
            status, _, body = call(self._port, "GET", f"/upscale?level=2&id={headers['x-upscale-id']}")
            if status in (502, 503):
                return str(status)
            if status != 200:
                return f"level 2: {status}"
            require(png_size(body) == (size[0] // 2, size[1] // 2), f"level 2: {png_size(body)}")
            return "ok"
        except (OSError, http.client.HTTPException) as error:
            return type(error).__name__
        except CheckFailed as error:
            return f"wrong: {error}"


def share_work(docker: Scaled) -> None:
    """Every container gets pictures, each finds what another made, and Prometheus sees them all."""
    with Load(docker.service_port).running() as load:
        count = "count(sum by (instance) (lapsrn_pixels_total) > 0)"
        poll("every container has had pictures", lambda: query(docker.prometheus_port, count) == [CONTAINERS], 120)
    require(set(load.outcomes) == {"ok"}, f"outcomes: {dict(load.outcomes)}")
    print(f"scale-check: {dict(load.outcomes)}, slowest {load.worst:.2f} s")


def restart_each(docker: Scaled) -> None:
    """One after the other, under load: nothing is lost."""
    with Load(docker.service_port).running() as load:
        for container in docker.containers():
            docker.run("restart", "--time", "100", container)
            docker.await_health(container)
    print(f"scale-check: {dict(load.outcomes)}, slowest {load.worst:.2f} s")
    require(set(load.outcomes) == {"ok"}, f"outcomes of a rolling restart: {dict(load.outcomes)}")


def kill_one(docker: Scaled) -> None:
    """A container that dies costs what it had in hand: at most one request of each client, and no wrong answer."""
    victim = docker.containers()[0]
    with Load(docker.service_port).running() as load:
        time.sleep(2)
        docker.run("kill", victim)
        time.sleep(5)
        after = Counter(load.outcomes)
        time.sleep(5)
        after = load.outcomes - after
    print(f"scale-check: {dict(load.outcomes)}, slowest {load.worst:.2f} s")
    lost = sum(count for outcome, count in load.outcomes.items() if outcome != "ok")
    require(set(load.outcomes) <= {"ok", "502", "503"}, f"outcomes of a death: {dict(load.outcomes)}")
    require(lost <= CLIENTS, f"{lost} requests were lost")
    require(set(after) == {"ok"}, f"outcomes five seconds later: {dict(after)}")
    docker.run("start", victim)
    docker.await_health(victim)


def check_containers(docker: Scaled, debian: bool) -> None:
    """Every step; with `debian` balancer and Redis are built first."""
    if debian:
        with step("balancer and Redis from Debian"):
            docker.build_from_debian()
    with step("build"):
        docker.compose("build", "lapsrn")
    with step(f"up with {CONTAINERS} containers, until healthy"):
        docker.compose(
            "up", "--no-build", "--detach", "--wait", "--wait-timeout", "400", "--scale", f"lapsrn={CONTAINERS}"
        )
    with step("pictures through all of them"):
        share_work(docker)
    with step("a rolling restart loses nothing"):
        restart_each(docker)
    with step("a death costs what was under way"):
        kill_one(docker)


def main() -> int:
    """Runs every step; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--debian", action="store_true", help="balancer and Redis from Debian's packages")
    debian = parser.parse_args().debian
    docker = Scaled()
    return checked("scale-check", docker, lambda: check_containers(docker, debian))


if __name__ == "__main__":
    sys.exit(main())
