"""Symbolic sizes: one conversion, then several sizes against torch, none of which the conversion has seen."""

from __future__ import annotations

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # configurations only; nothing may be fetched
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

import pytest

torch = pytest.importorskip("torch")

import edgec  # noqa: E402
from tests import architectures, zoo  # noqa: E402
from tests.architectures import call  # noqa: E402
from tests.conftest import relative_l2  # noqa: E402
from tests.zoo.common import random_image  # noqa: E402

LIMIT = 1e-5  # relative L2 of f32 results against torch, the project's promise

# Name -> (channels, symbolic H and W, sizes to run). Multiples of what the network halves its image by.
IMAGES = {
    "zoo/mobilenet_v2": (3, "h", "w", [(1, 64, 96), (3, 97, 65), (2, 224, 32)]),
    "zoo/resnet18": (3, "h", "w", [(1, 64, 96), (3, 65, 97)]),
    "zoo/unet": (3, "8*h", "8*w", [(1, 64, 40), (2, 24, 72)]),
    "deeplab_v3_plus": (3, "h", "w", [(1, 64, 48), (2, 57, 91)]),
    "pspnet": (3, "4*h", "4*w", [(1, 64, 48), (2, 40, 100)]),
    "fpn": (3, "h", "w", [(1, 64, 48), (3, 33, 79)]),
    "hrnet": (3, "h", "w", [(1, 64, 48), (2, 61, 83)]),
    "yolo_v5": (3, "16*h", "16*w", [(1, 64, 48), (2, 80, 112)]),
    "ghostnet": (3, "h", "w", [(1, 64, 48), (2, 61, 83)]),
    "densenet": (3, "h", "w", [(1, 64, 48), (2, 81, 63)]),
    "edsr": (3, "h", "w", [(1, 20, 33), (2, 17, 8)]),
    "fsrcnn": (1, "h", "w", [(1, 20, 33), (2, 17, 9)]),
    "hourglass": (3, "8*h", "8*w", [(1, 32, 48), (2, 16, 24)]),
}


def _build(name: str) -> tuple[torch.nn.Module, object]:
    return zoo.build(name.removeprefix("zoo/")) if name.startswith("zoo/") else architectures.build(name)


def _compare(
    model: edgec.Model, module: torch.nn.Module, example: dict[str, torch.Tensor] | tuple[torch.Tensor, ...]
) -> None:
    expected = call(module, example)
    values = example if isinstance(example, dict) else dict(zip([i.name for i in model.inputs], example, strict=True))
    session = edgec.Session(model, threads=1)
    got = session.run(None, {i.name: values[i.name].numpy() for i in model.inputs})
    assert len(got) == len(expected)
    sizes = {k: list(v.shape) for k, v in values.items()}
    for index, (g, e) in enumerate(zip(got, expected, strict=True)):
        error = relative_l2(g, e.numpy())
        print(f"{sizes} output {index}: relative L2 {error:.2e}")
        assert error <= LIMIT, f"output {index} differs from torch for inputs {sizes}"


@pytest.mark.parametrize("name", IMAGES)
def test_batch_height_width(name: str) -> None:
    channels, height, width, sizes = IMAGES[name]
    module, _ = _build(name)
    torch.manual_seed(1)
    multiple = [int(text.partition("*")[0]) if "*" in text else 1 for text in (height, width)]
    dims = [torch.export.Dim(text.rpartition("*")[2], min=2) for text in (height, width)]
    shape = {0: torch.export.Dim("batch"), 2: multiple[0] * dims[0], 3: multiple[1] * dims[1]}
    example = (random_image(2, channels, 64, 96),)
    if multiple == [1, 1]:
        model = edgec.convert(module, example, shapes=[("batch", channels, "h(8..)", "w(8..)")])
    else:  # sizes that are multiples can be told to torch.export only
        model = edgec.convert(torch.export.export(module, example, dynamic_shapes=(shape,)))
    assert sum(isinstance(d, str) for d in model.inputs[0].shape) == 3, model.inputs[0].shape
    for n, h, w in sizes:
        _compare(model, module, (random_image(n, channels, h, w),))


SEQUENCES = [
    "bert",
    "distilbert",
    "deberta_v2",
    "modernbert",
    "gpt2",
    "llama",
    "qwen3",
    "gemma2",
    "mixtral",
    "t5_encoder",
    "t5",
    "bart",
    "torch_transformer",
    "lstm_tagger",
    "conformer",
    "crnn",
    "tcn",
    "wav2vec2",
    "hubert",
    "whisper_decoder",
]
# Axis of each input that is as long as the sequence, and lengths to run.
AXES: dict[str, tuple[list[int], list[int]]] = {
    "conformer": ([1], [31, 50, 83]),
    "crnn": ([3], [40, 64, 101]),
    "tcn": ([2], [7, 60, 101]),
    "wav2vec2": ([1], [400, 1600, 2345]),
    "hubert": ([1], [400, 1600, 2345]),
    "torch_transformer": ([1, 1], [5, 11, 23]),
}


@pytest.mark.parametrize("name", SEQUENCES)
def test_batch_and_sequence_length(name: str) -> None:
    package = architectures.ARCHITECTURES[name].package
    if package is not None:
        pytest.importorskip(package)
    module, example = architectures.build(name)
    inputs = list(example.values()) if isinstance(example, dict) else list(example)
    axes, lengths = AXES.get(name, ([1] * len(inputs), [5, 12, 29]))

    def resized(batch: int, length: int) -> dict[str, torch.Tensor] | tuple[torch.Tensor, ...]:
        result = []
        for x, axis in zip(inputs, axes, strict=True):
            shape = [batch, *x.shape[1:]]
            shape[axis] = length
            if x.is_floating_point():
                result.append(torch.randn(shape))
            elif int(x.max()) == 1:  # a mask
                mask = torch.ones(shape, dtype=x.dtype)
                mask[0, -2:] = 0
                result.append(mask)
            else:
                result.append(torch.randint(3, 200, shape))
        return dict(zip(example, result, strict=True)) if isinstance(example, dict) else tuple(result)

    torch.manual_seed(1)
    shapes = []
    for x, axis in zip(inputs, axes, strict=True):
        dims: list[int | str] = list(x.shape)
        dims[0], dims[axis] = "batch", f"length({min(lengths)}..4000)" if lengths[-1] > 40 else "length(2..60)"
        shapes.append(tuple(dims))
    named = dict(zip(example, shapes, strict=True)) if isinstance(example, dict) else shapes
    model = edgec.convert(module, resized(2, lengths[1]), shapes=named)
    assert all(sum(isinstance(d, str) for d in i.shape) == 2 for i in model.inputs), [i.shape for i in model.inputs]
    for batch, length in zip((1, 3, 2), lengths, strict=True):
        _compare(model, module, resized(batch, length))
