"""The details that the sheet shows lie in their pictures, and the sheet has room for all of them."""

import io

import pytest
from PIL import Image

from bench.crops import CASES, GAP, HEIGHT, LABEL, SCALE, WIDTH, Case, sheet


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_every_detail_lies_in_its_picture(case: Case) -> None:
    with Image.open(io.BytesIO(case.file())) as picture:
        assert 0 <= case.corner[0] <= picture.width - WIDTH
        assert 0 <= case.corner[1] <= picture.height - HEIGHT


def test_details_are_placed_side_by_side_and_cases_below_each_other() -> None:
    colors = ["red", "green", "blue"]
    details = [
        [(f"{row} {color}", Image.new("RGB", (SCALE * WIDTH, SCALE * HEIGHT), color)) for color in colors]
        for row in range(3)
    ]
    made = sheet(details)
    step = SCALE * WIDTH + GAP
    assert made.size == (2 * (3 * step + 8), 2 * (SCALE * HEIGHT + LABEL))
    assert [made.getpixel((place * step + 5, LABEL + 5)) for place in range(3)] == [
        (255, 0, 0),
        (0, 128, 0),
        (0, 0, 255),
    ]
    assert made.getpixel((3 * step + 8 + 5, LABEL + 5)) == (255, 0, 0)
