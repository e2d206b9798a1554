"""The device that is none does as a TileModel must."""

from pathlib import Path

import numpy as np
import pytest

from bench.simulated_device import SimulatedDevice


@pytest.mark.parametrize(("scale", "levels"), [(2, {2}), (4, {2, 4})])
def test_it_answers_tiles_without_their_margins(tmp_path: Path, scale: int, levels: set[int]) -> None:
    device = SimulatedDevice(tmp_path)
    height, width = (side + 2 * device.info.window_margin for side in (48, 64))
    answer = device.run(np.zeros((3, height, width), np.float32), scale)
    assert {level: planes.shape for level, planes in answer.items()} == {
        level: (3, 48 * level, 64 * level) for level in levels
    }
