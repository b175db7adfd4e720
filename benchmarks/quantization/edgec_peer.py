"""edgec with its defaults."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import edgec
from benchmarks.quantization.networks import SOURCES

OPTIONS: dict[str, dict[str, Any]] = {"defaults": {}}
CONVERSION: dict[str, dict[str, Any]] = {
    "fsrcnn": {"shapes": "1xhxwx1"},
    "silero": {"shapes": {"input": (1, 576), "state": (2, 1, 128)}, "fixed": {"sr": 16000}},
}


def version() -> str:
    return f"edgec {edgec.__version__}"


class Network:
    """A model and its session in one."""

    def __init__(self, model: edgec.Model) -> None:
        self.model, self.session = model, edgec.Session(model)
        self.inputs = self.session.inputs

    def run(self, _: None, feeds: dict[str, Any]) -> list[np.ndarray]:
        return [np.array(o) for o in self.session.run(None, feeds)]


def load(case: str, models: Path, work: Path) -> Network:
    file = models / SOURCES[case].file
    exported = file.with_suffix(".pt2")
    return Network(edgec.convert(exported if exported.exists() else file, **CONVERSION.get(case, {})))


def quantize(network: Network, samples: Sequence[Any], **options: Any) -> Network:
    return Network(edgec.quantize(network.model, samples, **options))
