"""The bench's own numbers: operations counted, percentiles, the public network's equality with the served one."""

import numpy as np
import pytest
import torch

from app.engine import EngineConfig
from bench.arithmetic import engine_flops, useful_flops
from bench.pictures import jpeg, photograph
from bench.public import PublicLapSRN
from bench.report import Section, number, percentile
from model.arithmetic import tile_flops
from model.network import LapSRN, LapSRNConfig
from model.weights import NetworkInfo


def test_flops_of_one_pixel_by_hand() -> None:
    config = LapSRNConfig(scale=2, depth=1, width=3)
    # entry 8 -> 3 (1x1) on 3x3 pixels, residual 3 -> 4 (3x3) on one; margin 2, so the window is 5x5
    assert config.margin == 2
    assert tile_flops(config, 1, 1) == 2 * (9 * 8 * 3 + 9 * 3 * 4)
    assert useful_flops(config, 1, 1) == 2 * (8 * 3 + 9 * 3 * 4)


def test_large_tiles_approach_the_useful_arithmetic() -> None:
    config = LapSRNConfig()
    surplus = tile_flops(config, 20_000, 20_000) / useful_flops(config, 20_000, 20_000)
    assert 1 < surplus < 1.001


def test_a_tile_up_to_a_level_takes_less_and_a_deep_one_more() -> None:
    config = LapSRNConfig()
    assert tile_flops(config, 64, 64, 4) == tile_flops(config, 64, 64)
    assert 5 < tile_flops(config, 64, 64, 4) / tile_flops(config, 64, 64, 2) < 6
    deep = LapSRNConfig(depths=(17, 3), skips=True)
    assert 1.2 < tile_flops(deep, 256, 128) / tile_flops(config, 256, 128) < 1.4
    info = NetworkInfo(name="x", config=config, sha256="")
    assert info.work(64, 48, 2) == tile_flops(config, 64, 48, 2)


def test_engine_flops_are_the_sum_over_tiles() -> None:
    config = LapSRNConfig()
    info = NetworkInfo("x", config, "", window_margin=config.margin)
    engine = EngineConfig(tile_widths=(64,))
    assert engine_flops(info, engine, 128, 64, workers=1) == 2 * tile_flops(config, 64, 64)


@pytest.mark.parametrize(("share", "expected"), [(0.0, 1), (0.5, 3), (0.95, 5), (1.0, 5)])
def test_a_percentile_is_one_of_the_values(share: float, expected: float) -> None:
    assert percentile([5, 1, 4, 2, 3], share) == expected


@pytest.mark.parametrize(
    ("value", "text"), [(12345.6, "12,346"), (1000.0, "1,000"), (999.4, "999"), (8.071, "8.07"), (0.0, "0")]
)
def test_numbers_have_three_significant_digits_or_are_whole(value: float, text: str) -> None:
    assert number(value) == text


def test_a_section_is_printed_as_markdown() -> None:
    section = Section("name", "Title", seconds=2.4)
    section.add("speed", 8.07, "×", "≥ 4.5")
    assert section.markdown().splitlines() == [
        "### Title (`python -m bench --only name`, 2 s)",
        "",
        "| what | value | target |",
        "|---|---:|---|",
        "| speed | 8.07 × | ≥ 4.5 |",
    ]


def test_the_public_network_equals_the_served_one_up_to_a_constant_pattern() -> None:
    torch.manual_seed(0)
    network = LapSRN(LapSRNConfig(depth=2, width=8)).eval()
    margin = network.config.margin
    padded = torch.rand(1, 1, 24 + 2 * margin, 24 + 2 * margin)
    with torch.inference_mode():
        served = network.fold()(padded)
        public = PublicLapSRN(network)(padded)
    for scale, ours, theirs in zip((2, 4), served, public, strict=True):
        crop = margin * scale
        pattern = theirs[..., crop:-crop, crop:-crop] - ours
        period = pattern[..., :scale, :scale].repeat(1, 1, 24, 24)
        torch.testing.assert_close(pattern, period, rtol=0, atol=2e-6)


def test_photographs_are_reproducible_and_not_flat() -> None:
    first, again = photograph(20, 30, 1), photograph(20, 30, 1)
    np.testing.assert_array_equal(first, again)
    assert first.shape == (20, 30, 3)
    assert first.std() > 20
    assert jpeg(20, 30, 1) != jpeg(20, 30, 2)
