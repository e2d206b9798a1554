"""`lapsrn watch` as people use it: folders, signals, a service that goes and comes."""

import asyncio
import contextlib
import json
import signal
import subprocess
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from app.cli import watch as watching
from app.cli.arrivals import Arrivals
from app.cli.batch import Outcome, PictureError
from app.cli.ledger import Ledger
from tests import pictures
from tests.cli.conftest import Lapsrn
from tests.cli.live import service
from tests.cli.test_batch import Backend, Report
from tests.cli.test_process import LAPSRN, environment
from tests.fakes import FakeModel

GRAY = pictures.gray(5, 7)
ENLARGED = GRAY.repeat(4, axis=0).repeat(4, axis=1)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["gone", "-o", "out"], "gone is not a folder"),
        (["in", "-o", "in"], "is or holds the folder that is watched"),
        (["in", "-o", "."], "is or holds the folder that is watched"),
        (["in", "-o", "in/a.png"], "is not a folder"),
        (["in", "-o", "out", "--jobs", "2"], "--jobs is for work done by a service"),
        (["in", "-o", "out", "--width", "9", "--long-side", "9"], "--long-side does not go with"),
        (["in", "-o", "out", "--level", "4"], "--level 4 is what --scale 4 gives anyway"),
        (["in", "-o", "out", "--quality", "90"], "--quality is for lossy formats"),
        (["in", "-o", "out", "--name", "x"], "has to hold {stem}"),
    ],
)
def test_impossible_arguments_are_a_usage_error(
    lapsrn: Lapsrn, tmp_path: Path, arguments: list[str], words: str
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(pictures.png(GRAY))
    result = lapsrn("watch", *arguments)
    assert result.exit_code == 2
    assert words in " ".join(result.stderr.split())


@contextmanager
def process(*arguments: str) -> Iterator["subprocess.Popen[str]"]:
    """`lapsrn watch` with JSON lines on standard output; killed at the end if it still runs."""
    heard = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    command = [*LAPSRN, "watch", *arguments, "--json", "--settle", "0.1"]
    running = subprocess.Popen(
        command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=heard
    )
    try:
        yield running
    finally:
        running.kill()
        running.communicate()


def said(running: "subprocess.Popen[str]") -> dict[str, Any]:
    """Its next line."""
    assert running.stdout
    return dict(json.loads(running.stdout.readline()))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    return tmp_path


@pytest.mark.server
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_existing_and_arriving_pictures_are_upscaled_until_a_signal(
    url: str, folder: Path, sent: signal.Signals
) -> None:
    (folder / "in" / "a.png").write_bytes(pictures.png(GRAY))
    arguments = (str(folder / "in"), "-o", str(folder / "out"), "--server", url)
    with process(*arguments) as running:
        line = said(running)
        assert (line["source"], line["status"]) == (str(folder / "in" / "a.png"), "done")
        (folder / "in" / "notes.txt").write_text("no picture")
        assert (said(running)["status"]) == "ignored"
        (folder / "in" / "sub").mkdir()
        (folder / "in" / "sub" / "b.png").write_bytes(pictures.png(GRAY))
        assert said(running)["target"] == str(folder / "out" / "sub" / "b.png")
        running.send_signal(sent)
        _, told = running.communicate(timeout=30)
    assert running.returncode == 0
    assert told == "lapsrn: stopped; the same command continues\n"
    for name in ("a.png", "sub/b.png"):
        np.testing.assert_array_equal(pictures.opened((folder / "out" / name).read_bytes()), ENLARGED)
    assert not list((folder / "out").rglob("*.part"))
    with process(*arguments) as running:
        assert said(running)["status"] == "ignored"
        (folder / "in" / "c.png").write_bytes(pictures.png(GRAY))
        assert said(running)["source"] == str(folder / "in" / "c.png"), "a and b are done"


@pytest.mark.server
def test_a_file_still_being_written_is_upscaled_once_complete(url: str, folder: Path) -> None:
    """The first part does not decode; then the rest arrives."""
    body = pictures.png(GRAY)
    path = folder / "in" / "a.png"
    path.write_bytes(body[:60])
    with process(str(folder / "in"), "-o", str(folder / "out"), "--server", url) as running:
        assert said(running)["status"] == "failed"
        with path.open("ab") as file:
            file.write(body[60:])
        assert said(running)["status"] == "done"
    np.testing.assert_array_equal(pictures.opened((folder / "out" / "a.png").read_bytes()), ENLARGED)


@pytest.mark.server
def test_a_signal_during_work_leaves_no_partial_files(folder: Path) -> None:
    gate = threading.Event()
    (folder / "in" / "a.png").write_bytes(pictures.png(GRAY))
    with service([partial(FakeModel, gate=gate)]) as (url, running_service):
        try:
            with process(str(folder / "in"), "-o", str(folder / "out"), "--server", url) as running:
                until = time.monotonic() + 30
                while running_service.jobs.under_way < 1:
                    assert time.monotonic() < until, "the picture was not sent"
                    time.sleep(0.01)
                running.send_signal(signal.SIGTERM)
                _, told = running.communicate(timeout=30)
        finally:
            gate.set()
    assert (running.returncode, told) == (0, "lapsrn: stopped; the same command continues\n")
    assert not list((folder / "out").rglob("*"))


@pytest.mark.server
def test_a_folder_can_be_watched_without_a_service(folder: Path, weights: Path) -> None:
    flat = np.full((6, 9, 3), (200, 30, 90), np.uint8)
    (folder / "in" / "a.png").write_bytes(pictures.png(flat))
    with process(str(folder / "in"), "-o", str(folder / "out"), "--weights", str(weights), "--scale", "2") as running:
        assert said(running)["status"] == "done"
        running.send_signal(signal.SIGTERM)
        running.communicate(timeout=30)
    assert running.returncode == 0
    result = pictures.opened((folder / "out" / "a.png").read_bytes())
    np.testing.assert_array_equal(result, np.full((12, 18, 3), (200, 30, 90), np.uint8))


@pytest.mark.server
def test_a_removed_folder_is_waited_for(url: str, folder: Path) -> None:
    with process(str(folder / "in"), "-o", str(folder / "out"), "--server", url) as running:
        (folder / "in" / "a.png").write_bytes(pictures.png(GRAY))
        assert said(running)["status"] == "done"
        (folder / "in").rename(folder / "elsewhere")
        line = said(running)
        assert (line["source"], line["status"]) == (str(folder / "in"), "waiting")
        assert line["error"] == "No such file or directory; it may come back"
        (folder / "elsewhere" / "b.png").write_bytes(pictures.png(GRAY))
        (folder / "elsewhere").rename(folder / "in")
        line = said(running)
        assert (line["source"], line["status"]) == (str(folder / "in" / "b.png"), "done"), "a is done"
        (folder / "in").rename(folder / "elsewhere")
        assert said(running)["status"] == "waiting", "it is told each time"
        (folder / "in").mkdir()
        (folder / "in" / "c.png").write_bytes(pictures.png(GRAY))
        assert said(running)["source"] == str(folder / "in" / "c.png")
        running.send_signal(signal.SIGTERM)
        running.communicate(timeout=30)
    assert running.returncode == 0


async def run_until(folder: Path, backend: Backend, enough: Callable[[Report], bool], settle: float = 0.0) -> Report:
    """Watches until the report has enough."""
    arrivals = Arrivals(
        folder / "in", folder / "out", ".png", "{stem}{suffix}", Ledger(folder / "out"), settle, overwrite=False
    )
    report = Report()

    async def changes() -> AsyncIterator[None]:
        while not enough(report):
            await asyncio.sleep(0.001)
            yield None

    await asyncio.wait_for(watching.Watch(arrivals, backend, report).run(changes()), 30)  # type: ignore[arg-type]
    return report


class Away(Backend):
    """A service that is not there for the first calls."""

    def __init__(self, calls: int) -> None:
        super().__init__(at_once=1)
        self.calls = calls
        self.asked = 0

    async def upscale(self, data: bytes, progress: Any) -> Any:
        self.asked += 1
        if self.asked <= self.calls:
            raise PictureError("no answer", passing=True)
        return await super().upscale(data, progress)


async def test_an_unreachable_service_is_waited_for(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is tried again with growing pauses, and reported once."""
    pauses: list[float] = []
    sleep = asyncio.sleep

    async def noted(seconds: float) -> None:
        if seconds >= 1:
            pauses.append(seconds)
        await sleep(0)

    monkeypatch.setattr(asyncio, "sleep", noted)
    path = folder / "in" / "a.png"
    path.write_bytes(b"picture")
    told: list[Outcome] = []
    monkeypatch.setattr(Report, "end", lambda self, work, outcome: told.append(outcome))
    await run_until(folder, Away(9), lambda _: len(told) == 2)
    assert [outcome.status for outcome in told] == ["waiting", "done"]
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert (folder / "out" / "a.png").read_bytes() == b"erutcip"


async def test_no_result_is_written_for_a_picture_that_changed_during_work(folder: Path) -> None:
    path = folder / "in" / "a.png"
    path.write_bytes(b"old")

    class Meddling(Backend):
        async def upscale(self, data: bytes, progress: Any) -> Any:
            if data == b"old":
                path.write_bytes(b"newer")
            return await super().upscale(data, progress)

    report = await run_until(
        folder, Meddling(), lambda report: report.ended.get(str(path), Outcome("failed")).status == "done"
    )
    assert report.begun == [str(path), str(path)]
    assert (folder / "out" / "a.png").read_bytes() == b"rewen"


async def test_the_folder_is_scanned_again_once_notifications_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What comes between the first look and that moment would wait for the next one."""
    monkeypatch.setattr(watching, "LOOK_SECONDS", 3600.0)
    settled = cast(Arrivals, SimpleNamespace(unsettled=False))
    async with asyncio.timeout(60), contextlib.aclosing(watching._changes(tmp_path, settled, 3600.0)) as changes:
        await anext(changes)
