"""The service and the command line where there is nothing of POSIX; see tests.e2e.elsewhere for what is taken away."""

import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from tests.e2e.elsewhere import MEMORY_BYTES
from tests.service_process import ROOT, start

pytestmark = pytest.mark.server
ELSEWHERE = ("-m", "tests.e2e.elsewhere")


def picture(form: str = "PNG") -> bytes:
    out = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (24, 30, 3), np.uint8)).save(out, form)
    return out.getvalue()


def lapsrn(*arguments: str, module: str = ELSEWHERE[1]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", module, *arguments]
    plain = {name: value for name, value in os.environ.items() if not name.startswith("LAPSRN_")}
    return subprocess.run(command, cwd=ROOT, env=plain, capture_output=True, text=True, timeout=300, check=False)


def test_the_service_serves_and_stops_without_linux_features(tmp_path: Path, weights: Path) -> None:
    """It decodes in its own process, says so, and answers with the bytes that the command line writes here."""
    (tmp_path / "small.png").write_bytes(picture())
    here = lapsrn("upscale", str(tmp_path / "small.png"), "-o", str(tmp_path / "large.png"), module="app.cli")
    assert here.returncode == 0, here.stderr
    settings = {"weights": str(weights.resolve())}
    process = start(tmp_path / "log", settings, (*ELSEWHERE, "serve"))
    try:
        process.get_ready()
        answer = httpx.post(f"{process.url}/upscale?scale=4", files={"image": picture()}, timeout=120)
        assert answer.status_code == 200, answer.text
        assert answer.content == (tmp_path / "large.png").read_bytes()
        for form in ("JPEG", "WEBP", "TIFF"):
            asked = {"scale": "2", "truncated": "allow"}
            found = httpx.post(f"{process.url}/upscale", params=asked, files={"image": picture(form)}, timeout=120)
            assert found.status_code == 200, found.text
        damaged = httpx.post(f"{process.url}/upscale", files={"image": picture()[:-400]}, timeout=120)
        assert damaged.json()["type"] == "urn:lapsrn:problem:undecodable-picture"
        process.signal(signal.SIGTERM)
        assert process.wait() == 0
    finally:
        process.kill()
    assert "this system has no decoder processes" in process.log.read_text()


def test_pictures_are_upscaled_in_bands_without_linux_features(tmp_path: Path) -> None:
    """With locks as there are on Windows, which a module for this test stands in for."""
    source, target, same = (str(tmp_path / name) for name in ("small.png", "large.png", "same.png"))
    Path(source).write_bytes(picture())
    found = lapsrn("upscale-large", source, "-o", target)
    assert found.returncode == 0, found.stderr
    here = lapsrn("upscale-large", source, "-o", same, module="app.cli")
    assert here.returncode == 0, here.stderr
    assert Path(target).read_bytes() == Path(same).read_bytes()


def test_doctor_reports_kernels_and_memory_without_linux_features() -> None:
    """Those that this machine has, but AMX, for which Linux has to be asked."""
    there, here = (json.loads(lapsrn("doctor", "--json", module=name).stdout) for name in (ELSEWHERE[1], "app.cli"))
    kernels = [
        {each["name"]: each["why not"] is None for each in facts["backends"] if each["name"] != "amx"}
        for facts in (there, here)
    ]
    assert kernels[0] == kernels[1]
    assert there["machine"]["codec"] == here["machine"]["codec"]
    assert there["decoders"] == {"isolated": "no: this system decodes in the service itself"}
    assert there["memory of the service in MiB"]["available"] == MEMORY_BYTES >> 20


def test_replicas_are_refused_in_one_line(tmp_path: Path) -> None:
    process = start(tmp_path / "log", {"replicas": "2", "redis_url": "redis://127.0.0.1:1"}, (*ELSEWHERE, "serve"))
    assert process.wait(120) == 2
    last = process.log.read_text().splitlines()[-1]
    assert last == "lapsrn: LAPSRN_REPLICAS=2: this system has no Unix sockets, which replicas need; set 1"
