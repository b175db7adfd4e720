"""EfficientNet-B0 (Tan 2019)."""

from __future__ import annotations

from torch import Tensor, nn

from .common import ConvNorm, SqueezeExcite
from .mobilenet import InvertedResidual


class EfficientNetB0(nn.Module):
    """Inverted residuals with squeeze-and-excite in every block and SiLU."""

    # expansion, channels, repeats, stride, kernel
    PLAN = (
        (1, 16, 1, 1, 3),
        (6, 24, 2, 2, 3),
        (6, 40, 2, 2, 5),
        (6, 80, 3, 2, 3),
        (6, 112, 3, 1, 5),
        (6, 192, 4, 2, 5),
        (6, 320, 1, 1, 3),
    )

    def __init__(self, classes: int = 1000) -> None:
        super().__init__()
        channels = 32
        layers: list[nn.Module] = [ConvNorm(3, channels, stride=2, activation=nn.SiLU)]
        for expansion, out, repeats, first_stride, kernel in self.PLAN:
            for i in range(repeats):
                expanded = channels * expansion
                excite = SqueezeExcite(expanded, max(1, channels // 4), nn.SiLU(), nn.Sigmoid())
                stride = first_stride if i == 0 else 1
                layers.append(InvertedResidual(channels, expanded, out, kernel, stride, nn.SiLU, excite))
                channels = out
        layers.append(ConvNorm(channels, 1280, 1, activation=nn.SiLU))
        self.features = nn.Sequential(*layers)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(1280, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.pool(self.features(x)).flatten(1))
