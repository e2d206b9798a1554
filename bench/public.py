"""LapSRN as public PyTorch code writes it: whole picture, zero padding, every layer as in the paper, float32."""

import copy
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from model.network import LapSRN, Level, phases_sum_to_one, zero_mean


class PublicLapSRN(nn.Module):
    """The same trained function as the served one but for the border and a constant pattern; plain torch layers."""

    def __init__(self, network: LapSRN) -> None:
        super().__init__()
        self.levels = cast("Sequence[Level]", nn.ModuleList(copy.deepcopy(level) for level in network.levels))
        self.activation = nn.LeakyReLU(network.config.slope, inplace=True)
        with torch.no_grad():
            for level in self.levels:
                level.image_up.weight.copy_(phases_sum_to_one(level.image_up.weight))
            first = self.levels[0].convs[0]
            first.weight.copy_(zero_mean(first.weight))

    def forward(self, luma: Tensor) -> tuple[Tensor, ...]:
        """(N, 1, H, W), 16/255..235/255, to ((N, 1, 2H, 2W), (N, 1, 4H, 4W))."""
        features = image = luma
        outputs = []
        for level in self.levels:
            for conv in level.convs:
                features = self.activation(conv(features))
            features = level.up(features)
            image = level.image_up(image) + level.residual(features)
            outputs.append(image)
        return tuple(outputs)
