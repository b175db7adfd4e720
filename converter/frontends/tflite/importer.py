"""TFLite model -> Graph: walks the operators in order and lets the table's handlers emit IR.

Layouts are the IR's own: activations NHWC, weights OHWI. Quantized tensors keep their integers: operators stand
between DequantizeLinear and QuantizeLinear with the file's scales.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from edgec.converter.errors import BadFileError, Error, InvalidArgumentError, ShapeError, UnsupportedError
from edgec.converter.frontends.graph_builder import GraphBuilder
from edgec.converter.frontends.onnx.inputs import BATCH_EXAMPLE, OTHER_EXAMPLE
from edgec.converter.frontends.onnx.registry import Unsupported
from edgec.converter.frontends.shapes import InputShape, Symbol, bind_shapes, dims_text
from edgec.converter.frontends.tflite import registry as tflite_registry
from edgec.converter.frontends.tflite.context import ComplexPair, TfliteContext
from edgec.converter.frontends.tflite.file import (
    DTYPES,
    QUANTIZED,
    Operator,
    SubGraph,
    Tensor,
    TfliteFile,
    variable_name,
)
from edgec.converter.frontends.tflite.labels import appended_labels
from edgec.converter.ir.graph import Graph, GraphError, Value

MAX_DEPTH = 16  # sub-graphs inside each other


class _Poison:
    """Stands for the outputs of an operator that could not be converted."""

    def __repr__(self) -> str:
        return "unsupported"


POISON = _Poison()

# What numbers that no exporter writes can make a handler raise.
_NONSENSE = (
    struct.error,
    TypeError, ValueError, KeyError, IndexError, AttributeError, AssertionError, OverflowError, ZeroDivisionError,
)  # fmt: skip


COMPLEX_MOVES = ("RESHAPE", "SQUEEZE", "EXPAND_DIMS", "TRANSPOSE", "SLICE", "STRIDED_SLICE", "CONCATENATION", "GATHER")


@dataclass
class Frame:
    """One subgraph while it is imported: tensor index -> value, as stored and real."""

    graph: SubGraph
    depth: int = 0
    values: dict[int, Any] = field(default_factory=dict)
    real: dict[int, Value] = field(default_factory=dict)
    undilated: set[int] = field(default_factory=set)  # results that a BATCH_TO_SPACE_ND behind them has not to move

    @cached_property
    def writers(self) -> dict[int, Operator]:
        """Tensor -> the operator that writes it."""
        return {i: op for op in self.graph.operators for i in op.outputs}

    @cached_property
    def readers(self) -> dict[int, list[Operator]]:
        """Tensor -> the operators that read it."""
        found: dict[int, list[Operator]] = {}
        for op in self.graph.operators:
            for i in set(op.inputs):
                found.setdefault(i, []).append(op)
        return found


class TfliteImporter(GraphBuilder):
    """Builds one Graph from one subgraph and what it calls."""

    def __init__(
        self,
        file: TfliteFile,
        shapes: Mapping[str, InputShape] | None = None,
        fixed: Mapping[str, np.ndarray] | None = None,
        progress: Callable[[int, int], None] | None = None,
        other_example: int = OTHER_EXAMPLE,
    ) -> None:
        tflite_registry.load_all()
        number, self.input_names, self.output_names = entry_point(file)
        self.main = file.subgraphs[number]
        super().__init__(self.main.name)
        self.file = file
        self.shapes = dict(shapes or {})
        self.fixed = dict(fixed or {})
        self.progress = progress
        self.other_example = other_example
        self.notes: list[str] = []
        self.outermost = self.graph
        self.variables: dict[str, Any] = {}
        self.starting = 0  # inside CALL_ONCE
        self._states: dict[str, tuple[Value, np.ndarray | None]] = {}  # name -> input of the model, offset
        self._new_states: dict[str, Value] = {}
        self._assigned: set[str] | None = None

    # -- entry ------------------------------------------------------------------------------------
    def run(self) -> Graph:
        frame = Frame(self.main)
        self._declare_inputs(frame)
        for name in self.output_names:
            self.graph.unique_name(name)
        self.run_operators(frame)
        outputs = [self.value_of(frame, i, "the model's outputs") for i in self.main.outputs]
        self.raise_problems()
        results = outputs_of(self.graph, self.output_names, outputs)
        self.graph.set_outputs([*results, *self._state_outputs(results)])
        return self.graph

    def _declare_inputs(self, frame: Frame) -> None:
        declared: list[tuple[int, str, str, list[int | Symbol]]] = []
        for index, name in zip(self.main.inputs, self.input_names):
            tensor = self.main.tensors[index]
            if tensor.dtype not in DTYPES.values():
                raise UnsupportedError(f"input '{name}' is of type {tensor.dtype}, edgec takes numbers")
            if name in self.fixed:
                data = np.asarray(self.fixed[name])
                frame.values[index] = self.graph.constant(name, data.astype(np.dtype(_numpy(tensor.dtype))))
                continue
            dims = file_dims(tensor, name)
            wanted = self.shapes.get(name)
            if wanted is not None:
                if len(wanted.dims) != len(dims):
                    raise ShapeError(
                        f"input '{name}' has {len(dims)} dimensions {dims_text(dims)}, the given shape "
                        f"{dims_text(wanted.dims)} has {len(wanted.dims)}"
                    )
                dims = list(wanted.dims)
            declared.append((index, name, tensor.dtype, dims))
        growth: dict[str, int] = {}
        for _, _, _, dims in declared:
            for axis, d in enumerate(dims):
                if isinstance(d, Symbol):
                    if axis > 0 and d.name not in self.graph.symbols:
                        growth.setdefault(d.name, 2 + len(growth))
                    example = BATCH_EXAMPLE if axis == 0 else self.other_example
                    if d.maximum:
                        example = min(example, d.maximum)
                    self.graph.add_symbol(d.name, d.minimum, d.maximum, max(example, d.minimum), growth.get(d.name, 2))
        for index, name, dtype, dims in declared:
            shape = [d.name if isinstance(d, Symbol) else d for d in dims]
            frame.values[index] = self.graph.add_input(name, dtype, shape)

    # -- state ------------------------------------------------------------------------------------
    def state(
        self, name: str, dtype: str, shape: Sequence[int], start: np.ndarray | None, assigned: bool = True
    ) -> Value:
        """What the model keeps from call to call under `name`: an input of the model that begins with zeros, or a
        constant when nothing changes it."""
        if not assigned or self.graph is not self.outermost:
            data = np.zeros(shape, _numpy(dtype)) if start is None else start
            return self.graph.constant(name, data)
        if name not in self._states:
            label = re.sub(r"[^0-9A-Za-z]+", "_", name).strip("_") or "state"
            value = self.graph.add_input(label, dtype, start.shape if start is not None else shape)
            offset = start if start is not None and start.any() else None
            self._states[name] = (value, offset)
            if offset is not None:  # the input holds the difference to where the model begins
                value = self.graph.add("Add", [value, self.graph.constant(f"{label}_start", offset)])[0]
            return value
        return self._states[name][0]

    def tensor_state(self, frame: Frame, tensor: Tensor) -> Value:
        """The real value that a variable tensor keeps from call to call."""
        if frame.depth:
            return self.graph.constant(tensor.name, np.zeros(tensor.shape, np.float32))
        return self.state(tensor.name, "f32", tensor.shape, None)

    def new_state(self, name: str, value: Value) -> None:
        """What `name` holds in the next call."""
        if self.graph is self.outermost:
            self._new_states[name] = value

    def is_assigned(self, name: str) -> bool:
        """Some operator outside of CALL_ONCE changes the variable."""
        if self._assigned is None:
            self._assigned = assigned_variables(self.file)
        return name in self._assigned

    def _state_outputs(self, others: Sequence[Value]) -> list[Value]:
        result: list[Value] = []
        for name, (old, offset) in self._states.items():
            value = self._new_states.get(name, old)
            if offset is not None:
                value = self.graph.add("Sub", [value, self.graph.constant(f"{old.name}_start", offset)])[0]
            if value.producer is None or any(value is r for r in [*others, *result]):
                value = self.graph.add("Identity", [value])[0]
            self.rename(value, f"new_{old.name}")
            result.append(value)
        if result:
            names = ", ".join(old.name for old, _ in self._states.values())
            self.notes.append(
                f"the state inside became inputs that begin with zeros and outputs that replace them: {names}; "
                "session.stream() keeps it"
            )
        return result

    @property
    def state_inputs(self) -> list[str]:
        """Names of the inputs that hold state."""
        return [value.name for value, _ in self._states.values()]

    # -- subgraphs --------------------------------------------------------------------------------
    def _subgraph(self, c: TfliteContext, number: int, arguments: Sequence[Any]) -> Frame:
        if not 0 <= number < len(self.file.subgraphs):
            raise BadFileError(f"{c.op} ({c.source}) names subgraph {number}; the file has {len(self.file.subgraphs)}")
        graph = self.file.subgraphs[number]
        if len(graph.inputs) != len(arguments):
            raise BadFileError(
                f"{c.op} ({c.source}): subgraph '{graph.name}' takes {len(graph.inputs)} inputs, got {len(arguments)}"
            )
        frame = Frame(graph, c.frame.depth + 1)
        frame.values.update(zip(graph.inputs, arguments))
        return frame

    def size_of(self, c: TfliteContext, number: int) -> int:
        """How many operators the subgraph has."""
        if not 0 <= number < len(self.file.subgraphs):
            raise BadFileError(f"{c.op} ({c.source}) names subgraph {number}; the file has {len(self.file.subgraphs)}")
        return len(self.file.subgraphs[number].operators) + 1

    def inline(self, c: TfliteContext, number: int, arguments: Sequence[Any]) -> list[Any]:
        """The subgraph's operators in the current graph; its outputs."""
        frame = self._subgraph(c, number, arguments)
        self.run_operators(frame)
        outputs = [self.value_of(frame, i, "a subgraph's outputs") for i in frame.graph.outputs]
        if any(v is POISON for v in outputs):
            raise Unsupported("its subgraph holds operators that are not supported")
        return outputs

    def body(
        self, c: TfliteContext, number: int, arguments: Sequence[tuple[Value, bool]], condition: int | None = None
    ) -> Graph:
        """The subgraph as a graph of its own. `arguments`: what each input begins with, and whether its type stays.
        With `condition` it is the body of a Loop: that subgraph decides from the outputs whether to go on."""
        saved, order = self.graph, self.last_order
        graph = Graph(f"{c.name}/{number}")
        graph.probes = saved.probes
        self.graph, self.last_order = graph, -1
        try:
            if condition is not None:
                graph.add_input("iteration", "i64", ())
                graph.add_input("condition", "bool", ())
            values = [self._open_input(graph, f"{c.name}:{i}", v, stable) for i, (v, stable) in enumerate(arguments)]
            results = self.inline(c, number, values)
            if any(not isinstance(v, Value) for v in results):
                raise Unsupported("its subgraph gives something else than tensors of numbers")
            if condition is not None:
                if len(results) != len(arguments):
                    raise BadFileError(f"{c.op} ({c.source}): {len(arguments)} values go in, {len(results)} come out")
                going = self.inline(c, condition, results)
                results = [c.in_graph(graph).reshape(v, []) if v.types and v.rank else v for v in going] + results
            graph.set_outputs(outputs_of(graph, [graph.unique_name(f"out_{i}") for i in range(len(results))], results))
            return graph
        finally:
            self.graph, self.last_order = saved, order

    @staticmethod
    def _open_input(graph: Graph, name: str, outside: Value, stable: bool) -> Value:
        """An input of a sub-graph like `outside`; any shape when that changes (or is not known)."""
        types = outside.types
        if not types:
            raise Unsupported(f"a subgraph reads '{outside.name}', whose type only the run knows")
        static = stable and all(t == types[0] for t in types)
        value = graph.add_input(name, types[0].dtype, types[0].shape if static else None)
        if stable:
            value.types = types
            value.known = (None,) * len(types)
        return value

    # -- operators --------------------------------------------------------------------------------
    def value_of(self, frame: Frame, index: int, reader: str) -> Any:
        """What the tensor holds; constants become values when somebody reads them."""
        if index in frame.values:
            return frame.values[index]
        tensor = frame.graph.tensors[index]
        if tensor.data is not None and tensor.dtype in DTYPES.values():
            value = frame.values[index] = self.graph.constant(tensor.name, tensor.data)
            return value
        if tensor.data is not None:
            return tensor  # strings: for the handlers that know them
        if tensor.is_variable:
            shape = [max(d, 0) for d in tensor.shape]
            start = np.full(shape, _zero(tensor), np.dtype(_numpy(tensor.dtype)))
            value = frame.values[index] = self.graph.constant(f"{tensor.name}:start", start)
            return value
        raise BadFileError(f"{reader} reads tensor {index} '{tensor.name}', which nothing before it writes")

    def run_operators(self, frame: Frame) -> None:
        if frame.depth > MAX_DEPTH:
            raise UnsupportedError(f"subgraphs call each other more than {MAX_DEPTH} deep (recursion?)")
        total = len(frame.graph.operators)
        for op in frame.graph.operators:
            self.nodes_seen += 1
            if self.progress is not None and frame.depth == 0:
                self.progress(op.index + 1, total)
            try:
                self._run_operator(frame, op)
            except _NONSENSE as e:
                if isinstance(e, Error):
                    raise
                # Options or shapes that no exporter writes. The cause stays attached for whoever debugs a handler.
                raise BadFileError(f"{op.name} (operator {op.index}) cannot be read ({type(e).__name__}: {e})") from e
            except MemoryError:
                raise BadFileError(f"{op.name} (operator {op.index}) asks for more memory than there is") from None

    def _run_operator(self, frame: Frame, op: Operator) -> None:
        label = f"custom operator {op.name}" if op.custom else op.name
        inputs = [self.value_of(frame, i, op.name) if i >= 0 else None for i in op.inputs]
        table = tflite_registry.CUSTOM if op.custom else tflite_registry.BUILTIN
        handler = table.get(op.name)
        context = TfliteContext(self, frame, op, inputs)
        if handler is None:
            advice = "edgec does not know this custom operator" if op.custom else "edgec has no form of it yet"
            advice = tflite_registry.refusal(op.name) or advice
            self.problem(label, advice, context.source)
        if handler is None or any(v is POISON for v in inputs):
            frame.values.update(dict.fromkeys((i for i in op.outputs if i >= 0), POISON))
            return
        before = self.last_order
        try:
            results = self._handled(handler, context)
            if len(results) < len(op.outputs):
                raise BadFileError(
                    f"{op.name} ({context.source}) has {len(op.outputs)} outputs, expected {len(results)}"
                )
            results = [self._stored(context, i, v) for i, v in zip(op.outputs, results)]
        except Unsupported as e:
            self.problem(label, f"{e.reason}{': ' + e.advice if e.advice else ''}", context.source)
            results = [POISON] * len(op.outputs)
        except GraphError as e:
            self.refusals.append((label, str(e)))
            results = [POISON] * len(op.outputs)
        for index, value in zip(op.outputs, results):
            if index < 0:
                continue
            if value is None:
                self.problem(label, f"output {op.outputs.index(index)} is not supported", context.source)
                value = POISON
            frame.values[index] = value
            frame.real.pop(index, None)
            if isinstance(value, Value) and value.producer is not None and value.producer.order > before:
                self.rename(value, frame.graph.tensors[index].name)

    @staticmethod
    def _handled(handler: Callable[[TfliteContext], Any], c: TfliteContext) -> list[Any]:
        if c.op in COMPLEX_MOVES and any(isinstance(v, ComplexPair) for v in c.inputs):
            # Moving elements is the same for both parts of complex numbers.
            halves = []
            for part in ("real", "imaginary"):
                inputs = [getattr(v, part) if isinstance(v, ComplexPair) else v for v in c.inputs]
                halves.append(handler(TfliteContext(c.tflite, c.frame, c.operator, inputs)))
            return [ComplexPair(*halves)]
        results = handler(c)
        return list(results) if isinstance(results, (list, tuple)) else [results]

    def _stored(self, c: TfliteContext, index: int, value: Any) -> Any:
        """A handler's result as the file's tensor holds it: quantized, or with its own integer type."""
        if index < 0 or not isinstance(value, Value) or not value.types:
            return value
        tensor = c.frame.graph.tensors[index]
        if value.dtype == tensor.dtype:
            return value
        if value.dtype == "f32" and tensor.dtype in QUANTIZED:
            if tensor.quantization is None:
                raise BadFileError(f"{c.op} ({c.source}): its output '{tensor.name}' is {tensor.dtype} without a scale")
            return c.quantize(value, tensor.quantization, tensor.dtype)
        return c.cast(value, tensor.dtype) if tensor.dtype in DTYPES.values() else value


def outputs_of(graph: Graph, names: Sequence[str], values: Sequence[Any]) -> list[Value]:
    """Every output is a node's own output: inputs, constants and repeats go through Identity."""
    result: list[Value] = []
    inputs = {v.name for v in graph.inputs}
    for name, value in zip(names, values):
        if not isinstance(value, Value):
            raise UnsupportedError(f"output '{name}' is {value}, not a tensor of numbers")
        if value.producer is None or any(value is r for r in result):
            value = graph.add("Identity", [value], {}, 1, name=name)[0]
        if name not in inputs:
            value.name = name  # reserved before
        result.append(value)
    return result


def assigned_variables(file: TfliteFile) -> set[str]:
    """Names of the variables that operators outside of CALL_ONCE assign."""
    started = {
        op.options.InitSubgraphIndex()
        for g in file.subgraphs
        for op in g.operators
        if op.name == "CALL_ONCE" and op.options
    }
    found = set()
    for number, graph in enumerate(file.subgraphs):
        if number in started:
            continue
        handles = {}
        for op in graph.operators:
            if op.name == "VAR_HANDLE" and op.options is not None and op.outputs:
                handles[op.outputs[0]] = variable_name(op.options)
            elif op.name == "ASSIGN_VARIABLE" and op.inputs:
                found.add(handles.get(op.inputs[0], ""))
    return found


def _numpy(dtype: str) -> Any:
    from edgec.converter.frontends.onnx.model import NUMPY

    return NUMPY[dtype]


def _zero(tensor: Tensor) -> int:
    """The stored value that means zero."""
    return int(tensor.quantization.zero_point[0]) if tensor.quantized and tensor.quantization is not None else 0


def entry_point(file: TfliteFile) -> tuple[int, list[str], list[str]]:
    """Number of the subgraph that is the model, and the user's names of its inputs and outputs."""
    chosen = next((s for s in file.signatures if s.key == "serving_default"), None)
    chosen = chosen or next((s for s in file.signatures if s.subgraph == 0), None)
    number = chosen.subgraph if chosen is not None else 0
    graph = file.subgraphs[number]

    def names(indices: Sequence[int], given: Mapping[int, str]) -> list[str]:
        result: list[str] = []
        for index in indices:
            name = given.get(index) or graph.tensors[index].name
            while name in result:
                name += "_"
            result.append(name)
        return result

    inputs = names(graph.inputs, chosen.inputs if chosen else {})
    outputs = names(graph.outputs, chosen.outputs if chosen else {})
    return number, inputs, outputs


def file_dims(tensor: Tensor, name: str) -> list[int | Symbol]:
    """The shape that the file declares: open dimensions become symbols."""
    return [
        Symbol("batch" if axis == 0 else f"{name}_dim{axis}") if d < 0 else int(d)
        for axis, d in enumerate(tensor.signature)
    ]


def import_tflite(
    file: TfliteFile,
    shapes: Sequence[InputShape] = (),
    fixed: Mapping[str, np.ndarray] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Graph, list[str]]:
    """The graph of a .tflite file and remarks for the report.

    Open dimensions are probed with several sizes until one fits; if none does, with the sizes of the file.
    Raises UnsupportedError (all missing operators), ShapeError, BadFileError.
    """
    number, names, _ = entry_point(file)
    fixed = dict(fixed or {})
    unknown = [n for n in fixed if n not in names]
    if unknown:
        raise InvalidArgumentError(f"fixed: the model has no input '{unknown[0]}'; its inputs are: {', '.join(names)}")
    bound = bind_shapes(shapes, [n for n in names if n not in fixed])
    graph = file.subgraphs[number]
    tensors = {n: graph.tensors[i] for n, i in zip(names, graph.inputs)}
    dims = {n: list(bound[n].dims) if n in bound else file_dims(t, n) for n, t in tensors.items() if n not in fixed}

    def attempt(given: Mapping[str, InputShape], size: int = OTHER_EXAMPLE) -> tuple[Graph, list[str]]:
        importer = TfliteImporter(file, given, fixed, progress, size)
        made = importer.run()
        labels = appended_labels(file.content)
        if labels:
            made.metadata["labels"] = "\n".join(labels)
        return made, importer.notes

    is_open = {n: [isinstance(d, Symbol) for d in d_] for n, d_ in dims.items()}
    if not any(any(v) for v in is_open.values()):
        return attempt(bound)
    sizes = EXAMPLE_SIZES if any(any(v[1:]) for v in is_open.values()) else EXAMPLE_SIZES[:1]
    failure: Error | None = None
    for size in sizes:
        try:
            return attempt(bound, size)
        except (ShapeError, UnsupportedError) as e:
            failure = failure or e
    closed = {
        n: InputShape(n, tuple(s if isinstance(d, Symbol) else d for d, s in zip(d_, tensors[n].shape)))
        for n, d_ in dims.items()
    }
    try:
        made, notes = attempt({**bound, **closed})
    except (ShapeError, UnsupportedError):
        assert failure is not None
        raise failure from None
    text = ", ".join(f"{n} {dims_text(closed[n].dims)}" for n, v in is_open.items() if any(v))
    return made, [*notes, f"fixed to the sizes of the file ({text}): the network's own shapes do not allow others"]


# Sizes tried, in order, for open dimensions other than the batch.
EXAMPLE_SIZES = (32, 64, 128, 224, 320, 16, 8)
