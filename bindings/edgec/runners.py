"""One interface over everything that can compute a model: edgec, ONNX Runtime, PyTorch, and results saved in a file."""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from edgec.errors import BadFileError, Error, IoError, MissingDependency, UsageError
from edgec.model import Model, TensorSpec
from edgec.samples import smallest_shapes
from edgec.session import Session

Array = np.ndarray[Any, Any]


# The converter's mark on a tensor that it keeps channels-last where the source has it channels-first.
CHANNELS_LAST = ":nhwc"


class Runner:
    """Computes outputs from inputs. `inputs` is None where the source does not say what it wants.

    `output_names` is None where outputs have no names (PyTorch); results are then called output0, output1...
    """

    label: str = ""
    inputs: tuple[TensorSpec, ...] | None = None
    symbols: Mapping[str, tuple[int, int]] = MappingProxyType({})
    output_names: tuple[str, ...] | None = None
    # False where equal names may denote different tensors: exporters number what they decompose anew.
    exact_names = True

    def default_shapes(self) -> list[list[int]]:
        """Shapes for `inputs` that the model is likely to accept."""
        return smallest_shapes(self.inputs or (), self.symbols)

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Outputs by name, in the model's order. `feeds` in input order; names matter where the source has some."""
        raise NotImplementedError

    def marks(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Every tensor whose name is known, in the order of computation; includes the outputs."""
        return self.run(feeds)

    def prepare_call(self, feeds: Mapping[str, Array]) -> Callable[[], Any]:
        """The framework's own call on inputs that already are what it wants: what a benchmark measures."""
        return lambda: self.run(feeds)


class EdgeRunner(Runner):
    """A `.edge` model."""

    def __init__(self, model: Model | Session, label: str, threads: int = 1) -> None:
        self.session = model if isinstance(model, Session) else Session(model, threads=threads)
        self.model = self.session.model
        self.label = label
        self.inputs = self.model.inputs
        self.symbols = self.model.symbols
        self.output_names = tuple(o.name for o in self.session.outputs)

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        named = self._feeds(feeds)
        names = [o.name for o in self.session.outputs]
        return dict(zip(names, self.session.run(None, named), strict=True))

    def default_shapes(self) -> list[list[int]]:
        return self.model.example_shapes

    def _feeds(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        return name_feeds(self.label, [s.name for s in self.model.inputs], feeds)

    def prepare_call(self, feeds: Mapping[str, Array]) -> Callable[[], Any]:
        session, arrays = self.session, list(self._feeds(feeds).values())
        return lambda: session(*arrays)

    def marks(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        named = self._feeds(feeds)
        shapes = {name: np.shape(value) for name, value in named.items()}
        session = Session(self.model, threads=self.session.threads, isa=self.session.isa, shapes=shapes, keep_all=True)
        outputs = session.run(None, named)
        known = set(session.tensor_names)
        marked: dict[str, Array] = {}
        for node in self.model.native.nodes():
            for name in node["outputs"]:
                if name is not None and name in known:
                    value = session.tensor(name)
                    if name.endswith(CHANNELS_LAST) and value.ndim > 2:
                        marked.setdefault(name.removesuffix(CHANNELS_LAST), np.moveaxis(value, -1, 1))
                    else:
                        marked.setdefault(name, value)
        for spec, value in zip(session.outputs, outputs, strict=True):
            marked.setdefault(spec.name, value)
        return marked


_ORT_DTYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(double)": "float64",
    "tensor(int8)": "int8",
    "tensor(uint8)": "uint8",
    "tensor(int16)": "int16",
    "tensor(uint16)": "uint16",
    "tensor(int32)": "int32",
    "tensor(uint32)": "uint32",
    "tensor(int64)": "int64",
    "tensor(uint64)": "uint64",
    "tensor(bool)": "bool",
}


class OnnxRunner(Runner):
    """An `.onnx` file through ONNX Runtime."""

    def __init__(self, path: Path, threads: int = 1) -> None:
        self._ort = _import("onnxruntime", "running an .onnx file")
        self.path = path
        self.label = f"{path.name} (onnxruntime)"
        self._threads = threads
        self._session = self._open(os.fspath(path))
        specs: list[TensorSpec] = []
        symbols: dict[str, tuple[int, int]] = {}
        for i in self._session.get_inputs():
            dims: list[int | str] = []
            for axis, d in enumerate(i.shape):
                if isinstance(d, int) and d > 0:
                    dims.append(d)
                    continue
                symbol = d if isinstance(d, str) else f"{i.name}_dim{axis}"
                symbols[symbol] = (1, 0)
                dims.append(symbol)
            if i.type not in _ORT_DTYPES:
                raise UsageError(f"{path}: input '{i.name}' is a {i.type}, which has no array")
            specs.append(TensorSpec(i.name, tuple(dims), np.dtype(_ORT_DTYPES[i.type])))
        self.inputs, self.symbols = tuple(specs), symbols
        self.output_names = tuple(o.name for o in self._session.get_outputs())

    def _open(self, source: str | bytes) -> Any:
        options = self._ort.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            return self._ort.InferenceSession(source, options, providers=["CPUExecutionProvider"])
        except Exception as e:  # the exceptions of onnxruntime share no base class
            raise BadFileError(f"{self.path}: onnxruntime cannot load it: {e}") from e

    def _feeds(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        return name_feeds(self.label, [i.name for i in self.inputs or ()], feeds)

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        named = self._feeds(feeds)
        with _failures_named(self.label, named):
            values = self._session.run(None, named)
        return dict(zip(self.output_names or (), values, strict=True))

    def prepare_call(self, feeds: Mapping[str, Array]) -> Callable[[], Any]:
        session, named = self._session, self._feeds(feeds)
        return lambda: session.run(None, named)

    def marks(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        import onnx

        model = onnx.load(os.fspath(self.path))
        present = {o.name for o in model.graph.output}
        names = [name for node in model.graph.node for name in node.output if name]
        model.graph.output.extend(onnx.ValueInfoProto(name=n) for n in names if n not in present)
        # Everything is an output, so nothing may be fused away.
        session = self._open(model.SerializeToString())
        named = self._feeds(feeds)
        with _failures_named(self.label, named):
            values = session.run(names, named)
        return {n: v for n, v in zip(names, values, strict=True) if isinstance(v, np.ndarray)}


class TorchRunner(Runner):
    """A TorchScript file, a torch.export program, or an nn.Module."""

    exact_names = False

    def __init__(self, source: Any, label: str, threads: int | None = None) -> None:
        self._torch = _import("torch", "running a PyTorch model")
        self._threads = threads or None
        self._program = None
        if isinstance(source, Path):
            source = self._load(source)
        if hasattr(source, "graph_signature") and callable(getattr(source, "module", None)):
            self._program = source
            self.inputs, self.symbols = _program_inputs(source)
            source = source.module()
        elif hasattr(source, "eval"):
            source = source.eval()
        self._module = source
        self.label = f"{label} (torch)"

    def _load(self, path: Path) -> Any:
        try:
            if path.suffix == ".pt2":
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", FutureWarning)  # torch warns of its own serialisation
                    return self._torch.export.load(os.fspath(path))
            return self._torch.jit.load(os.fspath(path), map_location="cpu")
        except Exception as e:  # torch raises RuntimeError, ValueError, KeyError, zip errors...
            raise BadFileError(
                f"{path}: torch cannot load it as TorchScript or as a torch.export program: {str(e).splitlines()[0]}",
                hint="a state_dict has no network; compare a .pt made by torch.jit.save or a .pt2 by torch.export.save",
            ) from e

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        torch = self._torch
        with torch.no_grad(), _failures_named(self.label, feeds):
            result = self._module(*(torch.from_numpy(np.array(v)) for v in feeds.values()))
        return {f"output{i}": t.detach().cpu().numpy() for i, t in enumerate(_flatten(torch, result))}

    def prepare_call(self, feeds: Mapping[str, Array]) -> Callable[[], Any]:
        torch, module = self._torch, self._module
        tensors = [torch.from_numpy(np.array(v)) for v in feeds.values()]
        threads = self._threads

        def call() -> Any:
            if threads is not None:  # a setting of the whole process, and benchmarks take turns
                torch.set_num_threads(threads)
            with torch.no_grad():
                return module(*tensors)

        return call

    def marks(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        if self._program is None:
            return self.run(feeds)
        torch = self._torch
        found: dict[str, Array] = {}

        class Recorder(torch.fx.Interpreter):  # type: ignore[misc,name-defined]
            def run_node(self, n: Any) -> Any:
                value = super().run_node(n)
                if n.op == "call_function" and isinstance(value, torch.Tensor):
                    found[n.name] = value.detach().cpu().numpy().copy()
                return value

        # The exporter sees the program without in-place operators, and so do the names in our file.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            module = self._program.run_decompositions({}).module()
        with torch.no_grad(), _failures_named(self.label, feeds):
            result = Recorder(module).run(*(torch.from_numpy(np.array(v)) for v in feeds.values()))
        for i, t in enumerate(_flatten(torch, result)):
            found[f"output{i}"] = t.detach().cpu().numpy()
        return found


class SavedRunner(Runner):
    """Results from elsewhere, saved as an .npz with one array per tensor."""

    def __init__(self, path: Path) -> None:
        try:
            with np.load(path, allow_pickle=False) as archive:
                self._arrays = {name: archive[name] for name in archive.files}
        except Exception as e:  # numpy and zipfile raise many kinds
            raise BadFileError(f"{path}: not a readable .npz file: {e}") from e
        self.label = path.name
        self.output_names = tuple(self._arrays)

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        return dict(self._arrays)


def open_runner(source: Any, threads: int = 1, framework: str | None = None) -> Runner:
    """A Runner for a path (.edge, .onnx, .pt, .jit, .pt2, .npz), a Model, a Session or an nn.Module.

    Raises IoError, BadFileError, MissingDependency, UsageError.
    """
    if isinstance(source, Runner):
        return source
    if isinstance(source, (Model, Session)):
        return EdgeRunner(source, "edgec", threads)
    if isinstance(source, (str, os.PathLike)):
        path = Path(source)
        if not path.exists():
            raise IoError(f"there is no file '{path}'")
        suffix = path.suffix.lower()
        if suffix == ".onnx":
            return OnnxRunner(path, threads)
        if suffix in (".pt", ".jit", ".pt2", ".pth", ".ts"):
            return TorchRunner(path, path.name, threads)
        if suffix == ".npz":
            return SavedRunner(path)
        return EdgeRunner(Model.open(path), path.name, threads)
    if (callable(source) and hasattr(source, "parameters")) or hasattr(source, "graph_signature"):
        return TorchRunner(source, type(source).__name__, threads)
    raise UsageError(
        f"cannot run a {type(source).__name__}; expected a file, an edgec.Model, a Session or an nn.Module"
    )


@contextlib.contextmanager
def _failures_named(label: str, feeds: Mapping[str, Array]) -> Iterator[None]:
    """Whatever a framework raises while it runs becomes an Error that says who failed on what."""
    try:
        yield
    except Error:
        raise
    except Exception as e:  # onnxruntime and torch share no base class
        given = ", ".join(f"{n}: {np.asarray(v).dtype}{list(np.shape(v))}" for n, v in feeds.items())
        raise UsageError(f"{label} fails on {given}: {str(e).strip().splitlines()[0]}") from e


def name_feeds(label: str, names: Sequence[str], feeds: Mapping[str, Array]) -> dict[str, Array]:
    """The arrays under a model's own names: by name when it knows them all, else by position."""
    if set(names) <= set(feeds):
        return {n: feeds[n] for n in names}
    if len(names) != len(feeds):
        raise UsageError(f"{label} has the inputs {', '.join(names)}; given are {', '.join(feeds)}")
    return dict(zip(names, feeds.values(), strict=True))


def _flatten(torch: Any, result: Any) -> list[Any]:
    """The tensors of a result in torch's own order of nested tuples, lists and dicts."""
    leaves: Sequence[Any] = torch.utils._pytree.tree_leaves(result)
    return [v for v in leaves if isinstance(v, torch.Tensor)]


def _program_inputs(program: Any) -> tuple[tuple[TensorSpec, ...] | None, dict[str, tuple[int, int]]]:
    """What an exported program says about its inputs; None when one of them is not a tensor."""
    specs: list[TensorSpec] = []
    symbols: dict[str, tuple[int, int]] = {}
    names = set(program.graph_signature.user_inputs)
    for node in program.graph.nodes:
        if node.op != "placeholder" or node.name not in names:
            continue
        value = node.meta.get("val")
        if not hasattr(value, "dtype") or not hasattr(value, "shape"):
            return None, {}
        dims: list[int | str] = []
        for d in value.shape:
            if isinstance(d, int):
                dims.append(d)
            else:
                limits = program.range_constraints.get(d.node.expr)
                upper = getattr(limits, "upper", 0)
                symbols[str(d)] = (max(1, int(getattr(limits, "lower", 1))), int(upper) if upper < 2**31 else 0)
                dims.append(str(d))
        dtype = str(value.dtype).removeprefix("torch.")
        try:
            specs.append(TensorSpec(node.name, tuple(dims), np.dtype(dtype)))
        except TypeError:  # e.g. bfloat16, which NumPy lacks
            return None, {}
    return tuple(specs), symbols


def _import(package: str, purpose: str) -> Any:
    import importlib

    try:
        return importlib.import_module(package)
    except ImportError:
        raise MissingDependency(package, purpose) from None
