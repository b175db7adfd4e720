"""From a source model to a checked edgec model: import, optimise, write, run, compare."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from edgec.converter.boundary_layout import BoundaryLayouts, MovedReference, change_layouts
from edgec.converter.compare_with_source import compare_with_source, raise_difference
from edgec.converter.frontends.shapes import parse_shapes
from edgec.converter.frontends.tensorflow import source as tensorflow_source
from edgec.converter.sources import Imported, Progress, import_source

if TYPE_CHECKING:
    from edgec.model import Model


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
    imported = import_source(source, data, wanted, weights, model, fixed or {}, random_seed, tensorflow, tell)
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
        checks = compare_with_source(result, imported, data, seed, report["warnings"])
        report["check"] = [c.to_dict() for c in checks]
        raise_difference(checks)
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
