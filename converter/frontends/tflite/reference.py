"""Runs the source model with TensorFlow Lite's own interpreter, where one is installed, to compare with.

The interpreter trusts its file: it runs in a child process, so that a damaged model cannot take the converter with it.
"""

from __future__ import annotations

import importlib.util
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from edgec.converter.check import OutputCheck, compare_outputs, random_inputs
from edgec.converter.frontends.child_process import ChildError, Limits, child_main, run_child
from edgec.converter.frontends.tflite.file import Quantization, TfliteFile
from edgec.converter.frontends.tflite.importer import entry_point

# In this order: the small package first.
INTERPRETERS = {"ai_edge_litert": "ai_edge_litert.interpreter", "tflite_runtime": "tflite_runtime.interpreter"}
LIMITS = Limits(seconds=120, memory=8 << 30)
# Hybrid operators round activations: a difference in the last bit of a float becomes one of 255 steps now and then.
HYBRID_LIMIT = 2e-2
# The same for quantized outputs, whose steps differ by one here and there; a wrong operator is off by 1 and more.
QUANTIZED_LIMIT = 0.1


class TfliteReference:
    """The source model with the interpreter's package `name`."""

    def __init__(self, file: TfliteFile, fixed: Mapping[str, np.ndarray], package: str) -> None:
        self.name = package.replace("_", "-")
        self._content, self._fixed, self._package = file.content, fixed, package
        number, self._inputs, self._outputs = entry_point(file)
        graph = file.subgraphs[number]
        self._indices = dict(zip(self._inputs, graph.inputs))
        self._output_indices = list(graph.outputs)
        self._dtypes = {n: graph.tensors[i].dtype for n, i in self._indices.items()}
        self._quantized = {n for n, i in self._indices.items() if graph.tensors[i].quantized}
        self._scales = [graph.tensors[i].quantization if graph.tensors[i].quantized else None for i in graph.outputs]
        self._rounds = any(t.quantized for g in file.subgraphs for t in g.tensors)

    @classmethod
    def of(cls, file: TfliteFile, fixed: Mapping[str, np.ndarray]) -> TfliteReference | None:
        """None where no interpreter is installed, or where the model is not the file's first subgraph."""
        if entry_point(file)[0] != 0:
            return None
        found = [p for p in INTERPRETERS if importlib.util.find_spec(p) is not None]
        return cls(file, fixed, found[0]) if found else None

    def random_inputs(self, inputs: Sequence[Any], sizes: Mapping[str, int], seed: int) -> dict[str, np.ndarray]:
        """As check.random_inputs; quantized inputs use their whole range."""
        rng = np.random.default_rng(seed)
        feeds = random_inputs(inputs, sizes, seed)
        for name in self._quantized & feeds.keys():
            info = np.iinfo(feeds[name].dtype)
            feeds[name] = rng.integers(info.min, info.max + 1, feeds[name].shape).astype(feeds[name].dtype)
        return feeds

    def compare_outputs(
        self, names: Sequence[str], got: Sequence[np.ndarray], expected: Sequence[np.ndarray], against: str
    ) -> list[OutputCheck]:
        """As check.compare_outputs, with the limits that rounded activations and results need."""
        real = list(zip(got, expected, self._scales))
        pairs = [(_real(g, q), _real(e, q)) for g, e, q in real]
        checks = compare_outputs(names, [g for g, _ in pairs], [e for _, e in pairs], against)
        if len(got) != len(expected):
            return compare_outputs(names, got, expected, against)
        result = []
        for check, (g, e, q) in zip(checks, real):
            limit = QUANTIZED_LIMIT if q is not None else HYBRID_LIMIT if self._rounds else 0.0
            if not check.ok and not check.note and check.relative_l2 <= limit:
                check = replace(check, ok=True)
            if q is not None and g.shape == e.shape and g.size:
                steps = np.abs(g.astype(np.int64) - e.astype(np.int64))
                check = replace(check, ok=check.ok or int(steps.max()) <= 1)
                if steps.any():
                    check = replace(check, note=f"{np.mean(steps != 0):.2%} differ, at most {steps.max()} steps")
            result.append(check)
        return result

    def run(self, feeds: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """All outputs in order."""
        values = {**self._fixed, **feeds}
        with tempfile.TemporaryDirectory(prefix="edgec-") as folder:
            place = Path(folder)
            (place / "model.tflite").write_bytes(self._content)
            arrays: dict[str, Any] = {str(self._indices[n]): np.asarray(values[n]) for n in self._inputs}
            np.savez(place / "feeds.npz", **arrays)
            request = {"package": self._package, "outputs": [int(i) for i in self._output_indices]}
            try:
                run_child(__name__, request, place, LIMITS, "the source model")
            except ChildError as e:
                raise RuntimeError(e.text) from None
            with np.load(place / "outputs.npz") as found:
                return [found[str(k)] for k in range(len(self._outputs))]


def _real(values: np.ndarray, q: Quantization | None) -> np.ndarray:
    return values if q is None else ((values.astype(np.int64) - q.zero_point[0]) * q.scale[0]).astype(np.float32)


def work(request: dict[str, Any]) -> dict[str, Any]:
    """In the child: one inference."""
    module = importlib.import_module(INTERPRETERS[request["package"]])
    folder = Path(request["folder"])
    interpreter = module.Interpreter(str(folder / "model.tflite"), num_threads=1)
    with np.load(folder / "feeds.npz") as stored:
        feeds = {int(k): stored[k] for k in stored.files}
    details = {d["index"]: d for d in interpreter.get_input_details()}
    for index, value in feeds.items():
        if list(details[index]["shape"]) != list(value.shape):
            interpreter.resize_tensor_input(index, value.shape)
    interpreter.allocate_tensors()
    for index, value in feeds.items():
        interpreter.set_tensor(index, value.astype(details[index]["dtype"]))
    interpreter.invoke()
    outputs = {str(k): interpreter.get_tensor(i) for k, i in enumerate(request["outputs"])}
    np.savez(folder / "outputs.npz", **outputs)
    return {}


if __name__ == "__main__":
    import sys

    sys.exit(child_main(sys.argv, work))
