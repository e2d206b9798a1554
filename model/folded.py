"""LapSRN's folded form: the same function with every transposed convolution merged into the convolution after it.

A transposed convolution (4x4, stride 2) followed, with no activation between, by a 3x3 convolution is one 3x3
convolution to four times the channels and a pixel shuffle. Compare SESR (Bhardwaj et al., MLSys 2022).
All convolutions here are valid (padding 0): an output pixel exists only where all of its inputs do.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from model.config import NEIGHBOURS


class Conv(Protocol):
    """A valid convolution, followed by LeakyReLU where a slope is given; (N, C, H, W) in the dtype it is to run in."""

    def __call__(self, features: Tensor, slope: float | None = None) -> Tensor:
        """(N, C, H, W) to (N, O, H - k + 1, W - k + 1)."""
        ...


@dataclass(frozen=True, slots=True)
class EagerConv:
    """weight (O, C, k, k) and bias (O,), cast to the dtype of what comes in; differentiable."""

    weight: Tensor
    bias: Tensor | None = None

    def __call__(self, features: Tensor, slope: float | None = None) -> Tensor:
        """A plain torch convolution."""
        dtype = features.dtype
        out = F.conv2d(features, self.weight.to(dtype), None if self.bias is None else self.bias.to(dtype))
        return out if slope is None else F.leaky_relu(out, slope, inplace=not torch.is_grad_enabled())


@dataclass(frozen=True, slots=True)
class FoldedLevel:
    """One level: convs on features; residual to 4 phases; features of the next level, 4 phases; image to 4 phases.

    Channels of residual and image are in the order of pixel_shuffle, those of `following` phase by phase
    (`phases_first`).
    """

    convs: tuple[Conv, ...]
    residual: Conv
    following: Conv | None
    image: Conv


@dataclass(frozen=True, slots=True)
class FoldedLapSRN:
    """The served function. Features are computed in the given dtype, the image branch always in that of the input."""

    entry: Conv
    levels: tuple[FoldedLevel, ...]
    margin: int
    slope: float
    skips: bool = False
    """Whether the convolutions of a level come in pairs that are added to their input."""

    def __call__(self, padded: Tensor, dtype: torch.dtype | None = None) -> list[Tensor]:
        """Luma with its margin (N, 1, H + 2m, W + 2m), 0..1, to [(N, 1, 2H, 2W), (N, 1, 4H, 4W), ...].

        `dtype` is that of the features (None: the input's). Flat in is flat out in any dtype: the residual that a flat
        picture would get is subtracted, and it comes from the same arithmetic.
        """
        return self.combine(padded, self.residuals(padded, dtype), self.flat_residuals(padded, dtype))

    @property
    def device(self) -> torch.device:
        """Where its convolutions are, as long as they are EagerConvs."""
        assert isinstance(self.entry, EagerConv)
        return self.entry.weight.device

    def combine(self, padded: Tensor, residuals: list[Tensor], flats: list[Tensor]) -> list[Tensor]:
        """The image branch: upsample, add the residual minus what a flat picture would get (`flats`), level by level.

        As many levels as there are residuals.
        """
        source_height, source_width = (side - 2 * self.margin for side in padded.shape[-2:])
        needs = image_borders(len(residuals))
        image = padded
        outputs = []
        for i, (level, residual, flat) in enumerate(zip(self.levels, residuals, flats, strict=False)):
            height, width = source_height << i, source_width << i
            border = (needs[i + 1] + 1) // 2
            phases = level.image(crop_to(image, height + 2 * border + 2, width + 2 * border + 2))
            phases = phases + crop_to(residual, *phases.shape[-2:]) - periodic(flat, border, *phases.shape[-2:])
            image = shuffle_phases(phases)
            outputs.append(crop_to(image, 2 * height, 2 * width))
        return outputs

    def residuals(self, padded: Tensor, dtype: torch.dtype | None = None, levels: int | None = None) -> list[Tensor]:
        """Residual of each level as four phases at the level's input resolution, in the input's dtype.

        (N, 4, h, w), with the core in the middle; how much is around it depends on the level. `levels`: of the first
        few only.
        """
        dtype = dtype or padded.dtype
        # Backward in float32 is faster on oneDNN's own blocked layout; reduced precision has kernels for channels last.
        training = torch.is_grad_enabled() and dtype == torch.float32
        layout = torch.contiguous_format if training else torch.channels_last
        features = self.entry(neighbour_differences(padded).to(dtype, memory_format=layout), self.slope)
        outputs = []
        count = levels or len(self.levels)
        for i, level in enumerate(self.levels[:count]):
            features = self._through(level.convs, features)
            outputs.append(level.residual(features).to(padded.dtype))
            if i + 1 < count:
                assert level.following is not None
                # The shuffle comes after the activation, which gives the same in either order.
                features = shuffle_phases(level.following(features, self.slope))
        return outputs

    def flat_residuals(self, like: Tensor, dtype: torch.dtype | None = None) -> list[Tensor]:
        """What `residuals` gives for a flat picture: one period of each level, as `one_period` returns it.

        In the dtype and on the device of `like`.
        """
        one_pixel = like.new_zeros(1, 1, 2 * self.margin + 1, 2 * self.margin + 1)
        return one_period(self.residuals(one_pixel, dtype))

    def _through(self, convs: tuple[Conv, ...], features: Tensor) -> Tensor:
        """Features after a level's convolutions, each of which removes a pixel on every side."""
        if not self.skips:
            for conv in convs:
                features = conv(features, self.slope)
            return features
        for first, second in zip(convs[::2], convs[1::2], strict=True):
            change = second(first(features, self.slope))
            features = crop_to(features, *change.shape[-2:]) + change
        return features

    def map(self, features: Callable[[Conv], Conv], image: Callable[[Conv], Conv]) -> "FoldedLapSRN":
        """The same network with convolutions replaced: on features, first and last ones included, and on the image."""
        levels = tuple(
            FoldedLevel(
                convs=tuple(features(conv) for conv in level.convs),
                residual=features(level.residual),
                following=None if level.following is None else features(level.following),
                image=image(level.image),
            )
            for level in self.levels
        )
        return replace(self, entry=features(self.entry), levels=levels)


def compose(up: Tensor, up_bias: Tensor | None, conv: Tensor, conv_bias: Tensor | None) -> EagerConv:
    """One 3x3 kernel to four phases for `conv_transpose2d(stride 2, padding 1)` and then `conv2d(padding 1)`.

    up (C, M, 4, 4), conv (O, M, 3, 3) -> (4 O, C, 3, 3) in the channel order of pixel_shuffle, and its bias (4 O,).
    With a the phase of an output pixel, u the tap of the convolution and k that of the transposed one, the source pixel
    is d = (a + u - k) / 2 away; only whole d occur, and they are -1, 0 and 1.
    """
    taps = up.new_zeros(2, 3, 4, 3)  # (a, u, k, d + 1)
    for a in range(2):
        for u in range(3):
            for k in range((a + u) % 2, 4, 2):
                taps[a, u, k, (a + u - k) // 2 + 1].fill_(1)
    product = torch.einsum("omuv,cmkl->oukcvl", conv, up)
    rows = torch.einsum("oukcvl,aukd->oadcvl", product, taps)
    weight = torch.einsum("oadcvl,bvle->oabcde", rows, taps).reshape(4 * conv.shape[0], up.shape[0], 3, 3)
    if up_bias is None or conv_bias is None:
        return EagerConv(weight)
    bias = conv_bias + conv.sum(dim=(2, 3)) @ up_bias
    return EagerConv(weight, bias.repeat_interleave(4))


def phases_first(conv: EagerConv) -> EagerConv:
    """The same convolution with output channels (o, phase) in the order (phase, o), for `shuffle_phases`."""
    assert conv.bias is not None
    outputs, inputs, height, width = conv.weight.shape
    weight = conv.weight.reshape(outputs // 4, 4, inputs, height, width).transpose(0, 1)
    return EagerConv(weight.reshape(conv.weight.shape), conv.bias.reshape(-1, 4).T.flatten())


def shuffle_phases(features: Tensor) -> Tensor:
    """pixel_shuffle by 2 for channels ordered phase by phase: (N, 4 C, h, w) to (N, C, 2h, 2w), same memory format.

    In channels last, what two neighbours of a row hold moves as one block, several times as fast as torch's shuffle.
    """
    count, channels, height, width = features.shape
    if features.stride(1) != 1:
        planes = features.reshape(count, 2, 2, channels // 4, height, width).permute(0, 3, 4, 1, 5, 2)
        return planes.reshape(count, channels // 4, 2 * height, 2 * width)
    pairs = features.permute(0, 2, 3, 1).reshape(count, height, width, 2, channels // 2)
    if channels == 4:  # two floats move fastest as one complex number
        rows = torch.view_as_real(torch.view_as_complex(pairs.contiguous()).transpose(2, 3).contiguous())
    else:
        rows = pairs.transpose(2, 3)
    return rows.reshape(count, 2 * height, 2 * width, channels // 4).permute(0, 3, 1, 2)


def drop_centre(weight: Tensor) -> Tensor:
    """Zero-mean filters (C, 1, 3, 3) as (C, 8, 1, 1) on `neighbour_differences`: the centre's weight is implied."""
    return torch.stack([weight[:, 0, y, x] for y, x in NEIGHBOURS], dim=1)[:, :, None, None]


def neighbour_differences(luma: Tensor) -> Tensor:
    """(N, 1, H, W) to (N, 8, H - 2, W - 2): each neighbour minus the pixel itself, exactly zero where it is flat."""
    height, width = luma.shape[-2] - 2, luma.shape[-1] - 2
    centre = luma[:, :, 1:-1, 1:-1]
    around = torch.cat([luma[:, :, y : y + height, x : x + width] for y, x in NEIGHBOURS], dim=1)
    return around - centre


def centred(network: FoldedLapSRN) -> FoldedLapSRN:
    """The same function with residuals around zero: biases minus what a flat picture gets, which is subtracted anyway.

    Reduced precision then spends its bits on the picture. The convolutions of `network` are EagerConvs.
    """
    assert isinstance(network.entry, EagerConv)
    levels = []
    for level, flat in zip(network.levels, network.flat_residuals(network.entry.weight), strict=True):
        residual = level.residual
        assert isinstance(residual, EagerConv)
        bias = residual.weight.new_zeros(len(residual.weight)) if residual.bias is None else residual.bias
        levels.append(replace(level, residual=EagerConv(residual.weight, bias - flat.mean(dim=(0, 2, 3)))))
    return replace(network, levels=tuple(levels))


def image_borders(levels: int) -> list[int]:
    """Pixels around the core that the image needs before the first level, after it, and so on to 0 after the last."""
    borders = [0]
    for _ in range(levels):
        borders.insert(0, (borders[0] + 1) // 2 + 1)
    return borders


def crop_to(picture: Tensor, height: int, width: int) -> Tensor:
    """The middle of `picture`, `height` x `width`."""
    top, left = (picture.shape[-2] - height) // 2, (picture.shape[-1] - width) // 2
    return picture[..., top : top + height, left : left + width]


def one_period(residuals: list[Tensor]) -> list[Tensor]:
    """One period (1, 4, p, p), p = 1, 2, 4, ..., of each level's residual for a flat picture."""
    return [crop_to(residual, 2**i, 2**i) for i, residual in enumerate(residuals)]


def periodic(flat: Tensor, border: int, height: int, width: int) -> Tensor:
    """One period (1, 4, p, p) repeated to (1, 4, height, width), channels last, its first pixel `border` pixels in."""
    period = flat.shape[-1]
    rows = (torch.arange(height, device=flat.device) - border) % period
    columns = (torch.arange(width, device=flat.device) - border) % period
    return flat.permute(0, 2, 3, 1).index_select(2, columns).index_select(1, rows).permute(0, 3, 1, 2)
