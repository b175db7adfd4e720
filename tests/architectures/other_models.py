"""Points, volumes, tables, graphs and sequences of frames in plain PyTorch."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .registry import architecture


class PointNet(nn.Module):
    """Shared perceptrons over points, a predicted 3x3 transform, maximum over points (Qi 2017). Input [N, 3, points]."""

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.transform = nn.Sequential(nn.Conv1d(3, 32, 1), nn.BatchNorm1d(32), nn.ReLU())
        self.matrix = nn.Linear(32, 9)
        self.features = nn.Sequential(
            nn.Conv1d(3, 32, 1), nn.BatchNorm1d(32), nn.ReLU(), nn.Conv1d(32, 64, 1), nn.BatchNorm1d(64), nn.ReLU()
        )
        self.head = nn.Sequential(nn.Linear(64, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, classes))

    def forward(self, points: Tensor) -> Tensor:
        matrix = self.matrix(torch.max(self.transform(points), 2)[0]).view(-1, 3, 3) + torch.eye(3)
        points = torch.bmm(points.transpose(2, 1), matrix).transpose(2, 1)
        return torch.log_softmax(self.head(torch.max(self.features(points), 2)[0]), -1)


class VolumeUNet(nn.Module):
    """3-D U-Net with instance norm, one level (Cicek 2016)."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.down = nn.Sequential(
            nn.Conv3d(1, width, 3, padding=1), nn.InstanceNorm3d(width, affine=True), nn.LeakyReLU()
        )
        self.inner = nn.Sequential(
            nn.MaxPool3d(2), nn.Conv3d(width, 2 * width, 3, padding=1), nn.BatchNorm3d(2 * width), nn.LeakyReLU()
        )
        self.up = nn.ConvTranspose3d(2 * width, width, 2, 2)
        self.head = nn.Conv3d(2 * width, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.down(x)
        return self.head(torch.cat([y, self.up(self.inner(y))], 1))


class VideoNet(nn.Module):
    """(2+1)-D convolutions: space, then time (Tran 2018)."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv3d(3, 12, (1, 3, 3), (1, 2, 2), (0, 1, 1)), nn.BatchNorm3d(12), nn.ReLU(),
            nn.Conv3d(12, 16, (3, 1, 1), 1, (1, 0, 0)), nn.BatchNorm3d(16), nn.ReLU(),
            nn.AvgPool3d((1, 2, 2)), nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(16, 6),
        )  # fmt: skip

    def forward(self, clip: Tensor) -> Tensor:
        return self.layers(clip)


class DeepFM(nn.Module):
    """Embeddings of categories, pairwise products, a perceptron (Guo 2017)."""

    def __init__(self, fields: int = 6, width: int = 8) -> None:
        super().__init__()
        self.register_buffer("offsets", torch.arange(fields) * 20)
        self.first = nn.Embedding(20 * fields, 1)
        self.embedding = nn.Embedding(20 * fields, width)
        self.deep = nn.Sequential(nn.Linear(fields * width, 32), nn.ReLU(), nn.Linear(32, 1))

    def forward(self, categories: Tensor) -> Tensor:
        ids = categories + self.offsets
        e = self.embedding(ids)
        pairs = 0.5 * (e.sum(1).square() - e.square().sum(1)).sum(1, keepdim=True)
        return torch.sigmoid(self.first(ids).sum(1) + pairs + self.deep(e.flatten(1)))


class GraphConvolution(nn.Module):
    """Message passing over an edge list by index_add (Kipf 2017)."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(8, 16)
        self.second = nn.Linear(16, 4)

    def forward(self, features: Tensor, edges: Tensor) -> Tensor:
        def spread(x: Tensor) -> Tensor:
            return torch.zeros_like(x).index_add(0, edges[1], x[edges[0]]) + x

        return self.second(spread(torch.relu(self.first(spread(features)))))


class VariationalAutoencoder(nn.Module):
    """Mean and deviation from a convolutional encoder, noise as an input, a transposed decoder."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(1, 8, 3, 2, 1),
            nn.ELU(),
            nn.Conv2d(8, 16, 3, 2, 1),
            nn.ELU(),
            nn.Flatten(),
            nn.Linear(16 * 49, 16),
        )
        self.decoder = nn.Sequential(
            nn.Linear(8, 16 * 49),
            nn.Unflatten(1, (16, 7, 7)),
            nn.ConvTranspose2d(16, 8, 3, 2, 1, 1),
            nn.ELU(),
            nn.ConvTranspose2d(8, 1, 4, 2, 1),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mean, logarithm = self.encoder(x).chunk(2, 1)
        return self.decoder(mean + noise * torch.exp(0.5 * logarithm)), mean, logarithm


class RadianceField(nn.Module):
    """NeRF: positions as sines and cosines, a perceptron with a skip, colour depends on the direction (Mildenhall 2020)."""

    def __init__(self, frequencies: int = 4, width: int = 32) -> None:
        super().__init__()
        self.register_buffer("scales", 2.0 ** torch.arange(frequencies))
        inputs = 3 + 6 * frequencies
        self.first = nn.Sequential(nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU())
        self.second = nn.Sequential(nn.Linear(width + inputs, width), nn.ReLU())
        self.density = nn.Linear(width, 1)
        self.color = nn.Sequential(nn.Linear(width + 3, 16), nn.ReLU(), nn.Linear(16, 3), nn.Sigmoid())

    def forward(self, points: Tensor, directions: Tensor) -> Tensor:
        angles = (points.unsqueeze(-1) * self.scales).flatten(-2)
        encoded = torch.cat([points, angles.sin(), angles.cos()], -1)
        y = self.second(torch.cat([self.first(encoded), encoded], -1))
        return torch.cat([self.color(torch.cat([y, directions], -1)), torch.relu(self.density(y))], -1)


class FrameRecurrence(nn.Module):
    """A convolutional LSTM, unrolled over the frames of a clip [N, T, C, H, W] (Shi 2015)."""

    def __init__(self, hidden: int = 8) -> None:
        super().__init__()
        self.hidden = hidden
        self.gates = nn.Conv2d(1 + hidden, 4 * hidden, 3, padding=1)
        self.head = nn.Conv2d(hidden, 1, 1)

    def forward(self, clip: Tensor) -> Tensor:
        n, t, _, height, width = clip.shape
        h = clip.new_zeros(n, self.hidden, height, width)
        c = torch.zeros_like(h)
        frames = []
        for step in range(t):
            i, f, o, g = self.gates(torch.cat([clip[:, step], h], 1)).chunk(4, 1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
            frames.append(self.head(h))
        return torch.stack(frames, 1)


class SequenceForecaster(nn.Module):
    """N-BEATS: perceptron blocks that subtract what they explain (Oreshkin 2020)."""

    def __init__(self, past: int = 24, future: int = 6) -> None:
        super().__init__()
        self.past = past
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Linear(past, 32), nn.ReLU(), nn.Linear(32, past + future)) for _ in range(3)
        )

    def forward(self, series: Tensor) -> Tensor:
        forecast: Tensor | int = 0
        for block in self.blocks:
            back, ahead = block(series).split([self.past, series.shape[1] // 4], 1)
            series = series - back
            forecast = forecast + ahead
        return forecast


architecture("pointnet")(lambda: (PointNet(), (torch.randn(1, 3, 100),)))
architecture("unet_3d")(lambda: (VolumeUNet(), (torch.randn(1, 1, 8, 12, 16),)))
architecture("r2plus1d")(lambda: (VideoNet(), (torch.randn(1, 3, 6, 24, 24),)))
architecture("deepfm")(lambda: (DeepFM(), (torch.randint(0, 20, (3, 6)),)))
architecture("graph_convolution")(lambda: (GraphConvolution(), (torch.randn(10, 8), torch.randint(0, 10, (2, 30)))))
architecture("variational_autoencoder")(
    lambda: (VariationalAutoencoder(), (torch.randn(1, 1, 28, 28), torch.randn(1, 8)))
)
architecture("radiance_field")(lambda: (RadianceField(), (torch.randn(50, 3), torch.randn(50, 3))))
architecture("conv_lstm")(lambda: (FrameRecurrence(), (torch.randn(1, 5, 1, 16, 16),)))
architecture("nbeats")(lambda: (SequenceForecaster(), (torch.randn(2, 24),)))
