"""Folding in NumPy against the same in torch, in float64."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from model import folding
from model.checkpoint import load_weights
from model.config import LapSRNConfig
from model.folded import Conv, EagerConv, centred
from model.network import LapSRN
from tests.model.networks import DEEP, DEEP_X8, SHIPPED, folded_of, form, random_network


def assert_same_network(network: LapSRN) -> None:
    ours = folded_of(network)
    with torch.no_grad():
        theirs = centred(network.double().fold())
    assert (ours.margin, ours.slope, ours.skips) == (theirs.margin, theirs.slope, theirs.skips)
    assert_same(ours.entry, theirs.entry)
    for mine, other in zip(ours.levels, theirs.levels, strict=True):
        assert (mine.following is None) == (other.following is None)
        if mine.following is not None and other.following is not None:
            assert_same(mine.following, other.following)
        assert_same(mine.residual, other.residual)
        assert_same(mine.image, other.image)
        for one, same in zip(mine.convs, other.convs, strict=True):
            assert_same(one, same)


def assert_same(found: folding.Conv, wanted: Conv) -> None:
    assert isinstance(wanted, EagerConv)
    bias = np.zeros(len(wanted.weight)) if wanted.bias is None else wanted.bias.detach().numpy()
    np.testing.assert_allclose(found.weight, wanted.weight.detach().numpy(), rtol=0, atol=1e-10)
    np.testing.assert_allclose(found.bias, bias, rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    "config",
    [
        LapSRNConfig(2, 1, 5),
        LapSRNConfig(4, 5, 64),
        LapSRNConfig(8, 2, 7, 0.1),
        LapSRNConfig(8, 1, 3),
        LapSRNConfig(4, width=6, depths=(2, 5)),
        LapSRNConfig(2, 7, 5, skips=True),
        replace(DEEP, width=9),
        replace(DEEP_X8, width=4),
    ],
    ids=form,
)
def test_folding_in_numpy_equals_torch_for_random_networks(config: LapSRNConfig) -> None:
    assert_same_network(random_network(config))


@SHIPPED
def test_folding_in_numpy_equals_torch_for_shipped_weights(shipped: Path) -> None:
    assert_same_network(load_weights(shipped)[0])
