"""MobileNet V1, V2 and V3-Large (Howard 2017, Sandler 2018, Howard 2019)."""

from __future__ import annotations

from torch import Tensor, nn

from .common import ConvNorm, SqueezeExcite, round_channels


class MobileNetV1(nn.Module):
    """Depthwise-separable stack; `width` scales every layer's channels."""

    def __init__(self, width: float = 1.0, classes: int = 1000, in_channels: int = 3) -> None:
        super().__init__()
        channels = round_channels(32 * width)
        layers: list[nn.Module] = [ConvNorm(in_channels, channels, stride=2)]
        plan = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1)]
        for base, stride in plan:
            out = round_channels(base * width)
            layers += [ConvNorm(channels, channels, stride=stride, groups=channels), ConvNorm(channels, out, kernel=1)]
            channels = out
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x).mean((2, 3)))


class InvertedResidual(nn.Module):
    """Expand by 1x1, filter each channel, project by 1x1; adds its input when sizes agree."""

    def __init__(
        self,
        in_channels: int,
        expanded: int,
        out_channels: int,
        kernel: int = 3,
        stride: int = 1,
        activation: type[nn.Module] = nn.ReLU6,
        excite: nn.Module | None = None,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        if expanded != in_channels:
            layers.append(ConvNorm(in_channels, expanded, 1, activation=activation))
        layers.append(ConvNorm(expanded, expanded, kernel, stride, groups=expanded, activation=activation))
        if excite is not None:
            layers.append(excite)
        project = ConvNorm(expanded, out_channels, 1, activation=None)
        self.adds_input = project.ends_branch = stride == 1 and in_channels == out_channels
        self.body = nn.Sequential(*layers, project)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x) if self.adds_input else self.body(x)


class MobileNetV2(nn.Module):
    """Inverted residuals with linear bottlenecks, ReLU6."""

    # expansion, channels, repeats, stride of the first repeat
    PLAN = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))

    def __init__(self, width: float = 1.0, classes: int = 1000) -> None:
        super().__init__()
        channels = round_channels(32 * width)
        layers: list[nn.Module] = [ConvNorm(3, channels, stride=2, activation=nn.ReLU6)]
        for expansion, base, repeats, first_stride in self.PLAN:
            out = round_channels(base * width)
            for i in range(repeats):
                layers.append(
                    InvertedResidual(channels, channels * expansion, out, stride=first_stride if i == 0 else 1)
                )
                channels = out
        last = round_channels(1280 * max(1.0, width))
        layers.append(ConvNorm(channels, last, 1, activation=nn.ReLU6))
        self.features = nn.Sequential(*layers)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(last, classes))

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.pool(self.features(x)).flatten(1))


class MobileNetV3Large(nn.Module):
    """Inverted residuals with squeeze-and-excite and hard-swish."""

    # kernel, expanded, out, squeeze-and-excite, hard-swish, stride
    PLAN = (
        (3, 16, 16, False, False, 1),
        (3, 64, 24, False, False, 2),
        (3, 72, 24, False, False, 1),
        (5, 72, 40, True, False, 2),
        (5, 120, 40, True, False, 1),
        (5, 120, 40, True, False, 1),
        (3, 240, 80, False, True, 2),
        (3, 200, 80, False, True, 1),
        (3, 184, 80, False, True, 1),
        (3, 184, 80, False, True, 1),
        (3, 480, 112, True, True, 1),
        (3, 672, 112, True, True, 1),
        (5, 672, 160, True, True, 2),
        (5, 960, 160, True, True, 1),
        (5, 960, 160, True, True, 1),
    )

    def __init__(self, classes: int = 1000) -> None:
        super().__init__()
        channels = 16
        layers: list[nn.Module] = [ConvNorm(3, channels, stride=2, activation=nn.Hardswish)]
        for kernel, expanded, out, squeeze, hard_swish, stride in self.PLAN:
            excite = (
                SqueezeExcite(expanded, round_channels(expanded / 4), nn.ReLU(), nn.Hardsigmoid()) if squeeze else None
            )
            activation = nn.Hardswish if hard_swish else nn.ReLU
            layers.append(InvertedResidual(channels, expanded, out, kernel, stride, activation, excite))
            channels = out
        layers.append(ConvNorm(channels, 960, 1, activation=nn.Hardswish))
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(nn.Linear(960, 1280), nn.Hardswish(), nn.Linear(1280, classes))

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(nn.functional.adaptive_avg_pool2d(self.features(x), 1).flatten(1))
