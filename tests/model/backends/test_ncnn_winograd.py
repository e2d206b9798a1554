"""The Winograd backend by ncnn, beyond what is tested of every backend."""

from pathlib import Path

import numpy as np
import pytest
import torch

from model.network import LapSRN, LapSRNConfig
from model.runtime import Runtime
from tests.model.networks import luma, random_network, runtime_at, runtime_of

pytest.importorskip("ncnn", reason="the Winograd backend needs ncnn")

from model.backends.ncnn_winograd import WinogradFeatures, describe


@pytest.fixture(scope="module", params=[(4, 5), (2, 3), (8, 1)], ids=lambda p: f"x{p[0]}-depth{p[1]}")
def winograd(request: pytest.FixtureRequest) -> Runtime:
    scale, depth = request.param
    torch.manual_seed(7)
    network = LapSRN(LapSRNConfig(scale=scale, depth=depth, width=16))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.02)
    return runtime_of(network, "float32", "winograd")


@pytest.mark.parametrize("code", [0, 1, 127, 200, 255])
def test_flat_stays_flat_at_16_bits(winograd: Runtime, code: int) -> None:
    side = 40 + 2 * winograd.info.margin
    value = np.float32(code / 255)
    for plane in winograd.run(np.full((1, side, side), value, np.float32), winograd.info.scales[-1]).values():
        assert np.abs(plane.astype(np.float64) - value).max() < 0.4 / 65535


def test_shipped_weights_agree(weights: Path) -> None:
    tiles = np.random.default_rng(4).random((1, 66, 66), np.float32)
    plain, winograd = (
        runtime_at(weights, "float32", "torch"),
        runtime_at(weights, "float32", "winograd"),
    )
    for scale, plane in plain.run(tiles, 4).items():
        tolerance = 1e-5 * np.abs(plane).max()  # noise comes out far beyond 0..1
        np.testing.assert_allclose(winograd.run(tiles, 4)[scale], plane, rtol=0, atol=tolerance)


@pytest.mark.parametrize("config", [LapSRNConfig(2, 5, 16), LapSRNConfig(4, 5, 64), LapSRNConfig(8, 2, 12)], ids=str)
@torch.inference_mode()
def test_residuals_are_those_of_the_folded_network(config: LapSRNConfig) -> None:
    folded = random_network(config).fold()
    padded = luma(2, 1, 21 + 2 * folded.margin, 16 + 2 * folded.margin)
    ours, theirs = WinogradFeatures(folded)(padded), folded.residuals(padded)
    assert [level.shape for level in ours] == [level.shape for level in theirs]
    for a, b in zip(ours, theirs, strict=True):
        assert b.std() > 0.01
        assert (a - b).abs().max() < 2e-6


@torch.inference_mode()
def test_fewer_levels_are_the_first_ones() -> None:
    folded = random_network(LapSRNConfig(8, 1, 8)).fold()
    features = WinogradFeatures(folded)
    padded = luma(1, 1, 14, 15)
    whole = features(padded)
    for levels in (1, 2, 3):
        part = features(padded, levels)
        assert len(part) == levels
        assert all(torch.equal(a, b) for a, b in zip(part, whole, strict=False))


@torch.inference_mode()
def test_a_result_is_not_written_over_by_the_next() -> None:
    """The buffers that ncnn takes again are its own."""
    folded = random_network(LapSRNConfig(4, 1, 8)).fold()
    features = WinogradFeatures(folded)
    first = features(luma(1, 1, 20, 20))
    kept = [level.clone() for level in first]
    features(luma(1, 1, 20, 20, seed=1))
    assert all(torch.equal(a, b) for a, b in zip(first, kept, strict=True))


def test_the_weights_are_all_there() -> None:
    """Four bytes of tag a convolution, then its weights and biases; the graph announces its own length."""
    folded = random_network(LapSRNConfig(4, 2, 8)).fold()
    graph, weights = describe(folded)
    convolutions = [line for line in graph.splitlines() if line.startswith("Convolution")]
    kernels = [(8, 8, 1), (8, 8, 9), (4, 8, 9), (32, 8, 9), (8, 8, 9), (4, 8, 9)]  # out, in, taps
    assert len(convolutions) == len(kernels)
    assert len(weights) == sum(4 + 4 * (out * into * taps + out) for out, into, taps in kernels)
    magic, counts, *layers = graph.splitlines()
    assert magic == "7767517"
    assert int(counts.split()[0]) == len(layers)


def test_a_tile_that_ncnn_has_no_room_for_is_out_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    features = WinogradFeatures(random_network(LapSRNConfig(4, 1, 8)).fold())

    class Extractor:
        def input(self, name: str, blob: object) -> int:
            return 0

        def extract(self, name: str) -> tuple[int, object]:
            return -100, np.zeros(0)

    class Net:
        def create_extractor(self) -> Extractor:
            return Extractor()

    monkeypatch.setattr(features, "_net", Net())
    with pytest.raises(MemoryError, match=r"ncnn could not run a tile of \(18, 19\) \(status -100\)"):
        features(luma(1, 1, 20, 21))
