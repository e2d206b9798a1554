"""The load generator, against a server that only counts."""

import base64
import itertools
import json
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest

from bench.load import JSON_PATH, LOST, Load, generate
from bench.pictures import jpeg

SIZES = [(8, 8), (16, 8)]


class Counting(ThreadingHTTPServer):
    """Answers with `statuses` in turn, the last one for ever; None hangs up."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.statuses: list[int | None] = [200]
        self.bodies: list[tuple[str, str, bytes]] = []
        """(client's address, content type, body) of each request."""
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Counting

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with self.server.lock:
            self.server.bodies.append((self.client_address[0], self.headers["Content-Type"], body))
            statuses = self.server.statuses
            status = statuses.pop(0) if len(statuses) > 1 else statuses[0]
        self.close_connection = status is None
        if status is not None:
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.send_header("Retry-After", "0")
            self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Counting]:
    with Counting() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def ticking(monkeypatch: pytest.MonkeyPatch) -> None:
    """The generator's clock: a second passes whenever it is looked at."""
    ticks = itertools.count()
    clock = SimpleNamespace(perf_counter=lambda: float(next(ticks)), process_time=lambda: 0.0, sleep=lambda _: None)
    monkeypatch.setattr("bench.load.time", clock)


def test_every_client_sends_at_least_one_picture_from_its_own_address(server: Counting) -> None:
    found = generate(f"{server.url}/upscale", 4, 0.0, SIZES, first=249)
    assert (found.statuses, len(found.times)) == ({"200": 4}, 4)
    assert {address for address, _, _ in server.bodies} == {"127.0.1.250", "127.0.2.1", "127.0.2.2", "127.0.2.3"}
    assert {kind for _, kind, _ in server.bodies} == {"image/jpeg"}
    assert {body for _, _, body in server.bodies} <= {jpeg(*size, seed) for size in SIZES for seed in range(4)}


def test_a_client_sends_all_pictures_in_turn_until_the_time_is_over(server: Counting, ticking: None) -> None:
    found = generate(f"{server.url}/upscale", 1, 60.0, SIZES, first=0)
    sent = Counter(body for _, _, body in server.bodies)
    assert len(sent) == 8 and sent.total() == len(found.times) in (20, 21)  # the clock is looked at thrice for each
    assert max(sent.values()) - min(sent.values()) == 1


def test_refused_and_lost_requests_are_counted_and_the_client_goes_on(server: Counting, ticking: None) -> None:
    server.statuses = [503, None, 413, 200]
    found = generate(f"{server.url}/upscale", 1, 20.0, SIZES, first=0)
    assert {name: found.statuses[name] for name in ("503", LOST, "413")} == {"503": 1, LOST: 1, "413": 1}
    assert found.statuses["200"] == len(found.times) > 0


def test_litserve_gets_base64_in_json(server: Counting) -> None:
    generate(server.url + JSON_PATH, 1, 0.0, SIZES, first=0)
    ((_, kind, body),) = server.bodies
    assert kind == "application/json"
    assert base64.b64decode(json.loads(body)["image"]) == jpeg(*SIZES[0], 0)


def test_a_load_has_a_rate_and_percentiles() -> None:
    load = Load(2.0, {"200": 4, "503": 1}, [0.4, 0.1, 0.3, 0.2], 0.5)
    assert (load.per_second, load.p(0.5), load.p(0.99)) == (2.0, 0.3, 0.4)
