"""The whole service: a real process, real weights, real sockets."""

import hashlib
import io
import json
import re
import signal
import socket
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest
from PIL import Image

from model.color import luma
from model.resample import resize
from tests import pictures
from tests.e2e.conftest import Launch
from tests.service_process import Process

pytestmark = pytest.mark.server


def open_rgb(body: bytes) -> Image.Image:
    return Image.open(io.BytesIO(body))


def psnr(result: Image.Image, truth: Image.Image, crop: int) -> float:
    """Y-PSNR in dB as published: studio-range luma, `crop` pixels shaved."""
    planes = [luma(np.asarray(picture.convert("RGB")))[crop:-crop, crop:-crop] for picture in (result, truth)]
    return float(-10 * np.log10(np.mean((planes[0] - planes[1]) ** 2)))


def bicubic_psnr(small: Image.Image, truth: Image.Image) -> float:
    height, width = truth.height, truth.width
    plane = np.round(resize(luma(np.asarray(small.convert("RGB"))), height, width) * 255) / 255
    difference = (plane - luma(np.asarray(truth.convert("RGB"))))[4:-4, 4:-4]
    return float(-10 * np.log10(np.mean(difference**2)))


@pytest.mark.slow
def test_a_photograph_is_better_than_bicubic_and_level_2_can_be_fetched(service: Process, bench_dir: Path) -> None:
    small = bench_dir / "Set5" / "LRx4" / "butterfly.png"
    with small.open("rb") as file:
        made = httpx.post(f"{service.url}/upscale?scale=4", files={"image": file}, timeout=120)
    assert made.status_code == 200
    with Image.open(bench_dir / "Set5" / "HR" / "butterfly.png") as truth, Image.open(small) as source:
        result = open_rgb(made.content)
        assert result.size == truth.size
        assert psnr(result, truth, 4) > bicubic_psnr(source, truth) + 1.0
        level = httpx.get(f"{service.url}/upscale?level=2&id={made.headers['x-upscale-id']}")
        assert open_rgb(level.content).size == (source.width * 2, source.height * 2)


def test_flat_pictures_stay_flat(service: Process) -> None:
    flat = np.full((20, 30, 3), (200, 30, 90), np.uint8)
    made = httpx.post(f"{service.url}/upscale?scale=4", files={"image": pictures.png(flat)}, timeout=120)
    np.testing.assert_array_equal(pictures.opened(made.content), np.full((80, 120, 3), (200, 30, 90), np.uint8))


def wait_for_metrics(service: Process, *patterns: str) -> None:
    """Until all are found at once. Raises AssertionError if they never are."""

    def found() -> bool:
        metrics = httpx.get(f"{service.url}/metrics").text
        return all(re.search(pattern, metrics) for pattern in patterns)

    poll(found, f"{patterns} in the metrics")


def poll(condition: Callable[[], bool], what: str, seconds: float = 20.0) -> None:
    """Until the condition holds. Raises AssertionError if it never does."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not within {seconds:g} s: {what}"
        time.sleep(0.01)


def test_results_are_the_same_alone_and_under_load(service: Process) -> None:
    body = pictures.png(pictures.rgb(40, 37))
    alone = httpx.post(f"{service.url}/upscale", files={"image": body}, timeout=120).content
    answers: list[bytes] = []

    def send() -> None:
        answers.append(httpx.post(f"{service.url}/upscale", files={"image": body}, timeout=120).content)

    threads = [threading.Thread(target=send) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [alone] * 8


def test_a_job_can_be_followed_over_a_real_socket(service: Process) -> None:
    body = pictures.png(pictures.rgb(64, 64))
    made = httpx.post(f"{service.url}/upscale", files={"image": body}, headers={"prefer": "respond-async"}, timeout=60)
    assert made.status_code == 202
    with httpx.stream("GET", f"{service.url}{made.headers['location']}/events", timeout=120) as events:
        text = "".join(events.iter_text())
    assert '"state":"done"' in text.rsplit("data: ", 1)[1]
    level = httpx.get(f"{service.url}/upscale?level=4&id={made.headers['x-upscale-id']}")
    assert open_rgb(level.content).size == (256, 256)


def test_the_work_of_a_client_that_disconnects_is_cancelled(service: Process) -> None:
    body = pictures.png(np.tile(pictures.rgb(60, 60), (20, 20, 1)))
    address = urlsplit(service.url)
    with socket.create_connection((address.hostname, address.port)) as connection:
        head = f"POST /upscale HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body)
        wait_for_metrics(service, r"lapsrn_queue_tiles [1-9]")
    wait_for_metrics(
        service, r"lapsrn_requests_in_flight 0\.0", r"lapsrn_queue_tiles 0\.0", r"lapsrn_cancelled_total\{.*\} [1-9]"
    )


def test_a_large_body_is_refused_before_it_is_sent(service: Process) -> None:
    address = urlsplit(service.url)
    with socket.create_connection((address.hostname, address.port), timeout=20) as connection:
        head = "POST /upscale HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nContent-Length: 99999999999\r\n\r\n"
        connection.sendall(head.encode())
        assert connection.recv(65536).startswith(b"HTTP/1.1 413 ")


@pytest.mark.slow
def test_slow_clients_are_timed_out_without_delaying_others(launch: Launch, weights: Path) -> None:
    service = launch(
        weights=str(weights), header_timeout_seconds="1", body_idle_seconds="1", client_max_concurrent="1000"
    ).get_ready()
    address = urlsplit(service.url)
    with ExitStack() as open_sockets:

        def connect() -> socket.socket:
            connection = socket.create_connection((address.hostname, address.port), timeout=60)
            return open_sockets.enter_context(connection)

        silent = [connect() for _ in range(50)]
        headers_only = [connect() for _ in range(50)]
        head = "POST /upscale HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nContent-Length: {}\r\n\r\n"
        for connection in headers_only:
            connection.sendall(head.format(9).encode() + b"x")
        answer = httpx.post(f"{service.url}/upscale", files={"image": pictures.png(pictures.rgb())}, timeout=60)
        assert answer.status_code == 200
        assert [connection.recv(100) for connection in silent] == [b""] * 50
        assert {connection.recv(100)[:13] for connection in headers_only} == {b"HTTP/1.1 408 "}
        endless = connect()
        endless.sendall(head.format(99999999999).encode())
        assert endless.recv(65536).startswith(b"HTTP/1.1 413 ")
        while endless.recv(65536):
            pass
    service.signal(signal.SIGTERM)
    assert service.wait() == 0


@pytest.mark.slow
def test_sigterm_under_load_finishes_admitted_requests(launch: Launch, weights: Path) -> None:
    service = launch(weights=str(weights), grace_seconds="60").get_ready()
    body = pictures.png(np.tile(pictures.rgb(64, 64), (7, 7, 1)))
    statuses: list[int] = []

    def send() -> None:
        statuses.append(httpx.post(f"{service.url}/upscale", files={"image": body}, timeout=120).status_code)

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    wait_for_metrics(service, r"lapsrn_requests_in_flight 4\.0")
    service.signal(signal.SIGTERM)
    poll(lambda: httpx.get(f"{service.url}/readyz").status_code == 503, "the service drains")
    late = httpx.post(f"{service.url}/upscale", files={"image": body}, timeout=60)
    assert late.status_code == 503
    assert late.json()["type"] == "urn:lapsrn:problem:draining"
    assert int(late.headers["retry-after"]) > 0
    for thread in threads:
        thread.join()
    assert statuses == [200] * 4
    assert service.wait() == 0


@pytest.mark.slow
def test_a_shutdown_has_one_deadline_whatever_is_open(launch: Launch, weights: Path) -> None:
    """Work, an upload and idle connections together end 10 s after the grace time at the latest, honestly."""
    grace = 8
    service = launch(weights=str(weights), grace_seconds=str(grace), cpu_workers="1", dtype="float32").get_ready()
    address = urlsplit(service.url)
    large = pictures.png(np.tile(pictures.rgb(64, 64), (30, 30, 1)))
    answers: list[httpx.Response] = []

    def send() -> None:
        answers.append(httpx.post(f"{service.url}/upscale", files={"image": large}, timeout=120))

    sender = threading.Thread(target=send)
    sender.start()
    job = httpx.post(f"{service.url}/upscale", files={"image": large}, headers={"prefer": "respond-async"}, timeout=120)
    assert job.status_code == 202
    with ExitStack() as stack:
        idle = stack.enter_context(httpx.Client(base_url=service.url))
        assert idle.get("/healthz").status_code == 200
        upload = stack.enter_context(socket.create_connection((address.hostname, address.port), timeout=60))
        upload.sendall(
            b"POST /upscale HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nContent-Length: 99999\r\n\r\nx"
        )
        wait_for_metrics(service, r"lapsrn_requests_in_flight 2\.0")
        service.signal(signal.SIGTERM)
        assert service.wait(grace + 10 + 2) == 0
        assert upload.recv(65536).startswith(b"HTTP/1.1 503 ")
    sender.join()
    assert [(answer.status_code, answer.json()["type"]) for answer in answers] == [(503, "urn:lapsrn:problem:draining")]
    assert "Traceback" not in service.log.read_text()


@pytest.mark.slow
def test_sighup_reloads_keys_and_weights_and_metrics_have_their_own_port(
    launch: Launch, weights: Path, tmp_path: Path
) -> None:
    keys = tmp_path / "keys.json"
    keys.write_text("[]")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    service = launch(weights=str(weights), metrics_port=str(port), api_keys_file=str(keys)).get_ready()
    assert httpx.get(f"{service.url}/metrics").status_code == 404
    metrics = httpx.get(f"http://127.0.0.1:{port}/metrics").text
    assert 'lapsrn_model_info{device="' in metrics
    assert httpx.get(f"http://127.0.0.1:{port}/upscale").status_code == 404
    keys.write_text(json.dumps([{"name": "ann", "sha256": hashlib.sha256(b"secret").hexdigest()}]))
    service.signal(signal.SIGHUP)
    poll(lambda: "weights swapped" in service.log.read_text(), "the weights are swapped", 120)
    files = {"image": pictures.png(pictures.rgb())}
    assert httpx.post(f"{service.url}/upscale", files=files, timeout=60).status_code == 401
    answer = httpx.post(f"{service.url}/upscale", files=files, timeout=60, headers={"x-api-key": "secret"})
    assert answer.status_code == 200
    service.signal(signal.SIGTERM)
    assert service.wait() == 0


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"weights": "/nowhere/lapsrn.safetensors"}, "no weights at /nowhere/lapsrn.safetensors"),
        ({"max_input_bytes": "many"}, "LAPSRN_MAX_INPUT_BYTES: "),
        ({"host": "0.0.0.0"}, "without API keys"),
        ({"processes": "3"}, "LAPSRN_REDIS_URL"),
        ({"host": "203.0.113.7", "allow_anonymous": "true"}, "cannot listen on 203.0.113.7"),
    ],
)
def test_a_failed_start_is_one_line_and_exit_status_2(launch: Launch, settings: dict[str, str], says: str) -> None:
    service = launch(**settings)
    assert service.wait() == 2
    log = service.log.read_text()
    assert says in log
    assert log.startswith("lapsrn: ")
    assert log.count("\n") == 1


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["cut", "flipped", "wrong digest"])
def test_damaged_weights_are_one_line_and_exit_status_2(
    launch: Launch, weights: Path, tmp_path_factory: pytest.TempPathFactory, damage: str
) -> None:
    copy = tmp_path_factory.mktemp("weights") / "copy.safetensors"
    data = weights.read_bytes()
    copy.write_bytes(
        data[: len(data) // 2] if damage == "cut" else b"\xff" * 8 + data[8:] if damage == "flipped" else data
    )
    service = launch(weights=str(copy), weights_sha256="0" * 64)
    assert service.wait(120) == 2
    log = service.log.read_text()
    assert log.startswith("lapsrn: ")
    assert log.count("\n") == 1
    assert str(copy) in log
