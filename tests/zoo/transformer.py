"""Vision transformer (ViT-Tiny/16, Dosovitskiy 2020) and a small BERT encoder (Devlin 2018)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class SelfAttention(nn.Module):
    """Multi-head attention; `fused` writes it as scaled_dot_product_attention, else as matmul and softmax."""

    def __init__(self, dim: int, heads: int, fused: bool) -> None:
        super().__init__()
        self.heads = heads
        self.fused = fused
        self.qkv = nn.Linear(dim, 3 * dim)
        self.out = nn.Linear(dim, dim)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        n, t, d = x.shape
        q, k, v = self.qkv(x).reshape(n, t, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        if self.fused:
            y = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        else:
            scores = q @ k.transpose(-2, -1) * (d // self.heads) ** -0.5
            if mask is not None:
                scores = scores + mask
            y = scores.softmax(-1) @ v
        return self.out(y.transpose(1, 2).reshape(n, t, d))


class EncoderBlock(nn.Module):
    """Attention and a two-layer network, each with a residual; layer norm before (ViT) or after (BERT)."""

    def __init__(self, dim: int, heads: int, fused: bool, norm_first: bool) -> None:
        super().__init__()
        self.norm_first = norm_first
        self.attention = SelfAttention(dim, heads, fused)
        self.mlp = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))
        self.norm1 = nn.LayerNorm(dim, eps=1e-6 if norm_first else 1e-12)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6 if norm_first else 1e-12)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        if self.norm_first:
            x = x + self.attention(self.norm1(x), mask)
            return x + self.mlp(self.norm2(x))
        x = self.norm1(x + self.attention(x, mask))
        return self.norm2(x + self.mlp(x))


class VisionTransformer(nn.Module):
    """Patches by a strided convolution, class token, learned positions, pre-norm encoder."""

    def __init__(self, image: int = 224, patch: int = 16, dim: int = 192, depth: int = 12, heads: int = 3) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, dim, patch, patch)
        self.token = nn.Parameter(torch.randn(1, 1, dim) * 0.02)
        self.positions = nn.Parameter(torch.randn(1, (image // patch) ** 2 + 1, dim) * 0.02)
        self.blocks = nn.Sequential(*(EncoderBlock(dim, heads, fused=True, norm_first=True) for _ in range(depth)))
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.head = nn.Linear(dim, 1000)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1) + self.positions
        return self.head(self.norm(self.blocks(x))[:, 0])


class BertMini(nn.Module):
    """Four layers, 256 wide: token, position and segment embeddings, padding mask, pooled output."""

    def __init__(self, vocabulary: int = 2000, dim: int = 256, depth: int = 4, heads: int = 4) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, dim)
        self.positions = nn.Embedding(128, dim)
        self.segments = nn.Embedding(2, dim)
        self.norm = nn.LayerNorm(dim, eps=1e-12)
        self.blocks = nn.ModuleList(EncoderBlock(dim, heads, fused=False, norm_first=False) for _ in range(depth))
        self.pooler = nn.Linear(dim, dim)

    def forward(self, tokens: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        """tokens [N, T] int64, attention_mask [N, T] int64 (1 = token, 0 = padding)."""
        length = tokens.shape[1]
        x = self.tokens(tokens) + self.positions.weight[:length] + self.segments(torch.zeros_like(tokens))
        x = self.norm(x)
        mask = (1.0 - attention_mask[:, None, None, :].to(x.dtype)) * -1e4
        for block in self.blocks:
            x = block(x, mask)
        return x, self.pooler(x[:, 0]).tanh()
