"""`make audit`: fails on known vulnerabilities, and says that it is skipped if no advisory service can be reached."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent

pytestmark = pytest.mark.slow


def audit(pins: Path, service: str) -> tuple[int, str]:
    """The exit status of `make audit` and what it prints; it asks `service` about `pins`, and installs nothing."""
    variables = [
        f"BIN={Path(sys.executable).parent}",
        f"PINS={pins}",
        f"AUDIT_OPTIONS=--vulnerability-service osv --osv-url {service}",
    ]
    done = subprocess.run(
        ["make", "--no-print-directory", "--assume-old=.venv/.dev", "audit", *variables],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if not name.startswith("MAKE")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


class Advisories(BaseHTTPRequestHandler):
    """Knows one vulnerability, in Pillow below 13, in OSV's format."""

    def do_POST(self) -> None:
        question = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        package = {"name": "pillow", "ecosystem": "PyPI"}
        ranges = [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "13.0.0"}]}]
        fault = {"id": "OSV-TEST", "summary": "reads too far", "affected": [{"package": package, "ranges": ranges}]}
        known = question == {"package": package, "version": "12.0.0"}
        body = json.dumps({"vulns": [fault]} if known else {}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def advisories() -> Iterator[str]:
    """The address of an advisory service on this machine."""
    server = HTTPServer(("127.0.0.1", 0), Advisories)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def pins(tmp_path: Path) -> Path:
    file = tmp_path / "constraints.txt"
    file.write_text("# pins\nnumpy==2.4.6\npillow==12.0.0\n")
    return file


def test_a_vulnerable_pin_fails(advisories: str, pins: Path) -> None:
    status, words = audit(pins, advisories)
    assert status != 0
    assert "Found 1 known vulnerability in 1 package" in words
    assert [line.split() for line in words.splitlines() if "OSV-TEST" in line] == [
        ["pillow", "12.0.0", "OSV-TEST", "13.0.0"]
    ]
    assert "skipped" not in words
    pins.write_text(pins.read_text().replace("12.0.0", "13.0.0"))
    status, words = audit(pins, advisories)
    assert status == 0
    assert "No known vulnerabilities found" in words
    assert "skipped" not in words


def test_an_unreachable_advisory_service_skips_the_audit_with_a_message(pins: Path) -> None:
    status, words = audit(pins, "http://127.0.0.1:9/")
    assert (status, words.splitlines()[-1]) == (0, "audit: skipped: no advisory service answered")


def test_requirements_without_exact_pins_fail(pins: Path, advisories: str) -> None:
    pins.write_text("pillow>=12\n")
    status, words = audit(pins, advisories)
    assert status != 0
    assert "not pinned" in words
    assert "skipped" not in words
