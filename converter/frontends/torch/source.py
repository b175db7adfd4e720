"""PyTorch sources for the converter: objects in this process, files in a child process."""

from __future__ import annotations

import importlib.util
import io
import json
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgec import errors
from edgec.converter.errors import (
    BadFileError,
    InvalidArgumentError,
    MissingDependency,
    ResourceError,
    ShapeError,
    UnsupportedError,
)
from edgec.converter.frontends.detect import Kind, Source, detect
from edgec.converter.frontends.shapes import InputShape, Symbol
from edgec.converter.frontends.torch.checkpoint import matching_names, read_checkpoint
from edgec.converter.frontends.torch.pickle_reader import Global, Opaque, Tensor, Unpickler

if TYPE_CHECKING:
    from edgec.converter.frontends.torch.export import Exported

# Generous for honest models, small enough that a hostile one does not take the machine with it.
CHILD_SECONDS = 900
CHILD_FILE_BYTES = 1 << 33
MAX_PICKLE = 1 << 26
PIP = 'pip install "edgec[torch]"   (or: pip install torch onnx onnxscript)'


def need_torch(purpose: str) -> None:
    """Raises MissingDependency without importing torch."""
    for package in ("torch", "onnx"):
        if importlib.util.find_spec(package) is None:
            raise MissingDependency(package, purpose, PIP)


def is_torch_object(source: Any) -> bool:
    """True for modules and programs of torch; torch is not imported for the answer."""
    torch = sys.modules.get("torch")
    if torch is None:
        return False
    program = getattr(getattr(torch, "export", None), "ExportedProgram", ())
    return isinstance(source, (torch.nn.Module, program)) if program else isinstance(source, torch.nn.Module)


def shape_text(shape: InputShape) -> str:
    """The text that parse_shape reads back."""
    dims = ",".join(str(d) if isinstance(d, Symbol) else str(int(d)) for d in shape.dims)
    text = f"{shape.name}:[{dims}]" if shape.name else f"[{dims}]"
    return f"{text}:{shape.dtype}" if shape.dtype else text


# -- objects -------------------------------------------------------------------------------------
def from_object(
    source: Any, example_inputs: Any, shapes: Sequence[InputShape], fixed: Mapping[str, Any] | None = None
) -> Exported:
    """nn.Module, ScriptModule or ExportedProgram."""
    need_torch("Converting a PyTorch model")
    import torch

    from edgec.converter.frontends.torch import export as exporter

    args, kwargs = _call_arguments(example_inputs)
    if isinstance(source, torch.export.ExportedProgram):
        exporter.program_inputs(source, shapes)
        return exporter.export_program(source, args, kwargs)
    if isinstance(source, torch.jit.ScriptModule):
        from edgec.converter.frontends.torch.script import export_script

        return export_script(source, shapes, args, fixed)
    if args is None:
        if not shapes:
            raise ShapeError(
                "converting an nn.Module needs its input shapes",
                hint="edgec.convert(model, example_inputs=(x,)) or edgec.convert(model, shapes=[(1, 3, 224, 224)])",
            )
        names = exporter._argument_names(source, len(shapes))
        if all(s.name for s in shapes) and {s.name for s in shapes} != set(names):
            kwargs, expected = _named_inputs(source, shapes)
            return exporter.export_module(source, (), kwargs, shapes, expected)
        ordered = sorted(shapes, key=lambda s: names.index(s.name) if s.name in names else -1)
        was_training = source.training
        source.eval()
        try:
            args, expected = exporter.make_inputs(ordered, source)
        finally:
            source.train(was_training)
        return exporter.export_module(source, args, {}, ordered, expected)
    if shapes and exporter.symbols_of(shapes):
        return exporter.export_module(source, args, kwargs or {}, shapes)
    return exporter.export_module(source, args, kwargs or {}, ())


def _named_inputs(source: Any, shapes: Sequence[InputShape]) -> tuple[dict[str, Any], Any]:
    from edgec.converter.frontends.torch import export as exporter

    names = [str(s.name) for s in shapes]
    values, expected = exporter.make_inputs(shapes, lambda *v: source.eval()(**dict(zip(names, v))))
    return dict(zip(names, values)), expected


def _call_arguments(example_inputs: Any) -> tuple[tuple[Any, ...] | None, dict[str, Any] | None]:
    from edgec.converter.frontends.torch.export import to_tensors

    if example_inputs is None:
        return None, None
    values = to_tensors(example_inputs)
    if isinstance(values, dict):
        return (), values
    if isinstance(values, tuple) and len(values) == 2 and isinstance(values[0], tuple) and isinstance(values[1], dict):
        return values[0], values[1]
    if isinstance(values, (tuple, list)):
        return tuple(values), {}
    return (values,), {}


# -- files ---------------------------------------------------------------------------------------
def from_file(
    source: Source, example_inputs: Any, shapes: Sequence[InputShape], fixed: Mapping[str, Any] | None = None
) -> Exported:
    """TorchScript or torch.export archive: scanned here, loaded and exported in a child process."""
    need_torch(f"Reading a {source.kind.value}")
    scan_archive(source)
    with tempfile.TemporaryDirectory(prefix="edgec-") as folder:
        return _run_child(source, example_inputs, shapes, fixed or {}, Path(folder))


def recorded_shapes(source: Source) -> list[InputShape]:
    """Shapes and data types that torch.jit.trace recorded in the file, in order; empty when it did not."""
    assert source.zip is not None
    name = f"{source.zip.root()}traced_inputs.pkl"
    if name not in source.zip.entries:
        return []
    found = _TracedUnpickler(io.BytesIO(source.zip.read(name, MAX_PICKLE)), f"{source.path} ({name})").load()
    values = found.get("forward") if isinstance(found, dict) else None
    if not isinstance(values, list) or not all(isinstance(v, Tensor) and v.dtype in _TORCH_NAMES for v in values):
        return []
    return [InputShape(None, v.shape, _TORCH_NAMES[v.dtype]) for v in values]


_TORCH_NAMES = {
    "f32": "float32", "f64": "float64", "f16": "float16", "bf16": "bfloat16", "i64": "int64", "i32": "int32",
    "i16": "int16", "i8": "int8", "u8": "uint8", "bool": "bool",
}  # fmt: skip


class _TracedUnpickler(Unpickler):
    """restore_type_tag(value, type) is the value."""

    def _call(self, target: Any, args: Any) -> Any:
        if isinstance(target, Global) and target.name == "restore_type_tag" and isinstance(args, tuple) and args:
            return args[0]
        return super()._call(target, args)


def scan_archive(source: Source) -> None:
    """Reads every pickle of the archive with the allow-list reader; raises UnsafeFileError for dangerous names."""
    assert source.zip is not None
    for name, entry in source.zip.entries.items():
        if entry.size < 2 or entry.size > MAX_PICKLE or "/data/weights/" in name or "/data/tensors/" in name:
            continue
        head = bytes(source.zip.view(name)[:4])
        if name.endswith(".pkl") or (head[0] == 0x80 and head[1] in (2, 3, 4, 5) and not _is_storage(name)):
            _scan_pickle(source.zip.read(name, MAX_PICKLE), f"{source.path} ({name})", source.kind)
        elif head == b"PK\x03\x04":
            _scan_inner_zip(source.zip.read(name, MAX_PICKLE), f"{source.path} ({name})")


def _is_storage(name: str) -> bool:
    return (
        name.rsplit("/", 1)[-1].isdigit()
        or "/weight_" in name
        or ("/constants/" in name and name.rsplit("/", 1)[-1].isdigit())
    )


def _scan_pickle(data: bytes, where: str, kind: Kind) -> None:
    machine = _ScriptUnpickler(io.BytesIO(data), where)
    machine.load()


class _ScriptUnpickler(Unpickler):
    """TorchScript's own pickles refer to storages in more ways; only their names matter here."""

    def storage_of(self, pid: Any) -> Any:
        return pid

    def _call(self, target: Any, args: Any) -> Any:
        return Opaque(target if isinstance(target, Global) else Global("", str(type(target))), args)

    def _set_item(self, target: Any, key: Any, value: Any) -> None:
        if isinstance(target, (dict,)) and not isinstance(key, (str, int, float, bytes, type(None))):
            return
        super()._set_item(target, key, value)


def _scan_inner_zip(data: bytes, where: str) -> None:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as inner:
            for info in inner.infolist():
                if info.filename.endswith(".pkl") and info.file_size <= MAX_PICKLE:
                    _scan_pickle(inner.read(info), f"{where} ({info.filename})", Kind.CHECKPOINT)
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError) as e:
        raise BadFileError(f"{where}: {e}") from None


def _memory_limit(size: int) -> int:
    """Address space of the child: PyTorch maps about 8 GiB of it, and the model is held a few times."""
    return (24 << 30) + 12 * size


def _run_child(
    source: Source, example_inputs: Any, shapes: Sequence[InputShape], fixed: Mapping[str, Any], folder: Path
) -> Exported:
    from edgec.converter.frontends.torch.export import Exported

    path = Path(os.path.abspath(source.path))
    request: dict[str, Any] = {
        "path": str(path),
        "kind": source.kind.name,
        "shapes": [shape_text(s) for s in shapes],
        "fixed": {name: np.asarray(value).tolist() for name, value in fixed.items()},
        "out": str(folder),
        "seconds": CHILD_SECONDS,
        "memory": _memory_limit(path.stat().st_size),
        "file_size": CHILD_FILE_BYTES,
    }
    arrays = _arrays(example_inputs)
    if arrays is None and source.kind is Kind.TORCHSCRIPT:
        recorded = recorded_shapes(source)
        if not shapes:
            shapes = recorded
        elif len(recorded) == len(shapes):
            shapes = [InputShape(s.name, s.dims, s.dtype or r.dtype) for s, r in zip(shapes, recorded)]
        request["shapes"] = [shape_text(s) for s in shapes]
    if arrays is not None:
        np.savez(folder / "given.npz", **{str(i): a for i, a in enumerate(arrays)})  # type: ignore[arg-type]
        request["inputs"] = str(folder / "given.npz")
    (folder / "request.json").write_text(json.dumps(request))
    environment = {
        k: v for k, v in os.environ.items() if k in _KEPT_ENVIRONMENT or k.startswith(("LC_", "OMP_", "MKL_"))
    }
    environment["PYTHONPATH"] = os.pathsep.join(os.path.abspath(p) for p in sys.path if p)
    command = [sys.executable, "-m", "edgec.converter.frontends.torch.worker", str(folder / "request.json")]
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=CHILD_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ResourceError(f"{source.path}: loading it took more than {CHILD_SECONDS} s; it was stopped") from None
    result_file = folder / "result.json"
    if not result_file.is_file():
        tail = done.stderr.decode("utf-8", "replace").strip().splitlines()[-3:]
        raise ResourceError(
            f"{source.path}: the process that loaded it ended with status {done.returncode}"
            + (f": {' | '.join(tail)}" if tail else ""),
            hint="a negative status is a signal: -9 or -24 means that a memory or time limit was reached",
        )
    result = json.loads(result_file.read_text())
    if "error" in result:
        raise _child_error(source, result)
    return Exported(
        (folder / "model.onnx").read_bytes(),
        result["strategy"],
        _load(folder / "inputs.npz"),
        _load(folder / "outputs.npz"),
        list(result["notes"]),
        list(result["names"]),
        list(result["fixed"]),
    )


_KEPT_ENVIRONMENT = {"PATH", "HOME", "LANG", "TMPDIR", "TEMP", "TMP", "SYSTEMROOT", "LD_LIBRARY_PATH", "VIRTUAL_ENV"}


def _child_error(source: Source, result: dict[str, Any]) -> errors.Error:
    kind = getattr(errors, result["error"], None) if result["error"] else None
    if kind is not None and issubclass(kind, errors.Error) and kind is not MissingDependency:
        return kind(result["message"], hint=result.get("hint", ""))  # type: ignore[no-any-return]
    message = result["message"]
    if "ModuleNotFoundError" in message:
        package = message.split("'")[1] if "'" in message else "onnxscript"
        return MissingDependency(package, f"Reading a {source.kind.value}", PIP)
    return BadFileError(
        f"{source.path}: PyTorch cannot load this {source.kind.value} ({message.splitlines()[0][:300]})"
    )


def _load(path: Path) -> list[np.ndarray]:
    with np.load(path, allow_pickle=False) as stored:
        return [stored[k] for k in sorted(stored.files, key=int)]


def _arrays(example_inputs: Any) -> list[np.ndarray] | None:
    """Example inputs as arrays, without importing torch."""
    if example_inputs is None:
        return None
    values = list(example_inputs.values()) if isinstance(example_inputs, dict) else example_inputs
    if not isinstance(values, (list, tuple)):
        values = [values]
    arrays = []
    for v in values:
        v = v.detach().cpu().numpy() if hasattr(v, "detach") else np.asarray(v)
        if v.dtype == object:
            raise InvalidArgumentError("example_inputs: expected arrays or tensors")
        arrays.append(v)
    return arrays


# -- checkpoints with a factory ------------------------------------------------------------------
def from_factory(
    spec: str, weights: str | os.PathLike[str] | Source | None, example_inputs: Any, shapes: Sequence[InputShape]
) -> tuple[Exported, list[str]]:
    """Builds the network with the user's own code and loads the weights without unpickling them."""
    need_torch("Building a PyTorch network")
    from edgec.converter.frontends.torch.export import load_factory

    network = load_factory(spec, os.getcwd())
    notes = [f"built by {spec}"]
    if weights is not None:
        source = weights if isinstance(weights, Source) else detect(weights)
        notes.append(load_weights(network, source))
    network.eval()
    return from_object(network, example_inputs, shapes), notes


def load_weights(network: Any, source: Source) -> str:
    """Fills the network from a checkpoint; raises UnsupportedError when names or shapes do not fit."""
    import torch

    checkpoint = read_checkpoint(source)
    own = network.state_dict()
    names = matching_names(checkpoint, set(own))
    missing = [n for n in own if n not in names and not n.endswith("num_batches_tracked")]
    wrong = [n for n in names if tuple(own[n].shape) != checkpoint.tensors[names[n]].shape]
    if missing or wrong:
        rows = [
            f"{n}: the network wants {list(own[n].shape)}, the file has {list(checkpoint.tensors[names[n]].shape)}"
            for n in wrong[:5]
        ]
        rows += [f"{n} {list(own[n].shape)}: not in the file" for n in missing[:5]]
        raise UnsupportedError(
            f"{source.path} does not fit the network: {len(missing)} tensors missing, {len(wrong)} of another shape\n  "
            + "\n  ".join(rows),
            hint="check the arguments of the factory (number of classes, width, depth)",
        )
    state = {}
    for target, name in names.items():
        array = checkpoint.array(name).copy()
        tensor = torch.from_numpy(array)
        state[target] = tensor.view(torch.bfloat16) if checkpoint.dtype(name) == "bf16" else tensor
    network.load_state_dict(state, strict=False)
    left = len(checkpoint.tensors) - len(names)
    return f"{len(names)} tensors loaded from {source.path.name}" + (f", {left} of the file not used" if left else "")
