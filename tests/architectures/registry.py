"""The table of architectures: name -> a function that gives the module and its example inputs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from tests.zoo.common import settle_batch_norm

Example = tuple[Tensor, ...] | dict[str, Tensor]
Maker = Callable[[], tuple[nn.Module, Example]]


@dataclass(frozen=True)
class Architecture:
    """`make` builds it with the weights that torch draws; `package` is what it needs beside torch."""

    make: Maker
    package: str | None = None


ARCHITECTURES: dict[str, Architecture] = {}


def architecture(name: str, package: str | None = None) -> Callable[[Maker], Maker]:
    """Decorator that puts a maker into the table.

    >>> @architecture("linear")
    ... def _linear():
    ...     return torch.nn.Linear(3, 2), (torch.randn(1, 3),)
    """

    def add(make: Maker) -> Maker:
        assert name not in ARCHITECTURES, name
        ARCHITECTURES[name] = Architecture(make, package)
        return make

    return add


def build(name: str, seed: int = 0) -> tuple[nn.Module, Example]:
    """The network in eval mode and example inputs; weights and inputs depend on `seed` only."""
    entry = ARCHITECTURES[name]
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        module, example = entry.make()
        if entry.package is None and isinstance(example, tuple) and all(x.is_floating_point() for x in example):
            settle_batch_norm(module, *example)
        else:
            enliven(module)
    return module.eval(), example


def enliven(module: nn.Module) -> None:
    """Weights of a trained network's size in place of fresh ones.

    Fresh transformers have deviations of 0.02 (attention is uniform then), scales of 1, biases of 0, and position
    tables of 0: a converter that forgot any of them would pass.
    """
    for parameter in module.parameters():
        if parameter.dim() >= 2 and parameter[0].numel() > 1:
            parameter.normal_(0, parameter[0].numel() ** -0.5)
        elif parameter.numel() > 1 and parameter.std() == 0:
            parameter.add_(0.1 * torch.randn_like(parameter))
    for part in module.modules():
        if isinstance(getattr(part, "running_var", None), Tensor):
            part.running_mean.normal_(0, 0.2)
            part.running_var.uniform_(0.5, 1.5)


def call(module: nn.Module, example: Example) -> list[Tensor]:
    """All tensors that the module gives, in the order of its outputs."""
    from edgec.converter.frontends.torch.export import flat_tensors

    with torch.no_grad():
        result: Any = module(**example) if isinstance(example, dict) else module(*example)
    return flat_tensors(result)


def image(size: int = 64, batch: int = 1, channels: int = 3) -> tuple[Tensor]:
    """A random image as the only input."""
    from tests.zoo.common import random_image

    return (random_image(batch, channels, size, size),)
