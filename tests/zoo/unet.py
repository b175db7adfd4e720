"""U-Net (Ronneberger 2015) with transposed convolutions and batch norm."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .common import ConvNorm


class UNet(nn.Module):
    """Four levels; output [N, classes, H, W] at the input's size."""

    def __init__(self, base: int = 16, classes: int = 4) -> None:
        super().__init__()
        widths = [base << i for i in range(4)]
        self.down = nn.ModuleList(
            nn.Sequential(ConvNorm(i, o), ConvNorm(o, o)) for i, o in zip([3, *widths[:-1]], widths, strict=True)
        )
        self.up = nn.ModuleList(nn.ConvTranspose2d(2 * w, w, 2, 2) for w in reversed(widths[:-1]))
        self.merge = nn.ModuleList(nn.Sequential(ConvNorm(2 * w, w), ConvNorm(w, w)) for w in reversed(widths[:-1]))
        self.head = nn.Conv2d(base, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        skips: list[Tensor] = []
        for level, block in enumerate(self.down):
            x = block(x if level == 0 else nn.functional.max_pool2d(x, 2))
            skips.append(x)
        for up, merge, skip in zip(self.up, self.merge, reversed(skips[:-1]), strict=True):
            x = merge(torch.cat([skip, up(x)], 1))
        return self.head(x)
