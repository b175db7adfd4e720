"""Speech, graphs and signals: recurrent, scattering and complex arithmetic, in plain PyTorch."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from .registry import Maker, architecture


def _plain(name: str, make: Maker) -> None:
    architecture(name)(make)


class GraphAttention(nn.Module):
    """Softmax over the neighbours of a node by scattering (Velickovic 2018)."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Linear(5, 8, bias=False)
        self.a = nn.Linear(16, 1, bias=False)

    def forward(self, x: Tensor, e: Tensor):
        h = self.w(x)
        sc = functional.leaky_relu(self.a(torch.cat([h[e[0]], h[e[1]]], -1)).squeeze(-1), 0.2)
        m = torch.full((x.shape[0],), -1000000000.0).scatter_reduce(0, e[1], sc, "amax")
        p = (sc - m[e[1]]).exp()
        den = torch.zeros(x.shape[0]).index_add(0, e[1], p)
        return torch.zeros_like(h).index_add(0, e[1], h[e[0]] * (p / den[e[1]])[:, None])


class DeepSpeech2(nn.Module):
    """Strided convolutions, bidirectional GRU, labels per frame (Amodei 2016)."""

    def __init__(self) -> None:
        super().__init__()
        self.c = nn.Sequential(nn.Conv2d(1, 8, (11, 5), (2, 2), (5, 2)), nn.BatchNorm2d(8), nn.Hardtanh(0, 20))
        self.r = nn.GRU(8 * 20, 24, 2, bidirectional=True, batch_first=True)
        self.bn = nn.BatchNorm1d(48)
        self.h = nn.Linear(48, 29)

    def forward(self, x: Tensor):
        x = self.c(x)
        x = x.permute(0, 3, 1, 2).flatten(2)
        x = self.r(x)[0]
        return functional.log_softmax(self.h(self.bn(x.transpose(1, 2)).transpose(1, 2)), -1)


class Tacotron2(nn.Module):
    """Location-sensitive attention, a decoder unrolled over five frames (Shen 2018)."""

    def __init__(self) -> None:
        super().__init__()
        self.e = nn.Embedding(40, 32)
        self.c = nn.Sequential(nn.Conv1d(32, 32, 5, padding=2), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.5))
        self.l = nn.LSTM(32, 16, bidirectional=True, batch_first=True)
        self.pre = nn.Linear(8, 16)
        self.rnn = nn.LSTMCell(48, 32)
        self.q = nn.Linear(32, 32)
        self.lc = nn.Conv1d(2, 4, 7, padding=3)
        self.ll = nn.Linear(4, 32)
        self.v = nn.Linear(32, 1)
        self.o = nn.Linear(64, 8)

    def forward(self, t: Tensor):
        m = self.l(self.c(self.e(t).transpose(1, 2)).transpose(1, 2))[0]
        b = t.shape[0]
        h = c = torch.zeros(b, 32)
        y = torch.zeros(b, 8)
        ctx = torch.zeros(b, 32)
        w = cum = torch.zeros(b, t.shape[1])
        out = []
        for _ in range(5):
            h, c = self.rnn(torch.cat([torch.relu(self.pre(y)), ctx], -1), (h, c))
            e = self.v(
                torch.tanh(self.q(h)[:, None] + m + self.ll(self.lc(torch.stack([w, cum], 1)).transpose(1, 2)))
            ).squeeze(-1)
            w = functional.softmax(e, -1)
            cum = cum + w
            ctx = torch.bmm(w[:, None], m)[:, 0]
            y = self.o(torch.cat([h, ctx], -1))
            out.append(y)
        return torch.stack(out, 1)


class Demucs(nn.Module):
    """Convolutions, LSTM and transposed convolutions on waveforms (Defossez 2019)."""

    def __init__(self) -> None:
        super().__init__()
        self.e = nn.ModuleList(
            [
                nn.Sequential(nn.Conv1d(1, 8, 8, 4), nn.ReLU(), nn.Conv1d(8, 16, 1), nn.GLU(1)),
                nn.Sequential(nn.Conv1d(8, 16, 8, 4), nn.ReLU(), nn.Conv1d(16, 32, 1), nn.GLU(1)),
            ]
        )
        self.l = nn.LSTM(16, 16, 2)
        self.d = nn.ModuleList(
            [
                nn.Sequential(nn.Conv1d(16, 32, 1), nn.GLU(1), nn.ConvTranspose1d(16, 8, 8, 4), nn.ReLU()),
                nn.Sequential(nn.Conv1d(8, 16, 1), nn.GLU(1), nn.ConvTranspose1d(8, 1, 8, 4)),
            ]
        )

    def forward(self, x: Tensor):
        mono = x.mean(1, keepdim=True)
        std = mono.std(-1, keepdim=True)
        x = x / (0.001 + std)
        L = x.shape[-1]
        sk = []
        for e in self.e:
            x = e(x)
            sk.append(x)
        x = self.l(x.permute(2, 0, 1))[0].permute(1, 2, 0)
        for d in self.d:
            x = d(x + sk.pop()[..., : x.shape[-1]])
        return functional.pad(x, (0, L - x.shape[-1])) * std


class WaveRNN(nn.Module):
    """Upsampled mel frames beside samples, two GRUs (Kalchbrenner 2018)."""

    def __init__(self) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(1, 1, (3, 8), stride=(1, 4), padding=(1, 2))
        self.i = nn.Linear(9, 24)
        self.r1 = nn.GRU(24, 24, batch_first=True)
        self.r2 = nn.GRU(32, 24, batch_first=True)
        self.o = nn.Linear(24, 30)

    def forward(self, w: Tensor, m: Tensor):
        m = self.up(m[:, None])[:, 0].transpose(1, 2)
        x = self.i(torch.cat([w[..., None], m], -1))
        x = self.r1(x)[0] + x
        x = self.r2(torch.cat([x, m], -1))[0]
        return functional.log_softmax(self.o(x), -1)


class ComplexRotary(nn.Module):
    """Rotary positions as complex products, as in the first Llama."""

    def __init__(self) -> None:
        super().__init__()
        self.q = nn.Linear(16, 48)
        f = 1 / 10000 ** (torch.arange(0, 8, 2) / 8)
        self.register_buffer("fc", torch.polar(torch.ones(32, 4), torch.outer(torch.arange(32.0), f)))

    def forward(self, x: Tensor):
        B, T, _ = x.shape
        q, k, v = self.q(x).view(B, T, 3, 2, 8).unbind(2)
        f = self.fc[:T].view(1, T, 1, 4)
        pairs = [torch.view_as_complex(part.reshape(B, T, 2, 4, 2)) * f for part in (q, k)]
        q, k = (torch.view_as_real(part).flatten(3).transpose(1, 2) for part in pairs)
        return (
            functional.scaled_dot_product_attention(q, k, v.transpose(1, 2), is_causal=True).transpose(1, 2).flatten(2)
        )


class Spectrogram(nn.Module):
    """torch.stft inside the network."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("w", torch.hann_window(64))
        self.c = nn.Conv1d(33, 8, 3)

    def forward(self, x: Tensor):
        z = torch.stft(x, 64, 16, window=self.w, return_complex=True)
        m = z.abs()
        return (self.c(torch.log1p(m)), m)


_plain("graph_attention", lambda: (GraphAttention(), (torch.randn(7, 5), torch.randint(0, 7, (2, 20)))))
_plain("deepspeech2", lambda: (DeepSpeech2(), (torch.randn(1, 1, 40, 50),)))
_plain("tacotron2", lambda: (Tacotron2(), (torch.randint(0, 40, (1, 11)),)))
_plain("demucs", lambda: (Demucs(), (torch.randn(1, 1, 500),)))
_plain("wavernn", lambda: (WaveRNN(), (torch.randn(1, 40), torch.randn(1, 8, 10))))
_plain("complex_rotary", lambda: (ComplexRotary(), (torch.randn(1, 9, 16),)))
_plain("stft_magnitude", lambda: (Spectrogram(), (torch.randn(1, 400),)))
