"""A command line whose network is the fake one, and a folder to use it in."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from app.build import ModelSource
from app.cli.commands import app
from app.settings import Settings
from tests.cli.live import service
from tests.fakes import FakeModel, results_as_planes_say, worker

LOADING = "loading the network..."
"""The line that is shown while the network is loaded on this machine."""

Lapsrn = Callable[..., Result]


@pytest.fixture
def lapsrn(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Lapsrn:
    """Runs `lapsrn ARGUMENTS` in an empty folder; `stdin` is what is piped into it."""
    weights = tmp_path_factory.mktemp("weights") / "fake_x4.safetensors"
    weights.touch()
    monkeypatch.setenv("LAPSRN_WEIGHTS", str(weights))

    def fake(settings: Settings, models: object) -> ModelSource:
        about: dict[str, Any] = {"sha256": "0123", "scores": {"Set5": {"4": {"psnr": 31.5}}}}
        return ModelSource([worker(lambda: FakeModel(**about))])

    monkeypatch.setattr("app.build.open_model", fake)
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str, stdin: bytes | None = None) -> Result:
        with results_as_planes_say():
            return CliRunner().invoke(app, list(arguments), input=stdin)

    return run


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """Where a service on the fake network listens."""
    with service() as (address, _):
        yield address
