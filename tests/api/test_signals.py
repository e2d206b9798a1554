"""How the service stops: on which signal, in which order, and unnoticed behind a load balancer."""

import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import numpy as np
import pytest

from tests import pictures
from tests.proxy import Balancer, haproxy
from tests.service_process import FAKE, Process, fake_service, free_port, start

pytestmark = pytest.mark.server

SECONDS = 30.0
"""Longer than anything here takes; a test that waits so long fails."""
SMALL = pictures.png(pictures.gray())
LARGE = pictures.png(np.tile(pictures.rgb(64, 64), (4, 6, 1)))
"""24 tiles."""


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end, "what the test waits for did not happen"
        time.sleep(0.02)


def readiness(service: Process) -> str:
    state: str = httpx.get(f"{service.url}/readyz").json()["status"]
    return state


def under_way(service: Process) -> float:
    lines = httpx.get(f"{service.url}/metrics").text.splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith("lapsrn_requests_in_flight "))


@contextmanager
def posted(service: Process, picture: bytes, count: int = 1) -> Iterator[list[Future[httpx.Response]]]:
    """So many requests under way."""
    with ThreadPoolExecutor(count) as pool:
        answers = [
            pool.submit(httpx.post, f"{service.url}/upscale", files={"image": picture}, timeout=120)
            for _ in range(count)
        ]
        until(lambda: under_way(service) == count)
        yield answers


@pytest.mark.parametrize("first", [signal.SIGTERM, signal.SIGINT])
def test_repeated_signals_do_not_cut_the_drain_short(tmp_path: Path, first: signal.Signals) -> None:
    """`make` and its child both get one, and supervisors repeat themselves."""
    with fake_service(tmp_path, "0.05") as service, posted(service, LARGE) as (answer,):
        service.signal(first)
        service.await_readiness("draining")
        for _ in range(5):
            service.signal(signal.SIGTERM)
            assert readiness(service) == "draining"
        if first == signal.SIGTERM:
            service.signal(signal.SIGINT)  # one alone, which ends nothing either
        assert answer.result().status_code == 200
        assert service.wait() == 0


@pytest.mark.parametrize(
    "signals", [(signal.SIGINT, signal.SIGINT), (signal.SIGQUIT,)], ids=["SIGINT twice", "SIGQUIT"]
)
def test_insistent_signals_end_the_drain(tmp_path: Path, signals: tuple[signal.Signals, ...]) -> None:
    settings = {"hang_seconds": "1000", "grace_seconds": "1000", "lame_duck_seconds": "1000"}
    with fake_service(tmp_path, "600", **settings) as service, posted(service, LARGE) as (answer,):
        service.signal(signal.SIGTERM)
        service.await_readiness("leaving")
        for number in signals[:-1]:
            service.signal(number)
            service.await_readiness("draining")  # else the system may make one signal of two
        service.signal(signals[-1])
        assert answer.result().json()["type"] == "urn:lapsrn:problem:draining"
        assert service.wait(SECONDS) == 0


def test_a_drain_finishes_as_many_requests_as_the_grace_time_allows(tmp_path: Path) -> None:
    """The oldest first: in turns, none of these would be."""
    with fake_service(tmp_path, "0.05", grace_seconds="4") as service, posted(service, LARGE, 6) as answers:
        service.signal(signal.SIGTERM)
        statuses = Counter(answer.result().status_code for answer in answers)
        assert statuses.keys() == {200, 503}
        assert service.wait() == 0


def test_a_lame_duck_keeps_serving_while_readiness_fails(tmp_path: Path) -> None:
    with fake_service(tmp_path, lame_duck_seconds="3") as service, httpx.Client(base_url=service.url) as client:
        assert "connection" not in client.get("/readyz").headers
        service.signal(signal.SIGTERM)
        service.await_readiness("leaving")
        assert httpx.get(f"{service.url}/readyz").status_code == 503
        for _ in range(3):
            service.signal(signal.SIGTERM)  # again changes nothing
            answer = client.post("/upscale", files={"image": SMALL})
            assert (answer.status_code, answer.headers["connection"]) == (200, "close")
        assert readiness(service) == "leaving"
        assert service.wait(SECONDS) == 0


def test_ctrl_c_skips_the_lame_duck_time(tmp_path: Path) -> None:
    for first in ((), (signal.SIGTERM,)):
        with fake_service(tmp_path, lame_duck_seconds="1000") as service:
            for number in first:
                service.signal(number)
                service.await_readiness("leaving")
            service.signal(signal.SIGINT)
            assert service.wait(SECONDS) == 0


class Load:
    """Clients that send small pictures and ask for the model, on new connections and on old ones, until told to end."""

    def __init__(self, url: str) -> None:
        self.answers: Counter[int] = Counter()
        self._url = url
        self._end = threading.Event()
        self._threads = [threading.Thread(target=self._send, args=(keep,)) for keep in (True, True, False, False)]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join()

    def _send(self, keep: bool) -> None:
        with httpx.Client() as kept:
            while not self._end.is_set():
                try:
                    if keep:
                        answer = kept.post(f"{self._url}/upscale", files={"image": SMALL}, timeout=SECONDS)
                    else:
                        answer = httpx.get(f"{self._url}/model", timeout=SECONDS)
                    self.answers[answer.status_code] += 1
                except httpx.TransportError:
                    self.answers[0] += 1


def served_more(load: Load, count: int) -> None:
    until(lambda: load.answers.total() > count)


def restarted(balancer: Balancer, name: str, service: Process) -> Process:
    """The same service again, on the same port, once the old process has ended; waits until the balancer knows it."""
    service.signal(signal.SIGTERM)
    assert service.wait() == 0
    until(lambda: name not in balancer.up())
    fresh = start(service.log, {"decode": "inline", "lame_duck_seconds": "1"}, FAKE, service.port).get_ready()
    until(lambda: balancer.up() == {"a", "b"})
    return fresh


def test_a_rolling_restart_fails_no_request(tmp_path: Path) -> None:
    ports = {name: free_port() for name in "ab"}
    with ExitStack() as stack:
        services = {}
        for name, port in ports.items():
            settings = {"decode": "inline", "lame_duck_seconds": "1"}
            services[name] = start(tmp_path / f"{name}.log", settings, FAKE, port)
            stack.callback(lambda each: services[each].kill(), name)
        for service in services.values():
            service.get_ready()
        balancer = stack.enter_context(haproxy(tmp_path, ports))
        until(lambda: balancer.up() == {"a", "b"})
        with Load(balancer.url) as load:
            for name in ports:
                before = load.answers.total()
                services[name] = restarted(balancer, name, services[name])
                served_more(load, before + 10)
        assert load.answers.keys() == {200}
