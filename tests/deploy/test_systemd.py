"""The unit in deploy/systemd: systemd understands it, and it lets the service do what it needs."""

import shutil
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path

import pytest

from app.api.draining_server import LAST_SECONDS
from app.errors import EXIT_STARTUP
from app.settings import Settings

UNIT = Path(__file__).parents[2] / "deploy" / "systemd" / "lapsrn.service"
COMMAND = "/opt/lapsrn/bin/lapsrn serve"


@pytest.fixture
def service() -> dict[str, str]:
    parser = ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(UNIT)
    return dict(parser["Service"])


def test_the_unit_is_valid(tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not installed: apt-get install systemd")
    copy = tmp_path / UNIT.name
    copy.write_text(UNIT.read_text().replace(COMMAND, sys.executable))  # it has to be there
    done = subprocess.run([analyze, "verify", copy], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_stop_timeout_covers_the_shutdown_of_the_service(service: dict[str, str]) -> None:
    settings = Settings()
    assert float(service["TimeoutStopSec"]) >= settings.lame_duck_seconds + settings.grace_seconds + LAST_SECONDS


def test_a_failed_start_is_not_restarted(service: dict[str, str]) -> None:
    assert service["ExecStart"] == COMMAND
    assert service["Restart"] == "on-failure"
    assert int(service["RestartPreventExitStatus"]) == EXIT_STARTUP


def test_the_unit_allows_confined_decoder_processes(service: dict[str, str]) -> None:
    """They may confine themselves, do not get the service's stop signal, and may die without ending it."""
    assert "seccomp" in service["SystemCallFilter"].split()
    assert service["KillMode"] == "mixed"
    assert service["OOMPolicy"] == "continue"
