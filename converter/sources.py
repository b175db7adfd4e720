"""Every kind of source model to a graph: which frontend reads it, and what its results are compared with."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from edgec.converter.errors import InvalidArgumentError
from edgec.converter.frontends.detect import Kind, Source, detect, not_read_yet
from edgec.converter.frontends.layers import files as layer_files
from edgec.converter.frontends.shapes import InputShape
from edgec.converter.frontends.tensorflow import source as tensorflow_source

if TYPE_CHECKING:
    from edgec.converter.ir.graph import Graph

Progress = Callable[[str, int, int], None]


@dataclass
class Imported:
    """A graph with what is known about its source."""

    graph: Graph
    framework: str
    source: str
    notes: list[str] = field(default_factory=list)
    feeds: dict[str, np.ndarray] | None = None  # inputs with which `expected` was computed
    expected: list[np.ndarray] | None = None
    reference: Any = None  # an OnnxReference for further inputs
    against: str = ""


def import_source(
    source: Any,
    data: Any,
    shapes: list[InputShape],
    weights: str | os.PathLike[str] | None,
    model: str | None,
    fixed: Mapping[str, Any],
    random_seed: int | None,
    tensorflow: tensorflow_source.Options,
    tell: Progress,
) -> Imported:
    if isinstance(source, (str, os.PathLike)):
        source, weights = layer_files.definition_first(source, weights)
        file = detect(source)
        if layer_files.is_layer_format(file.kind) and model is None:
            return _import_layers(file, shapes, weights, fixed, random_seed, tell)
        if tensorflow_source.is_tensorflow(file.kind) and model is None and random_seed is None:
            return _import_tensorflow(file, data, shapes, weights, fixed, tensorflow, tell)
        if random_seed is None:
            return _import_file(file, data, shapes, weights, model, fixed, tell)
    if random_seed is not None:
        raise InvalidArgumentError("random weights exist for Caffe and ncnn models only: others hold their own")
    if type(source).__name__ == "ModelProto" and hasattr(source, "SerializeToString"):
        from edgec.converter.frontends.onnx.model import OnnxFile

        return _import_onnx(OnnxFile(source), None, "onnx.ModelProto", shapes, fixed, tell)
    if isinstance(source, (bytes, bytearray, memoryview)) and bytes(source[4:8]) == b"TFL3":
        return _import_tflite(bytes(source), "bytes", shapes, fixed, tell)
    if isinstance(source, (bytes, bytearray, memoryview)):
        from edgec.converter.frontends.onnx.model import OnnxFile, import_onnx, parse_model

        return _import_onnx(
            OnnxFile(parse_model(import_onnx(), bytes(source), "the given bytes")), None, "bytes", shapes, fixed, tell
        )
    from edgec.converter.frontends.torch import source as torch_source

    if torch_source.is_torch_object(source):
        exported = torch_source.from_object(source, data, shapes, fixed)
        return _import_exported(exported, type(source).__name__, shapes, fixed, tell, [])
    if tensorflow_source.is_tensorflow_object(source):
        return _import_tensorflow(source, data, shapes, weights, fixed, tensorflow, tell)
    raise InvalidArgumentError(
        f"cannot convert a {type(source).__name__}",
        hint="pass a path, an nn.Module, a torch.export.ExportedProgram, an onnx.ModelProto, a Keras model or a tf.function",
    )


def _import_file(
    source: Source,
    data: Any,
    shapes: list[InputShape],
    weights: str | os.PathLike[str] | None,
    model: str | None,
    fixed: Mapping[str, Any],
    tell: Progress,
) -> Imported:
    from edgec.converter.frontends.torch import checkpoint
    from edgec.converter.frontends.torch import source as torch_source

    if model is not None:
        holder: Any = weights if weights is not None else source
        exported, notes = torch_source.from_factory(model, holder, data, shapes)
        return _import_exported(exported, source.path.name, shapes, fixed, tell, notes)
    if checkpoint.is_checkpoint(source.kind):
        raise checkpoint.guided_error(checkpoint.read_checkpoint(source), bool(shapes))
    if weights is not None:
        raise InvalidArgumentError(f"a {source.kind.value} holds its own weights; leave the second file out")
    if source.kind is Kind.ONNX:
        from edgec.converter.frontends.onnx.model import OnnxFile

        return _import_onnx(OnnxFile.open(source.path), str(source.path), source.path.name, shapes, fixed, tell)
    if source.kind in (Kind.TORCHSCRIPT, Kind.EXPORTED_PROGRAM):
        exported = torch_source.from_file(source, data, shapes, fixed)
        return _import_exported(exported, source.path.name, shapes, fixed, tell, [])
    if source.kind is Kind.TFLITE:
        return _import_tflite(source.path, source.path.name, shapes, fixed, tell)
    raise not_read_yet(source)


def _import_tflite(
    content: Any, label: str, shapes: list[InputShape], fixed: Mapping[str, Any], tell: Progress
) -> Imported:
    """`content`: the path of a .tflite file, or its bytes."""
    from edgec.converter.frontends.tflite.file import TfliteFile
    from edgec.converter.frontends.tflite.importer import import_tflite
    from edgec.converter.frontends.tflite.reference import TfliteReference

    file = TfliteFile.parse(content, label) if isinstance(content, bytes) else TfliteFile.open(content)
    values = {k: np.asarray(v) for k, v in fixed.items()}
    graph, notes = import_tflite(file, shapes, values, lambda done, total: tell("import", done, total))
    return Imported(graph, "tflite", label, notes, reference=TfliteReference.of(file, values))


def _import_tensorflow(
    source: Any,
    data: Any,
    shapes: list[InputShape],
    weights: Any,
    fixed: Mapping[str, Any],
    options: tensorflow_source.Options,
    tell: Progress,
) -> Imported:
    """`source`: a SavedModel, Keras file or frozen graph, or a live object of TensorFlow or Keras."""
    from edgec.converter.frontends.tflite.importer import import_tflite

    if weights is not None:
        raise InvalidArgumentError("TensorFlow and Keras models hold their own weights; leave the second file out")
    read = tensorflow_source.from_file if isinstance(source, Source) else tensorflow_source.from_object
    exported = read(source, data, shapes, fixed, options)
    label = source.path.name if isinstance(source, Source) else type(source).__name__
    values = {k: np.asarray(v) for k, v in fixed.items()}
    graph, notes = import_tflite(exported.file, exported.shapes, values, lambda done, all_: tell("import", done, all_))
    imported = Imported(graph, "tensorflow", label, [*exported.notes, *notes])
    imported.feeds, imported.expected, imported.against = exported.feeds, exported.expected, "tensorflow"
    if exported.quantized and exported.expected is not None:
        imported.reference = tensorflow_source.RoundedComparison()
    return imported


def _import_layers(
    source: Source,
    shapes: list[InputShape],
    weights: str | os.PathLike[str] | None,
    fixed: Mapping[str, Any],
    random_seed: int | None,
    tell: Progress,
) -> Imported:
    def progress(done: int, total: int) -> None:
        tell("import", done, total)

    graph, notes = layer_files.import_layers(source, weights, shapes, fixed, random_seed, progress)
    framework = source.kind.value.split()[0].lower()
    return Imported(graph, framework, source.path.name, notes)


def _import_onnx(
    file: Any,
    path: str | None,
    label: str,
    shapes: list[InputShape],
    fixed: Mapping[str, Any],
    tell: Progress,
) -> Imported:
    from edgec.converter.check import OnnxReference
    from edgec.converter.frontends.onnx.examples import import_with_examples

    graph, notes = import_with_examples(file, shapes, fixed, tell)
    imported = Imported(graph, "onnx", label, notes)
    imported.reference = OnnxReference(file.model, path)
    imported.feeds = None
    if fixed:
        imported.reference = _WithFixed(imported.reference, file.model, fixed)
    return imported


class _WithFixed:
    """A reference that is also given the inputs which became constants."""

    def __init__(self, reference: Any, model: Any, fixed: Mapping[str, Any]) -> None:
        from edgec.converter.frontends.onnx.model import NUMPY, dtype_name

        self._reference = reference
        types = {i.name: dtype_name(i.type.tensor_type.elem_type) for i in model.graph.input}
        ranks = {i.name: len(i.type.tensor_type.shape.dim) for i in model.graph.input}
        self._fixed = {}
        for name, value in fixed.items():
            array = np.asarray(value).astype(NUMPY[types[name] or "f32"])
            self._fixed[name] = array.reshape([1] * ranks[name]) if array.ndim == 0 and ranks[name] else array

    @property
    def name(self) -> str:
        return str(self._reference.name)

    def run(self, feeds: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        return list(self._reference.run({**feeds, **self._fixed}))


def _import_exported(
    exported: Any,
    label: str,
    shapes: list[InputShape],
    fixed: Mapping[str, Any],
    tell: Progress,
    notes: list[str],
) -> Imported:
    from edgec.converter.frontends.onnx.examples import import_with_examples, named_symbols
    from edgec.converter.frontends.onnx.inputs import input_names
    from edgec.converter.frontends.onnx.model import OnnxFile, import_onnx, parse_model

    file = OnnxFile(parse_model(import_onnx(), exported.model, "PyTorch's exporter"))
    names = input_names(file.model.graph)
    fixed = {k: v for k, v in fixed.items() if k not in exported.fixed}
    graph, more = import_with_examples(file, named_symbols(file, names, shapes), fixed, tell)
    imported = Imported(graph, "pytorch", label, [*notes, *exported.notes, *more])
    imported.notes.insert(0, f"exported by {exported.strategy}") if exported.notes else None
    feeds = dict(zip(names, exported.inputs))
    if len(names) == len(exported.inputs):
        imported.feeds = {k: v for k, v in feeds.items() if k not in fixed}
        imported.expected = exported.outputs
    else:
        imported.notes.append(
            f"the exporter kept {len(names)} of {len(exported.inputs)} inputs ({', '.join(names)}); the others do not matter"
        )
        imported.feeds = _by_shape(graph, exported.inputs)
        imported.expected = exported.outputs if imported.feeds is not None else None
    imported.against = "torch"
    return imported


def _by_shape(graph: Graph, arrays: Sequence[np.ndarray]) -> dict[str, np.ndarray] | None:
    """Matches the inputs that are left with the arrays that were given, in order, by shape."""
    rest, feeds = list(arrays), {}
    for value in graph.inputs:
        fitting = [
            a
            for a in rest
            if len(a.shape) == value.rank and all(d is None or d == s for d, s in zip(value.shape, a.shape))
        ]
        if not fitting:
            return None
        feeds[value.name] = fitting[0]
        rest = [a for a in rest if a is not fitting[0]]
    return feeds
