"""Image classifiers in plain PyTorch, narrow and shallow, each with the block that its paper is known for."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tests.zoo.common import ConvNorm, SqueezeExcite

from .registry import architecture, image


class Head(nn.Sequential):
    """Mean over positions, one linear layer."""

    def __init__(self, channels: int, classes: int = 10) -> None:
        super().__init__(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes))


class UniversalBottleneck(nn.Module):
    """MobileNet V4's block: optional depthwise before the expansion, optional one after it (Qin 2024)."""

    def __init__(self, inputs: int, outputs: int, first: int, second: int, stride: int, expansion: int = 4) -> None:
        super().__init__()
        hidden = inputs * expansion
        layers: list[nn.Module] = []
        if first:
            layers.append(ConvNorm(inputs, inputs, first, 1 if second else stride, inputs, None))
        layers.append(ConvNorm(inputs, hidden, 1))
        if second:
            layers.append(ConvNorm(hidden, hidden, second, stride, hidden))
        layers.append(ConvNorm(hidden, outputs, 1, activation=None))
        self.layers = nn.Sequential(*layers)
        self.shortcut = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x) if self.shortcut else self.layers(x)


class GhostModule(nn.Module):
    """Half the channels by a convolution, the rest by cheap depthwise ones (Han 2020)."""

    def __init__(self, inputs: int, outputs: int, active: bool = True) -> None:
        super().__init__()
        self.outputs = outputs
        self.primary = ConvNorm(inputs, (outputs + 1) // 2, 1, activation=nn.ReLU if active else None)
        half = (outputs + 1) // 2
        self.cheap = ConvNorm(half, half, 3, 1, half, nn.ReLU if active else None)

    def forward(self, x: Tensor) -> Tensor:
        primary = self.primary(x)
        return torch.cat([primary, self.cheap(primary)], 1)[:, : self.outputs]


class GhostBottleneck(nn.Module):
    """Two ghost modules around an optional strided depthwise convolution."""

    def __init__(self, inputs: int, hidden: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.expand = GhostModule(inputs, hidden)
        self.depthwise = ConvNorm(hidden, hidden, 3, stride, hidden, None) if stride > 1 else nn.Identity()
        self.gate = SqueezeExcite(hidden, hidden // 4, nn.ReLU(), nn.Hardsigmoid())
        self.reduce = GhostModule(hidden, outputs, False)
        self.shortcut = (
            nn.Identity()
            if stride == 1 and inputs == outputs
            else nn.Sequential(
                ConvNorm(inputs, inputs, 3, stride, inputs, None), ConvNorm(inputs, outputs, 1, activation=None)
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.reduce(self.gate(self.depthwise(self.expand(x)))) + self.shortcut(x)


class GroupedBottleneck(nn.Module):
    """1x1, grouped 3x3, optional gate, 1x1: RegNet, ResNeXt and SE-ResNet differ by its numbers only."""

    def __init__(self, inputs: int, hidden: int, outputs: int, stride: int, groups: int, gate: bool) -> None:
        super().__init__()
        layers = [ConvNorm(inputs, hidden, 1), ConvNorm(hidden, hidden, 3, stride, groups)]
        if gate:
            layers.append(SqueezeExcite(hidden, hidden // 4, nn.ReLU(), nn.Sigmoid()))
        last = ConvNorm(hidden, outputs, 1, activation=None)
        last.ends_branch = True
        self.layers = nn.Sequential(*layers, last)
        self.shortcut = (
            nn.Identity()
            if stride == 1 and inputs == outputs
            else ConvNorm(inputs, outputs, 1, stride, activation=None)
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.layers(x) + self.shortcut(x))


class DenseLayer(nn.Module):
    """Batch norm first; its output is appended to its input (Huang 2017)."""

    def __init__(self, inputs: int, growth: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.BatchNorm2d(inputs), nn.ReLU(), nn.Conv2d(inputs, 4 * growth, 1, bias=False),
            nn.BatchNorm2d(4 * growth), nn.ReLU(), nn.Conv2d(4 * growth, growth, 3, padding=1, bias=False),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.layers(x)], 1)


def dense_net(growth: int = 8) -> nn.Module:
    layers: list[nn.Module] = [
        nn.Conv2d(3, 16, 7, 2, 3, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.MaxPool2d(3, 2, 1),
    ]
    channels = 16
    for block, depth in enumerate((3, 4, 3)):
        for _ in range(depth):
            layers.append(DenseLayer(channels, growth))
            channels += growth
        if block < 2:
            layers += [
                nn.BatchNorm2d(channels),
                nn.ReLU(),
                nn.Conv2d(channels, channels // 2, 1, bias=False),
                nn.AvgPool2d(2),
            ]
            channels //= 2
    return nn.Sequential(*layers, nn.BatchNorm2d(channels), nn.ReLU(), Head(channels))


class Factorized(nn.Sequential):
    """Convolution with a rectangular kernel, as Inception V3 splits its 7x7."""

    def __init__(self, inputs: int, outputs: int, kernel: tuple[int, int]) -> None:
        padding = (kernel[0] // 2, kernel[1] // 2)
        super().__init__(
            nn.Conv2d(inputs, outputs, kernel, padding=padding, bias=False), nn.BatchNorm2d(outputs, 1e-3), nn.ReLU()
        )


class Inception(nn.Module):
    """Four parallel branches, concatenated (Szegedy 2016)."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.one = ConvNorm(inputs, width, 1)
        self.five = nn.Sequential(ConvNorm(inputs, width, 1), ConvNorm(width, width, 5))
        self.seven = nn.Sequential(
            ConvNorm(inputs, width, 1), Factorized(width, width, (1, 7)), Factorized(width, width, (7, 1))
        )
        self.pool = nn.Sequential(nn.AvgPool2d(3, 1, 1), ConvNorm(inputs, width, 1))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.one(x), self.five(x), self.seven(x), self.pool(x)], 1)


class Reduction(nn.Module):
    """Half the size by convolutions beside a pooling."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.three = nn.Sequential(nn.Conv2d(inputs, width, 3, 2, bias=False), nn.BatchNorm2d(width), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.three(x), nn.functional.max_pool2d(x, 3, 2)], 1)


class InvertedResidual(nn.Module):
    """MNASNet's block: expansion, depthwise 3x3 or 5x5, linear projection (Tan 2019)."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        self.layers = nn.Sequential(
            ConvNorm(inputs, hidden, 1),
            ConvNorm(hidden, hidden, kernel, stride, hidden),
            ConvNorm(hidden, outputs, 1, activation=None),
        )
        self.shortcut = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x) + x if self.shortcut else self.layers(x)


class SeparableBlock(nn.Module):
    """Xception's: separable convolutions and pooling around a strided shortcut (Chollet 2017)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.ReLU(), ConvNorm(inputs, inputs, 3, 1, inputs, None), ConvNorm(inputs, outputs, 1, activation=None),
            nn.ReLU(), ConvNorm(outputs, outputs, 3, 1, outputs, None), ConvNorm(outputs, outputs, 1, activation=None),
            nn.MaxPool2d(3, 2, 1),
        )  # fmt: skip
        self.shortcut = ConvNorm(inputs, outputs, 1, 2, activation=None)

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x) + self.shortcut(x)


class RepVGGBlock(nn.Module):
    """Three parallel branches as they are trained: 3x3, 1x1 and identity, each with its norm (Ding 2021)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.three = ConvNorm(inputs, outputs, 3, stride, activation=None)
        self.one = ConvNorm(inputs, outputs, 1, stride, activation=None)
        self.identity = nn.BatchNorm2d(inputs) if stride == 1 and inputs == outputs else None

    def forward(self, x: Tensor) -> Tensor:
        y = self.three(x) + self.one(x)
        return torch.relu(y if self.identity is None else y + self.identity(x))


class ShuffleUnit(nn.Module):
    """ShuffleNet V1: grouped 1x1 convolutions with a channel shuffle between (Zhang 2018)."""

    def __init__(self, channels: int, groups: int, stride: int) -> None:
        super().__init__()
        self.groups, self.stride = groups, stride
        self.first = ConvNorm(channels, channels // 2, 1, groups=groups)
        self.depthwise = ConvNorm(channels // 2, channels // 2, 3, stride, channels // 2, None)
        self.last = ConvNorm(channels // 2, channels, 1, groups=groups, activation=None)

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(x)
        n, c, h, w = y.shape
        y = y.view(n, self.groups, c // self.groups, h, w).transpose(1, 2).reshape(n, c, h, w)
        y = self.last(self.depthwise(y))
        return (
            torch.relu(x + y)
            if self.stride == 1
            else torch.relu(torch.cat([nn.functional.avg_pool2d(x, 3, 2, 1), y], 1))
        )


class MixerBlock(nn.Module):
    """Multi-layer perceptrons over positions, then over channels (Tolstikhin 2021)."""

    def __init__(self, positions: int, width: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.tokens = nn.Sequential(nn.Linear(positions, 2 * positions), nn.GELU(), nn.Linear(2 * positions, positions))
        self.channels = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.tokens(self.norms[0](x).transpose(1, 2)).transpose(1, 2)
        return x + self.channels(self.norms[1](x))


class Mixer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 32, 8, 8)
        self.blocks = nn.Sequential(MixerBlock(64, 32), MixerBlock(64, 32), nn.LayerNorm(32))
        self.head = nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.blocks(self.patches(x).flatten(2).transpose(1, 2)).mean(1))


class EfficientChannelAttention(nn.Module):
    """A 1-D convolution over the channel means (Wang 2020)."""

    def __init__(self, kernel: int = 3) -> None:
        super().__init__()
        self.mix = nn.Conv1d(1, 1, kernel, padding=kernel // 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = nn.functional.adaptive_avg_pool2d(x, 1)
        y = self.mix(y.squeeze(-1).transpose(-1, -2)).transpose(-1, -2).unsqueeze(-1)
        return x * torch.sigmoid(y).expand_as(x)


class BlockAttention(nn.Module):
    """CBAM: channel gate from mean and maximum, position gate from mean and maximum over channels (Woo 2018)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.shared = nn.Sequential(nn.Linear(channels, channels // 4), nn.ReLU(), nn.Linear(channels // 4, channels))
        self.position = nn.Conv2d(2, 1, 7, padding=3)

    def forward(self, x: Tensor) -> Tensor:
        gate = torch.sigmoid(self.shared(x.mean((2, 3))) + self.shared(x.amax((2, 3))))
        x = x * gate[:, :, None, None]
        both = torch.cat([x.mean(1, keepdim=True), x.max(1, keepdim=True).values], 1)
        return x * torch.sigmoid(self.position(both))


class SplitScales(nn.Module):
    """Res2Net's hierarchical 3x3 convolutions within one block (Gao 2019)."""

    def __init__(self, channels: int, scales: int = 4) -> None:
        super().__init__()
        self.scales = scales
        self.convolutions = nn.ModuleList(ConvNorm(channels // scales, channels // scales) for _ in range(scales - 1))

    def forward(self, x: Tensor) -> Tensor:
        parts = list(x.chunk(self.scales, 1))
        for i, convolution in enumerate(self.convolutions):
            parts[i + 1] = convolution(parts[i + 1] + parts[i] if i else parts[i + 1])
        return torch.cat(parts, 1)


class SpatialTransformer(nn.Module):
    """An affine warp that the network predicts, then a classifier (Jaderberg 2015)."""

    def __init__(self) -> None:
        super().__init__()
        self.locate = nn.Sequential(
            nn.Conv2d(3, 8, 7, 4), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, 6)
        )
        self.network = nn.Sequential(ConvNorm(3, 16, 3, 2), Head(16))

    def forward(self, x: Tensor) -> Tensor:
        theta = self.locate(x).view(-1, 2, 3) + torch.eye(2, 3)
        grid = nn.functional.affine_grid(theta, list(x.shape), align_corners=False)
        return self.network(nn.functional.grid_sample(x, grid, align_corners=False))


def _stem(width: int = 16) -> nn.Module:
    return ConvNorm(3, width, 3, 2)


architecture("mobilenet_v4")(lambda: (nn.Sequential(
    _stem(), ConvNorm(16, 16, 3, 2), UniversalBottleneck(16, 24, 5, 5, 2), UniversalBottleneck(24, 24, 0, 3, 1),
    UniversalBottleneck(24, 24, 3, 0, 1), UniversalBottleneck(24, 32, 3, 3, 2), UniversalBottleneck(32, 32, 0, 0, 1),
    ConvNorm(32, 64, 1), Head(64)), image()))  # fmt: skip
architecture("ghostnet")(
    lambda: (
        nn.Sequential(
            _stem(),
            GhostBottleneck(16, 16, 16, 1),
            GhostBottleneck(16, 48, 25, 2),
            GhostBottleneck(25, 72, 24, 1),
            Head(24),
        ),
        image(),
    )
)
architecture("regnet_y")(lambda: (nn.Sequential(
    _stem(), GroupedBottleneck(16, 24, 24, 2, 3, True), GroupedBottleneck(24, 24, 24, 1, 3, True),
    GroupedBottleneck(24, 40, 40, 2, 5, True), Head(40)), image()))  # fmt: skip
architecture("resnext")(
    lambda: (
        nn.Sequential(
            _stem(), GroupedBottleneck(16, 32, 64, 1, 8, False), GroupedBottleneck(64, 64, 128, 2, 8, False), Head(128)
        ),
        image(),
    )
)
architecture("se_resnet")(
    lambda: (
        nn.Sequential(
            _stem(), GroupedBottleneck(16, 16, 64, 1, 1, True), GroupedBottleneck(64, 32, 128, 2, 1, True), Head(128)
        ),
        image(),
    )
)
architecture("densenet")(lambda: (dense_net(), image()))
architecture("inception_v3")(
    lambda: (nn.Sequential(_stem(), Inception(16, 12), Reduction(48, 16), Inception(64, 12), Head(48)), image())
)
architecture("mnasnet")(
    lambda: (
        nn.Sequential(
            _stem(),
            InvertedResidual(16, 24, 3, 2, 3),
            InvertedResidual(24, 24, 3, 1, 3),
            InvertedResidual(24, 40, 5, 2, 6),
            Head(40),
        ),
        image(),
    )
)
architecture("xception")(
    lambda: (nn.Sequential(_stem(), SeparableBlock(16, 24), SeparableBlock(24, 40), nn.ReLU(), Head(40)), image())
)
architecture("repvgg")(
    lambda: (
        nn.Sequential(
            RepVGGBlock(3, 16, 2), RepVGGBlock(16, 16, 1), RepVGGBlock(16, 32, 2), RepVGGBlock(32, 32, 1), Head(32)
        ),
        image(),
    )
)
architecture("shufflenet_v1")(
    lambda: (
        nn.Sequential(_stem(24), ShuffleUnit(24, 3, 2), ShuffleUnit(48, 3, 1), ShuffleUnit(48, 3, 2), Head(96)),
        image(),
    )
)
architecture("mlp_mixer")(lambda: (Mixer(), image()))
architecture("eca_net")(
    lambda: (
        nn.Sequential(
            _stem(), EfficientChannelAttention(), ConvNorm(16, 32, 3, 2), EfficientChannelAttention(), Head(32)
        ),
        image(),
    )
)
architecture("cbam")(
    lambda: (nn.Sequential(_stem(), BlockAttention(16), ConvNorm(16, 32, 3, 2), BlockAttention(32), Head(32)), image())
)
architecture("res2net")(
    lambda: (nn.Sequential(_stem(), SplitScales(16), ConvNorm(16, 32, 3, 2), SplitScales(32), Head(32)), image())
)
architecture("spatial_transformer")(lambda: (SpatialTransformer(), image()))
architecture("vgg")(lambda: (nn.Sequential(
    nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
    nn.AdaptiveAvgPool2d((7, 7)), nn.Flatten(), nn.Linear(32 * 49, 40), nn.ReLU(), nn.Dropout(), nn.Linear(40, 10)), image()))  # fmt: skip
architecture("alexnet")(lambda: (nn.Sequential(
    nn.Conv2d(3, 16, 11, 4, 2), nn.ReLU(), nn.LocalResponseNorm(5), nn.MaxPool2d(3, 2), nn.Conv2d(16, 24, 5, padding=2, groups=2), nn.ReLU(),
    nn.AdaptiveAvgPool2d(3), nn.Flatten(), nn.Linear(24 * 9, 10), nn.Softmax(1)), image()))  # fmt: skip
