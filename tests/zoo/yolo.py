"""A one-stage detector in the style of YOLOv8n: C2f backbone, spatial pyramid pooling, two-way neck, DFL head."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .common import ConvNorm


def conv(in_channels: int, out_channels: int, kernel: int = 3, stride: int = 1) -> ConvNorm:
    return ConvNorm(in_channels, out_channels, kernel, stride, activation=nn.SiLU)


class SplitStage(nn.Module):
    """1x1, split in halves, a chain of 3x3 pairs on the last half, concatenate all, 1x1."""

    def __init__(self, in_channels: int, out_channels: int, repeats: int, shortcut: bool) -> None:
        super().__init__()
        half = out_channels // 2
        self.shortcut = shortcut
        self.enter = conv(in_channels, out_channels, 1)
        self.chain = nn.ModuleList(nn.Sequential(conv(half, half), conv(half, half)) for _ in range(repeats))
        self.leave = conv((2 + repeats) * half, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        parts = list(self.enter(x).chunk(2, 1))
        for pair in self.chain:
            y = pair(parts[-1])
            parts.append(parts[-1] + y if self.shortcut else y)
        return self.leave(torch.cat(parts, 1))


class PyramidPool(nn.Module):
    """Three 5x5 max pools in a row, concatenated with their input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.enter = conv(channels, channels // 2, 1)
        self.pool = nn.MaxPool2d(5, 1, 2)
        self.leave = conv(2 * channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        parts = [self.enter(x)]
        for _ in range(3):
            parts.append(self.pool(parts[-1]))
        return self.leave(torch.cat(parts, 1))


class DetectionHead(nn.Module):
    """Per level: box distances as distributions over 16 bins, class scores; decoded to boxes in pixels."""

    BINS = 16

    def __init__(self, channels: list[int], classes: int, image: int) -> None:
        super().__init__()
        self.classes = classes
        self.boxes = nn.ModuleList(
            nn.Sequential(conv(c, 64), conv(64, 64), nn.Conv2d(64, 4 * self.BINS, 1)) for c in channels
        )
        self.scores = nn.ModuleList(
            nn.Sequential(conv(c, 80), conv(80, 80), nn.Conv2d(80, classes, 1)) for c in channels
        )
        self.register_buffer("bins", torch.arange(self.BINS, dtype=torch.float32).view(1, self.BINS, 1, 1))
        centres, strides = [], []
        for stride in (8, 16, 32):
            cells = image // stride
            y, x = torch.meshgrid(torch.arange(cells) + 0.5, torch.arange(cells) + 0.5, indexing="ij")
            centres.append(torch.stack([x, y]).view(2, -1))
            strides.append(torch.full((1, cells * cells), float(stride)))
        self.register_buffer("centres", torch.cat(centres, 1))
        self.register_buffer("strides", torch.cat(strides, 1))

    def forward(self, levels: list[Tensor]) -> Tensor:
        n = levels[0].shape[0]
        boxes = torch.cat([f(x).view(n, 4 * self.BINS, -1) for f, x in zip(self.boxes, levels, strict=True)], 2)
        scores = torch.cat([f(x).view(n, self.classes, -1) for f, x in zip(self.scores, levels, strict=True)], 2)
        distances = (boxes.view(n, 4, self.BINS, -1).transpose(1, 2).softmax(1) * self.bins).sum(1)
        left_top, right_bottom = distances.chunk(2, 1)
        low, high = self.centres - left_top, self.centres + right_bottom
        decoded = torch.cat([(low + high) / 2, high - low], 1) * self.strides
        return torch.cat([decoded, scores.sigmoid()], 1)


class YoloN(nn.Module):
    """Output [N, 4 + classes, cells]: centre x, y, width, height in pixels, then class probabilities."""

    def __init__(self, image: int = 320, classes: int = 80) -> None:
        super().__init__()
        self.stem = nn.Sequential(conv(3, 16, stride=2), conv(16, 32, stride=2), SplitStage(32, 32, 1, True))
        self.stage3 = nn.Sequential(conv(32, 64, stride=2), SplitStage(64, 64, 2, True))
        self.stage4 = nn.Sequential(conv(64, 128, stride=2), SplitStage(128, 128, 2, True))
        self.stage5 = nn.Sequential(conv(128, 256, stride=2), SplitStage(256, 256, 1, True), PyramidPool(256))
        self.up = nn.Upsample(scale_factor=2, mode="nearest")
        self.merge4 = SplitStage(256 + 128, 128, 1, False)
        self.merge3 = SplitStage(128 + 64, 64, 1, False)
        self.down3 = conv(64, 64, stride=2)
        self.merge4b = SplitStage(64 + 128, 128, 1, False)
        self.down4 = conv(128, 128, stride=2)
        self.merge5b = SplitStage(128 + 256, 256, 1, False)
        self.head = DetectionHead([64, 128, 256], classes, image)

    def forward(self, x: Tensor) -> Tensor:
        p3 = self.stage3(self.stem(x))
        p4 = self.stage4(p3)
        p5 = self.stage5(p4)
        n4 = self.merge4(torch.cat([self.up(p5), p4], 1))
        n3 = self.merge3(torch.cat([self.up(n4), p3], 1))
        m4 = self.merge4b(torch.cat([self.down3(n3), n4], 1))
        m5 = self.merge5b(torch.cat([self.down4(m4), p5], 1))
        return self.head([n3, m4, m5])
