"""TensorFlow and Keras sources for the converter: files in a child process, live objects in this one.

Both become a .tflite through TensorFlow's own converter, and come in through the TFLite frontend.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgec.converter.check import OutputCheck, compare_outputs
from edgec.converter.errors import BadFileError, InvalidArgumentError, MissingDependency
from edgec.converter.frontends.child_process import ChildError, Limits, run_child
from edgec.converter.frontends.detect import Kind, Source
from edgec.converter.frontends.shapes import InputShape, Symbol
from edgec.converter.frontends.tensorflow.keras_config import MAX_CONFIG, read_config, refuse_code
from edgec.converter.frontends.tensorflow.scan import read_frozen_graph, read_saved_model

if TYPE_CHECKING:
    from edgec.converter.frontends.tflite.file import TfliteFile

PIP = 'pip install "edgec[tensorflow]"   (or: pip install tensorflow tflite)'
_WORKER = "edgec.converter.frontends.tensorflow.worker"
# TensorFlow maps 1.5 GiB before it has read anything; a network is held a few times while it is converted.
_BASE_MEMORY = 5 << 30
_COPIES = 24
# CPU time: the start takes 3 s, networks of 100 MB less than a minute.
_BASE_SECONDS = 60
_BYTES_PER_SECOND = 200_000


@dataclass(frozen=True)
class Options:
    """What a user can say about a TensorFlow source. trust: code in the file may run; check: compute something to compare."""

    signature: str | None = None
    inputs: Sequence[str] = ()
    outputs: Sequence[str] = ()
    trust: bool = False
    check: bool = True
    seed: int = 0


@dataclass
class Exported:
    """A .tflite with users' names, the shapes to import it with, and what TensorFlow computes with it."""

    file: TfliteFile
    shapes: list[InputShape]
    notes: list[str]
    feeds: dict[str, np.ndarray] = field(default_factory=dict)
    expected: list[np.ndarray] | None = None

    @property
    def quantized(self) -> bool:
        """True for networks that were trained with simulated quantization."""
        return any(t.quantized for g in self.file.subgraphs for t in g.tensors)


class RoundedComparison:
    """Compares integers with TensorFlow's simulation of them in floats: values near a half round to either side."""

    name = "tensorflow"
    # A step is 1/255 of a range; a wrong operator is off by 1 and more.
    limit = 0.1

    def compare_outputs(
        self, names: Sequence[str], got: Sequence[np.ndarray], expected: Sequence[np.ndarray], against: str
    ) -> list[OutputCheck]:
        """As check.compare_outputs, with this limit."""
        checks = compare_outputs(names, got, expected, against)
        return [replace(c, ok=c.ok or (not c.note and c.relative_l2 <= self.limit)) for c in checks]


def is_tensorflow(kind: Kind) -> bool:
    return kind in (Kind.SAVED_MODEL, Kind.KERAS, Kind.TF_GRAPH)


def need_tensorflow(purpose: str) -> None:
    """Raises MissingDependency without importing TensorFlow."""
    for package in ("tensorflow", "tflite"):
        if importlib.util.find_spec(package) is None:
            raise MissingDependency(package, purpose, PIP)


# -- files ---------------------------------------------------------------------------------------
def from_file(
    source: Source,
    data: Any,
    shapes: Sequence[InputShape],
    fixed: Mapping[str, Any],
    options: Options,
) -> Exported:
    """SavedModel folder, .keras, .h5 or frozen .pb: checked here, loaded and converted in a child process."""
    kind, notes = _scan(source, options)
    need_tensorflow(f"Reading a {source.kind.value}")
    with tempfile.TemporaryDirectory(prefix="edgec-") as name:
        folder = Path(name)
        request: dict[str, Any] = {
            "kind": kind,
            "path": os.path.abspath(source.path),
            "what": str(source.path),
            "signature": options.signature,
            "inputs": list(options.inputs),
            "outputs": list(options.outputs),
            "trust": options.trust,
            "shapes": [_shape_text(s) for s in shapes],
            "check": options.check,
            "seed": options.seed,
        }
        given = _given(data, fixed)
        if given:
            np.savez(folder / "given.npz", **given)  # type: ignore[arg-type]
            request["given"] = str(folder / "given.npz")
        size = _size(source.path)
        limits = Limits(_BASE_SECONDS + size // _BYTES_PER_SECOND, _BASE_MEMORY + _COPIES * size)
        try:
            result = run_child(_WORKER, request, folder, limits, str(source.path))
        except ChildError as e:
            if "ModuleNotFoundError" in e.text:
                package = e.text.split("'")[1] if "'" in e.text else "tensorflow"
                raise MissingDependency(package, f"Reading a {source.kind.value}", PIP) from None
            raise BadFileError(
                f"{source.path}: TensorFlow cannot load this {source.kind.value} ({e.text.splitlines()[0][:300]})"
            ) from None
        content = (folder / "model.tflite").read_bytes()
        exported = _exported(content, result, shapes, [*notes, *result["notes"]])
        if result["compared"]:
            names = [i["name"] for i in result["inputs"]]
            exported.feeds = dict(zip(names, _load(folder / "inputs.npz")))
            exported.expected = _load(folder / "outputs.npz")
    return _without(exported, fixed)


def _without(exported: Exported, fixed: Mapping[str, Any]) -> Exported:
    """Inputs that become constants are no inputs any more."""
    exported.feeds = {k: v for k, v in exported.feeds.items() if k not in fixed}
    exported.shapes = [s for s in exported.shapes if s.name not in fixed]
    return exported


def _scan(source: Source, options: Options) -> tuple[str, list[str]]:
    """What can be said without TensorFlow: the worker's word for the kind, and warnings. Refuses what is dangerous."""
    _refuse_options(source, options)
    if source.kind is Kind.SAVED_MODEL:
        read_saved_model(source.path)
        return "saved_model", []
    if source.kind is Kind.TF_GRAPH:
        read_frozen_graph(source.path)
        return "frozen_graph", []
    if source.zip is None:
        return "h5", []
    config = read_config(source.zip.read("config.json", MAX_CONFIG), str(source.path))
    refuse_code(config, str(source.path), options.trust)
    return "keras", []


def _refuse_options(source: Source, options: Options) -> None:
    if options.signature is not None and source.kind is not Kind.SAVED_MODEL:
        raise InvalidArgumentError(
            f"--signature chooses a part of a SavedModel; {source.path} is a {source.kind.value}"
        )
    if (options.inputs or options.outputs) and source.kind is not Kind.TF_GRAPH:
        raise InvalidArgumentError(
            f"--inputs and --outputs choose nodes of a frozen graph; {source.path} is a {source.kind.value}"
        )


def _size(path: Path) -> int:
    if path.is_dir():
        return sum(p.stat().st_size for p in path.rglob("*") if p.is_file())
    return path.stat().st_size


def _shape_text(shape: InputShape) -> str:
    dims = ",".join(str(d) if isinstance(d, Symbol) else str(int(d)) for d in shape.dims)
    text = f"{shape.name}:[{dims}]" if shape.name else f"[{dims}]"
    return f"{text}:{shape.dtype}" if shape.dtype else text


def _given(data: Any, fixed: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Inputs to compare with, by name or by position."""
    result: dict[str, np.ndarray] = {}
    if isinstance(data, Mapping):
        result = {str(k): np.asarray(v) for k, v in data.items()}
    elif data is not None:
        values = list(data) if isinstance(data, (list, tuple)) else [data]
        result = {str(i): np.asarray(v) for i, v in enumerate(values)}
    result.update({k: np.asarray(v) for k, v in fixed.items()})
    if any(v.dtype == object for v in result.values()):
        raise InvalidArgumentError("example_inputs: expected arrays or tensors")
    return result


def _load(path: Path) -> list[np.ndarray]:
    with np.load(path, allow_pickle=False) as stored:
        return [stored[k] for k in sorted(stored.files, key=int)]


def _exported(content: bytes, result: Mapping[str, Any], shapes: Sequence[InputShape], notes: list[str]) -> Exported:
    """Parses the .tflite and gives its inputs and outputs the names of the source."""
    from edgec.converter.frontends.tensorflow.program import argument_name
    from edgec.converter.frontends.tflite.file import Signature, TfliteFile

    file = TfliteFile.parse(content, "what TensorFlow's converter wrote")
    main = file.subgraphs[0]
    names = {argument_name(i): port["name"] for i, port in enumerate(result["inputs"])}
    inputs = {i: names.get(main.tensors[i].name.split(":")[0], main.tensors[i].name) for i in main.inputs}
    outputs: dict[int, str] = {}
    if len(main.outputs) == len(result["outputs"]):
        for index, name in zip(main.outputs, result["outputs"]):
            outputs.setdefault(index, name)
    file.signatures[:] = [Signature("serving_default", 0, inputs, outputs)]
    asked = {s.name: s for s in shapes if s.name is not None}
    unnamed = iter([s for s in shapes if s.name is None])
    wanted = []
    for port in result["inputs"]:
        given = asked.get(port["name"]) or next(unnamed, None)
        dims: list[int | Symbol] = []
        for axis, d in enumerate(port["shape"]):
            own = given.dims[axis] if given is not None else None
            symbol = own if isinstance(own, Symbol) else Symbol("batch" if axis == 0 else f"{port['name']}_dim{axis}")
            dims.append(symbol if d is None else int(d))
        if port["name"] in inputs.values():
            wanted.append(InputShape(port["name"], tuple(dims)))
    return Exported(file, wanted, notes)


# -- live objects --------------------------------------------------------------------------------
def is_tensorflow_object(source: Any) -> bool:
    """True for Keras models, concrete functions and tf.functions; no framework is imported for the answer."""
    for package in ("keras", "tf_keras"):
        module = sys.modules.get(package)
        if module is not None and isinstance(source, getattr(module, "Model", ())):
            return True
    return "tensorflow" in sys.modules and (hasattr(source, "structured_outputs") or _is_function(source))


def _is_function(source: Any) -> bool:
    return hasattr(source, "get_concrete_function") and hasattr(source, "input_signature")


def from_object(
    source: Any,
    data: Any,
    shapes: Sequence[InputShape],
    fixed: Mapping[str, Any],
    options: Options,
) -> Exported:
    """A Keras model, a concrete function, or a tf.function with its input_signature (or with shapes)."""
    need_tensorflow("Converting a TensorFlow model")
    from edgec.converter.frontends.tensorflow import keras_load
    from edgec.converter.frontends.tensorflow import program as tensorflow_program
    from edgec.converter.frontends.tensorflow.lite import to_tflite

    if hasattr(source, "layers"):
        program = keras_load.from_model(source)
    else:
        program = tensorflow_program.from_function(source, shapes)
    tensorflow_program.bind(program, shapes)
    content, notes = to_tflite(program)
    ports = [{"name": p.name, "shape": p.shape, "dtype": p.dtype} for p in program.inputs]
    result = {"inputs": ports, "outputs": program.outputs}
    exported = _exported(content, result, shapes, [*program.notes, *notes])
    if options.check:
        arrays = tensorflow_program.example(program.inputs, _given(data, fixed), options.seed)
        exported.feeds = {p.name: a for p, a in zip(program.inputs, arrays)}
        exported.expected = program.trace(program.inputs).run(arrays)
    return _without(exported, fixed)
