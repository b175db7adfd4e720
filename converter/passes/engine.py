"""Rewrites look at one node and return a patch; the engine applies patches until nothing changes.

A rewrite never edits the graph. It returns a `Patch`: new nodes (already typed by the registry), values to replace,
constants, a label for the report. The engine finds a place for the new nodes, replaces the values (same dtype and
shape, or the patch is a defect), removes what became dead, and checks the invariants around the change. Every patch
leaves a graph that runs, so that `stop_after=N` bisects a wrong result down to one patch.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from edgec.converter.ir.check import check, check_node
from edgec.converter.ir.graph import Graph, GraphError, Node, Value
from edgec.converter.report import Applied, Report

Rule = Callable[[Graph, Node], "Patch | None"]

# Trigger of a rewrite that looks at the whole graph: called once per stage, with the first node.
GRAPH = ("<graph>",)

# More patches of one rewrite per original node than this can only come from rewrites that undo each other.
_PATCHES_PER_NODE = 20
_PATCHES_AT_LEAST = 200


@dataclass(frozen=True)
class Rewrite:
    """A rule, the operators that trigger it (empty = all) and the stages of the pipeline it belongs to."""

    name: str
    ops: tuple[str, ...]
    stages: tuple[str, ...]
    rule: Rule
    doc: str
    untyped: bool = False  # also for nodes whose shapes only the run knows


REWRITES: dict[str, Rewrite] = {}


def rewrite(
    name: str, ops: Sequence[str] = (), stages: Sequence[str] = ("simplify",), *, untyped: bool = False
) -> Callable[[Rule], Rule]:
    """Registers a rule under `name`; `disable={name}` switches it off.

    `untyped` rules also see nodes with a tensor whose shape depends on data (`Value.types` is empty there).
    """

    def register(rule: Rule) -> Rule:
        if name in REWRITES:
            raise ValueError(f"two rewrites are called '{name}'")
        REWRITES[name] = Rewrite(name, tuple(ops), tuple(stages), rule, (rule.__doc__ or "").strip(), untyped)
        return rule

    return register


@dataclass
class Patch:
    """A change of the graph that is applied as a whole or not at all.

    >>> patch = Patch(graph, "Clip of Relu merged", node)
    >>> patch.replace(node.outputs[0], patch.add("Clip", [x], {"min": 0.0, "max": 6.0}))
    """

    graph: Graph
    label: str
    root: Node
    consumed: Sequence[Node] = ()  # further nodes that the pattern covers, for the report
    nodes: list[tuple[Node, Node | None]] = field(default_factory=list)  # node, in front of which
    replaced: list[tuple[Value, Value]] = field(default_factory=list)
    dead: Sequence[Node] = ()  # to be removed although nothing is replaced
    names: list[tuple[Value, str]] = field(default_factory=list)  # names for values that get a better one

    END: ClassVar[Node] = Node("<end>", "<end>", [], [])  # as `before`: at the end of the graph

    def add(
        self,
        op: str,
        inputs: Sequence[Value | None],
        attrs: dict[str, Any] | None = None,
        name: str = "",
        before: Node | None = None,
    ) -> Value:
        """A new node with one output. Raises GraphError when the registry refuses it."""
        return self.add_many(op, inputs, attrs, 1, name, before)[0]

    def add_many(
        self,
        op: str,
        inputs: Sequence[Value | None],
        attrs: dict[str, Any] | None = None,
        outputs: int = 1,
        name: str = "",
        before: Node | None = None,
    ) -> list[Value]:
        """A new node with several outputs; `before` overrides the place that the engine would choose."""
        node = self.graph.detached(op, inputs, attrs, outputs, name or self.root.name, self.root.source)
        self.nodes.append((node, before))
        return node.outputs

    def constant(self, name: str, data: np.ndarray) -> Value:
        """A new constant."""
        return self.graph.constant(name, data)

    def replace(self, old: Value, new: Value) -> Patch:
        """All uses of `old` become uses of `new`, which takes over its name when it is new. Returns the patch."""
        self.replaced.append((old, new))
        return self


class PatchError(GraphError):
    """The patch changes a type or has no possible place; the graph is as it was."""


class Engine:
    """Applies rewrites to one graph and keeps the report.

    `check_all` walks the whole graph after every patch (tests); otherwise only what the patch touched is checked
    and the whole graph once at the end. `strict` turns the discovery of rewrites that undo each other into an error.
    """

    def __init__(
        self,
        graph: Graph,
        *,
        disable: Collection[str] = (),
        stop_after: int | None = None,
        check_all: bool = False,
        strict: bool = False,
        report: Report | None = None,
        progress: Callable[[str], None] | None = None,
    ) -> None:
        unknown = set(disable) - set(REWRITES)
        if unknown:
            raise GraphError(f"no rewrite is called {sorted(unknown)}; there are {sorted(REWRITES)}")
        self.graph = graph
        self.disable = set(disable)
        self.stop_after = stop_after
        self.check_all = check_all
        self.strict = strict
        self.report = report if report is not None else Report()
        self.report.disabled = tuple(sorted(self.disable))
        self.progress = progress
        self._fired: dict[str, int] = {}
        self._refused: set[tuple[str, int]] = set()
        self._limit = _PATCHES_AT_LEAST + _PATCHES_PER_NODE * len(graph)

    @property
    def stopped(self) -> bool:
        """True when `stop_after` patches have been applied."""
        return self.stop_after is not None and len(self.report.patches) >= self.stop_after

    def run(self, rewrites: Iterable[Rewrite]) -> int:
        """Applies the rewrites to a fixpoint; returns the number of patches."""
        active = [r for r in rewrites if r.name not in self.disable and r.name not in self.report.repeating]
        by_op: dict[str, list[Rewrite]] = {}

        def rules(op: str) -> list[Rewrite]:
            if op not in by_op:
                by_op[op] = [r for r in active if not r.ops or op in r.ops]
            return by_op[op]

        start = len(self.report.patches)
        for r in active:
            if r.ops == GRAPH and len(self.graph) and not self.stopped:
                self._try(r, self.graph.nodes[0])
        while not self.stopped:
            before = len(self.report.patches)
            # One sweep in topological order; what a patch touches is looked at again in the same sweep.
            queue = deque(self.graph.nodes)
            queued = set(map(id, queue))
            while queue and not self.stopped:
                node = queue.popleft()
                queued.discard(id(node))
                if not node.alive:
                    continue
                complete = typed(node)
                for r in rules(node.op):
                    if not complete and not r.untyped:
                        continue
                    touched = self._try(r, node)
                    if touched is None:
                        continue
                    self._count(r)
                    for t in touched:
                        if t.alive and id(t) not in queued:
                            queue.appendleft(t)
                            queued.add(id(t))
                    break
            if len(self.report.patches) == before:
                break
        check(self.graph)
        return len(self.report.patches) - start

    def _try(self, r: Rewrite, node: Node) -> list[Node] | None:
        if r.name in self.report.repeating or (r.name, id(node)) in self._refused:
            return None
        try:
            patch = r.rule(self.graph, node)
        except Exception as e:
            # Nothing has been changed yet: a rule that fails costs speed, not the user's model.
            if self.strict:
                raise
            self._refuse(r, node, e)
            return None
        try:
            return None if patch is None else self.apply(patch, r.name)
        except PatchError as e:
            if self.strict:
                raise
            self._refuse(r, node, e)
            return None

    def _refuse(self, r: Rewrite, node: Node, reason: Exception) -> None:
        self.report.refused.append(f"{r.name} at {node.name}: {reason}")
        self._refused.add((r.name, id(node)))

    def _count(self, r: Rewrite) -> None:
        self._fired[r.name] = self._fired.get(r.name, 0) + 1
        if self._fired[r.name] <= self._limit:
            return
        recent = sorted({p.rewrite for p in self.report.patches[-50:]})
        if self.strict:
            raise GraphError(f"rewrites {recent} undo each other's work")
        self.report.repeating += [name for name in recent if name not in self.report.repeating]

    def apply(self, patch: Patch, name: str) -> list[Node]:
        """Applies one patch; returns the nodes worth looking at again.

        Raises PatchError, with the graph unchanged, when the patch changes a type or cannot be placed.
        """
        graph = self.graph
        where = f"rewrite '{name}' at {patch.root.name}"
        read = {id(v) for node, _ in patch.nodes for v in node.inputs}
        for old, new in patch.replaced:
            if old.types != new.types:
                raise PatchError(f"{where}: '{old.name}' is {old.types}, its replacement '{new.name}' is {new.types}")
            if id(old) in read:
                raise PatchError(f"{where}: a new node reads '{old.name}', which the patch replaces")
        fresh = {id(v) for node, _ in patch.nodes for v in node.outputs}
        self._place(patch, where)

        touched: list[Node] = []
        suspects: list[Node] = []
        for old, new in patch.replaced:
            touched += old.consumers
            if old.producer is not None:
                suspects.append(old.producer)
            self._substitute(old, new, id(new) in fresh)
        suspects += [*patch.dead, *(n for n, _ in patch.nodes)]  # a rewrite may add a node that it does not use
        for value, better in patch.names:
            if not graph.is_output(value) and not value.is_input:
                value.name = graph.unique_name(better)
        removed = self._sweep(suspects, touched)
        consumed = dict.fromkeys([patch.root.name, *(n.name for n in patch.consumed), *removed])
        self.report.patches.append(Applied(len(self.report.patches), name, patch.label, tuple(consumed)))
        if self.progress is not None:
            self.progress(patch.label)
        touched += [n for n, _ in patch.nodes]
        touched += [v.producer for n, _ in patch.nodes for v in n.inputs if v is not None and v.producer is not None]
        touched = [n for n in dict.fromkeys(touched) if n.alive]
        if self.check_all:
            check(graph)
        else:
            for node in touched:
                check_node(graph, node)
        return touched

    def _place(self, patch: Patch, where: str) -> None:
        """Inserts the new nodes so that they follow their inputs and precede the users of what they replace."""
        pending = [n for n, before in patch.nodes if before is None]
        anchor = self._anchor(patch, pending, where) if pending else None
        for node, before in patch.nodes:
            self.graph.insert(node, None if before is Patch.END else before or anchor)

    def _anchor(self, patch: Patch, pending: list[Node], where: str) -> Node | None:
        """The node in front of which the new nodes stand: what they replace, if their inputs exist by then."""
        new = set(map(id, pending))
        producers = [
            v.producer
            for n in pending
            for v in n.inputs
            if v is not None and v.producer is not None and id(v.producer) not in new
        ]
        dying = {id(old.producer) for old, _ in patch.replaced}
        users = [c.order for old, _ in patch.replaced for c in old.consumers if id(c) not in dying]
        last_input = max((p.order for p in producers if p.alive), default=-1)
        first_user = min(users, default=None)
        anchors = [old.producer for old, _ in patch.replaced if old.producer is not None]
        for anchor in sorted(anchors, key=lambda n: -n.order):
            if last_input < anchor.order and (first_user is None or anchor.order < first_user):
                return anchor
        if last_input >= 0 and (first_user is None or last_input < first_user):
            return max(producers, key=lambda p: p.order).next
        raise PatchError(f"{where}: the new nodes need inputs that come after the users of what they replace")

    def _substitute(self, old: Value, new: Value, fresh: bool) -> None:
        graph = self.graph
        was_output = graph.is_output(old)
        if fresh:
            graph.take_name(new, old)
            if new.quantization is None:
                new.quantization = old.quantization
        elif was_output:
            if replaceable(graph, old, new):
                graph.take_name(new, old)
            else:
                # The name is a promise to the user, and an input, a constant or another output has one already.
                anchor = old.producer.next if old.producer is not None else None
                copy = graph.detached("Identity", [new], name=f"{old.name}:copy")
                graph.insert(copy, anchor)
                graph.take_name(copy.outputs[0], old)
                graph.outputs = [copy.outputs[0] if v is old else v for v in graph.outputs]
        graph.replace_uses(old, new)

    def _sweep(self, suspects: list[Node], touched: list[Node]) -> list[str]:
        """Removes nodes that nothing uses any more, upwards; their surviving producers join `touched`."""
        removed: list[str] = []
        stack = list(dict.fromkeys(suspects))
        while stack:
            node = stack.pop()
            if not node.alive or any(v.consumers or self.graph.is_output(v) for v in node.outputs):
                continue
            above = [v.producer for v in node.inputs if v is not None and v.producer is not None]
            touched += [c for v in node.inputs if v is not None and v.producer is not None for c in v.consumers]
            self.graph.remove(node)
            removed.append(node.name)
            stack += above
            touched += above
        return removed


def typed(node: Node) -> bool:
    """True when the type of every tensor of the node is known."""
    return all(v is None or v.types for v in node.inputs) and all(v.types for v in node.outputs)


def replaceable(graph: Graph, old: Value, new: Value) -> bool:
    """False when replacing `old` by the existing value `new` would need an Identity node to keep an output's name."""
    return not graph.is_output(old) or (new.producer is not None and not graph.is_output(new))
