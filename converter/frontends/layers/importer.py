"""What Caffe and ncnn have in common: a file is a list of layers over named blobs, each with its own weights.

A `LayerTable` maps layer types to handlers. The importer walks the layers, hands each to its handler, and goes on
behind a layer that is not supported, so that one UnsupportedError lists everything that is missing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from edgec.converter.errors import BadFileError, Error, ShapeError, UnsupportedError, UnsupportedOp
from edgec.converter.frontends.onnx.context import Context
from edgec.converter.frontends.onnx.inputs import BATCH_EXAMPLE, OTHER_EXAMPLE
from edgec.converter.frontends.onnx.registry import Unsupported
from edgec.converter.frontends.shapes import InputShape, Symbol, dims_text
from edgec.converter.ir.graph import Graph, GraphError, Node, Value

H = TypeVar("H", bound=Callable[..., Any])

MAX_LAYERS = 8192  # networks of 1,000 convolutions have about 4,000
# No network has a larger tensor; a damaged file easily claims one. 2^28 floats are 1 GiB.
MAX_ELEMENTS = 2**28

# What numbers that no exporter writes can make a handler raise.
NONSENSE = (TypeError, ValueError, KeyError, IndexError, AttributeError, OverflowError, ZeroDivisionError)


class LayerTable(dict[str, Callable[..., Any]]):
    """Layer type -> handler. A handler receives a LayerContext and returns one value or a list of outputs."""

    def layer(self, *types: str) -> Callable[[H], H]:
        def register(handler: H) -> H:
            for name in types:
                self[name] = handler
            return handler

        return register


@dataclass
class Layer:
    """One layer. `parameters` and `weights` are what the format's own context makes of them."""

    type: str
    name: str
    inputs: list[str]
    outputs: list[str]
    parameters: Any
    weights: Any = None
    line: int = 0

    @property
    def where(self) -> str:
        return f'layer "{self.name}" (line {self.line})' if self.line else f'layer "{self.name}"'


class LayerContext(Context):
    """One layer while its handler runs. Tensors have the batch in front: [N, C, H, W]."""

    def __init__(self, importer: LayerImporter, layer: Layer, inputs: list[Value | None]) -> None:
        super().__init__(importer, None, layer.type, layer.name, layer.where, {}, inputs, layer.outputs, 0)  # type: ignore[arg-type]
        self.layer = layer
        self.layers = importer

    def bad(self, text: str) -> BadFileError:
        """The error for a layer whose parameters or weights make no sense."""
        return BadFileError(f"{self.op} {self.source}: {text}")

    def x(self) -> Value:
        """The only input."""
        if len(self.inputs) != 1:
            raise self.bad(f"has {len(self.inputs)} inputs, expected 1")
        return self.need(0)

    def many(self, minimum: int = 1) -> list[Value]:
        """All inputs."""
        if len(self.inputs) < minimum:
            raise self.bad(f"has {len(self.inputs)} inputs, expected at least {minimum}")
        return [self.need(i) for i in range(len(self.inputs))]

    def ranked(self, x: Value, *ranks: int) -> Value:
        if x.rank not in ranks:
            expected = " or ".join(str(r) for r in ranks)
            raise self.bad(f"its input '{x.name}' has shape {list(x.shape)}, expected {expected} dimensions")
        return x

    def fixed(self, x: Value, first: int = 0) -> list[int]:
        """The sizes from axis `first` on, where a handler needs them as numbers."""
        if any(d is None for d in x.shape[first:]):
            raise Unsupported(f"{self.op} over symbolic sizes", "give fixed sizes with --shape")
        return [int(d) for d in x.shape[first:] if d is not None]

    def channels(self, x: Value, axis: int = 1) -> int:
        size = x.shape[axis] if axis < x.rank else None
        if size is None:
            raise self.bad(f"the number of channels of its input {list(x.shape)} is not known")
        return size

    def binary(self, op: str, a: Value, b: Any) -> Value:
        return self.emit(op, [a, b if isinstance(b, Value) else self.const(np.float32(b))])

    def affine(self, x: Value, scale: Any = 1.0, shift: Any = 0.0) -> Value:
        """scale * x + shift, without what does nothing."""
        if isinstance(scale, np.ndarray) or scale != 1.0:
            x = self.binary("Mul", x, self.const(np.asarray(scale, np.float32)))
        if isinstance(shift, np.ndarray) or shift != 0.0:
            x = self.binary("Add", x, self.const(np.asarray(shift, np.float32)))
        return x


@dataclass
class LayerImporter:
    """Builds one Graph from layers. `fixed`: inputs by name that become constants."""

    format: str
    table: LayerTable
    context: Callable[[LayerImporter, Layer, list[Value | None]], LayerContext]
    graph: Graph
    fixed: Mapping[str, np.ndarray] = field(default_factory=dict)
    values: dict[str, Value | None] = field(default_factory=dict)  # None: behind an unsupported layer
    notes: list[str] = field(default_factory=list)
    marked: dict[int, Value] = field(default_factory=dict)  # by id: values that a handler has to know again
    on_problem: Callable[[], None] = lambda: None
    _problems: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    _seen: int = 0
    _named: dict[int, Value] = field(default_factory=dict)  # by id: what some layer gave, under its blob's name
    _small: dict[tuple[Any, ...], Value] = field(default_factory=dict)

    # -- what a Context asks for --------------------------------------------------------------------
    def add(
        self,
        op: str,
        inputs: Sequence[Value | None],
        attrs: dict[str, Any] | None,
        outputs: int,
        name: str,
        source: str,
    ) -> list[Value]:
        """Adds a node, or returns constants when its value follows from static shapes alone."""
        values = self.graph.add(op, inputs, attrs, outputs, name=name, source=source)
        for v in values:
            if v.types and math.prod(v.types[0].shape) > MAX_ELEMENTS:
                raise ShapeError(
                    f"{source} makes a tensor of shape {dims_text(v.types[0].shape)}, more than {MAX_ELEMENTS} elements"
                )
        statics = [v.static_value for v in values]
        if all(s is not None for s in statics):
            node = values[0].producer
            assert isinstance(node, Node)
            self.graph.remove(node)
            return [self.constant(name, s) for s in statics if s is not None]
        return values

    def constant(self, name: str, data: np.ndarray) -> Value:
        """A constant; small ones with the same bytes are shared."""
        data = np.asarray(data)
        if data.size > 64:
            return self.graph.constant(name, data)
        key = (data.dtype.str, data.shape, data.tobytes())
        if key not in self._small:
            self._small[key] = self.graph.constant(name, data)
        return self._small[key]

    def rename(self, value: Value, name: str) -> None:
        if name and value.name != name:
            value.name = self.graph.unique_name(name)

    # -- inputs -------------------------------------------------------------------------------------
    def declare_input(self, name: str, dims: Sequence[int | Symbol] | None, wanted: InputShape | None) -> None:
        """An f32 input of the model: the user's shape goes before the file's."""
        if name in self.fixed:
            self.values[name] = self.constant(name, np.asarray(self.fixed[name], np.float32))
            return
        chosen = list(wanted.dims) if wanted is not None else None if dims is None else list(dims)
        if chosen is None:
            raise ShapeError(
                f"the file does not say the shape of the input '{name}'",
                hint=f"give it, e.g. --shape {name}:1x3x224x224",
            )
        if any(isinstance(d, int) and d < 1 for d in chosen):
            raise ShapeError(f"input '{name}' has the shape {dims_text(chosen)}", hint=f"--shape {name}:1x3x224x224")
        if math.prod(d for d in chosen if isinstance(d, int)) > MAX_ELEMENTS:
            raise ShapeError(f"input '{name}' has the shape {dims_text(chosen)}, more than {MAX_ELEMENTS} elements")
        shape: list[int | str] = []
        for axis, d in enumerate(chosen):
            if isinstance(d, Symbol):
                example = BATCH_EXAMPLE if axis == 0 else OTHER_EXAMPLE
                low, high = d.minimum, d.maximum or example
                self.graph.add_symbol(d.name, d.minimum, d.maximum, min(max(example, low), high))
                shape.append(d.name)
            else:
                shape.append(d)
        self.values[name] = self.graph.add_input(name, "f32", shape)

    # -- layers -------------------------------------------------------------------------------------
    def run(self, layers: Sequence[Layer], progress: Callable[[int, int], None] | None = None) -> None:
        last = {out: i for i, layer in enumerate(layers) for out in layer.outputs}
        for i, layer in enumerate(layers):
            self._seen += 1
            if progress is not None:
                progress(i + 1, len(layers))
            names = [out if last[out] == i else f"{out}:{layer.name}" for out in layer.outputs]
            try:
                self._run_layer(layer, names)
            except Error:
                raise
            except NONSENSE as e:
                # The cause stays attached for whoever debugs a handler.
                raise BadFileError(f"{layer.type} {layer.where} cannot be read ({type(e).__name__}: {e})") from e
            except MemoryError:
                raise BadFileError(f"{layer.type} {layer.where} asks for more memory than there is") from None

    def _run_layer(self, layer: Layer, names: Sequence[str]) -> None:
        inputs: list[Value | None] = []
        for name in layer.inputs:
            if name not in self.values:
                raise BadFileError(f"{layer.type} {layer.where} reads '{name}', which no layer before it writes")
            inputs.append(self.values[name])
        handler = self.table.get(layer.type)
        if handler is None:
            self._problem(layer.type, "edgec has no form of this layer yet", layer.where)
        if handler is None or any(v is None for v in inputs):
            self.values.update(dict.fromkeys(layer.outputs))
            return
        try:
            results = handler(self.context(self, layer, inputs))
            results = results if isinstance(results, list) else [results]
        except Unsupported as e:
            self._problem(layer.type, f"{e.reason}{': ' + e.advice if e.advice else ''}", layer.where)
            results = [None] * len(layer.outputs)
        except GraphError as e:
            # The operator's own words, without the place that stands in front of them.
            raise ShapeError(
                f"{layer.type} {layer.where} does not fit its inputs: {str(e).split(': ', 1)[-1]}"
            ) from None
        if len(results) != len(layer.outputs):
            raise BadFileError(f"{layer.type} {layer.where} has {len(layer.outputs)} outputs, expected {len(results)}")
        for out, name, value in zip(layer.outputs, names, results):
            if value is not None and value.producer is not None and id(value) not in self._named:
                self.rename(value, name)
                self._named[id(value)] = value
            self.values[out] = value

    def _problem(self, kind: str, advice: str, where: str) -> None:
        self._problems.setdefault((kind, advice), []).append(where)
        self.on_problem()

    # -- outputs ------------------------------------------------------------------------------------
    def finish(self, outputs: Sequence[str]) -> Graph:
        """Raises what went wrong, else sets the outputs."""
        if self._problems:
            rows = []
            for (kind, advice), places in self._problems.items():
                more = f" and {len(places) - 3} more" if len(places) > 3 else ""
                rows.append(UnsupportedOp(kind, len(places), ", ".join(places[:3]) + more, advice))
            count = sum(r.count for r in rows)
            raise UnsupportedError(f"{count} of {self._seen} layers cannot be converted", tuple(rows))
        if not outputs:
            raise BadFileError(f"the {self.format} network has no output")
        inputs = {v.name for v in self.graph.inputs}
        chosen: dict[int, Value] = {}
        for name in outputs:
            value = self.values[name]
            assert value is not None
            if value.producer is None or id(value) in chosen:
                value = self.graph.add("Identity", [value], {}, 1, name=name)[0]
            chosen[id(value)] = value
        wanted = {name: id(value) for name, value in zip(outputs, chosen.values()) if name not in inputs}
        self._free(wanted)
        for name, value in zip(outputs, chosen.values()):
            if name in wanted:
                value.name = name
        self.graph.set_outputs(chosen.values())
        return self.graph

    def _free(self, wanted: Mapping[str, int]) -> None:
        """Outputs have the first right to their blobs' names."""
        for node in self.graph.nodes:
            for v in [*node.outputs, *(i for i in node.inputs if i is not None)]:
                if v.name in wanted and wanted[v.name] != id(v) and not v.is_input:
                    v.name = self.graph.unique_name(f"{v.name}_value")
