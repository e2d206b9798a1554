"""The network: its config, its initialisation, its constraints, and its folded form as the same function."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from model.folded import (
    EagerConv,
    compose,
    drop_centre,
    image_borders,
    neighbour_differences,
    phases_first,
    shuffle_phases,
)
from model.network import LapSRN, LapSRNConfig, bilinear_kernel, phases_sum_to_one, zero_mean
from tests.model.networks import FORMS, SKIPPING, luma, random_network


@pytest.mark.parametrize(
    ("scale", "depth", "levels", "scales", "margin"),
    [
        (2, 1, 1, (2,), 2),
        (4, 1, 2, (2, 4), 3),
        (8, 1, 3, (2, 4, 8), 3),
        (2, 5, 1, (2,), 6),
        (4, 5, 2, (2, 4), 9),
        (8, 5, 3, (2, 4, 8), 10),
        (2, 10, 1, (2,), 11),
        (4, 10, 2, (2, 4), 16),
        (8, 10, 3, (2, 4, 8), 19),
    ],
)
def test_levels_scales_and_margin_follow_from_the_config(
    scale: int, depth: int, levels: int, scales: tuple[int, ...], margin: int
) -> None:
    config = LapSRNConfig(scale=scale, depth=depth)
    assert (config.levels, config.scales, config.margin) == (levels, scales, margin)


def test_defaults_are_those_of_the_source_document() -> None:
    assert LapSRNConfig() == LapSRNConfig(scale=4, depth=5, width=64, slope=0.2)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"scale": 3}, "scale is 3; it must be 2, 4 or 8"),
        ({"scale": 16}, "scale is 16; it must be 2, 4 or 8"),
        ({"depth": 0}, "depth 0 and width 64 must be at least 1"),
        ({"width": 0}, "depth 5 and width 0 must be at least 1"),
    ],
)
def test_config_refuses(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LapSRNConfig(**wrong)


def test_layers_are_as_published() -> None:
    shapes = {name: tuple(p.shape) for name, p in LapSRN(LapSRNConfig()).named_parameters() if name.endswith("weight")}
    features = {f"levels.{i}.convs.{j}.weight": (64, 64, 3, 3) for i in range(2) for j in range(5)}
    features["levels.0.convs.0.weight"] = (64, 1, 3, 3)
    ends = {"up": (64, 64, 4, 4), "residual": (1, 64, 3, 3), "image_up": (1, 1, 4, 4)}
    assert shapes == features | {f"levels.{i}.{name}.weight": shape for i in range(2) for name, shape in ends.items()}


def test_image_upsampling_starts_bilinear() -> None:
    """With its residual heads at zero, a fresh network is bilinear enlargement, at every level."""
    network = LapSRN(LapSRNConfig(scale=4, depth=1, width=4))
    with torch.no_grad():
        for level in network.levels:
            level.residual.weight.zero_()
    picture = luma(1, 1, 12, 14)
    margin = network.config.margin
    x2, x4 = network(picture)
    once = F.interpolate(picture, scale_factor=2, mode="bilinear")
    twice = F.interpolate(once, scale_factor=2, mode="bilinear")
    assert torch.allclose(x2, once[:, :, 2 * margin : -2 * margin, 2 * margin : -2 * margin], atol=1e-6)
    assert torch.allclose(x4, twice[:, :, 4 * margin : -4 * margin, 4 * margin : -4 * margin], atol=1e-6)


def test_bilinear_kernel_is_the_outer_product_of_quarters() -> None:
    assert (bilinear_kernel() * 16).tolist() == [[1, 3, 3, 1], [3, 9, 9, 3], [3, 9, 9, 3], [1, 3, 3, 1]]


def test_feature_upsampling_starts_near_channel_wise_bilinear() -> None:
    torch.manual_seed(0)
    level = LapSRN(LapSRNConfig()).levels[0]
    noise = level.up.weight.detach() - torch.eye(64)[:, :, None, None] * bilinear_kernel()
    assert 0.009 < noise.std().item() < 0.011
    assert abs(noise.mean().item()) < 1e-3


def test_zero_mean_subtracts_the_mean_of_each_filter() -> None:
    weight = luma(64, 1, 3, 3)
    constrained = zero_mean(weight)
    assert constrained.sum(dim=(-2, -1)).abs().max() < 1e-6
    assert torch.allclose(constrained - constrained[..., :1, :1], weight - weight[..., :1, :1], atol=1e-6)


def test_each_phase_of_the_image_kernel_is_shifted_to_sum_to_one() -> None:
    kernel = luma(1, 1, 4, 4)
    constrained = phases_sum_to_one(kernel)
    for y in range(2):
        for x in range(2):
            phase = (..., slice(y, None, 2), slice(x, None, 2))
            assert constrained[phase].sum().item() == pytest.approx(1, abs=1e-6)
            moved = constrained[phase] - kernel[phase]
            assert torch.allclose(moved, moved[..., :1, :1], atol=1e-6)  # all four taps by the same amount
    assert torch.allclose(phases_sum_to_one(constrained), constrained, atol=1e-6)
    assert torch.equal(phases_sum_to_one(bilinear_kernel()[None, None]), bilinear_kernel()[None, None])


def largest_difference(ours: list[Tensor], theirs: list[Tensor]) -> float:
    assert [level.shape for level in ours] == [level.shape for level in theirs]
    return max((a - b).abs().max().item() for a, b in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("form", FORMS, ids=str)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
@torch.no_grad()
def test_the_folded_network_equals_the_expanded_one(form: LapSRNConfig, dtype: torch.dtype, tolerance: float) -> None:
    network = random_network(replace(form, width=6)).to(dtype)
    margin = network.config.margin
    padded = luma(2, 1, 3 + 2 * margin, 5 + 2 * margin, dtype=dtype)
    expanded = network(padded)
    assert [tuple(level.shape) for level in expanded] == [(2, 1, 3 * s, 5 * s) for s in network.config.scales]
    assert expanded[-1].std() > 0.1  # there is something to be equal to
    assert largest_difference(network.fold()(padded), expanded) < tolerance


@torch.no_grad()
def test_the_folded_network_equals_the_expanded_one_at_full_width() -> None:
    network = random_network(LapSRNConfig())
    padded = luma(1, 1, 4 + 18, 6 + 18)
    assert largest_difference(network.fold()(padded), network(padded)) < 1e-5
    network, padded = network.double(), padded.double()
    assert largest_difference(network.fold()(padded), network(padded)) < 1e-10


@torch.no_grad()
def test_a_composed_layer_equals_its_two_layers_in_sequence() -> None:
    """The composed kernel against the two layers it stands for, with more channels out than in."""
    up, up_bias = luma(3, 5, 4, 4, dtype=torch.float64), luma(5, dtype=torch.float64)
    conv, conv_bias = luma(2, 5, 3, 3, dtype=torch.float64), luma(2, dtype=torch.float64)
    features = luma(1, 3, 7, 6, dtype=torch.float64)
    both = F.conv2d(F.conv_transpose2d(features, up, up_bias, stride=2, padding=1), conv, conv_bias, padding=1)
    composed = F.pixel_shuffle(compose(up, up_bias, conv, conv_bias)(features), 2)
    assert largest_difference([composed], [both[:, :, 2:-2, 2:-2]]) < 1e-12


def test_the_entry_on_differences_equals_the_zero_mean_convolution() -> None:
    weight, picture = zero_mean(luma(4, 1, 3, 3, dtype=torch.float64)), luma(1, 1, 6, 7, dtype=torch.float64)
    ours = F.conv2d(neighbour_differences(picture), drop_centre(weight))
    assert largest_difference([ours], [F.conv2d(picture, weight)]) < 1e-12
    assert not neighbour_differences(torch.full((1, 1, 5, 5), 0.1)).any()


@pytest.mark.parametrize("config", FORMS, ids=str)
@pytest.mark.parametrize("form", ["expanded", "folded"])
def test_the_margin_is_necessary_and_sufficient(config: LapSRNConfig, form: str) -> None:
    """The outermost row and column of the margin have influence, on all sides; so one pixel less would differ.

    That the margin is enough is the folded form's own doing: it has no padding to make up for a pixel it lacks. Here
    the expanded form shows it: the zeros that it pads with must not be seen, whatever lies beyond the margin.
    """
    network = random_network(replace(config, width=3)).double()
    margin = network.config.margin
    side = 2 + 2 * margin
    padded = luma(1, 1, side, side, dtype=torch.float64).requires_grad_()
    run = network if form == "expanded" else network.fold()
    finest = run(padded)[-1]
    for row, column in ((0, 0), (0, -1), (-1, 0), (-1, -1)):
        (influence,) = torch.autograd.grad(finest[0, 0, row, column], padded, retain_graph=True)
        influence = influence[0, 0].abs()
        # The corner's own pixel is `margin` away from the two nearest sides; beyond `margin` on the others is nothing.
        near, far = influence, influence.flip(0, 1)
        if row == -1:
            near, far = near.flip(0), far.flip(0)
        if column == -1:
            near, far = near.flip(1), far.flip(1)
        assert near[0].max() > 1e-12
        assert near[:, 0].max() > 1e-12
        assert far[0].max() == 0
        assert far[:, 0].max() == 0


@torch.no_grad()
def test_the_expanded_network_depends_on_nothing_beyond_the_margin() -> None:
    network = random_network(LapSRNConfig(scale=4, depth=5, width=4)).double()
    wide = luma(1, 1, 30, 32, dtype=torch.float64)
    inner = network(wide[:, :, 3:-3, 3:-3])
    for scale, whole, part in zip((2, 4), network(wide), inner, strict=True):
        assert torch.allclose(whole[:, :, 3 * scale : -3 * scale, 3 * scale : -3 * scale], part, atol=1e-12)


@pytest.mark.parametrize(("levels", "borders"), [(1, [1, 0]), (2, [2, 1, 0]), (3, [2, 2, 1, 0])])
def test_image_borders_follow_from_the_kernels(levels: int, borders: list[int]) -> None:
    """Bilinear-sized kernels need one pixel a level; what the finer levels need halves on the way down."""
    assert image_borders(levels) == borders


@pytest.mark.parametrize("form", [LapSRNConfig(scale=4, depth=2), SKIPPING], ids=["plain", "with skips"])
def test_gradients_of_the_folded_network_equal_those_of_the_expanded_one(form: LapSRNConfig) -> None:
    network = random_network(replace(form, width=4)).double()
    margin = network.config.margin
    padded = luma(2, 1, 4 + 2 * margin, 3 + 2 * margin, dtype=torch.float64)
    parameters = dict(network.named_parameters())
    gradients = []
    for run in (network, network.fold()):
        outputs = run(padded)
        loss = sum(((level - 0.5) ** 2).sum() for level in outputs)
        assert isinstance(loss, Tensor)
        gradients.append(torch.autograd.grad(loss, list(parameters.values())))
    for name, expanded, folded in zip(parameters, *gradients, strict=True):
        assert torch.allclose(expanded, folded, rtol=1e-9, atol=1e-10), name
    assert min(g.abs().max() for name, g in zip(parameters, gradients[0], strict=True) if "weight" in name) > 1e-6


def test_fold_passes_gradcheck() -> None:
    """Finite differences through `fold` itself, on the smallest network."""
    config = LapSRNConfig(scale=2, depth=1, width=2)
    network = random_network(config).double()
    names = [name for name, _ in network.named_parameters()]
    side = 1 + 2 * config.margin
    padded = luma(1, 1, side, side, dtype=torch.float64)

    def through(*weights: Tensor) -> Tensor:
        class Folded(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.network = network

            def forward(self, picture: Tensor) -> Tensor:
                finest: Tensor = self.network.fold()(picture)[-1]
                return finest

        given = {f"network.{name}": weight for name, weight in zip(names, weights, strict=True)}
        out = torch.func.functional_call(Folded(), given, (padded,))
        assert isinstance(out, Tensor)
        return out

    weights = tuple(parameter.detach().clone().requires_grad_() for parameter in network.parameters())
    assert torch.autograd.gradcheck(through, weights, fast_mode=True)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("channels", [1, 3])
def test_shuffle_phases_equals_pixel_shuffle_with_reordered_channels(
    channels: int, layout: torch.memory_format
) -> None:
    features = luma(2, channels * 4, 3, 5).to(memory_format=layout).requires_grad_()
    by_phase = features.reshape(2, channels, 4, 3, 5).transpose(1, 2).reshape(2, 4 * channels, 3, 5)
    shuffled = shuffle_phases(by_phase.contiguous(memory_format=layout))
    expected = F.pixel_shuffle(features, 2)
    assert torch.equal(shuffled, expected)
    weights = luma(*expected.shape, seed=1)
    ours, theirs = (torch.autograd.grad((out * weights).sum(), features)[0] for out in (shuffled, expected))
    assert torch.equal(ours, theirs)


def test_shuffle_phases_accepts_a_slice_of_columns() -> None:
    features = luma(2, 12, 3, 8).to(memory_format=torch.channels_last)
    assert torch.equal(shuffle_phases(features[..., 2:-2]), shuffle_phases(features)[..., 4:-4])


def test_phases_first_only_reorders_outputs() -> None:
    conv = EagerConv(luma(12, 2, 3, 3), luma(12, seed=1))
    features = luma(1, 2, 5, 6, seed=2)
    assert torch.equal(shuffle_phases(phases_first(conv)(features)), F.pixel_shuffle(conv(features), 2))


def test_a_network_folded_without_gradients_requires_none() -> None:
    network = random_network(LapSRNConfig(scale=4, depth=2, width=4))
    with torch.no_grad():
        folded = network.fold()
    outputs = folded(luma(1, 1, 24, 24))
    assert not any(level.requires_grad for level in outputs)
    assert all(level.requires_grad for level in network.fold()(luma(1, 1, 24, 24)))


@torch.no_grad()
def test_a_skip_adds_the_input_of_its_pair() -> None:
    """With the second convolutions of all pairs at zero, only the first convolution of each level is left."""
    network = random_network(LapSRNConfig(scale=4, depths=(5, 3), width=4, skips=True)).double()
    shallow = LapSRN(LapSRNConfig(scale=4, depth=1, width=4)).double()
    for level, same in zip(network.levels, shallow.levels, strict=True):
        for second in list(level.convs)[2::2]:
            for parameter in second.parameters():
                parameter.zero_()
        kept = {name: tensor for name, tensor in level.state_dict().items() if name in same.state_dict()}
        same.load_state_dict(kept)
    margin, least = network.config.margin, shallow.config.margin
    padded = luma(1, 1, 5 + 2 * margin, 6 + 2 * margin, dtype=torch.float64)
    inner = padded[:, :, margin - least : least - margin, margin - least : least - margin]
    assert largest_difference(network(padded), shallow(inner)) < 1e-12


def test_deep_levels_are_initialised_near_identity() -> None:
    """The second convolution of each pair starts at a fifth of the first one's size."""
    torch.manual_seed(0)
    level = LapSRN(LapSRNConfig(depths=(5, 3), skips=True)).levels[0]
    sizes = [conv.weight.std().item() for conv in level.convs]
    assert [size / sizes[1] for size in sizes[1:]] == pytest.approx([1, 0.2, 1, 0.2], rel=0.05)


def test_a_deep_first_level_has_a_margin_of_16() -> None:
    assert LapSRNConfig(depths=(13, 3), skips=True).margin == 16


def test_equal_depths_per_level_equal_one_depth() -> None:
    """So that two ways to say the same are one configuration."""
    assert LapSRNConfig(depths=(7, 7), depth=5) == LapSRNConfig(depth=7)
    assert LapSRNConfig(depths=(7, 5)) != LapSRNConfig(depth=7)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"depths": (5,)}, "give one of at least 1 for each of 2 levels"),
        ({"depths": (5, 0)}, "give one of at least 1 for each of 2 levels"),
        ({"depths": (4, 3), "skips": True}, "with skips, they must be odd"),
        ({"depth": 4, "skips": True}, "with skips, they must be odd"),
    ],
)
def test_impossible_forms_are_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LapSRNConfig(**wrong)
