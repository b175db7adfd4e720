"""Which tensors live channels-first and which channels-last: one decision for the whole graph, at least cost.

Every value that a layout change can reach gets two permutations, one for label A ("as in a channels-first graph")
and one for label B ("as in a channels-last graph"); one of the two is its order in the source. Nodes that can work in
both get a variable. A tensor that is written under one label and read under the other costs one transpose of its
bytes, however many read it. Graph inputs and outputs and operators with a fixed layout are pinned. The minimum cut of
that cost is the plan; leaving everything as it is is one of the candidates, so the plan is never worse.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from functools import partial

from edgec.converter.ir.graph import Graph, Node, Value
from edgec.converter.passes.engine import typed
from edgec.converter.passes.layout_rules import Perm, Wanted, identity, relabel, spread
from edgec.converter.passes.merge_transposes import compose, inverse, moves_nothing
from edgec.converter.passes.min_cut import MinCut

A, B = False, True
# What a transpose costs beyond its bytes: a step of the plan.
_STEP_BYTES = 512

_CHANNELS_LAST = ("Conv2d", "ConvTranspose2d", "MaxPool2d", "AvgPool2d", "GroupNorm")


@dataclass
class Plan:
    """Permutation of every reached value under both labels, and the label chosen for nodes and transposed values."""

    pairs: dict[int, tuple[Perm, Perm]] = field(default_factory=dict)
    flexible: dict[int, bool] = field(default_factory=dict)  # id(node) -> label, nodes that work under both
    stored: dict[int, Perm] = field(default_factory=dict)  # id(value) -> permutation it is stored under
    anchored: set[int] = field(default_factory=set)  # id(value): connected to an operator with a fixed layout
    cost_before: int = 0
    cost_after: int = 0

    def perm(self, value: Value, label: bool) -> Perm:
        """How the value is stored under a label; values that no layout change reaches have one order only."""
        pair = self.pairs.get(id(value))
        return identity(value.rank) if pair is None else pair[label]


def make_plan(graph: Graph, *, count_only: bool = False) -> Plan | None:
    """The cheapest plan, or None when nothing in the graph can move. `count_only` counts transposes, not bytes."""
    plan = Plan()
    _reach(graph, plan)
    if not plan.pairs:
        return None
    _Solver(graph, plan, count_only).solve()
    return plan


# -- reach ----------------------------------------------------------------------------------------------------


def _reach(graph: Graph, plan: Plan) -> None:
    """Gives a pair of permutations to every value that is connected to a fixed layout or a layout transpose."""
    queue: deque[Value] = deque()

    def seed(value: Value | None, a: Perm, b: Perm) -> None:
        if value is None or value.is_constant or not value.types or id(value) in plan.pairs or a == b:
            return
        own = identity(len(a))
        if own not in (a, b):
            # Its own order up to dimensions of size 1 is as good; anything else would be a third layout.
            if moves_nothing(value, a):
                a = own
            elif moves_nothing(value, b):
                b = own
            else:
                return
        if a == b:
            return
        plan.pairs[id(value)] = (a, b)
        queue.append(value)

    def drain() -> None:
        while queue:
            value = queue.popleft()
            a, b = plan.pairs[id(value)]
            for node in [value.producer, *value.consumers]:
                if node is None or not typed(node):
                    continue
                if node.op == "Transpose":
                    _across(node, value, a, b, seed)
                    continue
                first, second = spread(node, value, a), spread(node, value, b)
                if len(first) == len(second):
                    for (v, pa), (w, pb) in zip(first, second):
                        if v is w:
                            seed(v, pa, pb)

    for node in graph.nodes:
        if node.op in _CHANNELS_LAST:
            for v in (node.inputs[0], node.outputs[0]):
                if v is not None and v.types:
                    seed(v, _to_first(v.rank), identity(v.rank))
    drain()
    plan.anchored = set(plan.pairs)
    for node in graph.nodes:
        if node.op != "Transpose" or not typed(node):
            continue
        x, y = node.inputs[0], node.outputs[0]
        assert x is not None
        if id(x) in plan.pairs or id(y) in plan.pairs:
            continue
        perm = tuple(node.attrs["perm"])
        rank = len(perm)
        if perm == _to_last(rank):
            seed(x, identity(rank), perm)
        elif perm == _to_first(rank):
            seed(x, perm, identity(rank))
        drain()


def _across(node: Node, value: Value, a: Perm, b: Perm, seed: object) -> None:
    """A transpose can vanish: its other side is the same bytes under the same label."""
    x, y = node.inputs[0], node.outputs[0]
    perm = node.attrs["perm"]
    if value is x:
        back = inverse(perm)
        seed(y, tuple(back[i] for i in a), tuple(back[i] for i in b))  # type: ignore[operator]
    else:
        seed(x, tuple(perm[i] for i in a), tuple(perm[i] for i in b))  # type: ignore[operator]


def _to_last(rank: int) -> Perm:
    return (0, *range(2, rank), 1)


def _to_first(rank: int) -> Perm:
    return (0, rank - 1, *range(1, rank - 1))


# -- solve ----------------------------------------------------------------------------------------------------


def moved_bytes(value: Value, source: Perm, target: Perm) -> int:
    """Cost of turning `value` stored under `source` into stored under `target`; 0 when only size-1 dims move."""
    if value.is_constant:
        return 0
    shape = value.shape
    if [p for p in source if shape[p] != 1] == [p for p in target if shape[p] != 1]:
        return 0
    return math.prod(value.types[0].shape) * 4 + _STEP_BYTES


class _Solver:
    def __init__(self, graph: Graph, plan: Plan, count_only: bool) -> None:
        self.graph, self.plan, self.count_only = graph, plan, count_only
        self.cut = MinCut()
        self.node_variable: dict[int, int] = {}
        self.value_variable: dict[int, int] = {}  # label under which the value is written
        self.fixed = (self.cut.variable(), self.cut.variable())
        for label in (A, B):
            self.cut.fix(self.fixed[label], label)

    def solve(self) -> None:
        plan, cut = self.plan, self.cut
        nodes = [
            n for n in self.graph.nodes if any(v is not None and id(v) in plan.pairs for v in (*n.inputs, *n.outputs))
        ]
        for n in nodes:
            if n.op != "Transpose" and self._flexible(n):
                self.node_variable[id(n)] = cut.variable()
        values: dict[int, Value] = {}
        for n in nodes:
            for v in (*n.inputs, *n.outputs):
                if v is not None and id(v) in plan.pairs:
                    values[id(v)] = v
        for v in values.values():
            self.value_variable[id(v)] = self._written_under(v)
        for v in values.values():
            self._reading(v)
        for n in nodes:
            if n.op == "Transpose":
                self._transpose(n)
            elif id(n) in self.node_variable:
                self._operands(n)
        labels = cut.solve()
        plan.flexible = {id(n): labels[self.node_variable[id(n)]] for n in nodes if id(n) in self.node_variable}
        plan.stored = {key: plan.pairs[key][labels[i]] for key, i in self.value_variable.items()}
        plan.cost_before = self._transposes_of_source(nodes)

    def _cost(self, value: Value, source: Perm, target: Perm) -> int:
        cost = moved_bytes(value, source, target)
        return min(cost, 1) * _STEP_BYTES if self.count_only else cost

    def _own(self, value: Value) -> bool:
        """The label under which the value has its source order."""
        return self.plan.pairs[id(value)][B] == identity(value.rank)

    def _flexible(self, node: Node) -> bool:
        plan = self.plan
        if not typed(node):
            return False
        for label in (A, B):

            def perm_of(v: Value, label: bool = label) -> Perm:
                return plan.perm(v, label)

            plain = all(v is None or perm_of(v) == identity(v.rank) for v in (*node.inputs, *node.outputs))
            if not plain and relabel(node, perm_of) is None:
                return False
        return True

    def _written_under(self, value: Value) -> int:
        node = value.producer
        if node is not None and id(node) in self.node_variable:
            return self.node_variable[id(node)]
        if node is not None and node.op == "Transpose":
            return self.cut.variable()
        return self.fixed[self._own(value)]

    def _reading(self, value: Value) -> None:
        """One transpose is paid if any reader wants the other label than the one it is written under."""
        cut, written = self.cut, self.value_variable[id(value)]
        readers = set()
        if self.graph.is_output(value):
            readers.add(self.fixed[self._own(value)])
        for n in value.consumers:
            if n.op != "Transpose":
                readers.add(self.node_variable.get(id(n), self.fixed[self._own(value)]))
        readers.discard(written)
        cost = self._cost(value, *self.plan.pairs[id(value)])
        if not readers or not cost:
            return
        if len(readers) == 1:
            (reader,) = readers
            cut.edge(written, reader, cost)
            cut.edge(reader, written, cost)
            return
        in_b, in_a = cut.variable(), cut.variable()
        cut.edge(written, in_b, cost)
        cut.edge(in_a, written, cost)
        for reader in readers:
            cut.edge(in_b, reader, cut.INFINITE)
            cut.edge(reader, in_a, cut.INFINITE)

    def _transpose(self, node: Node) -> None:
        """A Transpose of the source costs what remains of it between the labels of its two sides."""
        x, y = node.inputs[0], node.outputs[0]
        assert x is not None
        perm = node.attrs["perm"]
        i = self.value_variable.get(id(x), self.fixed[A])
        j = self.value_variable.get(id(y), self.fixed[A])

        def cost(lx: bool, ly: bool) -> int:
            return self._cost(x, self.plan.perm(x, lx), tuple(compose(perm, self.plan.perm(y, ly))))

        aa, ab, ba, bb = cost(A, A), cost(A, B), cost(B, A), cost(B, B)
        if aa + bb > ab + ba:
            ab = ba = max(aa, bb)  # only free when the labels differ: not expressible, and rare
        self.cut.pair(i, j, aa, ab, ba, bb)

    def _operands(self, node: Node) -> None:
        """Operands that no layout change reaches are transposed for the node when its label asks for it."""
        variable = self.node_variable[id(node)]
        costs = []
        for label in (A, B):
            made = relabel(node, partial(self.plan.perm, label=label))
            wanted = [
                w for w in (made.inputs if made else []) if isinstance(w, Wanted) and id(w.value) not in self.plan.pairs
            ]
            costs.append(sum(self._operand_cost(w) for w in wanted))
        self.cut.cost_a(variable, costs[A])
        self.cut.cost_b(variable, costs[B])
        # Where it costs the same: near convolutions channels-last, so that they can take the node in; else as it was.
        out = node.outputs[0]
        if id(out) in self.plan.anchored or id(node.inputs[0]) in self.plan.anchored:
            self.cut.cost_a(variable, 1)
        elif id(out) in self.plan.pairs:
            (self.cut.cost_a if self._own(out) else self.cut.cost_b)(variable, 1)
        if node.op == "Resize" and not self.count_only:
            # Channels-first it would run on rows of single values.
            self.cut.cost_a(variable, self._cost(node.outputs[0], *self.plan.pairs[id(node.outputs[0])]) // 2)

    def _operand_cost(self, wanted: Wanted) -> int:
        value, perm = wanted.value, wanted.perm
        shape = (*(1,) * (len(perm) - value.rank), *value.shape)
        moving = [p for p in perm if shape[p] != 1]
        if value.is_constant or moving == sorted(moving):
            return 0
        return _STEP_BYTES if self.count_only else math.prod(value.types[0].shape) * 4 + _STEP_BYTES

    def _transposes_of_source(self, nodes: list[Node]) -> int:
        return sum(
            self._cost(n.inputs[0], identity(n.inputs[0].rank), tuple(n.attrs["perm"]))
            for n in nodes
            if n.op == "Transpose" and n.inputs[0] is not None
        )
