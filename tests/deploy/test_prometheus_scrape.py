"""Debian's Prometheus scrapes a running service; its API is queried for what it has recorded."""

import json
import re
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import numpy as np
import pytest
import uvicorn
import yaml
from numpy.typing import NDArray

from app.main import create_app
from app.settings import Settings
from deploy.check_client import picture
from tests.fakes import Build, FakeModel, worker

PROMETHEUS = Path(__file__).parents[2] / "deploy" / "prometheus"

pytestmark = [
    pytest.mark.server,
    pytest.mark.skipif(shutil.which("prometheus") is None, reason="prometheus is not installed (Debian: prometheus)"),
]


def free_port() -> int:
    with socket.socket() as each:
        each.bind(("127.0.0.1", 0))
        port: int = each.getsockname()[1]
        return port


def wait_for(what: str, probe: Callable[[], bool], seconds: float = 40) -> None:
    end = time.monotonic() + seconds
    while True:
        try:
            if probe():
                return
        except httpx.TransportError:
            pass
        assert time.monotonic() < end, f"{what}: not within {seconds} s"
        time.sleep(0.1)


@contextmanager
def service(model: Build = FakeModel) -> Iterator[str]:
    """The service on two fake networks; its base address."""
    port = free_port()
    app = create_app(Settings(port=port), [worker(model)] * 2)
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_config=None, ws="none"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        base = f"http://127.0.0.1:{port}"
        wait_for("the service is ready", lambda: httpx.get(base + "/readyz").status_code == 200)
        yield base
    finally:
        server.should_exit = True
        thread.join(20)


@contextmanager
def prometheus(target: str, folder: Path, alertmanager: str = "") -> Iterator[Callable[[str], list[dict[str, object]]]]:
    """Prometheus with the shipped configuration, pointed at `target`; yields a function that runs a query.

    Alerts fire as soon as their condition holds, and go to `alertmanager`.
    """
    config = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
    config["global"] |= {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
    config["rule_files"] = [str(folder / "rules" / "*.yml")]
    (folder / "rules").mkdir()
    for rules in (PROMETHEUS / "rules").glob("*.yml"):
        (folder / "rules" / rules.name).write_text(re.sub(r"\n +for: .*", "", rules.read_text()))
    config["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"] = [alertmanager] if alertmanager else []
    (job,) = config["scrape_configs"]
    job["static_configs"][0]["targets"] = [target.removeprefix("http://")]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    port = free_port()
    command = ["prometheus", f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}"]
    command.append(f"--web.listen-address=127.0.0.1:{port}")
    with (folder / "prometheus.log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            base = f"http://127.0.0.1:{port}"
            wait_for("Prometheus is ready", lambda: httpx.get(base + "/-/ready").status_code == 200)

            def ask(expression: str) -> list[dict[str, object]]:
                answer = httpx.get(base + "/api/v1/query?query=" + quote(expression))
                assert answer.status_code == 200, answer.text
                series = json.loads(answer.text)["data"]["result"]
                return [{**each["metric"], "value": float(each["value"][1])} for each in series]

            yield ask
        finally:
            process.terminate()


def test_prometheus_counts_requests_correctly(tmp_path: Path) -> None:
    with service() as base, prometheus(base, tmp_path) as ask:
        image = {"Content-Type": "image/png"}
        for height in (10, 20, 30):
            answer = httpx.post(base + "/upscale?scale=4", content=picture(height, 25), headers=image)
            assert answer.status_code == 200
        assert httpx.post(base + "/upscale?scale=4", content=b"nothing", headers=image).status_code == 415
        posts = 'sum(lapsrn_http_requests_total{route="/upscale",method="POST"})'
        wait_for("the scrape", lambda: [series["value"] for series in ask(posts)] == [4.0])

        counted = ask('sum by (job, status) (lapsrn_http_requests_total{route="/upscale",method="POST"})')
        assert sorted(counted, key=lambda series: str(series["status"])) == [
            {"job": "lapsrn", "status": "200", "value": 3.0},
            {"job": "lapsrn", "status": "202", "value": 0.0},
            {"job": "lapsrn", "status": "415", "value": 1.0},
            *({"job": "lapsrn", "status": status, "value": 0.0} for status in ("500", "503", "504")),
        ]
        assert [series["value"] for series in ask('lapsrn_pixels_total{direction="in"}')] == [60 * 25]
        assert [series["value"] for series in ask('lapsrn_pixels_total{direction="out"}')] == [60 * 25 * 16]
        assert [series["value"] for series in ask("lapsrn_worker_up")] == [1.0, 1.0]
        assert [series["value"] for series in ask("lapsrn_requests_in_flight")] == [0.0]
        assert [series["value"] for series in ask("lapsrn_queue_tiles")] == [0.0]
        assert [series["value"] for series in ask('lapsrn_stage_duration_seconds_count{stage="decode"}')] == [3.0]

        wait_for("the recording rules", lambda: ask("instance:lapsrn_queue_tiles:min5m") != [])
        # LapsrnDown may have fired before the first scrape.
        wait_for("no alert fires", lambda: ask('ALERTS{alertstate="firing"}') == [])


@contextmanager
def alertmanager(folder: Path) -> Iterator[str]:
    """Debian's Alertmanager with the shipped configuration, set to send immediately; its host and port."""
    binary = shutil.which("prometheus-alertmanager")
    if binary is None:
        pytest.skip("Alertmanager is not installed (Debian: prometheus-alertmanager)")
    config = yaml.safe_load((PROMETHEUS / "alertmanager.yml").read_text())
    (folder / "alertmanager.yml").write_text(yaml.safe_dump(config))
    address = f"127.0.0.1:{free_port()}"
    command = [binary, f"--config.file={folder / 'alertmanager.yml'}", f"--storage.path={folder / 'alerts'}"]
    command += [f"--web.listen-address={address}", "--cluster.listen-address="]
    with (folder / "alertmanager.log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            wait_for("Alertmanager is ready", lambda: httpx.get(f"http://{address}/-/ready").status_code == 200)
            yield address
        finally:
            process.terminate()


def test_a_broken_network_fires_an_alert_that_reaches_its_receiver(tmp_path: Path) -> None:
    class Broken(FakeModel):
        """Fails on pictures, but not on flat tiles: its worker is not replaced, so failures come quickly."""

        def run(self, tiles: NDArray[np.float32], scale: int, **options: Any) -> dict[int, NDArray[np.float32]]:
            if np.ptp(tiles):
                raise RuntimeError("a broken kernel")
            return super().run(tiles, scale, **options)

    with (
        alertmanager(tmp_path) as address,
        service(Broken) as base,
        prometheus(base, tmp_path, address) as ask,
    ):
        image = {"Content-Type": "image/png"}

        def fails_and_fires() -> bool:
            assert (
                httpx.post(base + "/upscale?scale=4", content=picture(9, 9), headers=image, timeout=60).status_code
                == 500
            )
            return any(series["alertname"] == "LapsrnErrors" for series in ask('ALERTS{alertstate="firing"}'))

        wait_for("LapsrnErrors fires", fails_and_fires, 120)

        def arrived() -> bool:
            alerts = httpx.get(f"http://{address}/api/v2/alerts").json()
            found = {alert["labels"]["alertname"]: alert["receivers"][0]["name"] for alert in alerts}
            return found.get("LapsrnErrors") == "pager"

        wait_for("Alertmanager has it for the pager", arrived, 60)
