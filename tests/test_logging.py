"""Log lines are JSON for programs and text for people, whichever library they come from."""

import fcntl
import io
import json
import logging as standard
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import structlog

from app import logging


class Terminal(io.StringIO):
    """A stream that says that it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    root, uvicorn = standard.getLogger(), standard.getLogger("uvicorn.error")
    handlers, level, quieter = root.handlers, root.level, uvicorn.level
    uvicorn.setLevel(standard.NOTSET)  # servers of other tests make it quieter
    yield
    root.handlers, root.level = handlers, level
    uvicorn.setLevel(quieter)
    structlog.reset_defaults()


def logged(form: str, stream: io.StringIO) -> list[str]:
    """The lines of one event of structlog's and one of the standard library's."""
    logging.configure("info", form, stream)
    structlog.get_logger("lapsrn").info("ready", model="x4", trace_id="0123", device="cpu")
    standard.getLogger("library").warning("Shutting %s", "down")
    return stream.getvalue().splitlines()


@pytest.mark.parametrize(("form", "stream"), [("json", Terminal()), ("auto", io.StringIO()), ("json", io.StringIO())])
def test_log_lines_are_json_for_programs(form: str, stream: io.StringIO) -> None:
    first, second = map(json.loads, logged(form, stream))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", first.pop("timestamp"))
    del second["timestamp"]
    assert first == {
        "event": "ready", "level": "info", "logger": "lapsrn", "model": "x4", "trace_id": "0123", "device": "cpu",
    }  # fmt: skip
    assert second == {"event": "Shutting down", "level": "warning", "logger": "library"}


@pytest.mark.parametrize("journal", [True, False])
def test_log_lines_have_a_priority_for_the_systemd_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, journal: bool
) -> None:
    """`journalctl -p warning` shows warnings and worse; a file gets nothing but JSON, although systemd started it."""
    with (tmp_path / "log").open("w+") as stream:
        place = os.fstat(stream.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{place.st_dev}:{place.st_ino + (not journal)}")
        logging.configure("debug", "json", stream)
        for level in ("debug", "info", "warning", "error", "critical"):
            structlog.get_logger("lapsrn").log(getattr(standard, level.upper()), level)
        standard.getLogger("library").error("also of libraries")
        lines = (tmp_path / "log").read_text().splitlines()
    parts = [line.partition("{") for line in lines]
    assert [first for first, *_ in parts] == (["<7>", "<6>", "<4>", "<3>", "<2>", "<3>"] if journal else [""] * 6)
    assert [json.loads("{" + rest)["level"] for *_, rest in parts][:3] == ["debug", "info", "warning"]


@pytest.mark.parametrize(
    ("form", "stream"), [("console", Terminal()), ("auto", Terminal()), ("console", io.StringIO())]
)
def test_log_lines_are_text_on_a_terminal(form: str, stream: io.StringIO) -> None:
    first, second = logged(form, stream)
    assert re.fullmatch(r"\d\d:\d\d:\d\d \[info     \] ready model=x4 device=cpu", first)
    assert re.fullmatch(r"\d\d:\d\d:\d\d \[warning  \] Shutting down", second)


def test_a_traceback_is_plain_text_on_a_terminal() -> None:
    stream = Terminal()
    logging.configure("info", "auto", stream)
    try:
        raise ValueError("oops")
    except ValueError as error:
        structlog.get_logger("lapsrn").error("failed", exc_info=error)
    lines = stream.getvalue().splitlines()
    assert lines[0].endswith("[error    ] failed")
    assert lines[1] == "Traceback (most recent call last):"
    assert lines[-1] == "ValueError: oops"


@pytest.fixture
def pipe(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[int, logging.LossyWriter]]:
    """Where it is read, and what writes to it."""
    monkeypatch.setattr(logging, "PATIENCE_SECONDS", 0.001)
    reading, writing = os.pipe()
    with open(reading, "rb", 0, closefd=False), open(writing, "w", encoding="ascii") as stream:  # noqa: PTH123
        yield reading, logging.LossyWriter(stream)
        assert not fcntl.fcntl(writing, fcntl.F_GETFL) & os.O_NONBLOCK  # a shell may have it, too
    with suppress(OSError):
        os.close(reading)


def test_a_pipe_that_is_not_read_does_not_block_the_service(pipe: tuple[int, logging.LossyWriter]) -> None:
    reading, writer = pipe
    line = "x" * 100 + "\n"
    for _ in range(2000):
        assert writer.write(line) == len(line)
    taken = os.read(reading, 1 << 20)
    assert len(taken) < 2000 * len(line)
    assert taken == taken[: len(taken) // len(line) * len(line)] == line.encode() * (len(taken) // len(line))
    writer.write("back again\n")
    assert os.read(reading, 1 << 20) == b"back again\n"


def test_only_the_first_line_that_finds_the_pipe_full_waits(
    pipe: tuple[int, logging.LossyWriter], monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []

    class NoRoom:
        def poll(self, milliseconds: float) -> list[tuple[int, int]]:
            waits.append(milliseconds)
            return []

    _, writer = pipe
    monkeypatch.setattr(writer._descriptor, "_room", NoRoom())
    for _ in range(3):
        writer.write("text\n")
    assert waits == [1000 * logging.PATIENCE_SECONDS, 0, 0]


def test_a_line_that_was_cut_off_is_terminated(pipe: tuple[int, logging.LossyWriter]) -> None:
    reading, writer = pipe
    writer.write("y" * (1 << 20) + "\n")
    taken = os.read(reading, 1 << 20)
    assert 0 < len(taken) < 1 << 20
    writer.write("caf\xe9\n")
    assert os.read(reading, 1 << 20) == b"\ncaf\\xe9\n"


def test_a_file_gets_every_line(tmp_path: Path) -> None:
    with (tmp_path / "log").open("a") as stream:
        stream.write("before\n")
        stream.flush()
        logging.LossyWriter(stream).write("z" * 100_000 + "\n")
    assert (tmp_path / "log").read_text() == "before\n" + "z" * 100_000 + "\n"


def test_a_closed_pipe_does_not_raise(pipe: tuple[int, logging.LossyWriter]) -> None:
    reading, writer = pipe
    os.close(reading)
    assert writer.write("text") == 4
