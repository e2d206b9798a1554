"""Several processes on one port: shared work, shared results, one scrape, and a life that survives theirs."""

import os
import re
import signal
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

import httpx
import numpy as np
import pytest

from bench.redis_server import RedisServer
from tests import pictures
from tests.service_process import READY_SECONDS, REAL, Process, fake_service, start

pytestmark = pytest.mark.server

T = TypeVar("T")

PNG = pictures.png(pictures.rgb(8, 8))
LARGE = pictures.png(np.tile(pictures.rgb(64, 64), (4, 4, 1)))
"""16 tiles, which take 1.6 s."""


def until(question: Callable[[], T]) -> T:
    """The first answer that is true."""
    end = time.monotonic() + READY_SECONDS
    while not (answer := question()):
        assert time.monotonic() < end, "what the test waits for did not happen"
        time.sleep(0.05)
    return answer


def by_replica(service: Process, name: str) -> dict[str, float]:
    """The samples of a metric, summed for each replica."""
    found: defaultdict[str, float] = defaultdict(float)
    for line in httpx.get(f"{service.url}/metrics").text.splitlines():
        if (match := re.match(rf'{name}\{{.*?replica="(\d+)".*\}} (\S+)$', line)) is not None:
            found[match[1]] += float(match[2])
    return dict(found)


def children(service: Process) -> list[int]:
    """The replicas' process ids; the parent's other child is multiprocessing's tracker."""
    task = Path(f"/proc/{service.process.pid}/task/{service.process.pid}/children")
    pids = [int(word) for word in task.read_text().split()]
    return [pid for pid in pids if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"


def all_up(service: Process) -> bool:
    return by_replica(service, "lapsrn_worker_up") == {"0": 1.0, "1": 1.0}


@contextmanager
def two(folder: Path, redis: RedisServer) -> Iterator[Process]:
    """Two replicas that take 0.1 s for a tile."""
    settings = {"replicas": "2", "pin_replicas": "true", "redis_url": redis.url, "grace_seconds": "60"}
    with fake_service(folder, "0.1", **settings) as service:
        until(lambda: all_up(service))
        yield service


@pytest.fixture
def pair(tmp_path: Path, redis_server: RedisServer) -> Iterator[Process]:
    """Two of a test's own, to be ended."""
    with two(tmp_path, redis_server) as service:
        yield service


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory, redis_server: RedisServer) -> Iterator[Process]:
    """Two that every test leaves as they are."""
    with two(tmp_path_factory.mktemp("lasting"), redis_server) as service:
        yield service


@contextmanager
def crowd(
    service: Process, count: int, picture: bytes = PNG
) -> Iterator[tuple[list[httpx.Client], Iterator[httpx.Response]]]:
    """So many clients, and their answers to a picture that each has sent."""
    with ExitStack() as stack:
        clients = [stack.enter_context(httpx.Client(base_url=service.url, timeout=60)) for _ in range(count)]
        yield clients, stack.enter_context(ThreadPoolExecutor(count)).map(partial(post, picture), clients)


def post(picture: bytes, client: httpx.Client) -> httpx.Response:
    return client.post("/upscale", files={"image": picture})


def test_replicas_share_requests_and_find_each_others_results(lasting: Process) -> None:
    with crowd(lasting, 12) as (clients, under_way):
        answers = list(under_way)
        assert [answer.status_code for answer in answers] == [200] * len(clients)
        made = by_replica(lasting, "lapsrn_pixels_total")
        assert set(made) == {"0", "1"}
        assert min(made.values()) > 0
        for client, answer in zip(reversed(clients), answers, strict=True):
            level = client.get("/upscale", params={"level": 2, "id": answer.headers["x-upscale-id"]})
            assert (level.status_code, level.headers["content-type"]) == (200, "image/png")


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="there is one core for both")
def test_pinned_replicas_have_separate_cores(lasting: Process) -> None:
    shares = [os.sched_getaffinity(pid) for pid in children(lasting)]
    assert shares[0].isdisjoint(shares[1])
    assert shares[0] | shares[1] == os.sched_getaffinity(0)


def test_a_job_can_be_followed_through_any_replica(lasting: Process) -> None:
    job = httpx.post(f"{lasting.url}/upscale", files={"image": PNG}, headers={"prefer": "respond-async"}).headers
    states = until(
        lambda: [
            answer
            for answer in (httpx.get(f"{lasting.url}{job['location']}") for _ in range(6))
            if answer.json().get("state") == "done"
        ]
    )
    assert {answer.status_code for answer in states} <= {200, 303}


def test_a_dead_replica_is_replaced_while_the_other_serves(pair: Process) -> None:
    before = children(pair)
    os.kill(before[0], signal.SIGKILL)
    until(lambda: gone(before[0]))
    for _ in range(8):
        with httpx.Client(base_url=pair.url, timeout=60) as client:
            assert post(PNG, client).status_code == 200
    until(lambda: len(children(pair)) == 2)
    until(lambda: all_up(pair))
    assert before[1] in children(pair)
    assert "a replica ended and is started again" in pair.log.read_text()


def test_a_replica_that_gets_sigterm_finishes_its_work_and_is_replaced(pair: Process) -> None:
    """What an operator does to restart one after the other."""
    before = children(pair)
    with crowd(pair, 4, LARGE) as (_, answers):
        until(lambda: by_replica(pair, "lapsrn_requests_in_flight").get("0"))
        os.kill(before[0], signal.SIGTERM)
        assert {answer.status_code for answer in answers} <= {200, 503}
    until(lambda: len(children(pair)) == 2 and before[0] not in children(pair))
    until(lambda: all_up(pair))


def test_sigterm_ends_all_replicas_once_their_work_is_done(pair: Process) -> None:
    with crowd(pair, 4, LARGE) as (clients, answers):
        until(lambda: sum(by_replica(pair, "lapsrn_requests_in_flight").values()) == len(clients))
        pids = children(pair)
        pair.signal(signal.SIGTERM)
        assert [answer.status_code for answer in answers] == [200] * len(clients)
    assert pair.wait(READY_SECONDS) == 0
    assert all(map(gone, pids))


def test_ctrl_c_reaches_each_replica_once(pair: Process) -> None:
    """They would take the second one as a request to stop immediately."""
    with httpx.Client(base_url=pair.url, timeout=60) as client, ThreadPoolExecutor(1) as pool:
        answer = pool.submit(post, LARGE, client)
        until(lambda: sum(by_replica(pair, "lapsrn_requests_in_flight").values()))
        pair.signal(signal.SIGINT)
        assert answer.result().status_code == 200
    assert pair.wait(READY_SECONDS) == 0


def test_replicas_do_not_outlive_their_parent(
    tmp_path: Path, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor does the folder with their sockets."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with two(tmp_path, redis_server) as service:
        pids = children(service)
        assert list(tmp_path.glob("lapsrn-*/0.sock"))
        service.kill()
        until(lambda: all(map(gone, pids)))
        assert not list(tmp_path.glob("lapsrn-*"))


def test_a_reload_reaches_every_replica(lasting: Process) -> None:
    lasting.signal(signal.SIGHUP)
    until(lambda: lasting.log.read_text().count("weights swapped") == 2)
    assert all_up(lasting)


def test_replicas_are_scraped_whatever_names_the_service_has(tmp_path: Path, redis_server: RedisServer) -> None:
    settings = {"replicas": "2", "redis_url": redis_server.url, "allowed_hosts": "example.org"}
    with fake_service(tmp_path, "0.0", **settings) as service:
        until(lambda: all_up(service))


def test_replicas_that_cannot_start_are_not_restarted_forever(tmp_path: Path) -> None:
    settings = {"replicas": "2", "redis_url": "redis://127.0.0.1:1/0", "weights": str(tmp_path / "none.safetensors")}
    service = start(tmp_path / "service.log", settings, REAL)
    try:
        assert service.wait(READY_SECONDS) == 2
    finally:
        service.kill()
    assert "lapsrn: no weights at" in service.log.read_text()
