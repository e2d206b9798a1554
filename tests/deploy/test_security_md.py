"""Every promise in SECURITY.md names what tests it: files that are there, and targets that make knows."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
HEADER = "| threat | promise | test |"
SOURCES = ("app/", "bench/", "deploy/", "model/", "tests/")


def rows(text: str) -> dict[str, str]:
    """What tests each threat, by threat."""
    lines = text.split(HEADER)[1].split("\n\n")[0].splitlines()[2:]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {threat: test for threat, _, test in cells}


ROWS = rows((ROOT / "SECURITY.md").read_text())


def faults(test: str) -> list[str]:
    """What is wrong with a cell: nothing named, files that are not there, targets that make does not know."""
    named = re.findall(r"`([^`]+)`", test)
    files = [name for name in named if name.startswith(SOURCES)]
    targets = [name.removeprefix("make ") for name in named if name.startswith("make ")]
    known = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    return (
        ([] if any(name.startswith("tests/") for name in files) else ["no test named"])
        + [f"{name} is no file" for name in files if not (ROOT / name).is_file()]
        + [f"make {name} is no target" for name in targets if name not in known]
        + [f"{name} is neither a file nor a target" for name in named if name not in files and name[:5] != "make "]
    )


def test_the_table_of_threats_is_parsed() -> None:
    assert len(ROWS) >= 14


@pytest.mark.parametrize("threat", ROWS)
def test_every_promise_names_existing_tests(threat: str) -> None:
    assert faults(ROWS[threat]) == []


@pytest.mark.parametrize(
    ("test", "fault"),
    [
        ("`tests/codec`", "tests/codec is no file"),
        ("`tests/api/test_gone.py`", "tests/api/test_gone.py is no file"),
        ("`tests/test_results.py`, `make wishes`", "make wishes is no target"),
        ("`bench/__main__.py`", "no test named"),
        ("`tests/test_results.py`, `hope`", "hope is neither a file nor a target"),
    ],
)
def test_missing_tests_are_found(test: str, fault: str) -> None:
    assert faults(test) == [fault]
