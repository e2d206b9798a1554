"""`lapsrn` as a process of its own: pipes, signals, what it imports, shell completion."""

import fcntl
import json
import os
import pty
import re
import resource
import select
import signal
import subprocess
import sys
import termios
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from app.formats import OUTPUT_FORMATS
from tests import pictures
from tests.cli.live import service
from tests.fakes import FakeModel
from tests.service_process import start

ROOT = Path(__file__).resolve().parents[2]
LAPSRN = [sys.executable, "-m", "app.cli"]
GRAY = pictures.gray(5, 7)
pytestmark = pytest.mark.server


def environment(**more: str) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("LAPSRN_")}
    return clean | {"PYTHONPATH": str(ROOT)} | more


def started(command: list[str], **options: Any) -> subprocess.Popen[str]:
    """The process, with its standard error in a pipe.

    It does not ignore signals even if the tests do, as in the background (SIGINT) or with nohup (SIGHUP).
    """

    def heed() -> None:
        for number in (signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)

    return subprocess.Popen(command, env=environment(), stderr=subprocess.PIPE, text=True, preexec_fn=heed, **options)


def is_asleep(pid: int) -> bool:
    """Whether its main thread waits for something; also where that cannot be seen."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "S"
    except FileNotFoundError:
        return True


def imported(*arguments: str) -> set[str]:
    """Top-level modules that are loaded when the command ends."""
    code = f"import sys, app.cli as cli\nsys.argv = ['lapsrn', *{list(arguments)!r}]\ntry:\n    cli.main()\n" + (
        "finally:\n    print('\\n'.join(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True)
    return {name.split(".")[0] for name in done.stderr.splitlines()}


def test_help_imports_no_heavy_modules() -> None:
    assert imported("--help") & {"torch", "numpy", "fastapi", "httpx", "pydantic", "PIL", "model"} == set()


def test_upscaling_through_a_service_imports_no_torch(url: str, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(pictures.png(GRAY))
    modules = imported("upscale", str(tmp_path / "a.png"), "-o", str(tmp_path / "out"), "--server", url)
    assert (tmp_path / "out" / "a.png").exists()
    assert "httpx" in modules
    assert modules & {"torch", "numpy", "fastapi", "PIL", "model"} == set()


def test_upscaling_locally_imports_no_server(tmp_path: Path, weights: Path) -> None:
    (tmp_path / "a.png").write_bytes(pictures.png(GRAY))
    modules = imported("upscale", str(tmp_path / "a.png"), "-o", str(tmp_path / "out"), "--weights", str(weights))
    assert (tmp_path / "out" / "a.png").exists()
    assert modules & {"fastapi", "starlette", "uvicorn", "redis", "httpx"} == set()


def test_a_picture_can_be_piped_through_a_service(url: str) -> None:
    command = [*LAPSRN, "upscale", "-", "-o", "-", "--server", url]
    done = subprocess.run(command, input=pictures.png(GRAY), env=environment(), capture_output=True, check=True)
    np.testing.assert_array_equal(pictures.opened(done.stdout), GRAY.repeat(4, axis=0).repeat(4, axis=1))


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_result_that_standard_output_takes_in_part_is_a_failure(url: str, tmp_path: Path, unbuffered: str) -> None:
    command = [*LAPSRN, "upscale", "-", "-o", "-", "--server", url]
    with (tmp_path / "a.png").open("wb") as small:
        done = subprocess.run(
            command,
            input=pictures.png(GRAY),
            env=environment(PYTHONUNBUFFERED=unbuffered),
            stdout=small,
            stderr=subprocess.PIPE,
            check=False,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (50, 50)),  # as on a disk with 50 bytes left
        )
    assert done.returncode == 1
    assert done.stderr.decode() == "failed  -: standard output cannot be written: File too large\n"


def test_a_picture_can_be_piped_to_a_slow_reader_without_blocking(url: str) -> None:
    """Whether a pipe blocks is a property of the pipe's end, shared with the program that passed it on."""
    noise = np.random.default_rng(1).integers(0, 256, (128, 128, 3), dtype=np.uint8)
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    command = [*LAPSRN, "upscale", "-", "-o", "-", "--quiet", "--server", url]
    streams: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": writing, "stderr": subprocess.PIPE}
    process = subprocess.Popen(command, env=environment(), **streams)
    room = fcntl.fcntl(writing, fcntl.F_GETPIPE_SZ)
    os.close(writing)
    with process, os.fdopen(reading, "rb") as pipe:
        assert process.stdin is not None
        assert process.stderr is not None
        process.stdin.write(pictures.png(noise))
        process.stdin.close()
        deadline = time.monotonic() + 30.0
        while waiting_in(reading) < room and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        assert pictures.opened(pipe.read()).shape == (512, 512, 3)
        assert process.stderr.read() == b""
    assert process.returncode == 0


def waiting_in(pipe: int) -> int:
    """Bytes that a pipe holds."""
    return int.from_bytes(fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)), sys.byteorder)


@pytest.mark.slow
def test_a_picture_can_be_piped_through_the_real_network(weights: Path) -> None:
    flat = np.full((6, 9, 3), (200, 30, 90), np.uint8)
    command = [*LAPSRN, "upscale", "-", "-o", "-", "--weights", str(weights), "--device", "cpu"]
    done = subprocess.run(command, input=pictures.png(flat), env=environment(), capture_output=True, check=True)
    np.testing.assert_array_equal(pictures.opened(done.stdout), np.full((24, 36, 3), (200, 30, 90), np.uint8))


def test_missing_weights_are_reported_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(pictures.png(GRAY))
    command = [
        *LAPSRN,
        "upscale",
        str(tmp_path / "a.png"),
        "-o",
        str(tmp_path / "out"),
        "--weights",
        "gone.safetensors",
    ]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "gone.safetensors" in done.stderr


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_command_immediately_without_partial_files(tmp_path: Path, sent: signal.Signals) -> None:
    gate = threading.Event()
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(pictures.png(GRAY))
    with service([partial(FakeModel, gate=gate)]) as (url, running):
        try:
            command = [*LAPSRN, "upscale", str(tmp_path), "-o", str(tmp_path / "out"), "--server", url]
            process = started(command)
            until = time.monotonic() + 30
            while running.jobs.under_way < 2:
                assert time.monotonic() < until, "the pictures were not sent"
                time.sleep(0.01)
            process.send_signal(sent)
            _, told = process.communicate(timeout=20)
        finally:
            gate.set()
    assert process.returncode == 130
    assert "interrupted" in told
    assert "Traceback" not in told
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a.png", "b.png"]


@pytest.mark.parametrize(
    ("typed", "word", "expected"),
    [
        ("lapsrn up", 1, {"upscale", "upscale-large"}),
        ("lapsrn upscale --format ", 3, set(OUTPUT_FORMATS)),
        ("lapsrn upscale --ser", 2, {"--server"}),
    ],
)
def test_shell_completion_completes_commands_and_options(typed: str, word: int, expected: set[str]) -> None:
    more = {"_LAPSRN_COMPLETE": "complete_bash", "COMP_WORDS": typed, "COMP_CWORD": str(word)}
    code = "import sys, app.cli; sys.argv = ['lapsrn']; app.cli.main()"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(**more), capture_output=True, text=True, check=False
    )
    assert set(done.stdout.split()) == expected


STUCK = """
import sys, threading
import app.build, app.cli
def never(*_):
    threading.Event().wait()
app.build.open_model = {model}
sys.argv = ["lapsrn", *{arguments!r}]
app.cli.main()
"""
"""A program whose network never comes to be loaded."""


WEIGHTS, WORKER = "never", "lambda *_: app.build.ModelSource([never])"
"""What is stuck: the weights are never read, or a worker's model is never built."""


@pytest.mark.parametrize(
    ("command", "model", "sent"),
    [
        ("upscale", WEIGHTS, signal.SIGINT),
        ("upscale", WORKER, signal.SIGTERM),
        ("compare", WEIGHTS, signal.SIGTERM),
        ("compare", WORKER, signal.SIGINT),
    ],
    ids=["upscale-weights-2", "upscale-worker-15", "compare-weights-15", "compare-worker-2"],
)
def test_a_signal_interrupts_loading_the_network(
    tmp_path: Path, weights: Path, command: str, model: str, sent: signal.Signals
) -> None:
    (tmp_path / "a.png").write_bytes(pictures.png(GRAY))
    output = {"upscale": "out", "compare": "sheet.png"}[command]
    code = STUCK.format(model=model, arguments=[command, "a.png", "-o", output])
    process = started([sys.executable, "-c", code], cwd=tmp_path)
    assert process.stderr is not None
    assert process.stderr.readline() == "loading the network...\n"
    process.send_signal(sent)
    _, told = process.communicate(timeout=20)
    assert process.returncode == 130
    assert told.splitlines()[-1].startswith("lapsrn: interrupted")
    assert "Traceback" not in told
    assert os.listdir(tmp_path) == ["a.png"]  # noqa: PTH208


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_interrupts_waiting_for_stdin(tmp_path: Path, sent: signal.Signals) -> None:
    code = (
        "import io, sys, app.cli\n"
        "class Told(io.BufferedReader):\n"
        "    def read(self, size=-1):\n"
        "        print('reading', file=sys.stderr, flush=True)\n"
        "        return super().read(size)\n"
        "sys.stdin = io.TextIOWrapper(Told(io.FileIO(0)))\n"
        "sys.argv = ['lapsrn', 'upscale', '-', '-o', 'out']\n"
        "app.cli.main()\n"
    )
    process = started([sys.executable, "-c", code], cwd=tmp_path, stdin=subprocess.PIPE)
    assert process.stderr is not None
    assert process.stderr.readline() == "reading\n"
    while not is_asleep(process.pid):  # a signal that comes just before it reads is not looked at until it has read
        time.sleep(0.01)
    process.send_signal(sent)
    assert process.wait(timeout=20) == 130
    assert process.stderr.read().startswith("lapsrn: interrupted")
    process.communicate()


def test_pipes_and_devices_are_reported_without_reading_them(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.png")
    command = [*LAPSRN, "upscale", "fifo.png", ".", "*.png", "/dev/zero", "-o", "out"]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    told = "not a regular file; to read a pipe, pass - for IN"
    assert done.stderr.splitlines()[:2] == [f"failed  fifo.png: {told}", f"failed  /dev/zero: {told}"]


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8", "utf-16"])
def test_json_can_be_written_in_any_encoding(url: str, tmp_path: Path, encoding: str) -> None:
    names = ["é.png", "語.png", "\udcff\udcfe.png", "\x1b[31m\n.png"]
    for name in names:
        (tmp_path / name).write_bytes(pictures.png(GRAY))
    command = [*LAPSRN, "upscale", ".", "-o", "out", "--json", "--server", url]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment(PYTHONIOENCODING=encoding), capture_output=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")
    lines = [json.loads(line) for line in done.stdout.decode(encoding).splitlines()]
    assert sorted(line["source"] for line in lines[:-1]) == sorted(names)
    assert sorted(line["target"] for line in lines[:-1]) == sorted(f"out/{name}" for name in names)
    assert lines[-1]["summary"]["done"] == len(names)


def test_control_characters_in_names_are_escaped(url: str, tmp_path: Path) -> None:
    for name in ("\x1b[31m\n.png", "\udcff.png", "é.png"):
        (tmp_path / name).write_bytes(pictures.png(GRAY))
    command = [*LAPSRN, "upscale", ".", "\x1b]0;gone\x07", "-o", "out", "--server", url]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment(PYTHONIOENCODING="ascii"), capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    lines = [re.sub(r" \(\d.*", "", line) for line in done.stderr.splitlines()]
    assert sorted(lines[:-1]) == [
        r"done    \x1b[31m\n.png -> out/\x1b[31m\n.png",
        r"done    \xe9.png -> out/\xe9.png",
        r"done    \xff.png -> out/\xff.png",
        r"failed  \x1b]0;gone\x07: there is no such file",
    ]
    assert lines[-1].startswith("3 done, 1 failed in ") or lines[-1].startswith("1 done, 1 failed, 2 done")


def test_control_characters_in_usage_errors_are_escaped(tmp_path: Path) -> None:
    command = [*LAPSRN, "upscale", "\x1b[31m.png", "-o", "\x1b[31m.gif"]
    done = subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith(r"lapsrn: -o \x1b[31m.gif: results cannot be written as .gif; ")


def test_messages_are_printed_if_the_terminal_width_is_unknown(tmp_path: Path) -> None:
    command = [*LAPSRN, "upscale", str(tmp_path / "none.png"), "-o", str(tmp_path / "out")]
    done = subprocess.run(command, env=environment(COLUMNS="0"), capture_output=True, text=True)
    assert (done.returncode, "no such file" in done.stderr) == (1, True)


@pytest.mark.parametrize("closed", ["stdout", "stderr"])
def test_a_closed_output_stream_does_not_stop_the_work(url: str, tmp_path: Path, closed: str) -> None:
    (tmp_path / "a.png").write_bytes(pictures.png(GRAY))
    number = {"stdout": 1, "stderr": 2}[closed]
    command = [*LAPSRN, "upscale", "a.png", "-o", "out", "--server", url]
    done = subprocess.run(command, cwd=tmp_path, env=environment(), check=False, preexec_fn=partial(os.close, number))
    assert done.returncode == 0
    assert (tmp_path / "out" / "a.png").exists()


def test_a_report_that_cannot_be_written_is_an_error_of_one_line(url: str, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(pictures.png(GRAY))
    command = [*LAPSRN, "upscale", "a.png", "-o", "out", "--json", "--server", url]
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            command, cwd=tmp_path, env=environment(), stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 1
    assert done.stderr == "lapsrn: the report cannot be written: No space left on device\n"


@pytest.mark.parametrize("arguments", [["--version"], ["upscale", "--help"], ["doctor", "--json"]])
def test_output_that_cannot_be_printed_is_an_error_of_one_line(arguments: list[str]) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [*LAPSRN, *arguments], env=environment(), stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert (done.returncode, done.stderr) == (1, "lapsrn: No space left on device\n")


@pytest.mark.parametrize(
    "arguments", [["upscale", "a.png", "-o", "b.png"], ["watch", ".", "-o", "b"], ["compare", "a.png", "-o", "b.png"]]
)
def test_a_deleted_working_folder_is_an_error_of_one_line(tmp_path: Path, arguments: list[str]) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    command = ["sh", "-c", 'rmdir "$0" && exec "$@"', str(gone), *LAPSRN, *arguments]
    done = subprocess.run(command, cwd=gone, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "lapsrn: the working folder has been deleted: change to another one.\n"


def read_until(source: int, text: bytes, before: bytes = b"") -> bytes:
    """What comes out of a terminal up to `text`, at most a minute's worth."""
    until = time.monotonic() + 60
    while text not in before:
        ready, _, _ = select.select([source], [], [], max(0.0, until - time.monotonic()))
        assert ready, f"no {text!r} in {before!r}"
        before += os.read(source, 4096)
    return before


def test_serve_at_a_terminal_prints_its_address_and_text_lines(weights: Path) -> None:
    here, there = pty.openpty()
    command = [*LAPSRN, "serve", "--port", "0"]
    with subprocess.Popen(command, env=environment(), stdout=there, stderr=there) as process:
        try:
            shown = read_until(here, b"Application startup complete").decode().replace("\r\n", "\n")
            process.terminate()
            assert process.wait(timeout=60) == 0
        finally:
            process.kill()
            os.close(there)
            os.close(here)
    address = re.match(r"LapSRN is starting on (http://127\.0\.0\.1:[1-9]\d*); Ctrl-C stops it\n", shown)
    assert address is not None
    assert all(re.match(r"\d\d:\d\d:\d\d \[\w+ *\] \w", line) for line in shown.splitlines()[1:])
    port = address[1].rpartition(":")[2]
    assert f"listening host=127.0.0.1 port={port}\n" in shown


def test_serve_runs_with_closed_standard_streams(weights: Path, tmp_path: Path) -> None:
    """All three; tests/process has each alone."""

    def close() -> None:
        for number in (0, 1, 2):
            os.close(number)

    running = start(tmp_path / "log", {}, ("-m", "app.cli", "serve"), preexec=close)
    try:
        answer = httpx.post(f"{running.get_ready().url}/upscale", files={"image": pictures.png(GRAY)}, timeout=60)
        assert answer.status_code == 200
        if (opened := Path(f"/proc/{running.process.pid}/fd")).exists():
            assert {(opened / str(number)).readlink() for number in (0, 1, 2)} == {Path(os.devnull)}
        running.signal(signal.SIGTERM)
        assert running.wait() == 0
    finally:
        running.kill()


def test_serve_writes_json_lines_to_a_pipe(weights: Path) -> None:
    command = [*LAPSRN, "serve", "--port", "0"]
    with subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            events: list[dict[str, Any]] = []
            while not events or events[-1]["event"] != "Application startup complete.":
                events.append(json.loads(process.stdout.readline()))
            process.terminate()
            events += map(json.loads, process.stdout)
            assert process.wait(timeout=60) == 0
        finally:
            process.kill()
    (listening,) = (event for event in events if event["event"] == "listening")
    assert (listening["host"], listening["port"] > 0) == ("127.0.0.1", True)
    assert {event["level"] for event in events} == {"info"}
