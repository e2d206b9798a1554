"""LapSRN (Lai et al., CVPR 2017) in its readable, expanded form, and the rules that keep flat pictures flat."""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model.config import LapSRNConfig as LapSRNConfig
from model.folded import Conv, EagerConv, FoldedLapSRN, FoldedLevel, compose, drop_centre, phases_first

# Scales of the initial weights, relative to He's:
RESIDUAL_INIT = 0.1  # of the convolution that predicts the residual, so that training begins near the upsampled image
SECOND_INIT = 0.2  # of the second convolution of a pair with a skip, so that deep levels begin near identity


class Level(nn.Module):
    """One pyramid level: features to twice the resolution, and the residual that sharpens the upsampled image."""

    def __init__(self, config: LapSRNConfig, channels_in: int, depth: int) -> None:
        super().__init__()
        width = config.width
        inputs = [channels_in] + [width] * (depth - 1)
        convs = nn.ModuleList(nn.Conv2d(channels, width, 3, padding=1) for channels in inputs)
        self.convs = cast("Sequence[nn.Conv2d]", convs)
        self.up = nn.ConvTranspose2d(width, width, 4, stride=2, padding=1)
        self.residual = nn.Conv2d(width, 1, 3, padding=1)
        self.image_up = nn.ConvTranspose2d(1, 1, 4, stride=2, padding=1, bias=False)
        self._initialise(config)

    def _initialise(self, config: LapSRNConfig) -> None:
        """He's scale for convolutions; transposed ones start as bilinear upsampling, residuals and skips small."""
        for conv in self.convs:
            nn.init.kaiming_normal_(conv.weight, a=config.slope)
            nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
        with torch.no_grad():
            if config.skips:
                for second in self.convs[2::2]:
                    second.weight *= SECOND_INIT
            kernel = bilinear_kernel()
            self.image_up.weight.copy_(kernel[None, None])
            self.up.weight.normal_(0, 0.01)
            self.up.weight += torch.eye(self.up.in_channels)[:, :, None, None] * kernel
            nn.init.zeros_(self.up.bias)  # type: ignore[arg-type]
            nn.init.kaiming_normal_(self.residual.weight, a=config.slope)
            self.residual.weight *= RESIDUAL_INIT
            nn.init.zeros_(self.residual.bias)  # type: ignore[arg-type]


class LapSRN(nn.Module):
    """The expanded network, layer for layer as published: what is trained, saved and documented."""

    def __init__(self, config: LapSRNConfig) -> None:
        super().__init__()
        self.config = config
        inputs = [1] + [config.width] * (config.levels - 1)
        levels = nn.ModuleList(
            Level(config, channels, depth) for channels, depth in zip(inputs, config.depth_of_levels, strict=True)
        )
        self.levels = cast("Sequence[Level]", levels)

    def forward(self, padded: Tensor) -> list[Tensor]:
        """Luma with its margin (N, 1, H + 2m, W + 2m), 0..1, to [(N, 1, 2H, 2W), (N, 1, 4H, 4W), ...].

        Layers pad with zeros, which affects no pixel beyond the margin; those that it affects are cropped. The residual
        of a flat picture is subtracted from every residual: it is what biases add, with the period of the upsampling.
        """
        margin = self.config.margin
        one_pixel = padded.new_zeros(1, 1, 2 * margin + 1, 2 * margin + 1)
        image = padded
        outputs = []
        residuals, flats = self._residuals(padded), self._residuals(one_pixel)
        for level, scale, residual, flat in zip(self.levels, self.config.scales, residuals, flats, strict=True):
            border = margin * scale
            period = flat[:, :, border : border + scale, border : border + scale]
            height, width = residual.shape[-2:]
            kernel = phases_sum_to_one(level.image_up.weight)
            image = F.conv_transpose2d(image, kernel, stride=2, padding=1)
            image = image + residual - period.repeat(1, 1, height // scale, width // scale)
            outputs.append(image[:, :, border:-border, border:-border])
        return outputs

    def _residuals(self, luma: Tensor) -> list[Tensor]:
        """The residual of every level before the flat response is subtracted: (N, 1, 2H, 2W), (N, 1, 4H, 4W), ..."""
        residuals = []
        features = luma
        for i, level in enumerate(self.levels):
            start = features
            for j, conv in enumerate(level.convs):
                weight = zero_mean(conv.weight) if i == j == 0 else conv.weight
                out = F.conv2d(features, weight, conv.bias, padding=1)
                if self.config.skips and j > 0 and j % 2 == 0:
                    features = start + out
                else:
                    start, features = features, F.leaky_relu(out, self.config.slope)
            features = level.up(features)
            residuals.append(level.residual(features))
        return residuals

    def fold(self) -> FoldedLapSRN:
        """The same function with each transposed convolution merged into what follows it.

        Differentiable; where gradients are off, its parameters are constants.
        """
        levels = []
        first = self.levels[0].convs[0]
        entry = EagerConv(drop_centre(zero_mean(first.weight)), first.bias)
        for i, level in enumerate(self.levels):
            image = compose(phases_sum_to_one(level.image_up.weight), None, centre_tap(level.image_up.weight), None)
            residual = compose(level.up.weight, level.up.bias, level.residual.weight, level.residual.bias)
            convs = tuple(EagerConv(conv.weight, conv.bias) for conv in level.convs[1:])
            following = None
            if i + 1 < len(self.levels):
                after = self.levels[i + 1].convs[0]
                following = phases_first(compose(level.up.weight, level.up.bias, after.weight, after.bias))
            levels.append(FoldedLevel(convs=convs, residual=residual, following=following, image=image))
        folded = FoldedLapSRN(entry, tuple(levels), self.config.margin, self.config.slope, self.config.skips)
        return folded if torch.is_grad_enabled() else folded.map(constant, constant)


def constant(conv: Conv) -> Conv:
    """The same convolution, detached from what it was computed from."""
    assert isinstance(conv, EagerConv)
    return EagerConv(conv.weight.detach(), None if conv.bias is None else conv.bias.detach())


def zero_mean(weight: Tensor) -> Tensor:
    """First-layer filters (64, 1, 3, 3) minus their means: a flat picture of any brightness gives the same features."""
    return weight - weight.mean(dim=(-2, -1), keepdim=True)


def phases_sum_to_one(kernel: Tensor) -> Tensor:
    """An image upsampling kernel (1, 1, 4, 4), stride 2, with each of its four phases shifted to sum to one."""
    phases = kernel.reshape(1, 1, 2, 2, 2, 2)  # (..., row pair, row phase, column pair, column phase)
    total = phases.sum(dim=(2, 4), keepdim=True)
    return (phases + (1 - total) / 4).reshape(kernel.shape)


def bilinear_kernel() -> Tensor:
    """The 4x4 kernel that makes a stride-2 transposed convolution a bilinear upsampling."""
    line = torch.tensor([0.25, 0.75, 0.75, 0.25])
    return line[:, None] * line


def centre_tap(like: Tensor) -> Tensor:
    """The convolution kernel (1, 1, 3, 3) that changes nothing, of the dtype and device of `like`."""
    kernel = like.new_zeros(1, 1, 3, 3)
    kernel[0, 0, 1, 1].fill_(1)
    return kernel
