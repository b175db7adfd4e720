"""Building blocks of vision networks that classifiers and dense predictors do not have, in plain PyTorch."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from .registry import Maker, architecture, image


def _plain(name: str, make: Maker) -> None:
    architecture(name)(make)


def _block(
    inputs: int, outputs: int, kernel: int = 3, stride: int = 1, groups: int = 1, activation: type[nn.Module] = nn.ReLU
) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
        activation(),
    )


class ENet(nn.Module):
    """Max pooling with indices, asymmetric convolutions, unpooling (Paszke 2016)."""

    def __init__(self) -> None:
        super().__init__()
        self.c = nn.Conv2d(3, 13, 3, 2, 1)
        self.p = nn.MaxPool2d(2, return_indices=True)
        self.d = nn.Sequential(
            nn.Conv2d(16, 8, (5, 1), padding=(2, 0)),
            nn.Conv2d(8, 16, (1, 5), padding=(0, 2)),
            nn.BatchNorm2d(16),
            nn.PReLU(16),
        )
        self.u = nn.MaxUnpool2d(2)
        self.h = nn.ConvTranspose2d(16, 4, 3, 2, 1, 1)

    def forward(self, x: Tensor):
        x = torch.cat([self.c(x), functional.max_pool2d(x, 2)], 1)
        y, i = self.p(x)
        y = self.d(y) + y
        return self.h(self.u(y, i))


class BiSeNet(nn.Module):
    """Spatial path, context path with attention, fusion (Yu 2018)."""

    def __init__(self) -> None:
        super().__init__()
        self.sp = nn.Sequential(_block(3, 16, 7, 2), _block(16, 16, 3, 2), _block(16, 24, 3, 2))
        self.c1 = nn.Sequential(_block(3, 16, 3, 4), _block(16, 24, 3, 4))
        self.c2 = _block(24, 32, 3, 2)
        self.a1 = nn.Conv2d(24, 24, 1)
        self.a2 = nn.Conv2d(32, 32, 1)
        self.f = _block(24 + 24 + 32, 24, 1)
        self.h = nn.Conv2d(24, 5, 1)

    def forward(self, x: Tensor):
        sp = self.sp(x)
        a = self.c1(x)
        b = self.c2(a)
        a = a * torch.sigmoid(self.a1(functional.adaptive_avg_pool2d(a, 1)))
        b = b * torch.sigmoid(self.a2(b.mean((2, 3), keepdim=True)))
        a = functional.interpolate(a, size=sp.shape[2:], mode="bilinear", align_corners=False)
        b = functional.interpolate(b, size=sp.shape[2:], mode="nearest")
        return functional.interpolate(
            self.h(self.f(torch.cat([sp, a, b], 1))), scale_factor=8, mode="bilinear", align_corners=True
        )


class ResidualDense(nn.Module):
    """Residual dense block with two ways of enlarging (Wang 2018)."""

    def __init__(self) -> None:
        super().__init__()
        self.i = nn.Conv2d(3, 16, 3, 1, 1)
        self.d = nn.ModuleList(nn.Conv2d(16 + 8 * i, 8 if i < 3 else 16, 3, 1, 1) for i in range(4))
        self.u = nn.Conv2d(16, 16, 3, 1, 1)
        self.o = nn.Conv2d(16, 3, 3, 1, 1)

    def forward(self, x: Tensor):
        x = y = self.i(x)
        fs = [x]
        for c in self.d[:-1]:
            fs.append(functional.leaky_relu(c(torch.cat(fs, 1)), 0.2))
        y = x + 0.2 * self.d[-1](torch.cat(fs, 1))
        y = functional.leaky_relu(self.u(functional.interpolate(y, scale_factor=2, mode="nearest")), 0.2)
        return self.o(functional.interpolate(y, scale_factor=2.0, mode="bicubic", align_corners=False))


class ModulatedConvolution(nn.Module):
    """Weights scaled per sample, grouped convolution over the batch, blur (Karras 2020)."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.randn(12, 8, 3, 3))
        self.a = nn.Linear(16, 8)
        self.c = nn.Parameter(torch.randn(1, 8, 4, 4))
        self.m = nn.Sequential(nn.Linear(16, 16), nn.LeakyReLU(0.2))
        self.rgb = nn.Conv2d(12, 3, 1)
        self.register_buffer(
            "k", torch.outer(torch.tensor([1.0, 3, 3, 1]), torch.tensor([1.0, 3, 3, 1]))[None, None] / 64
        )

    def forward(self, z: Tensor):
        z = z * torch.rsqrt(z.square().mean(1, keepdim=True) + 1e-08)
        w = self.m(z)
        st = self.a(w) + 1
        b = z.shape[0]
        W = self.w[None] * st[:, None, :, None, None]
        W = W * torch.rsqrt(W.square().sum((2, 3, 4), keepdim=True) + 1e-08)
        x = self.c.expand(b, -1, -1, -1).reshape(1, b * 8, 4, 4)
        x = functional.conv2d(x, W.reshape(b * 12, 8, 3, 3), padding=1, groups=b).view(b, 12, 4, 4)
        x = functional.leaky_relu(x, 0.2) * math.sqrt(2)
        x = functional.conv2d(
            functional.pad(functional.interpolate(x, scale_factor=2), (2, 1, 2, 1)).reshape(b * 12, 1, 11, 11), self.k
        ).view(b, 12, 8, 8)
        return self.rgb(x)


class CapsuleNet(nn.Module):
    """Routing by agreement (Sabour 2017)."""

    def __init__(self) -> None:
        super().__init__()
        self.c = nn.Conv2d(1, 16, 9)
        self.p = nn.Conv2d(16, 32, 9, 2)
        self.W = nn.Parameter(torch.randn(1, 10, 4 * 36, 8, 8) * 0.1)

    @staticmethod
    def squash(x: Tensor):
        n = (x**2).sum(-1, keepdim=True)
        return n / (1 + n) * x / torch.sqrt(n + 1e-09)

    def forward(self, x: Tensor):
        x = self.p(functional.relu(self.c(x)))
        u = self.squash(x.view(x.size(0), 4, 8, -1).permute(0, 1, 3, 2).reshape(x.size(0), -1, 8))
        uh = torch.matmul(self.W, u[:, None, :, :, None]).squeeze(-1)
        b = torch.zeros(x.size(0), 10, uh.size(2), 1)
        for i in range(3):
            c = functional.softmax(b, 1)
            v = self.squash((c * uh).sum(2))
            b = b + torch.matmul(uh, v.unsqueeze(-1)) if i < 2 else b
        return (torch.norm(v, dim=-1), v)


class SiameseTracker(nn.Module):
    """The template as the kernel of a grouped convolution, and distances (Bertinetto 2016)."""

    def __init__(self) -> None:
        super().__init__()
        self.f = nn.Sequential(_block(3, 16, 3, 2), _block(16, 24, 3, 2), nn.Conv2d(24, 24, 3))

    def forward(self, z: Tensor, x: Tensor):
        z, x = (self.f(z), self.f(x))
        r = functional.conv2d(x.reshape(1, -1, *x.shape[2:]), z.reshape(-1, 24, *z.shape[2:]), groups=x.shape[0])
        return (
            r.reshape(x.shape[0], -1, *r.shape[2:]) * 0.01,
            functional.cosine_similarity(z.flatten(1), x[..., : z.shape[2], : z.shape[3]].flatten(1)),
            functional.pairwise_distance(z.flatten(1), functional.adaptive_max_pool2d(x, 6).flatten(1)),
        )


class GatedMlp(nn.Module):
    """Spatial gating units (Liu 2021)."""

    def __init__(self) -> None:
        super().__init__()
        self.p = nn.Conv2d(3, 32, 8, 8)
        self.n = nn.LayerNorm(32)
        self.u = nn.Linear(32, 64)
        self.sn = nn.LayerNorm(32)
        self.s = nn.Conv1d(64, 64, 1)
        self.v = nn.Linear(32, 32)
        self.h = nn.Linear(32, 10)

    def forward(self, x: Tensor):
        x = self.p(x).flatten(2).mT
        u, v = functional.gelu(self.u(self.n(x))).chunk(2, -1)
        x = x + self.v(u * self.s(self.sn(v)))
        return self.h(x.mean(1))


class CoAtNet(nn.Module):
    """Convolution, then attention with relative positions (Dai 2021)."""

    def __init__(self) -> None:
        super().__init__()
        self.st = _block(3, 16, 3, 4, activation=nn.GELU)
        self.mb = nn.Sequential(
            _block(16, 64, 1, activation=nn.GELU), _block(64, 64, 3, 1, 64, activation=nn.GELU), nn.Conv2d(64, 16, 1)
        )
        self.ds = nn.Conv2d(16, 32, 2, 2)
        self.qkv = nn.Linear(32, 96)
        self.t = nn.Parameter(torch.randn(4, 15 * 15))
        c = torch.stack(torch.meshgrid(torch.arange(8), torch.arange(8), indexing="ij")).flatten(1)
        r = c[:, :, None] - c[:, None] + 7
        self.register_buffer("i", r[0] * 15 + r[1])
        self.o = nn.Linear(32, 32)
        self.n = nn.LayerNorm(32)
        self.h = nn.Linear(32, 10)

    def forward(self, x: Tensor):
        x = self.st(x)
        x = x + self.mb(x)
        x = self.ds(x)
        B, C, H, W = x.shape
        x = x.flatten(2).transpose(1, 2)
        q, k, v = self.qkv(self.n(x)).reshape(B, H * W, 3, 4, 8).permute(2, 0, 3, 1, 4).unbind(0)
        a = q @ k.transpose(-2, -1) * 8 ** (-0.5) + self.t[:, self.i.reshape(-1)].reshape(1, 4, H * W, H * W)
        x = x + self.o((a.softmax(-1) @ v).transpose(1, 2).reshape(B, H * W, C))
        return self.h(x.mean(1))


class EdgeNext(nn.Module):
    """Split depthwise convolutions, attention over channels (Maaz 2022)."""

    def __init__(self) -> None:
        super().__init__()
        self.st = nn.Conv2d(3, 32, 4, 4)
        self.c = nn.ModuleList(nn.Conv2d(8, 8, 3, 1, 1, groups=8) for _ in range(3))
        self.qkv = nn.Linear(32, 96)
        self.T = nn.Parameter(torch.ones(4, 1, 1))
        self.n = nn.LayerNorm(32, eps=1e-06)
        self.o = nn.Linear(32, 32)
        self.g = nn.Parameter(torch.rand(32))
        self.pw = nn.Linear(32, 64)
        self.pw2 = nn.Linear(64, 32)
        self.h = nn.Linear(32, 10)

    def forward(self, x: Tensor):
        x = self.st(x)
        sp = torch.split(x, 8, 1)
        o = []
        y = 0
        for i, c in enumerate(self.c):
            y = c(sp[i] if i == 0 else y + sp[i])
            o.append(y)
        x = torch.cat((*o, sp[-1]), 1)
        B, C, H, W = x.shape
        t = x.reshape(B, C, H * W).permute(0, 2, 1)
        q, k, v = self.qkv(self.n(t)).reshape(B, -1, 3, 4, 8).permute(2, 0, 3, 4, 1)
        a = (functional.normalize(q, dim=-1) @ functional.normalize(k, dim=-1).transpose(-2, -1) * self.T).softmax(-1)
        t = t + self.g * self.o((a @ v).permute(0, 3, 1, 2).reshape(B, -1, C))
        x = t.reshape(B, H, W, C)
        x = x + self.pw2(functional.gelu(self.pw(self.n(x))))
        return self.h(x.mean((1, 2)))


class LayerAggregation(nn.Module):
    """Aggregated layers, peaks of a heat map (Yu 2018, Zhou 2019)."""

    def __init__(self) -> None:
        super().__init__()
        self.a = _block(3, 16, 7)
        self.b = _block(16, 24, 3, 2)
        self.c = _block(24, 24)
        self.r = _block(48, 32, 1)
        self.up = nn.ConvTranspose2d(32, 32, 4, 2, 1, groups=32, bias=False)
        self.n = _block(48, 16, 3)
        self.hm = nn.Conv2d(16, 4, 1)

    def forward(self, x: Tensor):
        a = self.a(x)
        b = self.b(a)
        r = self.r(torch.cat([b, self.c(b)], 1))
        y = self.n(torch.cat([a, self.up(r)], 1))
        h = torch.sigmoid(self.hm(y))
        m = functional.max_pool2d(h, 3, 1, 1)
        k = (m == h).float() * h
        v, i = torch.topk(k.flatten(1), 20)
        return (v, i // (h.shape[2] * h.shape[3]), i % h.shape[3], h)


class BottleneckTransformer(nn.Module):
    """Attention with relative positions per axis (Srinivas 2021)."""

    def __init__(self) -> None:
        super().__init__()
        self.c = _block(3, 32, 3, 8)
        self.q = nn.Conv2d(32, 96, 1)
        self.rh = nn.Parameter(torch.randn(15, 8))
        self.rw = nn.Parameter(torch.randn(15, 8))
        self.h = nn.Linear(32, 10)

    @staticmethod
    def rel(q, r):
        B, H, W, _ = q.shape
        x = torch.matmul(q, r.transpose(0, 1)).reshape(-1, W, 2 * W - 1)
        x = functional.pad(x, [0, 1]).flatten(1)
        x = functional.pad(x, [0, W - 1]).reshape(-1, W + 1, 2 * W - 1)
        return x[:, :W, W - 1 :].reshape(B, H, 1, W, W).expand(-1, -1, H, -1, -1)

    def forward(self, x: Tensor):
        x = self.c(x)
        B, C, H, W = x.shape
        q, k, v = self.q(x).reshape(B * 4, -1, H * W).transpose(-1, -2).reshape(B * 4, H * W, 3, 8).unbind(2)
        q_ = q.reshape(B * 4, H, W, 8)
        rw = self.rel(q_, self.rw).permute(0, 1, 3, 2, 4)
        rh = self.rel(q_.transpose(1, 2), self.rh).permute(0, 3, 1, 4, 2)
        a = q @ k.transpose(-1, -2) * 8 ** (-0.5) + (rw + rh).reshape(B * 4, H * W, H * W)
        return self.h((a.softmax(-1) @ v).transpose(-1, -2).reshape(B, C, H, W).mean((2, 3)))


class Involution(nn.Module):
    """Kernels made from the input, by unfold and fold (Li 2021)."""

    def __init__(self) -> None:
        super().__init__()
        self.st = nn.Conv2d(3, 16, 3, 2, 1)
        self.r = _block(16, 4, 1)
        self.sp = nn.Conv2d(4, 9 * 4, 1)
        self.u = nn.Unfold(3, padding=1)
        self.h = nn.Linear(16, 10)

    def forward(self, x: Tensor):
        x = self.st(x)
        B, C, H, W = x.shape
        w = self.sp(self.r(x)).view(B, 4, 9, H, W).unsqueeze(2)
        y = (w * self.u(x).view(B, 4, 4, 9, H, W)).sum(3).view(B, C, H, W)
        return self.h(functional.fold(functional.unfold(y, 2, stride=2), (H, W), 2, stride=2).mean((2, 3)))


class OctaveConvolution(nn.Module):
    """Two resolutions side by side (Chen 2019)."""

    def __init__(self) -> None:
        super().__init__()
        self.hh = nn.Conv2d(3, 12, 3, 1, 1)
        self.hl = nn.Conv2d(3, 6, 3, 1, 1)
        self.h2 = nn.Conv2d(12, 12, 3, 1, 1)
        self.l2h = nn.Conv2d(6, 12, 3, 1, 1)
        self.l2 = nn.Conv2d(6, 6, 3, 1, 1)
        self.h2l = nn.Conv2d(12, 6, 3, 1, 1)

    def forward(self, x: Tensor):
        h = functional.relu(self.hh(x))
        low = functional.relu(self.hl(functional.avg_pool2d(x, 2)))
        return (
            self.h2(h) + functional.interpolate(self.l2h(low), scale_factor=2, mode="nearest"),
            self.l2(low) + self.h2l(functional.avg_pool2d(h, 2, 2)),
        )


class DeformableConvolution(nn.Module):
    """Offsets by a convolution, samples by grid_sample (Dai 2017)."""

    def __init__(self) -> None:
        super().__init__()
        self.off = nn.Conv2d(8, 18, 3, 1, 1)
        self.st = _block(3, 8, 3, 2)
        self.w = nn.Conv2d(72, 12, 1)

    def forward(self, x: Tensor):
        x = self.st(x)
        H, W = x.shape[2:]
        o = self.off(x)
        ys, xs = torch.meshgrid(torch.arange(H, dtype=x.dtype), torch.arange(W, dtype=x.dtype), indexing="ij")
        c = []
        for k in range(9):
            px = xs + k % 3 - 1 + o[:, 2 * k]
            py = ys + k // 3 - 1 + o[:, 2 * k + 1]
            g = torch.stack([2 * px / (W - 1) - 1, 2 * py / (H - 1) - 1], -1)
            c.append(functional.grid_sample(x, g, align_corners=True, padding_mode="zeros"))
        return self.w(torch.cat(c, 1))


class RetinaNet(nn.Module):
    """Feature pyramid, shared heads, best boxes (Lin 2017)."""

    def __init__(self) -> None:
        super().__init__()
        self.b = _block(3, 16, 3, 4)
        self.b2 = _block(16, 24, 3, 2)
        self.l = nn.ModuleList([nn.Conv2d(16, 16, 1), nn.Conv2d(24, 16, 1)])
        self.c = nn.Sequential(nn.Conv2d(16, 16, 3, 1, 1), nn.ReLU(), nn.Conv2d(16, 3 * 4, 3, 1, 1))
        self.r = nn.Conv2d(16, 3 * 4, 3, 1, 1)
        self.sc = nn.Parameter(torch.ones(2))

    def forward(self, x: Tensor):
        a = self.b(x)
        b = self.b2(a)
        p5 = self.l[1](b)
        p4 = self.l[0](a) + functional.interpolate(p5, scale_factor=2.0, mode="nearest")
        cl, bx = ([], [])
        for i, p in enumerate((p4, p5)):
            n, _, h, w = p.shape
            cl.append(self.c(p).view(n, 3, 4, h, w).permute(0, 3, 4, 1, 2).reshape(n, -1, 4))
            bx.append((self.r(p) * self.sc[i]).exp().view(n, -1, 4, h, w).permute(0, 3, 4, 1, 2).reshape(n, -1, 4))
        c = torch.cat(cl, 1).sigmoid()
        b = torch.cat(bx, 1)
        sc, lb = c.max(-1)
        v, i = sc.topk(10, 1)
        return (
            v,
            lb.gather(1, i),
            b.gather(1, i[..., None].expand(-1, -1, 4)),
            torch.cat([b[..., :2] - b[..., 2:] / 2, b[..., :2] + b[..., 2:] / 2], -1),
        )


_plain("enet", lambda: (ENet(), image()))
_plain("bisenet", lambda: (BiSeNet(), image()))
_plain("esrgan", lambda: (ResidualDense(), image(24)))
_plain("stylegan", lambda: (ModulatedConvolution(), (torch.randn(2, 16),)))
_plain("capsule_net", lambda: (CapsuleNet(), (torch.rand(1, 1, 28, 28),)))
_plain("siamese_tracker", lambda: (SiameseTracker(), (*image(32), *image(64))))
_plain("gated_mlp", lambda: (GatedMlp(), image()))
_plain("coatnet", lambda: (CoAtNet(), image()))
_plain("edgenext", lambda: (EdgeNext(), image()))
_plain("centernet_dla", lambda: (LayerAggregation(), image(32)))
_plain("botnet", lambda: (BottleneckTransformer(), image()))
_plain("involution", lambda: (Involution(), image()))
_plain("octave_convolution", lambda: (OctaveConvolution(), image()))
_plain("deformable_convolution", lambda: (DeformableConvolution(), image(32)))
_plain("retinanet", lambda: (RetinaNet(), image()))
