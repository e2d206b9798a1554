"""What people and programs are shown."""

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from app.cli.batch import Outcome
from app.cli.inputs import Work
from app.cli.report import JsonReport, TextReport

GOOD = Work("album/[a].png", Path("album/[a].png"), Path("out/[a].png"))
BAD = Work("b.png", Path("b.png"), Path("out/b.png"))
THERE = Work("c.png", Path("c.png"), Path("out/c.png"))
OUTCOMES = (
    (GOOD, Outcome("done", 1.26, 1000, clean="0.5; jpeg=90")),
    (BAD, Outcome("failed", 0.1, error="does not [decode]", type="urn:x")),
    (THERE, Outcome("skipped")),
)


def told(report: TextReport | JsonReport) -> None:
    with report:
        for work, outcome in OUTCOMES:
            progress = report.begin(work)
            if progress:
                progress(1, 4)
            report.end(work, outcome)
    report.summary([outcome for _, outcome in OUTCOMES], 3.14)


@pytest.mark.parametrize(
    ("quiet", "expected"),
    [
        (
            False,
            "done    album/[a].png -> out/[a].png (1.3 s, clean 0.5; jpeg=90)\n"
            "failed  b.png: does not [decode]\n"
            "skipped c.png: out/c.png exists\n"
            "1 done, 1 failed, 1 skipped in 3.1 s\n"
            "Results that exist are kept, whatever options they were made with; --overwrite makes them again.\n",
        ),
        (True, "failed  b.png: does not [decode]\n1 done, 1 failed, 1 skipped in 3.1 s\n"),
    ],
)
def test_without_a_terminal_there_are_lines_and_no_bars(quiet: bool, expected: str) -> None:
    console = Console(file=io.StringIO(), highlight=False, soft_wrap=True)
    report = TextReport(3, console, quiet=quiet)
    assert report.begin(GOOD) is None, "progress costs requests, and nobody looks"
    told(report)
    assert isinstance(console.file, io.StringIO)
    assert console.file.getvalue() == expected


def test_a_terminal_has_bars_for_the_run_and_for_each_picture() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, highlight=False, soft_wrap=True, width=100)
    report = TextReport(3, console)
    with report:
        progress = report.begin(GOOD)
        assert progress is not None
        progress(1, 4)
        report._bars.refresh()
        report.end(GOOD, OUTCOMES[0][1])
        report._bars.refresh()
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert "0/3" in text
    assert "[a].png" in text
    assert "1/4" in text
    assert "1/3" in text


def test_a_quiet_run_without_failures_prints_nothing() -> None:
    """A cron job would send it by mail each time."""
    console = Console(file=io.StringIO())
    TextReport(2, console, quiet=True).summary([OUTCOMES[0][1], OUTCOMES[2][1]], 3.14)
    assert isinstance(console.file, io.StringIO)
    assert console.file.getvalue() == ""


def test_a_single_picture_has_no_summary() -> None:
    console = Console(file=io.StringIO())
    TextReport(1, console).summary([Outcome("done")], 1.0)
    assert isinstance(console.file, io.StringIO)
    assert console.file.getvalue() == ""


def test_json_reports_have_one_object_per_line(capsys: pytest.CaptureFixture[str]) -> None:
    told(JsonReport())
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == [
        {
            "source": "album/[a].png",
            "target": "out/[a].png",
            "status": "done",
            "bytes": 1000,
            "seconds": 1.26,
            "clean": "0.5; jpeg=90",
        },
        {"source": "b.png", "target": "out/b.png", "status": "failed", "error": "does not [decode]", "type": "urn:x"},
        {"source": "c.png", "target": "out/c.png", "status": "skipped"},
        {"summary": {"done": 1, "skipped": 1, "failed": 1, "seconds": 3.14}},
    ]
