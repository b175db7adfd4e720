"""Networks of microcontroller size and recurrent ones: keyword spotting, anomaly detection, speech frames."""

from __future__ import annotations

import itertools

from torch import Tensor, nn

from .common import ConvNorm


class KeywordDSCNN(nn.Module):
    """Depthwise-separable convolutions over 49 frames of 10 features; 12 keywords (Zhang 2017)."""

    def __init__(self, channels: int = 64) -> None:
        super().__init__()
        layers: list[nn.Module] = [
            nn.Conv2d(1, channels, (10, 4), (2, 2), (5, 1), bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
        ]
        for _ in range(4):
            layers += [ConvNorm(channels, channels, groups=channels), ConvNorm(channels, channels, 1)]
        self.features = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.classifier = nn.Linear(channels, 12)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x)).softmax(-1)


class Autoencoder(nn.Module):
    """640 spectrum values to a code of 8 and back; fully connected with batch norm."""

    def __init__(self) -> None:
        super().__init__()
        widths = [640, 128, 128, 128, 128, 8, 128, 128, 128, 128]
        layers: list[nn.Module] = []
        for i, o in itertools.pairwise(widths):
            layers += [nn.Linear(i, o), nn.BatchNorm1d(o), nn.ReLU()]
        self.body = nn.Sequential(*layers, nn.Linear(128, 640))

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


class RecurrentSpeech(nn.Module):
    """Two recurrent layers over frames of 80 features, one linear output per frame."""

    def __init__(self, cell: type[nn.LSTM] | type[nn.GRU], hidden: int = 256, bidirectional: bool = False) -> None:
        super().__init__()
        self.recurrent = cell(80, hidden, num_layers=2, batch_first=True, bidirectional=bidirectional)
        self.head = nn.Linear(hidden * (2 if bidirectional else 1), 40)

    def forward(self, x: Tensor) -> Tensor:
        y, _ = self.recurrent(x)
        return self.head(y).log_softmax(-1)
