"""NCHW -> NHWC: rebuilds the part of the graph whose layout the plan changes, as one patch."""

from __future__ import annotations

import numpy as np

from edgec.converter.ir.graph import Graph, Node, Value
from edgec.converter.passes.engine import GRAPH, Patch, rewrite, typed
from edgec.converter.passes.layout_plan import Plan, make_plan
from edgec.converter.passes.layout_rules import Perm, Relabelled, Wanted, identity, relabel
from edgec.converter.passes.merge_transposes import compose, inverse, moves_nothing
from edgec.converter.passes.merge_views import reshape_spec


@rewrite("layout", ops=GRAPH, stages=("layout",))
def layout(graph: Graph, node: Node) -> Patch | None:
    """Transposes are pushed through the graph and cancelled where that costs least."""
    before = _real_transposes(graph)
    if not before:
        return None
    for count_only in (False, True):
        plan = make_plan(graph, count_only=count_only)
        if plan is None:
            return None
        rebuild = _Rebuild(graph, plan, node)
        patch = rebuild.patch_or_none()
        if patch is None or rebuild.transposes_after() <= before:
            return patch  # a plan that is not applied leaves no trace: its nodes were never inserted
    return None


def _real_transposes(graph: Graph) -> int:
    return sum(
        1
        for n in graph.nodes
        if n.op == "Transpose"
        and n.inputs[0] is not None
        and typed(n)
        and not moves_nothing(n.inputs[0], n.attrs["perm"])
    )


class _Rebuild:
    """Walks the graph in order and makes the nodes of the new layout beside the old ones."""

    def __init__(self, graph: Graph, plan: Plan, root: Node) -> None:
        self.graph, self.plan = graph, plan
        self.patch = Patch(graph, "layout changed to channels-last", root)
        # id(old value) -> (new value, permutation of the old one it holds); the first entry is how it is produced
        self.versions: dict[int, dict[Perm, Value]] = {}
        self.lifted: dict[tuple[int, int], Value] = {}
        self.dead: list[Node] = []

    def patch_or_none(self) -> Patch | None:
        for node in self.graph.nodes:
            self._visit(node)
        for v in self.graph.outputs:
            if v.types:
                self._restore(v, None)
        if not self.dead:
            return None
        self.patch.dead = self.dead
        self.patch.consumed = self.dead
        return self.patch

    def transposes_after(self) -> int:
        dying = set(map(id, self.dead))
        kept = [n for n in self.graph.nodes if n.op == "Transpose" and id(n) not in dying]
        made = [n for n, _ in self.patch.nodes if n.op == "Transpose"]
        return sum(
            1
            for n in kept + made
            if n.inputs[0] is not None and typed(n) and not moves_nothing(n.inputs[0], n.attrs["perm"])
        )

    def _visit(self, node: Node) -> None:
        if node.op == "Transpose" and typed(node):
            self._visit_transpose(node)
            return
        label = self.plan.flexible.get(id(node))
        if label is not None:

            def perm_of(v: Value) -> Perm:
                return self.plan.perm(v, bool(label))

            if any(v is not None and perm_of(v) != identity(v.rank) for v in (*node.inputs, *node.outputs)):
                made = relabel(node, perm_of)
                assert made is not None
                self._make(node, made, perm_of)
                return
        for v in node.inputs:
            if v is not None and v.types:
                self._restore(v, node)

    def _make(self, node: Node, made: Relabelled, perm_of: object) -> None:
        inputs: list[Value | None] = []
        for i, item in enumerate(made.inputs):
            if isinstance(item, Wanted):
                inputs.append(self._stored(item.value, item.perm, node))
            elif isinstance(item, np.ndarray):
                inputs.append(self.patch.constant(f"{node.name}:{i}", item))
            else:
                if item is not None:
                    self._restore(item, node)
                inputs.append(None if item is None else self._current(item))
        outputs = self.patch.add_many(made.op, inputs, made.attrs, len(node.outputs), node.name, before=node)
        for old, new in zip(node.outputs, outputs):
            new.quantization = old.quantization
            self._produced(old, new, perm_of(old))  # type: ignore[operator]
        self.dead.append(node)

    def _visit_transpose(self, node: Node) -> None:
        x, y = node.inputs[0], node.outputs[0]
        assert x is not None
        target = self.plan.stored.get(id(y), identity(y.rank))
        wanted = tuple(compose(node.attrs["perm"], target))
        if id(x) not in self.versions and target == identity(y.rank):
            return  # as it was
        self._produced(y, self._stored(x, wanted, node), target)
        self.dead.append(node)

    def _produced(self, old: Value, new: Value, perm: Perm) -> None:
        self.versions[id(old)] = {perm: new}
        if perm == identity(old.rank):
            self.patch.replace(old, new)
        elif new.producer is not None and not new.is_input and perm == _nhwc(old.rank):
            self.patch.names.append((new, f"{old.name}:nhwc"))

    def _current(self, value: Value) -> Value:
        return self.versions.get(id(value), {}).get(identity(value.rank), value)

    def _restore(self, value: Value, reader: Node | None) -> None:
        """Somebody needs the source order of a value that is now stored otherwise."""
        versions = self.versions.get(id(value))
        if versions is None or identity(value.rank) in versions:
            return
        self.patch.replace(value, self._stored(value, identity(value.rank), reader))

    def _stored(self, value: Value, perm: Perm, reader: Node | None) -> Value:
        """`value` under `perm`, made in front of `reader` (None: at the end) unless it exists already."""
        before = reader if reader is not None else Patch.END
        if value.data is not None:
            data = value.data.reshape((1,) * (len(perm) - value.data.ndim) + value.data.shape)
            return self.patch.constant(value.name, np.ascontiguousarray(data.transpose(perm)))
        if value.rank < len(perm):
            value = self._lift(value, len(perm), before)
        versions = self.versions.setdefault(id(value), {identity(value.rank): value})
        if perm in versions:
            return versions[perm]
        source_perm, source = next(iter(versions.items()))
        back = inverse(source_perm)
        move = [back[a] for a in perm]
        if moves_nothing(source, move):
            target = [tuple(t.shape[a] for a in move) for t in source.types]
            spec = reshape_spec([t.shape for t in source.types], target)
            if spec is not None:
                shape = self.patch.constant(f"{value.name}:shape", np.array(spec, np.int64))
                versions[perm] = self.patch.add("Reshape", [source, shape], name=value.name, before=before)
                return versions[perm]
        name = f"{value.name}:nhwc" if perm == _nhwc(len(perm)) else value.name
        versions[perm] = self.patch.add("Transpose", [source], {"perm": move}, name=name, before=before)
        return versions[perm]

    def _lift(self, value: Value, rank: int, before: Node) -> Value:
        """A view with leading dimensions of size 1."""
        self._restore(value, before)
        key = (id(value), rank)
        if key not in self.lifted:
            axes = list(range(rank - value.rank))
            self.lifted[key] = self.patch.add(
                "Unsqueeze", [self._current(value)], {"axes": axes}, name=value.name, before=before
            )
        return self.lifted[key]


def _nhwc(rank: int) -> Perm:
    return (0, *range(2, rank), 1)
