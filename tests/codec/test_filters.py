"""Row filters against clause 9 of the PNG specification, byte by byte."""

import numpy as np
import pytest

from app.codec.png_filters import ADAPTIVE, AVERAGE, NONE, PAETH, SUB, UP, filtered

pytestmark = pytest.mark.usefixtures("implementation")


def predicted(kind: int, left: int, up: int, corner: int) -> int:
    """The prediction that the specification subtracts from a byte."""
    if kind == PAETH:
        estimate = left + up - corner
        distances = [abs(estimate - each) for each in (left, up, corner)]
        return (left, up, corner)[distances.index(min(distances))]
    return {NONE: 0, SUB: left, UP: up, AVERAGE: (left + up) // 2}[kind]


def by_the_book(rows: np.ndarray, above: np.ndarray | None, step: int, kind: int) -> np.ndarray:
    """Every row filtered with `kind`, as specified."""
    before = np.zeros(rows.shape[1], np.uint8) if above is None else above
    out = np.empty((rows.shape[0], 1 + rows.shape[1]), np.uint8)
    for y, row in enumerate(rows):
        out[y, 0] = kind
        for x, value in enumerate(row):
            left, corner = (int(row[x - step]), int(before[x - step])) if x >= step else (0, 0)
            out[y, 1 + x] = (int(value) - predicted(kind, left, int(before[x]), corner)) % 256
        before = row
    return out.ravel()


def picture(height: int, width: int, step: int) -> np.ndarray:
    """Smooth samples with noise, so that every branch of every predictor is taken and bytes wrap around."""
    random = np.random.default_rng(height * 100 + width * 10 + step)
    rows = np.add.outer(np.arange(height) * 7, np.arange(width * step) * 3) + random.integers(
        0, 40, (height, width * step)
    )
    return rows.astype(np.uint8)


@pytest.mark.parametrize("kind", [NONE, SUB, UP, AVERAGE, PAETH])
@pytest.mark.parametrize("step", [1, 2, 3, 4, 6, 8])
@pytest.mark.parametrize(("height", "width"), [(9, 14), (1, 5), (6, 1), (1, 1), (2, 2)])
@pytest.mark.parametrize("below", [False, True], ids=["top", "below"])
def test_one_filter_applies_to_all_rows(kind: int, step: int, height: int, width: int, below: bool) -> None:
    rows = picture(height + below, width, step)
    above, rows = (rows[0], rows[1:]) if below else (None, rows)
    np.testing.assert_array_equal(filtered(rows, above, step, (kind,)), by_the_book(rows, above, step, kind))


@pytest.mark.parametrize("step", [1, 3, 8])
def test_each_row_gets_the_filter_with_the_smallest_sum_of_differences(step: int) -> None:
    rows = picture(12, 30, step)
    rows[4] = rows[3]
    rows[7:9] = 3
    found = filtered(rows, None, step, ADAPTIVE).reshape(12, -1)
    choices = [by_the_book(rows, None, step, kind).reshape(12, -1) for kind in ADAPTIVE]
    for y in range(12):
        costs = [np.abs(choice[y, 1:].view(np.int8).astype(int)).sum() for choice in choices]
        np.testing.assert_array_equal(found[y], choices[int(np.argmin(costs))][y])
    assert set(found[:, 0]) > {PAETH}


def test_a_slice_of_a_larger_array_can_be_filtered() -> None:
    """Its memory is not contiguous."""
    whole = picture(10, 40, 3)
    part = whole[2:8, 30:90]
    np.testing.assert_array_equal(
        filtered(part, whole[1, 30:90], 3, (PAETH,)), by_the_book(part, whole[1, 30:90], 3, PAETH)
    )
