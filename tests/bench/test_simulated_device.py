"""The simulated device follows the TileModel protocol."""

from pathlib import Path

import numpy as np
import pytest

from bench.simulated_device import build, cpu_seconds


@pytest.mark.parametrize(("scale", "levels"), [(2, {2}), (4, {2, 4})])
def test_the_simulated_device_gives_the_pixels_of_the_network(tmp_path: Path, scale: int, levels: set[int]) -> None:
    (device,) = build(tmp_path).values()
    height, width = (side + 2 * device.info.window_margin for side in (24, 32))
    tiles = np.random.default_rng(0).random((2, height, width), np.float32)
    answer = device.run(tiles, scale)
    assert {level: planes.shape for level, planes in answer.items()} == {
        level: (2, 24 * level, 32 * level) for level in levels
    }
    again = device.run(tiles[1:], scale)
    for level, planes in answer.items():
        assert planes.std() > 0
        np.testing.assert_array_equal(again[level][0], planes[1])
    spent = cpu_seconds(tmp_path)
    assert spent > 0
    device.run(tiles, scale)
    assert cpu_seconds(tmp_path) > spent
