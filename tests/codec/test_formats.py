"""What every kind of file becomes, exactly, and that the documentation says the same."""

import numpy as np
import pytest

from tests.codec.formats_table import CASES, PAGE, Case, page_with, table
from tests.codec.support import assert_same, pixels, upscaled


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.format} {case.what}")
def test_every_file_comes_out_as_the_table_says(case: Case) -> None:
    data, expected = case.make()
    decoded, encoded = upscaled(data)
    assert decoded.format == case.format
    actual = pixels(encoded.body)
    if actual.shape == expected.shape and expected.shape[2] in (2, 4):
        hidden = expected[..., -1] == 0  # colour there is the codec's to choose; test_alpha.py says how
        actual[hidden, :-1] = expected[hidden, :-1]
    assert_same(actual, expected, f"{case.format} {case.what}", data, tolerance=case.tolerance)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.format} {case.what}")
def test_eight_bits_are_made_on_request(case: Case) -> None:
    data, expected = case.make()
    _, encoded = upscaled(data, depth="8")
    actual = pixels(encoded.body)
    assert actual.dtype == np.uint8
    if expected.dtype == np.uint16 and expected.shape[2] in (1, 3):
        rounded = np.rint(expected / 257).astype(np.uint8)
        assert_same(actual, rounded, f"depth 8 {case.format} {case.what}", data, tolerance=0)


def test_the_documentation_has_the_table_of_the_tests() -> None:
    assert PAGE.read_text() == page_with(table()), "run: python -m tests.codec.formats_table"
