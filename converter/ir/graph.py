"""The graph that frontends build, passes rewrite and the writer stores.

The IR knows no shape rule of its own: types come from the operator registry of the runtime, through
`edgec._core.infer` and `edgec._core.evaluate`. Symbolic dimensions are handled by *probing*: every symbol is
bound to two different sizes, inference runs once per binding, and a dimension is static when both agree.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edgec import _core
from edgec.converter.ir import schema

Dim = int | str | None
Attr = int | float | str | list[int] | list[float]

# A known value larger than this is not carried through inference: shape arithmetic is small.
MAX_KNOWN_ELEMENTS = 4096

# Distance between the order keys of neighbours; halving it 40 times leaves room for one more node.
_ORDER_GAP = 1 << 40


@dataclass(frozen=True)
class TensorType:
    """Data type (`"f32"`, `"i64"`...) and concrete shape under one binding of the symbols."""

    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Quantization:
    """real = (q - zero_point) * scale; `axis` -1 means one scale for the whole tensor."""

    scale: tuple[float, ...]
    zero_point: tuple[int, ...]
    axis: int = -1


@dataclass(eq=False)
class Value:
    """A tensor: a graph input, a constant (`data`) or the output of one node (`producer`)."""

    name: str
    data: np.ndarray | None = None
    producer: Node | None = None
    is_input: bool = False
    declared_shape: tuple[Dim, ...] | None = None  # inputs: ints and symbol names
    declared_dtype: str = ""  # inputs of any shape, whose type is open
    types: tuple[TensorType, ...] = ()  # one per probe; empty = open: only the run knows
    known: tuple[np.ndarray | None, ...] = ()  # one per probe: values that follow from shapes alone
    quantization: Quantization | None = None
    consumers: list[Node] = field(default_factory=list)  # one entry per use; maintained by Graph

    @property
    def is_constant(self) -> bool:
        return self.data is not None

    @property
    def dtype(self) -> str:
        """Name of the data type; raises when the value was never inferred."""
        if not self.types:
            raise GraphError(f"tensor '{self.name}' has no type yet")
        return self.types[0].dtype

    @property
    def rank(self) -> int:
        self.dtype  # noqa: B018  raises the right error when there is no type
        return len(self.types[0].shape)

    @property
    def shape(self) -> tuple[int | None, ...]:
        """Static dimensions as ints, dimensions that depend on a symbol as None."""
        self.dtype  # noqa: B018
        first = self.types[0].shape
        if all(t is self.types[0] or t.shape == first for t in self.types):
            return first
        return tuple(d if all(t.shape[i] == d for t in self.types) else None for i, d in enumerate(first))

    @property
    def static_value(self) -> np.ndarray | None:
        """The value when it is the same under every probe (constants included), else None."""
        if self.data is not None:
            return self.data
        if not self.known or any(k is None for k in self.known):
            return None
        first = self.known[0]
        return first if all(np.array_equal(first, k) for k in self.known[1:]) else None  # type: ignore[arg-type]

    def __repr__(self) -> str:
        return f"Value({self.name!r})"


@dataclass(eq=False)
class Node:
    """One operator of the registry. `source` says where it came from ("net.py:88 warp()", "node Conv_12")."""

    op: str
    name: str
    inputs: list[Value | None]
    outputs: list[Value]
    attrs: dict[str, Any] = field(default_factory=dict)
    source: str = ""
    # Position in the graph's list; kept by Graph. `order` only grows along the list.
    order: int = field(default=-1, repr=False)
    previous: Node | None = field(default=None, repr=False)
    next: Node | None = field(default=None, repr=False)

    @property
    def alive(self) -> bool:
        """False before the node is inserted and after it is removed."""
        return self.order >= 0

    def attr(self, name: str) -> Any:
        """The attribute, or the operator's default when the node does not set it."""
        return self.attrs[name] if name in self.attrs else schema.default(self.op, name)

    def input(self, i: int) -> Value | None:
        return self.inputs[i] if i < len(self.inputs) else None

    def __repr__(self) -> str:
        return f"Node({self.op}, {self.name!r})"


class GraphError(Exception):
    """The graph breaks one of its invariants, or an operator refuses its inputs."""


class Graph:
    """Nodes in topological order over values. All edits go through the methods below.

    >>> g = Graph("example")
    >>> x = g.add_input("x", "f32", ("batch", 4))
    >>> (y,) = g.add("Relu", [x])
    >>> g.set_outputs([y])
    """

    def __init__(self, name: str = "main") -> None:
        self.name = name
        self.inputs: list[Value] = []
        self._outputs: list[Value] = []
        self._first: Node | None = None
        self._last: Node | None = None
        self._count = 0
        self._snapshot: tuple[Node, ...] | None = ()
        self.symbols: dict[str, tuple[int, int]] = {}  # name -> (min, max), max 0 = unbounded
        self.probes: list[dict[str, int]] = [{}]
        self.metadata: dict[str, str] = {}
        self._names: dict[str, int] = {}

    # -- nodes ------------------------------------------------------------------------------------
    @property
    def nodes(self) -> tuple[Node, ...]:
        """All nodes in topological order: a snapshot, so that a loop over it may edit the graph."""
        if self._snapshot is None:
            found: list[Node] = []
            node = self._first
            while node is not None:
                found.append(node)
                node = node.next
            self._snapshot = tuple(found)
        return self._snapshot

    def __len__(self) -> int:
        return self._count

    @property
    def outputs(self) -> list[Value]:
        return self._outputs

    @outputs.setter
    def outputs(self, values: Iterable[Value]) -> None:
        self._outputs = list(values)

    # -- names ------------------------------------------------------------------------------------
    def unique_name(self, hint: str) -> str:
        """`hint` if it is free, else `hint_1`, `hint_2`..."""
        hint = hint or "tensor"
        if hint not in self._names:
            self._names[hint] = 0
            return hint
        while True:
            self._names[hint] += 1
            name = f"{hint}_{self._names[hint]}"
            if name not in self._names:
                self._names[name] = 0
                return name

    def rename(self, value: Value, name: str) -> None:
        """Gives `value` the name `name`; raises GraphError when another tensor had it at any time."""
        if name == value.name:
            return
        if name in self._names:
            raise GraphError(f"cannot rename '{value.name}': the name '{name}' is taken")
        self._names[name] = 0
        value.name = name

    def take_name(self, value: Value, old: Value) -> None:
        """Swaps the names of two values: what replaces `old` is found under the name the user knows."""
        value.name, old.name = old.name, value.name

    # -- building ---------------------------------------------------------------------------------
    def add_symbol(
        self, name: str, minimum: int = 1, maximum: int = 0, example: int | None = None, growth: int = 2
    ) -> None:
        """Declares a symbolic dimension before the inputs that use it; `example` is a size that works.

        The second probe has it `growth` times as large. Symbols with the same growth and example cannot be told apart
        by rewrites, which compare sizes: a height would pass for a width.
        """
        if name in self.symbols:
            return
        self.symbols[name] = (minimum, maximum)
        first = example if example is not None else max(minimum, 2)
        second = growth * first
        if maximum and second > maximum:
            # Twice as small beside a batch twice as large would leave products of both as they are.
            others = (first // (2 * growth), minimum, maximum, first - 1)
            second = next((n for n in others if minimum <= n <= maximum and n not in (0, first)), first)
        if len(self.probes) == 1:
            self.probes = [dict(self.probes[0]), dict(self.probes[0])]
        self.probes[0][name], self.probes[1][name] = first, second

    def add_input(self, name: str, dtype: str, shape: Sequence[int | str] | None) -> Value:
        """A graph input; shape None (inputs of sub-graphs) accepts any shape and leaves the type open."""
        if shape is None:
            value = Value(self.unique_name(name), is_input=True, declared_dtype=dtype)
            self.inputs.append(value)
            return value
        for d in shape:
            if isinstance(d, str):
                self.add_symbol(d)
        value = Value(self.unique_name(name), is_input=True, declared_shape=tuple(shape))
        value.types = tuple(
            TensorType(dtype, tuple(p[d] if isinstance(d, str) else int(d) for d in shape)) for p in self.probes
        )
        value.known = (None,) * len(self.probes)
        self.inputs.append(value)
        return value

    def constant(self, name: str, data: np.ndarray | Sequence[Any] | float) -> Value:
        """A constant; bool, int and float arrays keep their dtype (use np.float32(...) for scalars)."""
        array = np.asarray(data)
        if not array.flags.c_contiguous:
            array = np.ascontiguousarray(array)
        value = Value(self.unique_name(name), data=array)
        value.types = (TensorType(_core.dtype_name(array.dtype), tuple(array.shape)),) * len(self.probes)
        value.known = (array,) * len(self.probes)
        return value

    def add(
        self,
        op: str,
        inputs: Sequence[Value | None],
        attrs: dict[str, Any] | None = None,
        outputs: int | Sequence[str] = 1,
        name: str = "",
        source: str = "",
        before: Node | None = None,
    ) -> list[Value]:
        """Appends (or inserts in front of `before`) a node, infers its types, returns its outputs.

        Raises GraphError with the operator's own message when the registry refuses the node.
        """
        node = self.detached(op, inputs, attrs, outputs, name, source)
        self.insert(node, before)
        return node.outputs

    def detached(
        self,
        op: str,
        inputs: Sequence[Value | None],
        attrs: dict[str, Any] | None = None,
        outputs: int | Sequence[str] = 1,
        name: str = "",
        source: str = "",
    ) -> Node:
        """A node with inferred outputs that is not in the graph yet; `insert` puts it there."""
        ins = list(inputs)
        while ins and ins[-1] is None:
            ins.pop()
        node_name = name or op
        if isinstance(outputs, int):
            hints: Sequence[str] = [node_name if i == 0 else f"{node_name}:{i}" for i in range(outputs)]
        else:
            hints = outputs
        node = Node(op, node_name, ins, [], dict(attrs or {}), source)
        node.outputs = [Value("", producer=node) for _ in hints]
        self.infer(node)
        for v, hint in zip(node.outputs, hints):
            v.name = self.unique_name(hint)
        return node

    def insert(self, node: Node, before: Node | None = None) -> None:
        """Puts a detached node in front of `before`, or at the end."""
        previous = self._last if before is None else before.previous
        node.previous, node.next = previous, before
        if previous is None:
            self._first = node
        else:
            previous.next = node
        if before is None:
            self._last = node
        else:
            before.previous = node
        low = 0 if previous is None else previous.order
        node.order = low + _ORDER_GAP if before is None else (low + before.order) // 2
        if before is not None and not low < node.order < before.order:
            self._renumber()
        self._count += 1
        self._snapshot = None
        for v in node.inputs:
            if v is not None:
                v.consumers.append(node)

    def _renumber(self) -> None:
        node, order = self._first, 0
        while node is not None:
            order += _ORDER_GAP
            node.order = order
            node = node.next

    def set_outputs(self, values: Iterable[Value]) -> None:
        self.outputs = list(values)

    # -- types ------------------------------------------------------------------------------------
    def infer(self, node: Node) -> None:
        """Recomputes the types (and shape-derived values) of a node's outputs."""
        if schema.of(node.op)["control_flow"] or any(v is not None and not v.types for v in node.inputs):
            self._leave_open(node)
            return
        for v in node.inputs:
            if v is not None and v.data is not None and len(v.types) != len(self.probes):
                # A constant that is older than the first symbol.
                v.types, v.known = v.types[:1] * len(self.probes), (v.data,) * len(self.probes)
        types: list[list[TensorType]] = []
        known: list[list[np.ndarray | None]] = []
        previous: tuple[Any, Any] = (None, None)
        for p in range(len(self.probes)):
            in_types = [None if v is None else (v.types[p].dtype, v.types[p].shape) for v in node.inputs]
            in_values = [None if v is None or not v.known else v.known[p] for v in node.inputs]
            if p and in_types == previous[0] and all(a is b for a, b in zip(in_values, previous[1])):
                types.append(types[-1])  # nothing here depends on a symbol
                known.append(known[-1])
                continue
            previous = (in_types, in_values)
            try:
                out = _core.infer(node.op, node.attrs, in_types, in_values, len(node.outputs))
            except _core.NeedsValueError:
                self._leave_open(node)
                return
            except _core.Error as e:
                where = f" ({node.source})" if node.source else ""
                raise GraphError(f"{node.name}{where}: {e}") from None
            types.append([TensorType(d, tuple(s)) for d, s in out])
            known.append(self._evaluate_small(node, in_types, in_values, types[-1]))
        for i, v in enumerate(node.outputs):
            v.types = tuple(t[i] for t in types)
            v.known = tuple(k[i] for k in known)

    @staticmethod
    def _leave_open(node: Node) -> None:
        # Shapes that depend on data, and what follows from them: only the run knows (GraphError on .shape).
        for v in node.outputs:
            v.types = v.known = ()

    @staticmethod
    def _evaluate_small(
        node: Node, in_types: list[Any], in_values: list[np.ndarray | None], out: list[TensorType]
    ) -> list[np.ndarray | None]:
        unknown: list[np.ndarray | None] = [None] * len(out)
        flags = schema.of(node.op)
        if not flags["shape_only"] and any(t is not None and v is None for t, v in zip(in_types, in_values)):
            return unknown
        if node.op == "DequantizeLinear":
            return unknown  # a small weight stored in integers stays one: rewrites look for the integers
        if flags["not_foldable"] or any(math.prod(t.shape) > MAX_KNOWN_ELEMENTS for t in out):
            return unknown
        if flags["shape_only"]:
            inputs: list[Any] = list(in_types)  # the type is enough, however large the constant is
        elif any(v is not None and v.size > MAX_KNOWN_ELEMENTS for v in in_values):
            return unknown
        else:
            inputs = [t if v is None else v for t, v in zip(in_types, in_values)]
        try:
            return list(_core.evaluate(node.op, node.attrs, inputs, len(out)))
        except _core.Error:
            return unknown  # a probe's size may be impossible (a negative slice, a zero divisor); run() will tell

    # -- editing ----------------------------------------------------------------------------------
    def replace_uses(self, old: Value, new: Value) -> None:
        """Every consumer of `old`, and the graph's outputs, read `new` instead."""
        for node in list(dict.fromkeys(old.consumers)):
            self.set_inputs(node, [new if v is old else v for v in node.inputs])
        self.outputs = [new if v is old else v for v in self.outputs]

    def set_inputs(self, node: Node, inputs: Sequence[Value | None]) -> None:
        for v in node.inputs:
            if v is not None:
                v.consumers.remove(node)
        node.inputs = list(inputs)
        for v in node.inputs:
            if v is not None:
                v.consumers.append(node)

    def remove(self, node: Node) -> None:
        """Removes a node none of whose outputs is used any more."""
        for v in node.outputs:
            if v.consumers or self.is_output(v):
                raise GraphError(f"cannot remove {node.name}: '{v.name}' is still used")
        self.set_inputs(node, [])
        if node.previous is None:
            self._first = node.next
        else:
            node.previous.next = node.next
        if node.next is None:
            self._last = node.previous
        else:
            node.next.previous = node.previous
        node.previous = node.next = None
        node.order = -1
        self._count -= 1
        self._snapshot = None

    def is_output(self, value: Value) -> bool:
        return any(value is v for v in self.outputs)

    def constants(self) -> list[Value]:
        """Constants that some node or output uses, in order of first use."""
        seen: dict[int, Value] = {}
        for v in [v for n in self.nodes for v in n.inputs] + list(self.outputs):
            if v is not None and v.is_constant:
                seen.setdefault(id(v), v)
        return list(seen.values())
