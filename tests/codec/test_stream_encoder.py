"""A result encoded from the top down, as its rows arrive, is the same file as one encoded at once."""

import io

import numpy as np
import pytest
from PIL import Image

from app.codec.consistency import LOOKAHEAD, LOOKBACK
from app.options import UpscaleOptions
from tests.codec.support import bicubic, codec, opened, picture, saved, wanted

WIDTH, SCALE = 88, 4
BAND = 64  # source rows
HEIGHTS = {1: 1600, 3: 530, 4: 400}


@pytest.mark.usefixtures("written_in_bands")
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("steps", [(64, 130, 399), (1, 2, 3), (256,), (75, 76, 139, 140)])
@pytest.mark.parametrize("consistent", [False, True])
def test_large_pngs_are_written_as_their_rows_arrive(channels: int, steps: tuple[int, ...], consistent: bool) -> None:
    service = codec(consistent=consistent)
    back, ahead = (LOOKBACK, LOOKAHEAD) if consistent else (0, 0)
    height = HEIGHTS[channels]
    decoded = service.decode(saved(picture(height, WIDTH, channels) // 4, "PNG"), wanted(scale=SCALE))
    planes = [[bicubic(plane, SCALE) for plane in decoded.frames[0].planes]]
    encoder = service.encoder(decoded, SCALE, wanted())
    there = [[np.full_like(plane, np.nan) for plane in planes[0]]]
    used = 0
    for rows in steps:
        for mine, right in zip(there[0], planes[0], strict=True):
            mine[used * SCALE : rows * SCALE] = right[used * SCALE : rows * SCALE]
        while encoder.advance(there, rows):
            assert used < encoder.rows <= used + BAND, "a band at a time"
            used = encoder.rows
        assert encoder.rows == used
        assert rows - ahead - BAND < used + back
        assert used <= max(0, rows - ahead - back)
        for mine in there[0]:
            mine[: used * SCALE] = np.nan  # rows already encoded are not read again
    for mine, right in zip(there[0], planes[0], strict=True):
        mine[used * SCALE :] = right[used * SCALE :]
    body = encoder.finish(there).body
    assert body == service.encode(decoded, planes, SCALE, wanted()).body
    assert opened(body).size == (WIDTH * SCALE, height * SCALE)


@pytest.mark.parametrize("options", [wanted(format="webp"), wanted(format="jpeg"), wanted()])
def test_other_results_need_their_complete_planes(options: UpscaleOptions) -> None:
    service = codec()
    decoded = service.decode(saved(picture(40, 30, 3), "PNG"), wanted(scale=2))
    planes = [[bicubic(plane, 2) for plane in decoded.frames[0].planes]]
    encoder = service.encoder(decoded, 2, options)
    assert not encoder.advance(planes, 20)
    assert encoder.rows == 0
    with Image.open(io.BytesIO(encoder.finish(planes).body)) as image:
        assert image.size == (60, 80)
