"""From a source model to a checked edgec model: detect, import, optimise, write, run, compare."""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgec.converter.boundary_layout import BoundaryLayouts, MovedReference, change_layouts
from edgec.converter.errors import (
    BadFileError,
    CancelledError,
    CheckError,
    Error,
    InvalidArgumentError,
    ShapeError,
    UnsupportedError,
)
from edgec.converter.frontends import layer_files, tensorflow_source
from edgec.converter.frontends.detect import Kind, Source, detect, not_read_yet
from edgec.converter.frontends.shapes import InputShape, bind_shapes, parse_shapes

if TYPE_CHECKING:
    from edgec.converter.check import OutputCheck
    from edgec.converter.ir.graph import Graph
    from edgec.model import Model
    from edgec.session import Session

Progress = Callable[[str, int, int], None]

# Sizes tried, in order, for symbolic dimensions other than the batch. Networks halve and concatenate: a size that
# does not survive that is the probe's fault, not the model's.
EXAMPLE_SIZES = (32, 64, 128, 224, 320, 16, 8, 512)

# A model with a loop is compared only if a first run ends within this time.
LOOP_SECONDS = 3


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


def convert(
    source: Any,
    example_inputs: Any = None,
    shapes: Any = None,
    weights: str | os.PathLike[str] | None = None,
    model: str | None = None,
    *,
    check: bool = True,
    check_data: Any = None,
    disable: Collection[str] = (),
    labels: Sequence[str] | None = None,
    fixed: Mapping[str, Any] | None = None,
    random_weights: bool = False,
    signature: str | None = None,
    inputs: Sequence[str] = (),
    outputs: Sequence[str] = (),
    trust: bool = False,
    input_layout: str | None = None,
    output_layout: str | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Model:
    """Converts a trained model and checks the result against its source.

    source: path of an .onnx, .pt, .pt2, .jit or .pth file; an nn.Module, ScriptModule or ExportedProgram; or an
    onnx.ModelProto. example_inputs: tensors or arrays (tuple; dict by name for keyword arguments). shapes: what
    `--shape` takes, as a text, a list or a dict by input name. weights, model: for a file that holds only weights,
    `model="package.module:factory"` builds the network (this imports your code); for Caffe and ncnn, `weights` is the
    second file (default: the one of the same name), and random_weights does without it. fixed: inputs that become
    constants, by name. check: compare with the source framework on example_inputs, check_data or random inputs.
    disable: names of rewrites to leave out. input_layout, output_layout: "nchw" or "nhwc" for inputs and outputs of rank 4
    and 5 (default: as in the source). TensorFlow only: signature names the part of a SavedModel; inputs and outputs
    name nodes of a frozen graph; trust=True lets code in a Keras file (Lambda layers) run.

    Raises UnsupportedError (lists every operator that is missing), StateDictError, ShapeError, BadFileError,
    UnsafeFileError, MissingDependency, CheckError (the result differs).

    >>> edgec.convert("net.onnx", shapes={"x": (1, 3, 224, 224)}).save("net.edge")
    """
    from edgec.converter.passes.pipeline import optimize
    from edgec.converter.writer import to_bytes
    from edgec.model import Model

    start = time.perf_counter()
    tell = progress or (lambda text, done, total: None)
    wanted = parse_shapes(shapes)
    data = example_inputs if example_inputs is not None else check_data
    tell("import", 0, 1)
    tensorflow = tensorflow_source.Options(signature, inputs, outputs, trust, check, seed)
    random_seed = seed if random_weights else None
    imported = _import(source, data, wanted, weights, model, fixed or {}, random_seed, tensorflow, tell)
    graph = imported.graph
    layouts = _change_layouts(imported, input_layout, output_layout)
    passes = optimize(
        graph, disable=tuple(disable), progress=lambda label, part: tell("optimise", int(100 * part), 100)
    )

    report: dict[str, Any] = passes.to_dict()
    report["source"] = {"file": imported.source, "framework": imported.framework}
    report["warnings"] = list(imported.notes)
    report["inputs"] = [[v.name, v.dtype, list(v.declared_shape or ())] for v in graph.inputs]
    report["layouts"] = layouts.names
    graph.metadata.update(_metadata(imported, labels))
    tell("write", 0, 1)
    result = Model.from_bytes(to_bytes(graph), report=report)
    if check:
        tell("check", 0, 1)
        checks = _check(result, imported, data, seed, report["warnings"])
        report["check"] = [c.to_dict() for c in checks]
        _raise_difference(checks)
    report["seconds"] = round(time.perf_counter() - start, 3)
    graph.metadata["report"] = json.dumps(_finite(report))
    result = Model.from_bytes(to_bytes(graph), report=report)
    tell("done", 1, 1)
    return result


def _change_layouts(imported: Imported, inputs: str | None, outputs: str | None) -> BoundaryLayouts:
    """Moves the graph's inputs and outputs, and what it is compared with alike."""
    done = change_layouts(imported.graph, imported.framework, inputs, outputs)
    if not done.inputs and not done.outputs:
        return done
    if imported.reference is not None:
        imported.reference = MovedReference(imported.reference, done)
    if imported.feeds is not None and imported.expected is not None:
        imported.feeds, imported.expected = done.from_source(imported.feeds), done.results(imported.expected)
    return done


def _metadata(imported: Imported, labels: Sequence[str] | None) -> dict[str, str]:
    import edgec

    pairs = {
        "producer": f"edgec {edgec.__version__}",
        "source": imported.source,
        "source_framework": imported.framework,
    }
    if labels is not None:
        pairs["labels"] = "\n".join(str(label) for label in labels)
    return pairs


def _finite(value: Any) -> Any:
    """JSON has no infinity."""
    if isinstance(value, float) and not np.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(v) for v in value]
    return value


# -- import --------------------------------------------------------------------------------------
def _import(
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
        from edgec.converter.frontends.onnx_model import OnnxFile

        return _import_onnx(OnnxFile(source), None, "onnx.ModelProto", shapes, fixed, tell)
    if isinstance(source, (bytes, bytearray, memoryview)) and bytes(source[4:8]) == b"TFL3":
        return _import_tflite(bytes(source), "bytes", shapes, fixed, tell)
    if isinstance(source, (bytes, bytearray, memoryview)):
        from edgec.converter.frontends.onnx_model import OnnxFile, import_onnx, parse_model

        return _import_onnx(
            OnnxFile(parse_model(import_onnx(), bytes(source), "the given bytes")), None, "bytes", shapes, fixed, tell
        )
    from edgec.converter.frontends import torch_source

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
    from edgec.converter.frontends import checkpoint, torch_source

    if model is not None:
        holder: Any = weights if weights is not None else source
        exported, notes = torch_source.from_factory(model, holder, data, shapes)
        return _import_exported(exported, source.path.name, shapes, fixed, tell, notes)
    if checkpoint.is_checkpoint(source.kind):
        raise checkpoint.guided_error(checkpoint.read_checkpoint(source), bool(shapes))
    if weights is not None:
        raise InvalidArgumentError(f"a {source.kind.value} holds its own weights; leave the second file out")
    if source.kind is Kind.ONNX:
        from edgec.converter.frontends.onnx_model import OnnxFile

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
    from edgec.converter.frontends.tflite_file import TfliteFile
    from edgec.converter.frontends.tflite_import import import_tflite
    from edgec.converter.frontends.tflite_reference import TfliteReference

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
    from edgec.converter.frontends.tflite_import import import_tflite

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
        from edgec.converter.frontends.onnx_model import NUMPY, dtype_name

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


def import_with_examples(
    file: Any, shapes: Sequence[InputShape], fixed: Mapping[str, Any], tell: Progress | None = None
) -> tuple[Graph, list[str]]:
    """The graph of an ONNX file; symbolic dimensions are probed with several sizes until one fits."""
    from edgec.converter.frontends.onnx_import import Importer
    from edgec.converter.frontends.onnx_inputs import (
        BATCH_EXAMPLE,
        file_dims,
        input_names,
        real_inputs,
        symbols_beside_batch,
    )

    names = [n for n in input_names(file.model.graph) if n not in fixed]
    unknown = [n for n in fixed if n not in input_names(file.model.graph)]
    if unknown:
        raise InvalidArgumentError(
            f"fixed: the model has no input '{unknown[0]}'; its inputs are: {', '.join(input_names(file.model.graph))}"
        )
    bound = bind_shapes(shapes, names)
    values = {k: np.asarray(v) for k, v in fixed.items()}
    progress = None if tell is None else (lambda done, total: tell("import", done, total))

    def symbolic() -> bool:
        for info in real_inputs(file.model.graph):
            if info.name in fixed:
                continue
            dims = bound[info.name].dims if info.name in bound else file_dims(info)
            if dims is not None and any(not isinstance(d, int) for d in dims):
                return True
        return False

    if not symbolic():
        return Importer(file, bound, values, progress).run(), []
    many = len(symbols_beside_batch(file.model.graph, bound, fixed)) > 1

    def imported(size: int) -> tuple[Graph, int]:
        # Two names may mean one size (ids and their mask): only then are they probed with equal sizes.
        if many:
            with contextlib.suppress(ShapeError, UnsupportedError):
                importer = Importer(file, bound, values, progress, other_example=size)
                return importer.run(), importer.assumptions
        importer = Importer(file, bound, values, progress, other_example=size, distinct=False)
        return importer.run(), importer.assumptions

    failure: ShapeError | None = None
    best: tuple[Graph, int] | None = None
    for size in EXAMPLE_SIZES:
        try:
            graph, assumptions = imported(size)
        except ShapeError as e:
            failure = failure or e
            continue
        if not assumptions:
            return graph, []
        if best is None or assumptions < best[1]:  # a size that fits as many branches as any
            best = graph, assumptions
    if best is not None:
        return best[0], []
    # The batch may stand on another axis too, under a name of its own (a recurrent state).
    for name in symbols_beside_batch(file.model.graph, bound, fixed):
        for size in EXAMPLE_SIZES[:5]:
            with contextlib.suppress(ShapeError, UnsupportedError):
                options: dict[str, Any] = {"examples": {name: BATCH_EXAMPLE}, "other_example": size, "distinct": False}
                return Importer(file, bound, values, progress, **options).run(), []
    # A model that only works with one batch size says so by its reshapes.
    for size in EXAMPLE_SIZES[:5]:
        fewer = _without_batch(file, bound, fixed)
        if fewer is None:
            break
        try:
            graph = Importer(file, fewer, values, progress, other_example=size).run()
            return graph, ["the batch size is fixed to 1: the network's own reshapes do not allow another"]
        except (ShapeError, UnsupportedError):
            continue
    assert failure is not None
    raise failure


def _without_batch(
    file: Any, bound: Mapping[str, InputShape], fixed: Mapping[str, Any]
) -> dict[str, InputShape] | None:
    """The input shapes with every symbolic first dimension 1; None when no first dimension is symbolic."""
    from edgec.converter.frontends.onnx_inputs import file_dims, real_inputs

    result, changed = dict(bound), False
    for info in real_inputs(file.model.graph):
        if info.name in fixed:
            continue
        dims = list(bound[info.name].dims) if info.name in bound else file_dims(info)
        if dims and not isinstance(dims[0], int) and info.name not in bound:
            result[info.name] = InputShape(info.name, (1, *dims[1:]))
            changed = True
    return result if changed else None


def _import_exported(
    exported: Any,
    label: str,
    shapes: list[InputShape],
    fixed: Mapping[str, Any],
    tell: Progress,
    notes: list[str],
) -> Imported:
    from edgec.converter.frontends.onnx_inputs import input_names
    from edgec.converter.frontends.onnx_model import OnnxFile, import_onnx, parse_model

    file = OnnxFile(parse_model(import_onnx(), exported.model, "PyTorch's exporter"))
    names = input_names(file.model.graph)
    fixed = {k: v for k, v in fixed.items() if k not in exported.fixed}
    graph, more = import_with_examples(file, _named_symbols(file, names, shapes), fixed, tell)
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


def _named_symbols(file: Any, names: Sequence[str], shapes: Sequence[InputShape]) -> list[InputShape]:
    """Exporters call a dynamic dimension s77: it gets the name and range back that the user gave it."""
    from edgec.converter.frontends.onnx_inputs import file_dims, real_inputs

    if not any(not isinstance(d, int) for s in shapes for d in s.dims):
        return []
    if all(s.name in names for s in shapes):
        by_name = {s.name: s for s in shapes}
    else:
        by_name = dict(zip(names, shapes)) if len(shapes) == len(names) else {}
    result = []
    for info in real_inputs(file.model.graph):
        declared, wanted = file_dims(info), by_name.get(info.name)
        if declared is None or wanted is None or len(declared) != len(wanted.dims):
            continue
        dims = [w if not isinstance(d, int) and not isinstance(w, int) else d for d, w in zip(declared, wanted.dims)]
        result.append(InputShape(info.name, tuple(dims)))
    return result


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


# -- check ---------------------------------------------------------------------------------------
def _check(result: Model, imported: Imported, data: Any, seed: int, warnings: list[str]) -> list[OutputCheck]:
    from edgec.converter import check
    from edgec.session import Session

    # A reference may know better which inputs a model takes, and how equal its results can be.
    random_inputs = getattr(imported.reference, "random_inputs", check.random_inputs)
    compare_outputs = getattr(imported.reference, "compare_outputs", check.compare_outputs)
    session = Session(result)
    sizes = dict(imported.graph.probes[0])
    if imported.expected is not None and imported.feeds is not None:
        first = imported.feeds
    else:
        first = _given(data, result) if data is not None else random_inputs(result.inputs, sizes, seed)
    if any(n.op == "Loop" for n in imported.graph.nodes) and not _ends(session, first):
        warnings.append(f"not compared: with these inputs a loop does not end within {LOOP_SECONDS} s")
        return []
    names = list(result.native.output_names)
    cases: list[tuple[dict[str, np.ndarray], list[np.ndarray], str]] = []
    if imported.expected is not None and imported.feeds is not None:
        cases.append((imported.feeds, imported.expected, imported.against))
    elif imported.reference is not None:
        trials = [first]
        if data is None and imported.graph.symbols:  # sizes that the import did not probe, where the range allows them
            other = {n: s + max(s // 2, 1) for n, s in sizes.items()}
            limits = imported.graph.symbols
            other = {n: min(max(s, limits[n][0]), limits[n][1] or s) for n, s in other.items()}
            trials.append(random_inputs(result.inputs, other, seed))
        for index, feeds in enumerate(trials):
            try:
                cases.append((feeds, imported.reference.run(feeds), imported.reference.name))
            except Exception as e:  # whatever the other framework raises
                if index == 0:
                    text = str(e).splitlines()[0][:200] if str(e) else type(e).__name__
                    warnings.append(f"not compared: {imported.reference.name} does not run the source model ({text})")
    if not cases:
        try:
            session.run(None, first)
        except Error as e:
            if imported.reference is None:
                raise
            warnings.append(f"not run: random inputs do not fit the network ({e.message})")
        return []
    checks: list[OutputCheck] = []
    for index, (feeds, expected, against) in enumerate(cases):
        try:
            got = session.run(None, feeds)
        except Error as e:
            if index == 0:
                raise
            shapes = ", ".join(f"{k} {list(v.shape)}" for k, v in feeds.items())
            warnings.append(f"does not run with {shapes}, which {against} accepts: {e.message}")
            continue
        case = compare_outputs(names, got, expected, against)
        if index == 0 or any(not c.ok for c in case):
            checks += case
    return checks


def _ends(session: Session, feeds: dict[str, np.ndarray]) -> bool:
    """Whether a run comes to its end, be it an error: a loop may depend on data that random inputs are not."""
    timer = threading.Timer(LOOP_SECONDS, session.cancel)
    timer.start()
    try:
        session.run(None, feeds)
    except CancelledError:
        return False
    except Error:
        return True
    finally:
        timer.cancel()
    return True


def _given(data: Any, model: Model) -> dict[str, np.ndarray]:
    """example_inputs or check_data as a feed."""

    def array(value: Any) -> np.ndarray:
        return value.detach().cpu().numpy() if hasattr(value, "detach") else np.asarray(value)

    if isinstance(data, Mapping):
        return {str(k): array(v) for k, v in data.items()}
    values = list(data) if isinstance(data, (list, tuple)) else [data]
    if len(values) != len(model.inputs):
        names = ", ".join(s.name for s in model.inputs)
        raise InvalidArgumentError(f"{len(values)} example inputs given, the model has {len(model.inputs)}: {names}")
    return {s.name: array(v) for s, v in zip(model.inputs, values)}


def _raise_difference(checks: Sequence[OutputCheck]) -> None:
    wrong = [c for c in checks if not c.ok]
    if not wrong:
        return
    rows = "".join(
        f"\n  {c.output}: relative L2 {c.relative_l2:.2e}, max abs {c.max_abs:.2e}{' (' + c.note + ')' if c.note else ''}"
        for c in wrong
    )
    raise CheckError(
        f"the converted model does not compute what {wrong[0].against} computes:{rows}",
        [c.to_dict() for c in checks],
        hint="this is a defect of edgec: please report it; check=False (--no-check) converts anyway. "
        "edgec compare --mark all names the first tensor that differs",
    )


__all__ = ["BadFileError", "Imported", "Path", "convert", "import_with_examples"]
