"""What a frontend that walks operators needs around its Graph: nodes whose value is known become constants, types that
depend on data get stand-ins, and what cannot be converted is collected for one error."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgec.converter.errors import ShapeError, UnsupportedError, UnsupportedOp
from edgec.converter.frontends.open_types import primes, stand_in_types
from edgec.converter.frontends.shapes import dims_text
from edgec.converter.ir.graph import Graph, GraphError, Node, Value

MAX_NODES = 500_000  # after expanding functions and unrolling loops
# Weights that a file stores in few bits stay so: quantized operators are recognised by them.
_KEPT = ("DequantizeLinear",)


@dataclass
class Problem:
    """An operator that cannot be converted, with all its places."""

    op: str
    advice: str
    places: list[str]


class GraphBuilder:
    """Adds nodes to `graph`, which a frontend may exchange for a sub-graph while it builds that."""

    def __init__(self, name: str) -> None:
        self.graph = Graph(name or "main")
        # Two probes from the start: shapes that depend on data differ between them (open_types.py).
        self.graph.probes = [{}, {}]
        self.problems: dict[tuple[str, str], Problem] = {}
        self.refusals: list[tuple[str, str]] = []  # (operator, the runtime's own message)
        self.nodes_seen = 0
        self.last_order = -1  # grows with every node added; tells the nodes of one handler
        self._primes = primes()
        self._stand_ins: dict[int, Value] = {}  # tensors whose types hold stand-in sizes
        self._small: dict[tuple[int, str, tuple[int, ...], bytes], Value] = {}

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
        node = values[0].producer
        assert isinstance(node, Node)
        statics = [v.static_value for v in values]
        if op not in _KEPT and all(s is not None for s in statics):
            self.graph.remove(node)
            return [self.constant(name, s) for s in statics if s is not None]
        self.last_order = node.order
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
                return self.graph.add(op, inputs, attrs, outputs, name=name, source=source)
            finally:
                for v, types, known in saved:
                    v.types, v.known = types, known
        if any(not v.types for v in values):
            found = stand_in_types(op, inputs, attrs or {}, outputs, (next(self._primes), next(self._primes)))
            for value, guess in zip(values, found or ()):
                value.types, value.known = guess, (None,) * len(guess)
                self._stand_ins[id(value)] = value
        elif any(v is not None and id(v) in self._stand_ins for v in inputs):
            for value in values:
                if any(d is None for d in value.shape):
                    self._stand_ins[id(value)] = value
                if op in ("Shape", "Size") and value.static_value is None:
                    value.known = (None,) * len(value.types)  # a stand-in is no size to compute with
        return values

    def constant(self, name: str, data: np.ndarray) -> Value:
        """A constant; small ones with the same bytes are shared."""
        data = np.asarray(data)
        if data.size > 64:
            return self.graph.constant(name, data)
        key = (id(self.graph), data.dtype.str, data.shape, data.tobytes())
        if key not in self._small:
            self._small[key] = self.graph.constant(name, data)
        return self._small[key]

    def rename(self, value: Value, name: str) -> None:
        if name and value.name != name:
            value.name = self.graph.unique_name(name)

    # -- problems ---------------------------------------------------------------------------------
    def problem(self, op: str, advice: str, where: str) -> None:
        self.problems.setdefault((op, advice), Problem(op, advice, [])).places.append(where)

    def raise_problems(self) -> None:
        """One error for everything that was collected."""
        rows = [UnsupportedOp(r.op, len(r.places), places_text(r.places), r.advice) for r in self.problems.values()]
        if not rows and not self.refusals:
            return
        if not rows and any(isinstance(d, str) for v in self.graph.inputs for d in v.declared_shape or ()):
            shapes = ", ".join(f"{v.name}:{dims_text(v.declared_shape or ())}" for v in self.graph.inputs)
            raise ShapeError(f"the model does not accept the input shapes {shapes}: {self.refusals[0][1]}")
        rows += [UnsupportedOp(op, 1, "", message) for op, message in self.refusals]
        count = sum(r.count for r in rows)
        raise UnsupportedError(f"{count} of {self.nodes_seen} operators cannot be converted", tuple(rows))


def places_text(places: list[str]) -> str:
    distinct = list(dict.fromkeys(p for p in places if p))
    return ", ".join(distinct[:3]) + (f" and {len(distinct) - 3} more" if len(distinct) > 3 else "")
