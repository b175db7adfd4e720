"""Which operators become integer operators, which tensors get 8 bits, which tensors share one scale."""

from __future__ import annotations

import fnmatch
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from edgec.converter.ir.graph import Graph, Node, Value
from edgec.quantize.separate import CLAMPS, DOT

# Operators that move 8-bit values without looking at them: what comes in has the scale of what goes out.
SHARED = (
    "MaxPool2d", "ReduceMax", "ReduceMin", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Slice", "Split",
    "Gather", "Concat", "Pad", "Identity", "Expand", "Tile",
)  # fmt: skip
ARITHMETIC = ("Add", "Sub", "Mul", "AvgPool2d", "ReduceMean")
# Functions of one variable: a table of 256 entries.
TABLES = (
    "Relu", "Clip", "LeakyRelu", "Sigmoid", "Tanh", "HardSwish", "HardSigmoid", "Silu", "Gelu", "Elu", "Mish",
    "Softplus",
)  # fmt: skip


@dataclass
class Placement:
    """`nodes`: what computes in integers. `tensors`: what is stored in 8 bits. `groups`: tensor -> first of its group."""

    nodes: set[Node] = field(default_factory=set)
    tensors: list[Value] = field(default_factory=list)
    groups: dict[Value, Value] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)  # name of a float node -> why

    def members(self, value: Value) -> list[Value]:
        """All tensors that share the scale of `value`."""
        leader = self.groups[value]
        return [v for v in self.tensors if self.groups[v] is leader]

    @property
    def leaders(self) -> list[Value]:
        """One tensor per scale."""
        return [v for v in self.tensors if self.groups[v] is v]


def place(graph: Graph, keep_float: Collection[str] = ()) -> Placement:
    """Decides for a graph that went through `separate`. keep_float: names or patterns of nodes or of their outputs."""
    result = Placement()
    for node in graph.nodes:
        reason = _obstacle(node)
        if not reason and _matches(node, keep_float):
            reason = "kept in floating point on request"
        if reason:
            result.reasons[node.name] = reason
        else:
            result.nodes.add(node)
    changed = True
    while changed:
        changed = False
        for node in graph.nodes:
            if node in result.nodes and node.op not in DOT:
                reason = _not_worth(graph, node, result.nodes)
                if reason:
                    result.nodes.discard(node)
                    result.reasons[node.name] = reason
                    changed = True
    _choose_tensors(graph, result)
    return result


def data_inputs(node: Node) -> list[Value]:
    """The inputs that are activations (constants among them are operands of Add, Mul...)."""
    if node.op in DOT:
        residual = None if node.op == "ConvTranspose2d" else node.input(3)
        found = [node.inputs[0], residual]
    elif node.op in ("Add", "Sub", "Mul", "Concat"):
        found = list(node.inputs)
    else:
        found = node.inputs[:1]
    return [v for v in found if v is not None]


def shares_scale(node: Node) -> bool:
    """True when the output's integers are the input's."""
    return node.op in SHARED or (node.op == "Resize" and node.attr("mode") == "nearest")


def _matches(node: Node, patterns: Iterable[str]) -> bool:
    names = [node.name, *(v.name for v in node.outputs)]
    return any(n == p or fnmatch.fnmatchcase(n, p) for p in patterns for n in names)


def _obstacle(node: Node) -> str:
    """Why the node cannot be an integer operator whatever surrounds it; "" when it can."""
    values = [v for v in [*node.inputs, *node.outputs] if v is not None]
    if any(not v.types for v in values):
        return "shapes are known only at run time"
    if node.op in DOT:
        return _dot_obstacle(node)
    known = (
        shares_scale(node)
        or node.op in (*ARITHMETIC, *TABLES)
        or (node.op == "Resize" and node.attr("mode") == "linear")
    )
    if not known:
        return f"{node.op} has no 8-bit form here"
    if any(v.dtype != "f32" for v in [*data_inputs(node), *node.outputs]):
        return "no floating-point data"
    if node.op == "PRelu":
        # Its input may reach far below 0 and its output not: a table would spend most steps on what the slope makes small.
        return "PRelu: one rounding of its output instead of two"
    if all(v.is_constant for v in data_inputs(node)):
        return "constant"
    if node.op == "Concat" and any(v.is_constant for v in node.inputs if v is not None):
        return "one part is a constant"
    return ""


def _dot_obstacle(node: Node) -> str:
    weight, bias = node.inputs[1], node.input(2)
    if node.inputs[0] is None or weight is None or node.inputs[0].dtype != "f32":
        return "no floating-point data"
    if not weight.is_constant:
        return "both operands depend on the input"
    if bias is not None and not bias.is_constant:
        return "the bias is not a constant"
    if node.op == "MatMul" and (weight.rank != 2 or node.inputs[0].rank < 2 or node.attr("transpose_a")):
        return "not a product of rows with a matrix"
    if node.attr("activation") not in CLAMPS:
        return f"activation {node.attr('activation')}"
    if node.op == "Conv2d" and weight.shape[1:] == (1, 1, 1) and int(node.attr("group")) > 1:
        # BatchNorm behind a concatenation (ESPNet, DenseNet): it makes small channels large, and their rounding with them.
        return "a factor and an offset per channel: in 8 bits it would amplify the rounding of its input"
    return ""


def _not_worth(graph: Graph, node: Node, chosen: set[Node]) -> str:
    """Between floating-point neighbours an operator without products is better off in floating point."""
    users = [c for v in node.outputs for c in v.consumers]
    if not any(c in chosen and any(v in data_inputs(c) for v in node.outputs) for c in users):
        return "only floating-point operators and outputs read it"
    if shares_scale(node):
        return ""
    inputs = [v for v in data_inputs(node) if not v.is_constant]
    if not all(v.producer is None or v.producer in chosen for v in inputs):
        return "a floating-point operator feeds it"
    if all(v.producer is None for v in inputs):
        return "only inputs of the model feed it"
    return ""


def _choose_tensors(graph: Graph, result: Placement) -> None:
    seen: dict[Value, None] = {}
    for node in graph.nodes:
        if node not in result.nodes:
            continue
        for v in data_inputs(node):
            if not v.is_constant:
                seen.setdefault(v)
        # A convolution can hand out floats; everything else that computes in integers hands out integers.
        if node.op not in DOT:
            for v in node.outputs:
                seen.setdefault(v)
    result.tensors = list(seen)
    parent: dict[Value, Value] = {v: v for v in result.tensors}

    def find(v: Value) -> Value:
        while parent[v] is not v:
            v = parent[v]
        return v

    for node in graph.nodes:
        if node in result.nodes and shares_scale(node):
            members = [*(v for v in data_inputs(node) if v in parent), *(v for v in node.outputs if v in parent)]
            for other in members[1:]:
                first, second = find(members[0]), find(other)
                if first is not second:
                    parent[second] = first
    result.groups = {v: find(v) for v in result.tensors}
