"""Detection, segmentation, super-resolution and image generation in plain PyTorch, narrow and shallow."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.zoo.common import ConvNorm

from .registry import architecture, image


class CrossStage(nn.Module):
    """YOLOv5's C3: bottlenecks on half of the channels."""

    def __init__(self, inputs: int, outputs: int, depth: int = 1) -> None:
        super().__init__()
        half = outputs // 2
        self.left = ConvNorm(inputs, half, 1, activation=nn.SiLU)
        self.right = ConvNorm(inputs, half, 1, activation=nn.SiLU)
        self.blocks = nn.ModuleList(
            nn.Sequential(ConvNorm(half, half, 1, activation=nn.SiLU), ConvNorm(half, half, activation=nn.SiLU))
            for _ in range(depth)
        )
        self.merge = ConvNorm(2 * half, outputs, 1, activation=nn.SiLU)

    def forward(self, x: Tensor) -> Tensor:
        y = self.left(x)
        for block in self.blocks:
            y = y + block(y)
        return self.merge(torch.cat([y, self.right(x)], 1))


class FastPyramidPool(nn.Module):
    """Three poolings in a row, all concatenated."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.reduce = ConvNorm(channels, channels // 2, 1, activation=nn.SiLU)
        self.merge = ConvNorm(2 * channels, channels, 1, activation=nn.SiLU)

    def forward(self, x: Tensor) -> Tensor:
        parts = [self.reduce(x)]
        for _ in range(3):
            parts.append(functional.max_pool2d(parts[-1], 5, 1, 2))
        return self.merge(torch.cat(parts, 1))


class YoloV5(nn.Module):
    """Two levels with anchors; boxes are decoded inside, as its export does: [N, boxes, 5 + classes]."""

    def __init__(self, classes: int = 4) -> None:
        super().__init__()
        self.outputs = 5 + classes
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 6, 2, 2, bias=False), nn.BatchNorm2d(8), nn.SiLU())
        self.low = nn.Sequential(
            ConvNorm(8, 16, 3, 2, activation=nn.SiLU),
            CrossStage(16, 16),
            ConvNorm(16, 32, 3, 2, activation=nn.SiLU),
            CrossStage(32, 32),
        )
        self.high = nn.Sequential(ConvNorm(32, 48, 3, 2, activation=nn.SiLU), CrossStage(48, 48), FastPyramidPool(48))
        self.lateral = ConvNorm(48, 32, 1, activation=nn.SiLU)
        self.merge = CrossStage(64, 32)
        self.down = ConvNorm(32, 32, 3, 2, activation=nn.SiLU)
        self.last = CrossStage(80, 48)
        self.heads = nn.ModuleList([nn.Conv2d(32, 3 * self.outputs, 1), nn.Conv2d(48, 3 * self.outputs, 1)])
        self.register_buffer(
            "anchors", torch.tensor([[[10.0, 13], [16, 30], [33, 23]], [[30, 61], [62, 45], [59, 119]]])
        )

    def forward(self, x: Tensor) -> Tensor:
        low = self.low(self.stem(x))
        high = self.high(low)
        merged = self.merge(
            torch.cat([functional.interpolate(self.lateral(high), scale_factor=2.0, mode="nearest"), low], 1)
        )
        levels = [merged, self.last(torch.cat([self.down(merged), high], 1))]
        boxes = []
        for level, (features, head) in enumerate(zip(levels, self.heads, strict=True)):
            y = head(features)
            n, _, h, w = y.shape
            y = y.view(n, 3, self.outputs, h, w).permute(0, 1, 3, 4, 2).sigmoid()
            rows, columns = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
            grid = torch.stack([columns, rows], 2).expand(1, 3, h, w, 2).float()
            center = (y[..., 0:2] * 2 - 0.5 + grid) * 8 * 2**level
            size = (y[..., 2:4] * 2) ** 2 * self.anchors[level].view(1, 3, 1, 1, 2)
            boxes.append(torch.cat([center, size, y[..., 4:]], -1).view(n, -1, self.outputs))
        return torch.cat(boxes, 1)


class SingleShot(nn.Module):
    """SSD: class scores and boxes of two levels against default boxes (Liu 2016)."""

    def __init__(self, classes: int = 5) -> None:
        super().__init__()
        self.classes = classes
        self.stages = nn.ModuleList(
            [nn.Sequential(ConvNorm(3, 16, 3, 2), ConvNorm(16, 24, 3, 2)), ConvNorm(24, 32, 3, 2)]
        )
        self.scores = nn.ModuleList(nn.Conv2d(c, 4 * classes, 3, padding=1) for c in (24, 32))
        self.offsets = nn.ModuleList(nn.Conv2d(c, 16, 3, padding=1) for c in (24, 32))
        self.register_buffer("defaults", torch.rand(1, 4 * (16 * 16 + 8 * 8), 4))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        scores, offsets = [], []
        for stage, score, offset in zip(self.stages, self.scores, self.offsets, strict=True):
            x = stage(x)
            scores.append(score(x).permute(0, 2, 3, 1).reshape(x.shape[0], -1, self.classes))
            offsets.append(offset(x).permute(0, 2, 3, 1).reshape(x.shape[0], -1, 4))
        offset = torch.cat(offsets, 1)
        center = self.defaults[..., :2] + 0.1 * offset[..., :2] * self.defaults[..., 2:]
        size = self.defaults[..., 2:] * torch.exp(0.2 * offset[..., 2:])
        return torch.softmax(torch.cat(scores, 1), -1), torch.cat([center - size / 2, center + size / 2], -1)


class CenterNet(nn.Module):
    """Heat map, peaks by max pooling, the best k with their sizes (Zhou 2019)."""

    def __init__(self, k: int = 8) -> None:
        super().__init__()
        self.k = k
        self.backbone = nn.Sequential(ConvNorm(3, 16, 3, 2), ConvNorm(16, 24, 3, 2))
        self.up = nn.Sequential(nn.ConvTranspose2d(24, 16, 4, 2, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
        self.heat = nn.Conv2d(16, 3, 1)
        self.size = nn.Conv2d(16, 2, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        y = self.up(self.backbone(x))
        heat = torch.sigmoid(self.heat(y))
        peaks = heat * (functional.max_pool2d(heat, 3, 1, 1) == heat).float()
        scores, places = peaks.flatten(1).topk(self.k)
        positions = places % (heat.shape[2] * heat.shape[3])
        size = self.size(y).flatten(2).gather(2, positions.unsqueeze(1).expand(-1, 2, -1))
        return scores, places, size


class AtrousPyramid(nn.Module):
    """Dilated convolutions at several rates and a global branch (DeepLab V3, Chen 2017)."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.one = ConvNorm(inputs, width, 1)
        self.dilated = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(inputs, width, 3, padding=r, dilation=r, bias=False), nn.BatchNorm2d(width), nn.ReLU()
            )
            for r in (2, 4, 6)
        )
        self.image = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(inputs, width, 1), nn.ReLU())
        self.merge = ConvNorm(5 * width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        everywhere = functional.interpolate(self.image(x), size=x.shape[2:], mode="bilinear", align_corners=False)
        return self.merge(torch.cat([self.one(x), *(d(x) for d in self.dilated), everywhere], 1))


class DeepLab(nn.Module):
    """DeepLab V3+: pyramid, then the early features join in the decoder."""

    def __init__(self, classes: int = 5) -> None:
        super().__init__()
        self.low = nn.Sequential(ConvNorm(3, 16, 3, 2), ConvNorm(16, 16, 3, 2))
        self.high = nn.Sequential(ConvNorm(16, 32, 3, 2), ConvNorm(32, 32))
        self.pyramid = AtrousPyramid(32, 16)
        self.project = ConvNorm(16, 8, 1)
        self.head = nn.Sequential(ConvNorm(24, 16), nn.Conv2d(16, classes, 1))

    def forward(self, x: Tensor) -> Tensor:
        low = self.low(x)
        y = functional.interpolate(
            self.pyramid(self.high(low)), size=low.shape[-2:], mode="bilinear", align_corners=False
        )
        y = self.head(torch.cat([y, self.project(low)], 1))
        return functional.interpolate(y, size=x.shape[-2:], mode="bilinear", align_corners=False)


class PyramidScene(nn.Module):
    """PSPNet: average pools to 1, 2, 3 and 6 cells (Zhao 2017)."""

    def __init__(self, classes: int = 5) -> None:
        super().__init__()
        self.backbone = nn.Sequential(ConvNorm(3, 16, 3, 2), ConvNorm(16, 32, 3, 2))
        self.levels = nn.ModuleList(nn.Sequential(nn.AdaptiveAvgPool2d(n), ConvNorm(32, 8, 1)) for n in (1, 2, 3, 6))
        self.head = nn.Sequential(ConvNorm(64, 16), nn.Conv2d(16, classes, 1))

    def forward(self, x: Tensor) -> Tensor:
        y = self.backbone(x)
        parts = [
            functional.interpolate(level(y), size=y.shape[2:], mode="bilinear", align_corners=True)
            for level in self.levels
        ]
        return functional.interpolate(
            self.head(torch.cat([y, *parts], 1)), scale_factor=4, mode="bilinear", align_corners=True
        )


class FeaturePyramid(nn.Module):
    """FPN: lateral convolutions, sums from the top down, one smoothing each (Lin 2017)."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.stages = nn.ModuleList([ConvNorm(3, 16, 3, 2), ConvNorm(16, 24, 3, 2), ConvNorm(24, 32, 3, 2)])
        self.lateral = nn.ModuleList(nn.Conv2d(c, width, 1) for c in (16, 24, 32))
        self.smooth = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in range(3))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        found = []
        for stage, lateral in zip(self.stages, self.lateral, strict=True):
            x = stage(x)
            found.append(lateral(x))
        for i in (1, 0):
            found[i] = found[i] + functional.interpolate(found[i + 1], size=found[i].shape[-2:], mode="nearest")
        return tuple(s(f) for s, f in zip(self.smooth, found, strict=True))


class HighResolution(nn.Module):
    """HRNet: two resolutions side by side that exchange features (Sun 2019)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(ConvNorm(3, 16, 3, 2), ConvNorm(16, 16, 3, 2))
        self.start = ConvNorm(16, 32, 3, 2)
        self.high = nn.ModuleList(ConvNorm(16, 16) for _ in range(2))
        self.low = nn.ModuleList(ConvNorm(32, 32) for _ in range(2))
        self.rise = nn.ModuleList(ConvNorm(32, 16, 1, activation=None) for _ in range(2))
        self.fall = nn.ModuleList(ConvNorm(16, 32, 3, 2, activation=None) for _ in range(2))
        self.head = nn.Conv2d(48, 6, 1)

    def forward(self, x: Tensor) -> Tensor:
        high = self.stem(x)
        low = self.start(high)
        for i in range(2):
            high, low = self.high[i](high), self.low[i](low)
            risen = functional.interpolate(self.rise[i](low), size=high.shape[-2:], mode="bilinear", align_corners=True)
            high, low = torch.relu(high + risen), torch.relu(low + self.fall[i](high))
        return self.head(
            torch.cat([high, functional.interpolate(low, size=high.shape[-2:], mode="bilinear", align_corners=True)], 1)
        )


class FullScaleUNet(nn.Module):
    """UNet 3+: every decoder level sees all encoder levels (Huang 2020)."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.encoders = nn.ModuleList([ConvNorm(3, 8), ConvNorm(8, 16), ConvNorm(16, 24)])
        self.to_middle = nn.ModuleList([ConvNorm(8, width), ConvNorm(16, width), ConvNorm(24, width)])
        self.to_top = nn.ModuleList([ConvNorm(8, width), ConvNorm(3 * width, width), ConvNorm(24, width)])
        self.middle, self.top = ConvNorm(3 * width, 3 * width), ConvNorm(3 * width, 3 * width)
        self.heads = nn.ModuleList(nn.Conv2d(3 * width, 2, 3, padding=1) for _ in range(2))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        one = self.encoders[0](x)
        two = self.encoders[1](functional.max_pool2d(one, 2))
        three = self.encoders[2](functional.max_pool2d(two, 2, ceil_mode=True))

        def resized(y: Tensor, like: Tensor) -> Tensor:
            return functional.interpolate(y, size=like.shape[-2:], mode="bilinear")

        middle = self.middle(
            torch.cat(
                [
                    self.to_middle[0](functional.max_pool2d(one, 2)),
                    self.to_middle[1](two),
                    resized(self.to_middle[2](three), two),
                ],
                1,
            )
        )
        top = self.top(
            torch.cat(
                [self.to_top[0](one), resized(self.to_top[1](middle), one), resized(self.to_top[2](three), one)], 1
            )
        )
        return torch.sigmoid(self.heads[0](top)), torch.sigmoid(resized(self.heads[1](middle), x))


class Hourglass(nn.Module):
    """Recursive down and up with a residual at every level; pose heat maps (Newell 2016)."""

    def __init__(self, channels: int = 16, depth: int = 3) -> None:
        super().__init__()
        self.skip = ConvNorm(channels, channels)
        self.down = ConvNorm(channels, channels)
        self.inner = Hourglass(channels, depth - 1) if depth > 1 else ConvNorm(channels, channels)
        self.up = ConvNorm(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        y = self.up(self.inner(self.down(functional.max_pool2d(x, 2))))
        return self.skip(x) + functional.interpolate(y, scale_factor=2)


class EnhancedSuperResolution(nn.Module):
    """EDSR: residual blocks without norms, pixel shuffle (Lim 2017)."""

    def __init__(self, width: int = 16, scale: int = 2) -> None:
        super().__init__()
        self.head = nn.Conv2d(3, width, 3, padding=1)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, width, 3, padding=1))
            for _ in range(3)
        )
        self.tail = nn.Sequential(
            nn.Conv2d(width, width * scale**2, 3, padding=1), nn.PixelShuffle(scale), nn.Conv2d(width, 3, 3, padding=1)
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.head(x - 0.4)
        y = x
        for block in self.blocks:
            y = y + 0.1 * block(y)
        return self.tail(x + y) + 0.4


class BicubicResidual(nn.Module):
    """VDSR: the network adds detail to a bicubic enlargement (Kim 2016)."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 16, 3, padding=1, padding_mode="reflect"),
            nn.ReLU(),
            nn.Conv2d(16, 3, 3, padding=1, padding_mode="replicate"),
        )

    def forward(self, x: Tensor) -> Tensor:
        large = functional.interpolate(x, scale_factor=2, mode="bicubic", align_corners=False)
        return large + self.layers(large)


class ModulatedLayer(nn.Module):
    """StyleGAN2's: the style scales the weights, which are normalised per sample; here as scales of in- and outputs."""

    def __init__(self, inputs: int, outputs: int, style: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, 3, 3))
        self.style = nn.Linear(style, inputs)
        self.noise = nn.Parameter(torch.randn(1, 1, 1, 1) * 0.1)

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        style = self.style(w) + 1
        weight = self.weight.unsqueeze(0) * style[:, None, :, None, None]
        scale = torch.rsqrt(weight.square().sum((2, 3, 4)) + 1e-8)
        y = functional.conv_transpose2d(
            x * style[:, :, None, None], self.weight.transpose(0, 1), stride=2, padding=1, output_padding=1
        )
        return functional.leaky_relu(y * scale[:, :, None, None] + self.noise, 0.2) * 2**0.5


class StyleDecoder(nn.Module):
    """Mapping network, learned constant, three modulated transposed convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.mapping = nn.Sequential(nn.Linear(16, 32), nn.LeakyReLU(0.2), nn.Linear(32, 32))
        self.start = nn.Parameter(torch.randn(1, 24, 4, 4))
        self.layers = nn.ModuleList([ModulatedLayer(24, 24, 32), ModulatedLayer(24, 16, 32), ModulatedLayer(16, 8, 32)])
        self.image = nn.Conv2d(8, 3, 1)

    def forward(self, z: Tensor) -> Tensor:
        w = self.mapping(z * torch.rsqrt(z.square().mean(1, keepdim=True) + 1e-8))
        x = self.start.expand(z.shape[0], -1, -1, -1)
        for layer in self.layers:
            x = layer(x, w)
        return torch.tanh(self.image(x))


class CycleGenerator(nn.Module):
    """Reflection padding, instance norm, residual blocks, transposed convolutions (Zhu 2017)."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.down = nn.Sequential(
            nn.ReflectionPad2d(3), nn.Conv2d(3, width, 7), nn.InstanceNorm2d(width), nn.ReLU(),
            nn.Conv2d(width, 2 * width, 3, 2, 1), nn.InstanceNorm2d(2 * width, affine=True), nn.ReLU(),
        )  # fmt: skip
        self.block = nn.Sequential(
            nn.ReflectionPad2d(1), nn.Conv2d(2 * width, 2 * width, 3), nn.InstanceNorm2d(2 * width), nn.ReLU()
        )
        self.up = nn.Sequential(
            nn.ConvTranspose2d(2 * width, width, 3, 2, 1, 1),
            nn.InstanceNorm2d(width),
            nn.ReLU(),
            nn.ReflectionPad2d(3),
            nn.Conv2d(width, 3, 7),
            nn.Tanh(),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.down(x)
        return self.up(x + self.block(x))


class DiffusionUNet(nn.Module):
    """Group norm, SiLU, sinusoidal time embedding, attention at the lowest level (Ho 2020)."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.time = nn.Sequential(nn.Linear(width, 2 * width), nn.SiLU(), nn.Linear(2 * width, width))
        self.start = nn.Conv2d(3, width, 3, padding=1)
        self.norms = nn.ModuleList(nn.GroupNorm(4, width) for _ in range(3))
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.down = nn.Conv2d(width, width, 3, 2, 1)
        self.attention = nn.MultiheadAttention(width, 2, batch_first=True)
        self.end = nn.Conv2d(2 * width, 3, 3, padding=1)
        self.width = width

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        frequencies = torch.exp(torch.arange(self.width // 2) * -0.5)
        angles = t[:, None].float() * frequencies
        embedding = self.time(torch.cat([angles.sin(), angles.cos()], 1))
        x = self.start(x)
        x = x + self.first(functional.silu(self.norms[0](x)) + embedding[:, :, None, None])
        y = self.down(functional.silu(self.norms[1](x)))
        n, c, h, w = y.shape
        s = self.norms[2](y).view(n, c, h * w).transpose(1, 2)
        y = y + self.attention(s, s, s)[0].transpose(1, 2).reshape(n, c, h, w)
        return self.end(torch.cat([x, functional.interpolate(y, scale_factor=2.0)], 1))


class TextRecognizer(nn.Module):
    """CRNN: convolutions, columns as time steps, bidirectional LSTM, CTC scores (Shi 2015)."""

    def __init__(self, classes: int = 37) -> None:
        super().__init__()
        self.features = nn.Sequential(
            ConvNorm(1, 16), nn.MaxPool2d(2), ConvNorm(16, 32), nn.MaxPool2d((2, 1), (2, 1)), ConvNorm(32, 32), nn.MaxPool2d((2, 2), (2, 1), (0, 1)),
            nn.Conv2d(32, 48, (4, 1)),
        )  # fmt: skip
        self.recurrent = nn.LSTM(48, 32, num_layers=2, bidirectional=True)
        self.head = nn.Linear(64, classes)

    def forward(self, x: Tensor) -> Tensor:
        y = self.features(x).squeeze(2).permute(2, 0, 1)
        return torch.log_softmax(self.head(self.recurrent(y)[0]), 2)


architecture("yolo_v5")(lambda: (YoloV5(), image()))
architecture("ssd")(lambda: (SingleShot(), image()))
architecture("centernet")(lambda: (CenterNet(), image()))
architecture("deeplab_v3_plus")(lambda: (DeepLab(), image()))
architecture("pspnet")(lambda: (PyramidScene(), image()))
architecture("fpn")(lambda: (FeaturePyramid(), image()))
architecture("hrnet")(lambda: (HighResolution(), image()))
architecture("unet_3_plus")(lambda: (FullScaleUNet(), image(62)))
architecture("hourglass")(lambda: (nn.Sequential(ConvNorm(3, 16), Hourglass(), nn.Conv2d(16, 7, 1)), image(32)))
architecture("espcn")(
    lambda: (
        nn.Sequential(
            nn.Conv2d(1, 24, 5, padding=2),
            nn.Tanh(),
            nn.Conv2d(24, 16, 3, padding=1),
            nn.Tanh(),
            nn.Conv2d(16, 9, 3, padding=1),
            nn.PixelShuffle(3),
        ),
        image(24, channels=1),
    )
)
architecture("edsr")(lambda: (EnhancedSuperResolution(), image(24)))
architecture("vdsr_bicubic")(lambda: (BicubicResidual(), image(24)))
architecture("fsrcnn")(
    lambda: (
        nn.Sequential(
            nn.Conv2d(1, 16, 5, padding=2),
            nn.PReLU(16),
            nn.Conv2d(16, 8, 1),
            nn.PReLU(8),
            nn.Conv2d(8, 8, 3, padding=1),
            nn.PReLU(8),
            nn.ConvTranspose2d(8, 1, 9, 3, 4, 2),
        ),
        image(24, channels=1),
    )
)
architecture("style_decoder")(lambda: (StyleDecoder(), (torch.randn(2, 16),)))
architecture("cycle_gan")(lambda: (CycleGenerator(), image(32)))
architecture("diffusion_unet")(lambda: (DiffusionUNet(), (torch.randn(2, 3, 16, 16), torch.tensor([3.0, 40.0]))))
architecture("crnn")(lambda: (TextRecognizer(), (torch.randn(1, 1, 32, 64),)))
