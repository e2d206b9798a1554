"""Options are named as they are typed, and nothing in a text can disturb a terminal."""

import ast
import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest

from app.cli.wording import as_flags, printable
from app.options import UpscaleOptions

ROOT = Path(__file__).resolve().parents[2]
PARAMETER = re.compile(rf"\b({'|'.join(field.name for field in fields(UpscaleOptions))})=")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (
            "frames=first takes the first, frames=all takes all.",
            "--frames first takes the first, --frames all takes all.",
        ),
        ("choose png or webp, or frames=first.", "choose png or webp, or --frames first."),
        ("the same as ensemble=true", "the same as --ensemble"),
        ("lossless=false", "--no-lossless"),
        ("lossless=true", "--lossless"),
        ("quality=150 is outside 1..100.", "--quality 150 is outside 1..100."),
        ("LAPSRN_DECODE=process, a=b and subformat=png stay", "LAPSRN_DECODE=process, a=b and subformat=png stay"),
    ],
)
def test_parameter_names_in_errors_become_flags(text: str, shown: str) -> None:
    assert as_flags(text) == shown


def texts(folder: str) -> Iterator[str]:
    """Every text in the sources of a package that names a parameter; what is filled in is replaced by "x"."""
    for path in (ROOT / "app" / folder).rglob("*.py"):
        tree = ast.parse(path.read_text())
        raised = [node.exc for node in ast.walk(tree) if isinstance(node, ast.Raise) and node.exc]
        returned = [node.value for node in ast.walk(tree) if isinstance(node, ast.Return) and node.value]
        for value in raised + returned:
            filled = [part for part in ast.walk(value) if isinstance(part, ast.JoinedStr)]
            inside = {id(each) for part in filled for each in part.values}
            for part in filled:
                yield "".join(str(each.value) if isinstance(each, ast.Constant) else "x" for each in part.values)
            for each in ast.walk(value):
                if isinstance(each, ast.Constant) and isinstance(each.value, str) and id(each) not in inside:
                    yield each.value


@pytest.mark.parametrize("folder", ["codec", "engine", "service"])
def test_no_error_about_a_picture_names_a_parameter_of_a_request(folder: str) -> None:
    found = list(texts(folder))
    assert [text for text in map(as_flags, found) if PARAMETER.search(text)] == []
    if folder == "codec":
        assert len([text for text in found if PARAMETER.search(text)]) >= 6, "there are some to be replaced"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain é 語 [a] \\.png", "plain é 語 [a] \\.png"),
        ("\x1b[31mred\x07", r"\x1b[31mred\x07"),
        ("two\nlines\r\t", r"two\nlines\r\t"),
        ("c1 \x9b31m", r"c1 \x9b31m"),
        ("bytes \udcff\udc80", r"bytes \xff\x80"),
        ("turned \u202egnp.exe", r"turned \u202egnp.exe"),
        ("apart \u2028", r"apart \u2028"),
        ("lone \ud800", r"lone \ud800"),
    ],
)
def test_terminal_control_sequences_are_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown
