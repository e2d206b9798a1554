"""One row a format: whatever else names the formats agrees with the table, and the message says what is missing."""

import re
from collections import Counter
from pathlib import Path
from typing import get_args, get_type_hints

import pytest
from lapsrn_client import Options

from app.api.negotiation import acceptable_formats
from app.cli.inputs import SUFFIXES, plan
from app.codec.formats import READERS, WRITERS
from app.formats import FORMATS, OUTPUT_FORMATS, OutputFormat, WritableFormat, format_of
from tests.codec.formats_table import CASES

DOCS = Path(__file__).resolve().parent.parent / "docs"
PAGE = (DOCS / "formats.md").read_text()
WRITTEN = dict(re.findall(r"^\| `(\w+)`(?: \(default\))? \| (.*) \|$", PAGE, re.MULTILINE))
"""The rows of "What comes out", by format: samples, depth, alpha, animation, loss."""


def test_no_two_formats_share_a_name_a_media_type_or_a_suffix() -> None:
    names = [name for row in FORMATS for name in (row.name, row.media_type, *row.suffixes, *row.rare_suffixes)]
    assert {name for name, count in Counter(names).items() if count > 1} == set()


def test_every_writable_format_can_be_requested() -> None:
    writable = {row.name for row in FORMATS if isinstance(row, WritableFormat)}
    assert set(get_args(OutputFormat)) == writable, "app.formats: OutputFormat names the rows of WritableFormat"


def test_every_writable_format_can_be_requested_from_the_python_client() -> None:
    literal = get_args(get_type_hints(Options)["format"])[0]
    assert set(get_args(literal)) == set(OUTPUT_FORMATS), (
        "lapsrn_client: Options.format mirrors app.formats.OutputFormat"
    )


def test_every_format_has_a_reader_and_every_writable_one_a_writer() -> None:
    assert set(READERS) == {row.name for row in FORMATS}, "app.codec.formats: READERS names a reader for each row"
    assert set(WRITERS) == set(OUTPUT_FORMATS), "app.codec.formats: WRITERS names a writer for each WritableFormat"


@pytest.mark.parametrize("row", OUTPUT_FORMATS.values(), ids=lambda row: row.name)
def test_every_output_format_is_negotiated_and_named_on_the_command_line(row: WritableFormat, tmp_path: Path) -> None:
    assert acceptable_formats(row.media_type)[0] == row.name
    for suffix in row.suffixes:
        works, chosen = plan(["-"], str(tmp_path / f"big{suffix}"), None)
        assert (chosen, [work.target for work in works]) == (row.name, [tmp_path / f"big{suffix}"])
    assert {*row.suffixes, *row.rare_suffixes} <= SUFFIXES


@pytest.mark.parametrize("row", FORMATS, ids=lambda row: row.name)
def test_every_format_has_cases_in_the_table_of_input_files(row: WritableFormat) -> None:
    files = [case.make()[0] for case in CASES if case.format == row.title]
    assert files, f"tests/codec/formats_table.py: CASES has no {row.title}"
    assert {format_of(data) for data in files} == {row}


@pytest.mark.parametrize("row", OUTPUT_FORMATS.values(), ids=lambda row: row.name)
def test_the_documentation_says_what_each_format_holds(row: WritableFormat) -> None:
    assert row.name in WRITTEN, f"docs/formats.md: What comes out has no {row.name}"
    _, depth, alpha, animation, loss = WRITTEN[row.name].split(" | ")
    assert depth == (
        "unchanged" if row.sixteen_bits else "8; 10 for PQ and HLG of more than 8" if row.deep_hdr else "8"
    )
    assert (alpha.startswith("yes"), animation.startswith("yes")) == (row.alpha, row.animation)
    assert (loss.startswith("none"), "lossy" in loss) == (row.lossless, row.lossy)
    assert row.max_side is None or f"{row.max_side:,}" in PAGE, f"docs/formats.md: {row.max_side:,} pixels a side"


def test_the_documentation_lists_no_other_formats() -> None:
    assert set(WRITTEN) == set(OUTPUT_FORMATS)


def test_the_documentation_names_the_suffixes_that_choose_a_format() -> None:
    named = set(re.findall(r"`(\.\w+)`", (DOCS / "cli.md").read_text()))
    assert {suffix for row in OUTPUT_FORMATS.values() for suffix in row.suffixes} - named == set(), "docs/cli.md"
