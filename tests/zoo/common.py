"""What the architectures share: convolution block, squeeze-and-excite, batch-norm statistics that make sense."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn


class ConvNorm(nn.Sequential):
    """Convolution without bias, batch norm, activation (None: linear); padding keeps the size at stride 1."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int = 3,
        stride: int = 1,
        groups: int = 1,
        activation: Callable[[], nn.Module] | None = nn.ReLU,
    ) -> None:
        layers: list[nn.Module] = [
            nn.Conv2d(in_channels, out_channels, kernel, stride, kernel // 2, groups=groups, bias=False),
            nn.BatchNorm2d(out_channels),
        ]
        if activation is not None:
            layers.append(activation())
        super().__init__(*layers)
        self.ends_branch = False  # the last block of a residual branch; see settle_batch_norm


class SqueezeExcite(nn.Module):
    """Scales every channel by a gate computed from the channel means."""

    def __init__(self, channels: int, hidden: int, inner: nn.Module, gate: nn.Module) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.reduce = nn.Conv2d(channels, hidden, 1)
        self.inner = inner
        self.expand = nn.Conv2d(hidden, channels, 1)
        self.gate = gate

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gate(self.expand(self.inner(self.reduce(self.pool(x)))))


def round_channels(channels: float, multiple: int = 8) -> int:
    """The nearest multiple of 8 that is not more than 10 % below, as the mobile networks round their widths."""
    rounded = max(multiple, int(channels + multiple / 2) // multiple * multiple)
    return rounded + multiple if rounded < 0.9 * channels else rounded


def random_image(*shape: int) -> Tensor:
    """Noise of every scale, as photos have it; `shape` is [N, C, H, W], values have a variance of about 1.

    White noise would average out: a few layers on, all positions of all images are nearly equal, batch norm then
    magnifies what little difference is left, and with it rounding errors, by a thousand.
    """
    n, c, h, w = shape
    image = torch.zeros(shape)
    for cells in (1, 2, 4, 16, h):
        noise = torch.randn(n, c, min(cells, h), min(cells, w))
        image += nn.functional.interpolate(noise, size=(h, w), mode="bilinear")
    return image / 5**0.5


def settle_batch_norm(model: nn.Module, *example: Tensor) -> None:
    """Sets running statistics from random input, and scales and shifts that differ per channel.

    Fresh statistics (mean 0, variance 1) let activations of a random deep network vanish or explode, and
    make a folded batch norm the identity: a test with them would not see a wrong folding. Residual branches end with
    small scales, as in trained networks: fifty layers of equal branches amplify rounding errors a hundred times.
    """
    branch_ends = {id(m[1]) for m in model.modules() if isinstance(m, ConvNorm) and m.ends_branch}
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]
    for norm in norms:
        nn.init.uniform_(norm.weight, *((0.1, 0.3) if id(norm) in branch_ends else (0.6, 1.4)))
        nn.init.uniform_(norm.bias, -0.3, 0.3)
        norm.reset_running_stats()
        norm.momentum = None  # the average over all batches instead of a moving one
    if norms:
        model.train()
        with torch.no_grad():
            # An image has thousands of values per channel; a vector needs many samples, or a channel that is
            # zero in all of them gets variance 0 and a gain of 1/sqrt(epsilon).
            model(*(random_image(8, *x.shape[1:]) if x.dim() == 4 else torch.randn(256, *x.shape[1:]) for x in example))
    model.eval()
