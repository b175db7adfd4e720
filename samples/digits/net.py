"""The network of this sample: a small CNN for 8x8 greyscale digits."""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_digits
from torch import Tensor, nn


class DigitsNet(nn.Module):
    """Input [N, 1, 8, 8] in 0..1, output [N, 10] logits. 30,618 parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1, bias=False),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, padding=1, bias=False),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(32, 64, 3, padding=1, bias=False),
            nn.BatchNorm2d(64),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        )
        self.classifier = nn.Sequential(nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, 10))

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x))


def load_split() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Training images, training labels, test images, test labels; every fourth image is a test image.

    Images are float32 [N, 1, 8, 8] in 0..1.
    """
    data = load_digits()
    images = (data.images / 16.0).astype(np.float32)[:, None]
    test = np.arange(len(images)) % 4 == 3
    return images[~test], data.target[~test], images[test], data.target[test]
