"""The story teller (Llama 2, 260 000 parameters) as an nn.Module, with the weights of its llama2.c checkpoint."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

EPSILON = 1e-5
FIELDS = ("dim", "hidden", "layers", "heads", "kv_heads", "vocabulary", "length")


def _rotate(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Rotary positions of x [B, S, H, D] for neighbours (0, 1), (2, 3)... as llama2.c has them."""
    even, odd = x[..., 0::2], x[..., 1::2]
    cosine, sine = cosine[None, :, None], sine[None, :, None]
    return torch.stack([even * cosine - odd * sine, even * sine + odd * cosine], -1).flatten(-2)


def _normalised(x: Tensor, scale: Tensor) -> Tensor:
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + EPSILON) * scale


class Stories(nn.Module):
    """forward(tokens [B, S], keys, values [layers, B, past, kv_heads, head]) -> logits, keys and values with S more.

    Without keys and values it begins at position 0 and gives logits only.
    """

    def __init__(self, checkpoint: Path) -> None:
        super().__init__()
        data = checkpoint.read_bytes()
        sizes = dict(zip(FIELDS, np.frombuffer(data, "<i4", 7).tolist(), strict=True))
        self.heads, self.kv_heads, self.layers = sizes["heads"], sizes["kv_heads"], sizes["layers"]
        dim, hidden, layers = sizes["dim"], sizes["hidden"], sizes["layers"]
        self.head = dim // self.heads
        rest = np.frombuffer(data, "<f4", offset=28)
        kv = self.kv_heads * self.head

        def take(name: str, *shape: int) -> None:
            nonlocal rest
            count = int(np.prod(shape))
            self.register_buffer(name, torch.from_numpy(rest[:count].reshape(shape).copy()))
            rest = rest[count:]

        take("embedding", sizes["vocabulary"], dim)
        take("attention_scale", layers, dim)
        take("wq", layers, dim, dim)
        take("wk", layers, kv, dim)
        take("wv", layers, kv, dim)
        take("wo", layers, dim, dim)
        take("feed_scale", layers, dim)
        take("w1", layers, hidden, dim)
        take("w2", layers, dim, hidden)
        take("w3", layers, hidden, dim)
        take("last_scale", dim)
        take("cosine", sizes["length"], self.head // 2)
        take("sine", sizes["length"], self.head // 2)
        assert rest.size == 0, "the checkpoint has more weights than the network"

    def forward(self, tokens: Tensor, keys: Tensor | None = None, values: Tensor | None = None) -> tuple[Tensor, ...]:
        past = 0 if keys is None else keys.shape[2]
        total = past + tokens.shape[1]
        cosine, sine = self.cosine[past:total], self.sine[past:total]
        hidden_keys = torch.arange(total)[None, :] > torch.arange(past, total)[:, None]
        mask = torch.zeros(hidden_keys.shape).masked_fill(hidden_keys, float("-inf"))
        x, new_keys, new_values = self.embedding[tokens], [], []
        for i in range(self.layers):
            y = _normalised(x, self.attention_scale[i])
            q = _rotate((y @ self.wq[i].T).unflatten(-1, (self.heads, self.head)), cosine, sine)
            k = _rotate((y @ self.wk[i].T).unflatten(-1, (self.kv_heads, self.head)), cosine, sine)
            v = (y @ self.wv[i].T).unflatten(-1, (self.kv_heads, self.head))
            if keys is not None and values is not None:
                k, v = torch.cat([keys[i], k], 1), torch.cat([values[i], v], 1)
            new_keys.append(k)
            new_values.append(v)
            repeated = [t.repeat_interleave(self.heads // self.kv_heads, 2).transpose(1, 2) for t in (k, v)]
            scores = q.transpose(1, 2) @ repeated[0].transpose(2, 3) * self.head**-0.5 + mask
            y = (scores.softmax(-1) @ repeated[1]).transpose(1, 2).flatten(2)
            x = x + y @ self.wo[i].T
            y = _normalised(x, self.feed_scale[i])
            x = x + (nn.functional.silu(y @ self.w1[i].T) * (y @ self.w3[i].T)) @ self.w2[i].T
        logits = _normalised(x, self.last_scale) @ self.embedding.T
        return (logits,) if keys is None else (logits, torch.stack(new_keys), torch.stack(new_values))
