"""The audit: fails on known vulnerabilities, and skips in words where nobody can be asked."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from deploy.audit import audit, verdict

FIXED = {"id": "PYSEC-1", "fix_versions": ["1.1"], "aliases": [], "description": "reads too far"}
SAFE = {"name": "safe", "version": "1.0", "vulns": []}
UNKNOWN = {"name": "unknown", "skip_reason": "Dependency not found"}
FAULTY = {"name": "faulty", "version": "1.0", "vulns": [FIXED, FIXED | {"id": "PYSEC-2", "fix_versions": []}]}


@pytest.mark.parametrize(
    ("packages", "status", "words"),
    [
        ([SAFE], 0, "audit: no known vulnerability in 1 of 1 packages."),
        ([SAFE, UNKNOWN], 0, "audit: no known vulnerability in 1 of 2 packages. It does not know unknown."),
        ([UNKNOWN], 0, "audit: skipped: the advisory service here knows none of the 1 packages."),
        (
            [SAFE, FAULTY, UNKNOWN],
            1,
            "audit: 2 known vulnerabilities; raise the pins in constraints.txt:\n"
            "  faulty 1.0: PYSEC-1, fixed in 1.1\n  faulty 1.0: PYSEC-2, fixed in none",
        ),
    ],
)
def test_verdict(packages: list[object], status: int, words: str) -> None:
    assert verdict(json.dumps({"dependencies": packages, "fixes": []})) == (status, words)


class Advisories(BaseHTTPRequestHandler):
    """Knows one vulnerability, in Pillow below 13, in the words of OSV."""

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
def advisories() -> Iterator[list[str]]:
    """Options that make pip-audit ask a service on this machine."""
    server = HTTPServer(("127.0.0.1", 0), Advisories)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield ["--vulnerability-service", "osv", "--osv-url", f"http://127.0.0.1:{server.server_port}/"]
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def pins(tmp_path: Path) -> Path:
    file = tmp_path / "constraints.txt"
    file.write_text("# pins\nnumpy==2.4.6\npillow==12.0.0\n")
    return file


@pytest.mark.slow
def test_a_vulnerable_pin_fails(advisories: list[str], pins: Path) -> None:
    status, words = audit(pins, advisories)
    assert (status, words.splitlines()[1]) == (1, "  pillow 12.0.0: OSV-TEST, fixed in 13.0.0")
    pins.write_text(pins.read_text().replace("12.0.0", "13.0.0"))
    assert audit(pins, advisories) == (0, "audit: no known vulnerability in 2 of 2 packages.")


@pytest.mark.slow
def test_a_service_that_cannot_be_reached_is_no_failure_but_is_said(pins: Path) -> None:
    status, words = audit(pins, ["--vulnerability-service", "osv", "--osv-url", "http://127.0.0.1:9/"])
    assert (status, words[:63]) == (0, "audit: skipped: the advisory service cannot be reached. request")


@pytest.mark.slow
def test_pins_that_are_none_fail(pins: Path) -> None:
    pins.write_text("pillow>=12\n")
    status, words = audit(pins)
    assert status == 1
    assert "not pinned" in words
