"""ShuffleNet V2 1.0x (Ma 2018)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .common import ConvNorm


def channel_shuffle(x: Tensor, groups: int) -> Tensor:
    n, c, h, w = x.shape
    return x.view(n, groups, c // groups, h, w).transpose(1, 2).reshape(n, c, h, w)


class ShuffleUnit(nn.Module):
    """Half of the channels pass, the other half is filtered; the down-sampling unit filters both halves."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        half = out_channels // 2
        self.splits = stride == 1
        if not self.splits:
            self.left = nn.Sequential(
                ConvNorm(in_channels, in_channels, stride=stride, groups=in_channels, activation=None),
                ConvNorm(in_channels, half, 1),
            )
        right_in = in_channels // 2 if self.splits else in_channels
        self.right = nn.Sequential(
            ConvNorm(right_in, half, 1),
            ConvNorm(half, half, stride=stride, groups=half, activation=None),
            ConvNorm(half, half, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        if self.splits:
            left, right = x.chunk(2, 1)
        else:
            left, right = self.left(x), x
        return channel_shuffle(torch.cat([left, self.right(right)], 1), 2)


class ShuffleNetV2(nn.Module):
    def __init__(self, classes: int = 1000) -> None:
        super().__init__()
        layers: list[nn.Module] = [ConvNorm(3, 24, stride=2), nn.MaxPool2d(3, 2, 1)]
        channels = 24
        for out, repeats in [(116, 4), (232, 8), (464, 4)]:
            for i in range(repeats):
                layers.append(ShuffleUnit(channels, out, 2 if i == 0 else 1))
                channels = out
        layers.append(ConvNorm(channels, 1024, 1))
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(1024, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x).mean([2, 3]))
