"""Guesses what network a set of weight names belongs to, for the text of an error; nothing depends on it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

# (all of these patterns occur among the names, description); the first row that fits wins.
_PATTERNS: list[tuple[tuple[str, ...], str]] = [
    ((r"^features\.\d+\.squeeze\.weight",), "SqueezeNet (torchvision)"),
    ((r"features\.denseblock\d+\.",), "DenseNet (torchvision)"),
    ((r"^features\.\d+\.conv\.\d+\.\d+\.weight", r"^classifier\.1\.weight"), "MobileNetV2 (torchvision)"),
    ((r"^features\.\d+\.block\.\d+\.", r"^classifier\.\d"), "MobileNetV3 or EfficientNet (torchvision)"),
    ((r"^(Conv2d_1a_3x3|Mixed_5b)\.",), "Inception v3 (torchvision)"),
    ((r"stage[234]\.\d+\.branch_main\.",), "a detector or classifier on ShuffleNetV2"),
    ((r"^stage[234]\.\d+\.branch[12]\.",), "ShuffleNetV2 (torchvision)"),
    ((r"^layer1\.0\.(conv1|bn1)\.", r"^(fc|linear)\.weight"), "ResNet"),
    ((r"^layer1\.0\.conv1\.",), "ResNet (without its classifier)"),
    ((r"^features\.\d+\.weight", r"^classifier\.\d+\.weight"), "VGG or AlexNet (torchvision)"),
    ((r"blocks\.\d+\.attn\.qkv\.weight", r"patch_embed\."), "Vision Transformer (timm)"),
    ((r"encoder\.layers\.encoder_layer_\d+\.",), "Vision Transformer (torchvision)"),
    ((r"layers\.\d+\.blocks\.\d+\.attn\.relative_position_bias_table",), "Swin Transformer"),
    ((r"stages\.\d+\.blocks\.\d+\.gamma|stages\.\d+\.\d+\.gamma",), "ConvNeXt"),
    ((r"^conv_stem\.weight", r"^blocks\.\d+\.\d+\."), "EfficientNet or MobileNet (timm)"),
    ((r"^model\.\d+\.(cv1|conv|m)\.", r"\.dfl\.conv\.weight"), "YOLOv8 or newer (Ultralytics)"),
    ((r"^model\.\d+\.(cv1|conv)\.",), "YOLOv5 (Ultralytics)"),
    ((r"encoder\.layer\.\d+\.attention\.self\.query\.weight",), "BERT-like encoder (transformers)"),
    ((r"h\.\d+\.attn\.c_attn\.weight",), "GPT-2 (transformers)"),
    ((r"layers\.\d+\.self_attn\.q_proj\.weight",), "a Llama-style or encoder-decoder transformer (transformers)"),
    ((r"weight_ih_l0",), "a recurrent network (LSTM, GRU or RNN)"),
    ((r"(down|inc|enc)\d?\.", r"(up|dec|outc)\d?\."), "U-Net"),
    ((r"(mha|attn|attention|self_attn)", r"(mlp|ff|fc|linear)"), "a transformer"),
    ((r"^(loc|regression_headers|classification_headers|conf)\.",), "an SSD-style detector"),
]


def guess_architecture(tensors: Mapping[str, Any]) -> str:
    """A description such as "ResNet", or "" when nothing fits."""
    names = list(tensors)
    for patterns, text in _PATTERNS:
        if all(any(re.search(p, n) for n in names) for p in patterns):
            return text
    ranks = [len(t.shape) for t in tensors.values()]
    if any(r == 4 for r in ranks):
        return "a convolutional network"
    if any(r == 2 for r in ranks):
        return "a network of fully connected layers"
    return ""
