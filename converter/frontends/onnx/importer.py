"""ONNX ModelProto -> Graph: walks the nodes in order and lets the table's handlers emit IR.

Nothing is given up at the first problem: what depends on an unsupported operator is only checked against the
table, so that one UnsupportedError lists everything that is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edgec.converter.errors import BadFileError, ShapeError, UnsupportedError, UnsupportedOp
from edgec.converter.frontends.onnx import functions as onnx_functions
from edgec.converter.frontends.onnx import registry as onnx_registry
from edgec.converter.frontends.onnx.context import Context
from edgec.converter.frontends.onnx.inputs import BATCH_EXAMPLE, OTHER_EXAMPLE, declare_inputs
from edgec.converter.frontends.onnx.model import NUMPY, OnnxFile, dtype_name, import_onnx
from edgec.converter.frontends.onnx.registry import Unsupported
from edgec.converter.frontends.onnx.source import where_of
from edgec.converter.frontends.open_types import primes, stand_in_types
from edgec.converter.frontends.shapes import InputShape, dims_text
from edgec.converter.ir.graph import Graph, GraphError, Node, TensorType, Value

MAX_DEPTH = 48  # sub-graphs and functions inside each other
MAX_NODES = 500_000  # after expanding functions and unrolling loops


class _Poison:
    """Stands for the outputs of an operator that could not be converted."""

    def __repr__(self) -> str:
        return "unsupported"


POISON = _Poison()


class TensorSequence(list):  # type: ignore[type-arg]
    """A value of ONNX's sequence type: its length is known while the graph is built."""


@dataclass
class Scope:
    """Names visible to one graph, function body or sub-graph."""

    opsets: dict[str, int]
    functions: dict[tuple[str, str], Any]
    graph: Graph  # the graph that nodes of this scope are added to
    parent: Scope | None = None
    values: dict[str, Any] = field(default_factory=dict)
    initializers: dict[str, Any] = field(default_factory=dict)
    attributes: dict[str, Any] | None = None  # of the function whose body this is
    prefix: str = ""
    where: str = ""  # of the call, for nodes of function bodies
    depth: int = 0
    captures: list[Value] = field(
        default_factory=list
    )  # of the graph outside, by a sub-graph, in the order of its inputs
    assumed: dict[int, tuple[TensorType, ...]] = field(default_factory=dict)  # other types for captures, by id

    def child(self, **changes: Any) -> Scope:
        return Scope(
            opsets=changes.pop("opsets", self.opsets),
            functions=self.functions,
            graph=changes.pop("graph", self.graph),
            depth=self.depth + 1,
            **changes,
        )


@dataclass
class _Row:
    op: str
    advice: str
    places: list[str]


class Importer:
    """Builds one Graph. Use `import_onnx_model`."""

    def __init__(
        self,
        file: OnnxFile,
        shapes: Mapping[str, InputShape] | None = None,
        fixed: Mapping[str, np.ndarray] | None = None,
        progress: Callable[[int, int], None] | None = None,
        examples: Mapping[str, int] | None = None,
        other_example: int = OTHER_EXAMPLE,
        distinct: bool = True,
    ) -> None:
        onnx_registry.load_all()
        self.onnx = import_onnx()
        self.file = file
        self.shapes = dict(shapes or {})
        self.fixed = dict(fixed or {})
        self.progress = progress
        self.examples = dict(examples or {})
        self.other_example = other_example
        self.distinct = distinct  # symbols other than the batch are probed with different sizes
        self.graph = Graph(file.model.graph.name or "main")
        self.problems: dict[tuple[str, str], _Row] = {}
        self.refusals: list[tuple[str, str]] = []  # (place, the runtime's own message)
        # Two probes from the start: shapes that depend on data differ between them (open_types.py).
        self.graph.probes = [{}, {}]
        self._primes = primes()
        self._stand_ins: dict[int, Value] = {}  # tensors whose types hold stand-in sizes
        self._dtypes: dict[str, str] | None = None
        self.assumptions = 0  # branches of If that do not fit the sizes of the probes (onnx_ops_control.py)
        self._nodes_seen = 0
        self._last_order = -1  # grows with every node added; tells the nodes of one handler
        self._constant_cache: dict[tuple[int, str, tuple[int, ...], bytes], Value] = {}

    # -- entry ------------------------------------------------------------------------------------
    def run(self) -> Graph:
        model = self.file.model
        opsets = {("" if o.domain == "ai.onnx" else o.domain): o.version for o in model.opset_import}
        opsets.setdefault("", 1)
        scope = Scope(opsets, {(f.domain, f.name): f for f in model.functions}, self.graph)
        proto = model.graph
        dims = [d.dim_param for i in proto.input for d in i.type.tensor_type.shape.dim]
        _need_text([proto.name, *dims, *(v.name for v in (*proto.input, *proto.output, *proto.initializer))])
        scope.initializers = {t.name: t for t in proto.initializer}
        declare_inputs(self, proto, scope)
        for output in proto.output:  # kept free: a user addresses outputs by name
            self.graph.unique_name(output.name)
        for sparse in proto.sparse_initializer:
            scope.values[sparse.values.name] = self.constant(sparse.values.name, self.dense(sparse))
        self.run_nodes(proto.node, scope)
        outputs = [self._lookup(o.name, scope, "the graph's outputs") for o in proto.output]
        self._raise_problems()
        self.graph.set_outputs(self._output_values([o.name for o in proto.output], outputs))
        return self.graph

    def example_of(self, axis: int) -> int:
        """Probe size of a symbolic dimension: the first axis is the batch."""
        return BATCH_EXAMPLE if axis == 0 else self.other_example

    def _output_values(self, names: list[str], values: list[Any]) -> list[Value]:
        """Every output of the model is a node's own output: inputs, constants and repeats go through Identity."""
        result: list[Value] = []
        inputs = {v.name for v in self.graph.inputs}
        for name, value in zip(names, values):
            if value is None or isinstance(value, list):
                raise UnsupportedError(f"output '{name}' is a sequence or an optional, not a tensor")
            if value.is_constant and value.name == name:  # the output has the first right to its name
                value.name = self.graph.unique_name(f"{name}_value")
            if value.producer is None or any(value is r for r in result):
                value = self.graph.add("Identity", [value], {}, 1, name=name)[0]
            if name not in inputs and all(r.name != name for r in result):  # some exporters name an output twice
                value.name = name  # reserved when the graph began
            result.append(value)
        return result

    # -- IR ---------------------------------------------------------------------------------------
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
        values = self._added(op, inputs, attrs, outputs, name, source)
        if len(self.graph) > MAX_NODES:
            raise UnsupportedError(f"the model needs more than {MAX_NODES} operators when it is expanded")
        statics = [v.static_value for v in values]
        if all(s is not None for s in statics):
            node = values[0].producer
            assert isinstance(node, Node)
            self.graph.remove(node)
            return [self.constant(name, s) for s in statics if s is not None]
        assert values[0].producer is not None
        self._last_order = values[0].producer.order
        return values

    def _added(
        self,
        op: str,
        inputs: Sequence[Value | None],
        attrs: dict[str, Any] | None,
        outputs: int,
        name: str,
        source: str,
    ) -> list[Value]:
        try:
            values = self.graph.add(op, inputs, attrs, outputs, name=name, source=source)
        except GraphError:
            # Stand-in sizes may not fit each other where the real ones do: then this result stays open.
            guessed = [v for v in inputs if v is not None and id(v) in self._stand_ins]
            if not guessed:
                raise
            saved = [(v, v.types, v.known) for v in guessed]
            for v in guessed:
                v.types = v.known = ()
            try:
                values = self.graph.add(op, inputs, attrs, outputs, name=name, source=source)
            finally:
                for v, types, known in saved:
                    v.types, v.known = types, known
        if any(not v.types for v in values):
            types = stand_in_types(op, inputs, attrs or {}, outputs, (next(self._primes), next(self._primes)))  # type: ignore[assignment]
            for value, found in zip(values, types or ()):
                value.types, value.known = found, (None,) * len(found)  # type: ignore[arg-type, assignment]
                self._stand_ins[id(value)] = value
        elif any(v is not None and id(v) in self._stand_ins for v in inputs):
            for value in values:
                if any(d is None for d in value.shape):
                    self._stand_ins[id(value)] = value
        return values

    def constant(self, name: str, data: np.ndarray) -> Value:
        """A constant; small ones with the same bytes are shared."""
        data = np.asarray(data)
        if data.size > 64:
            return self.graph.constant(name, data)
        key = (id(self.graph), data.dtype.str, data.shape, data.tobytes())
        if key not in self._constant_cache:
            self._constant_cache[key] = self.graph.constant(name, data)
        return self._constant_cache[key]

    def tensor_value(self, name: str, tensor: Any) -> Value:
        """A TensorProto as a constant."""
        array = self.file.array(tensor)
        wanted = dtype_name(tensor.data_type)
        if wanted is not None and array.dtype != NUMPY[wanted]:
            array = array.astype(NUMPY[wanted])
        return self.graph.constant(name, array)

    def rename(self, value: Value, name: str) -> None:
        if name and value.name != name:
            value.name = self.graph.unique_name(name)

    def dense(self, sparse: Any) -> np.ndarray:
        """A SparseTensorProto as an ordinary array."""
        values, indices = self.file.array(sparse.values), self.file.array(sparse.indices)
        dims = [int(d) for d in sparse.dims]
        count = int(np.prod(dims, dtype=object)) if dims else 1
        if count > 2**28:
            raise BadFileError(f"sparse tensor '{sparse.values.name}' has {count} elements")
        flat = np.zeros(count, values.dtype)
        places = indices if indices.ndim == 1 else np.ravel_multi_index(tuple(indices.T), dims)
        if places.size and (places.min() < 0 or places.max() >= count):
            raise BadFileError(f"sparse tensor '{sparse.values.name}' has an index outside its shape")
        flat[places] = values
        return flat.reshape(dims)

    # -- names ------------------------------------------------------------------------------------
    def _lookup(self, name: str, scope: Scope, reader: str) -> Any:
        if name in scope.values:
            return scope.values[name]
        if name in scope.initializers:
            current, self.graph = self.graph, scope.graph
            try:
                scope.values[name] = self.tensor_value(name, scope.initializers[name])
            finally:
                self.graph = current
            return scope.values[name]
        if scope.parent is None:
            raise BadFileError(f"{reader} reads '{name}', which nothing before it writes")
        value = self._lookup(name, scope.parent, reader)
        if scope.graph is not scope.parent.graph:
            value = scope.values[name] = self._capture(name, value, scope)
        return value

    def _capture(self, name: str, value: Any, scope: Scope) -> Any:
        """A tensor of the graph outside, as an input of the sub-graph; constants are simply repeated."""
        if not isinstance(value, Value):
            if isinstance(value, TensorSequence):
                raise Unsupported(f"the sub-graph reads '{name}', a sequence of the graph around it")
            return value
        if value.data is not None:
            return scope.graph.constant(name, value.data)
        scope.captures.append(value)
        if id(value) not in scope.assumed:
            return self.open_input(scope.graph, name, value)
        inner = self.open_input(scope.graph, name, value, keep_type=False)
        inner.types = scope.assumed[id(value)]
        inner.known = (None,) * len(inner.types)
        return inner

    def open_input(self, graph: Graph, name: str, outside: Value, keep_type: bool = True) -> Value:
        """An input of a sub-graph like the tensor `outside`; any shape when that changes (or is not known)."""
        types = outside.types
        dtype = types[0].dtype if types else self.declared_dtype(outside.name)
        if not dtype:
            raise Unsupported(f"a sub-graph reads '{outside.name}', whose data type only the run knows")
        static = bool(types) and keep_type and all(t == types[0] for t in types)
        value = graph.add_input(name, dtype, types[0].shape if static else None)
        if keep_type:
            value.types = types
            value.known = (None,) * len(types)
        return value

    def declared_dtype(self, name: str) -> str:
        """Data type of a tensor from ONNX's own inference, "" when that does not know it either."""
        if self._dtypes is None:
            self._dtypes = {}
            try:
                model = self.onnx.shape_inference.infer_shapes(self.file.model)
            except Exception:  # it refuses some models that are sound; without it only the type hint is missing
                model = self.file.model
            graphs = [model.graph]
            while graphs:
                graph = graphs.pop()
                for info in [*graph.value_info, *graph.output, *graph.input]:
                    self._dtypes.setdefault(info.name, dtype_name(info.type.tensor_type.elem_type) or "")
                for node in graph.node:
                    graphs += [a.g for a in node.attribute if a.HasField("g")]
        return self._dtypes.get(name, "")

    # -- nodes ------------------------------------------------------------------------------------
    def run_nodes(self, nodes: Sequence[Any], scope: Scope) -> None:
        if scope.depth > MAX_DEPTH:
            raise UnsupportedError(f"functions or sub-graphs are nested more than {MAX_DEPTH} deep (recursion?)")
        total = len(nodes)
        for index, proto in enumerate(nodes):
            self._nodes_seen += 1
            if self._nodes_seen > MAX_NODES:
                raise UnsupportedError(f"the model needs more than {MAX_NODES} operators when it is expanded")
            if scope.depth == 0 and self.progress is not None:
                self.progress(index + 1, total)
            self._run_node(proto, scope, index)

    def run_subgraph(self, proto: Any, scope: Scope, inputs: Sequence[Any], prefix: str) -> list[Any]:
        """Imports the body of an If/Loop/Scan in place; returns its outputs."""
        inner = scope.child(parent=scope, attributes=scope.attributes, prefix=prefix, where=scope.where)
        inner.initializers = {t.name: t for t in proto.initializer}
        for info, value in zip(proto.input, inputs):
            inner.values[info.name] = value
        self.run_nodes(proto.node, inner)
        return [self._lookup(o.name, inner, "a sub-graph's outputs") for o in proto.output]

    def build_subgraph(
        self,
        proto: Any,
        scope: Scope,
        inputs: Sequence[tuple[Value, bool]],
        prefix: str,
        captures: list[Value] | None = None,
        assumed: Mapping[int, tuple[TensorType, ...]] | None = None,
    ) -> tuple[Graph, list[Value]]:
        """Imports a body as a graph of its own. `inputs`: the tensor that each input begins with, and whether its type
        stays the same from one iteration to the next. Returns the graph and what it captures (its further inputs);
        `captures`, if given, gets them even when the import fails. `assumed`: types to take captures for."""
        saved = self.graph, self._last_order, self._constant_cache
        graph = Graph(f"{prefix}{proto.name or 'body'}")
        graph.probes = self.graph.probes
        self.graph, self._last_order, self._constant_cache = graph, -1, {}
        try:
            inner = scope.child(parent=scope, attributes=scope.attributes, where=scope.where, graph=graph)
            inner.captures = captures if captures is not None else []
            inner.assumed = dict(assumed or {})
            inner.initializers = {t.name: t for t in proto.initializer}
            for info, (value, stable) in zip(proto.input, inputs):
                inner.values[info.name] = self.open_input(graph, info.name, value, stable)
            self.run_nodes(proto.node, inner)
            outputs = [self._lookup(o.name, inner, "a sub-graph's outputs") for o in proto.output]
            if any(o is POISON for o in outputs):
                raise Unsupported("its sub-graph holds operators that are not supported")
            if any(not isinstance(o, Value) for o in outputs):
                raise Unsupported("its sub-graph gives a sequence or an optional")
            graph.set_outputs(self._output_values([o.name for o in proto.output], outputs))
            return graph, inner.captures
        finally:
            self.graph, self._last_order, self._constant_cache = saved

    def _run_node(self, proto: Any, scope: Scope, index: int) -> None:
        try:
            self._import_node(proto, scope, index)
        except (
            TypeError,
            ValueError,
            KeyError,
            IndexError,
            AttributeError,
            AssertionError,
            OverflowError,
            ZeroDivisionError,
        ) as e:
            # Attributes or shapes that no exporter writes. The cause stays attached for whoever debugs a handler.
            raise BadFileError(f"{proto.op_type!r} node {proto.name!r} cannot be read ({type(e).__name__}: {e})") from e

    def _import_node(self, proto: Any, scope: Scope, index: int) -> None:
        _need_text([proto.name, proto.op_type, proto.domain, *proto.input, *proto.output])
        domain = onnx_registry.DOMAIN_ALIASES.get(proto.domain, proto.domain)
        op = proto.op_type
        name = scope.prefix + (proto.name or f"{op}_{index}")
        label = op if not domain else f"{domain}::{op}"
        inputs = [self._lookup(n, scope, f"{op} '{name}'") if n else None for n in proto.input]
        outputs = list(proto.output)
        where = where_of(proto, name) if not scope.where else scope.where
        handler = onnx_registry.handler_of(domain, op)
        local = scope.functions.get((domain, op))
        body = None
        if local is not None:
            handler = None
            body = local
        elif handler is None:
            bound = self._bound(proto, scope)
            body = onnx_functions.schema_function(self.onnx, domain, op, scope.opsets, bound, inputs)
        if handler is None and body is None:
            self._problem(label, "edgec has no form of this operator yet", where)
        poisoned = any(v is POISON for v in inputs)
        if poisoned or (handler is None and body is None):
            for out in outputs:
                if out:
                    scope.values[out] = POISON
            if poisoned and body is not None:
                self._check_only(body, scope, where)
            return
        before = self._last_order
        try:
            attributes = self._attributes(proto, scope)
            if body is not None:
                results = self._call(body, scope, attributes, inputs, outputs, name, where, domain)
            else:
                assert handler is not None
                opset = scope.opsets.get(domain, 1)
                context = Context(self, scope, op, name, where, attributes, inputs, outputs, opset)
                results = handler(context)
                if isinstance(results, TensorSequence) or not isinstance(results, (list, tuple)):
                    results = [results]
        except Unsupported as e:
            self._problem(label, f"{e.reason}{': ' + e.advice if e.advice else ''}", where)
            results = [POISON] * len(outputs)
        except GraphError as e:
            self.refusals.append((label, str(e)))
            results = [POISON] * len(outputs)
        results = list(results)
        for out, value in zip(outputs, results):
            if not out:
                continue
            scope.values[out] = value
            if isinstance(value, Value) and value.producer is not None and value.producer.order > before:
                self.rename(value, scope.prefix + out)
        for out in outputs[len(results) :]:
            if out:
                self._problem(label, f"output '{out}' (number {outputs.index(out)}) is not supported", where)
                scope.values[out] = POISON

    def _check_only(self, body: Any, scope: Scope, where: str) -> None:
        """Looks for unsupported operators in a function body that cannot be imported."""
        for node in body.node:
            domain = onnx_registry.DOMAIN_ALIASES.get(node.domain, node.domain)
            known = onnx_registry.handler_of(domain, node.op_type) or (domain, node.op_type) in scope.functions
            if not known and not onnx_functions.has_function(self.onnx, domain, node.op_type, scope.opsets):
                label = node.op_type if not domain else f"{domain}::{node.op_type}"
                self._problem(label, "edgec has no form of this operator yet", where)

    def _call(
        self,
        body: Any,
        scope: Scope,
        attributes: dict[str, Any],
        inputs: list[Any],
        outputs: list[str],
        name: str,
        where: str,
        domain: str,
    ) -> list[Any]:
        """Imports the body of a function operator with its inputs and attributes bound."""
        opsets = dict(scope.opsets)
        opsets.update({("" if o.domain == "ai.onnx" else o.domain): o.version for o in body.opset_import})
        defaults = {a.name: self._attribute(a, None) for a in body.attribute_proto}
        is_model_function = (domain, body.name) in scope.functions
        if not is_model_function:
            for default in onnx_functions.schema_defaults(self.onnx, domain, body.name, scope.opsets):
                defaults.setdefault(default.name, self._attribute(default, None))
        inner = scope.child(
            opsets=opsets,
            parent=None,
            attributes={**defaults, **attributes},
            prefix=f"{name}/",
            where="" if is_model_function else where,
        )
        for i, formal in enumerate(body.input):
            inner.values[formal] = inputs[i] if i < len(inputs) else None
        self.run_nodes(body.node, inner)
        # A context-dependent body computes only what this call asks for.
        return [
            self._lookup(o, inner, f"function {body.name}") if wanted else None
            for o, wanted in zip(body.output, outputs)
        ]

    # -- attributes -------------------------------------------------------------------------------
    def _attributes(self, proto: Any, scope: Scope) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for a in proto.attribute:
            if a.ref_attr_name:
                if scope.attributes and a.ref_attr_name in scope.attributes:
                    result[a.name] = scope.attributes[a.ref_attr_name]
            else:
                result[a.name] = self._attribute(a, scope)
        return result

    def _bound(self, proto: Any, scope: Scope) -> Any:
        """The node with references to its function's attributes replaced by values; absent ones disappear."""
        if not any(a.ref_attr_name for a in proto.attribute):
            return proto
        bound = type(proto)()
        bound.CopyFrom(proto)
        del bound.attribute[:]
        given = scope.attributes or {}
        for a in proto.attribute:
            if not a.ref_attr_name:
                bound.attribute.append(a)
            elif a.ref_attr_name in given:
                bound.attribute.append(self.onnx.helper.make_attribute(a.name, given[a.ref_attr_name]))
        return bound

    def _attribute(self, a: Any, scope: Scope | None) -> Any:
        kind = self.onnx.AttributeProto
        if a.type == kind.TENSOR:
            return a.t  # decoded by the handler: only some attributes are ever read
        if a.type == kind.GRAPH:
            return a.g
        if a.type == kind.SPARSE_TENSOR:
            return a.sparse_tensor
        if a.type == kind.STRING:
            return a.s.decode("utf-8", "replace")
        if a.type == kind.STRINGS:
            return [s.decode("utf-8", "replace") for s in a.strings]
        if a.type == kind.INT:
            return int(a.i)
        if a.type == kind.FLOAT:
            return float(a.f)
        if a.type == kind.INTS:
            return [int(i) for i in a.ints]
        if a.type == kind.FLOATS:
            return [float(f) for f in a.floats]
        return self.onnx.helper.get_attribute_value(a)

    # -- problems ---------------------------------------------------------------------------------
    def _problem(self, op: str, advice: str, where: str) -> None:
        row = self.problems.setdefault((op, advice), _Row(op, advice, []))
        row.places.append(where)

    def _raise_problems(self) -> None:
        rows = [UnsupportedOp(r.op, len(r.places), _places(r.places), r.advice) for r in self.problems.values()]
        if not rows and not self.refusals:
            return
        if not rows and (
            self.shapes or any(isinstance(d, str) for v in self.graph.inputs for d in v.declared_shape or ())
        ):
            shapes = ", ".join(f"{v.name}:{dims_text(v.declared_shape or ())}" for v in self.graph.inputs)
            raise ShapeError(
                f"the model does not accept the input shapes {shapes}: {self.refusals[0][1]}",
                hint="give a shape that the network was made for, e.g. --shape "
                + "x".join(str(d) for d in (self.graph.inputs[0].types[0].shape if self.graph.inputs else (1,))),
            )
        for op, message in self.refusals:
            rows.append(UnsupportedOp(op, 1, "", message))
        count = sum(r.count for r in rows)
        raise UnsupportedError(f"{count} of {self._nodes_seen} operators cannot be converted", tuple(rows))


def _need_text(names: Sequence[Any]) -> None:
    """The protobuf library hands out bytes where a name is not UTF-8."""
    for name in names:
        if not isinstance(name, str):
            raise BadFileError(f"the name {name!r} is not UTF-8")


def _places(places: list[str]) -> str:
    distinct = list(dict.fromkeys(p for p in places if p))
    return ", ".join(distinct[:3]) + (f" and {len(distinct) - 3} more" if len(distinct) > 3 else "")


def import_onnx_model(
    file: OnnxFile,
    shapes: Mapping[str, InputShape] | None = None,
    fixed: Mapping[str, np.ndarray] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Graph:
    """Graph of an ONNX model.

    `shapes`: input name -> shape, overriding the file's. `fixed`: input name -> value; such inputs become constants.
    Raises UnsupportedError (all missing operators), ShapeError, BadFileError.
    """
    return Importer(file, shapes, fixed, progress).run()
