"""Networks that people really deploy, in plain PyTorch with random weights, for tests and benchmarks.

`build("mobilenet_v2")` returns the module in eval mode and a tuple of example inputs (batch 1), the same
ones on every call.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from . import efficientnet, mobilenet, resnet, shufflenet, small, squeezenet, transformer, unet, yolo
from .common import random_image, settle_batch_norm

Example = tuple[Tensor, ...]


def _image(size: int) -> Callable[[], Example]:
    return lambda: (random_image(1, 3, size, size),)


def _tokens() -> Example:
    mask = torch.ones(1, 48, dtype=torch.int64)
    mask[:, 40:] = 0
    return torch.randint(0, 2000, (1, 48)), mask


def _frames() -> Example:
    return (torch.randn(1, 100, 80),)


ZOO: dict[str, tuple[Callable[[], nn.Module], Callable[[], Example]]] = {
    "mobilenet_v1": (mobilenet.MobileNetV1, _image(224)),
    "mobilenet_v2": (mobilenet.MobileNetV2, _image(224)),
    "mobilenet_v3_large": (mobilenet.MobileNetV3Large, _image(224)),
    "efficientnet_b0": (efficientnet.EfficientNetB0, _image(224)),
    "resnet18": (resnet.resnet18, _image(224)),
    "resnet50": (resnet.resnet50, _image(224)),
    "squeezenet": (squeezenet.SqueezeNet, _image(224)),
    "shufflenet_v2": (shufflenet.ShuffleNetV2, _image(224)),
    "vit_tiny": (transformer.VisionTransformer, _image(224)),
    "bert_mini": (transformer.BertMini, _tokens),
    "yolo_n": (yolo.YoloN, _image(320)),
    "unet": (unet.UNet, _image(128)),
    "keyword_dscnn": (small.KeywordDSCNN, lambda: (torch.randn(1, 1, 49, 10),)),
    "resnet8": (resnet.ResNet8, _image(32)),
    "autoencoder": (small.Autoencoder, lambda: (torch.randn(1, 640),)),
    "lstm_speech": (lambda: small.RecurrentSpeech(nn.LSTM), _frames),
    "gru_speech": (lambda: small.RecurrentSpeech(nn.GRU), _frames),
    "lstm_bidirectional": (lambda: small.RecurrentSpeech(nn.LSTM, 64, bidirectional=True), _frames),
}


def build(name: str, seed: int = 0) -> tuple[nn.Module, Example]:
    """The network `name` in eval mode and example inputs; weights and inputs depend on `seed` only."""
    make_module, make_example = ZOO[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = make_module()
        example = make_example()
        settle_batch_norm(module, *example)
    return module, example
