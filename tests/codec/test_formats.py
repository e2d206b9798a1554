"""The exact result for every kind of file, and the same table in the documentation."""

import numpy as np
import pytest

from tests.codec.formats_table import CASES, PAGE, Case, page_with, table
from tests.codec.support import assert_same, pixels, upscaled


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.format} {case.what}")
def test_every_kind_of_file_is_converted_as_the_table_says(case: Case) -> None:
    data, expected = case.make()
    decoded, encoded = upscaled(data)
    assert decoded.format == case.format
    actual = pixels(encoded.body)
    if actual.shape == expected.shape and expected.shape[2] in (2, 4):
        hidden = expected[..., -1] == 0  # the codec chooses the colour there, see test_alpha.py
        actual[hidden, :-1] = expected[hidden, :-1]
    assert_same(actual, expected, f"{case.format} {case.what}", data, tolerance=case.tolerance)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.format} {case.what}")
def test_depth_8_reduces_every_file_to_eight_bits(case: Case) -> None:
    data, expected = case.make()
    _, encoded = upscaled(data, depth="8")
    actual = pixels(encoded.body)
    assert actual.dtype == np.uint8
    if expected.dtype == np.uint16 and expected.shape[2] in (1, 3):
        rounded = np.rint(expected / 257).astype(np.uint8)
        assert_same(actual, rounded, f"depth 8 {case.format} {case.what}", data, tolerance=0)


def test_the_documentation_has_the_table_of_the_tests() -> None:
    assert PAGE.read_text() == page_with(table()), "run: python -m tests.codec.formats_table"
