"""Residual networks: ImageNet ResNet-18 and ResNet-50 (He 2015), and the small ResNet-8 of 32x32 benchmarks."""

from __future__ import annotations

from torch import Tensor, nn

from .common import ConvNorm


class Residual(nn.Module):
    """relu(body(x) + shortcut(x)); the shortcut is a 1x1 convolution where size or channels change."""

    def __init__(self, body: nn.Sequential, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        body[-1].ends_branch = True
        self.body = body
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            self.shortcut = ConvNorm(in_channels, out_channels, 1, stride, activation=None)
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.body(x) + self.shortcut(x))


def basic_block(in_channels: int, width: int, stride: int) -> Residual:
    body = nn.Sequential(ConvNorm(in_channels, width, stride=stride), ConvNorm(width, width, activation=None))
    return Residual(body, in_channels, width, stride)


def bottleneck_block(in_channels: int, width: int, stride: int) -> Residual:
    out = 4 * width
    body = nn.Sequential(
        ConvNorm(in_channels, width, 1), ConvNorm(width, width, stride=stride), ConvNorm(width, out, 1, activation=None)
    )
    return Residual(body, in_channels, out, stride)


class ResNet(nn.Module):
    """Stem, four stages of residual blocks (64 to 512 wide), mean, linear classifier."""

    def __init__(self, block: type | object, depths: list[int], expansion: int, classes: int = 1000) -> None:
        super().__init__()
        self.stem = nn.Sequential(ConvNorm(3, 64, 7, 2), nn.MaxPool2d(3, 2, 1))
        channels = 64
        stages: list[nn.Module] = []
        for stage, depth in enumerate(depths):
            width = 64 << stage
            for i in range(depth):
                stages.append(block(channels, width, 2 if stage > 0 and i == 0 else 1))  # type: ignore[operator]
                channels = width * expansion
        self.stages = nn.Sequential(*stages)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.pool(self.stages(self.stem(x))).flatten(1))


def resnet18() -> ResNet:
    return ResNet(basic_block, [2, 2, 2, 2], 1)


def resnet50() -> ResNet:
    return ResNet(bottleneck_block, [3, 4, 6, 3], 4)


class ResNet8(nn.Module):
    """Three residual blocks for 32x32 images, 10 classes."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            ConvNorm(3, 16), basic_block(16, 16, 1), basic_block(16, 32, 2), basic_block(32, 64, 2), nn.AvgPool2d(8)
        )
        self.classifier = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.body(x).flatten(1)).softmax(-1)
