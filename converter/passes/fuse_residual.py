"""The Add of a skip connection becomes the epilogue of the convolution or product that is computed last."""

from __future__ import annotations

from edgec.converter.ir.graph import Graph, Node, Value
from edgec.converter.passes.engine import Patch, rewrite
from edgec.converter.passes.match import is_f32, only_use, producer

_WITH_RESIDUAL = ("Conv2d", "MatMul")


@rewrite("fuse-residual", ops=("Add",), stages=("fuse",))
def fuse_residual(graph: Graph, node: Node) -> Patch | None:
    """Add(dot(x), y) of equal shapes -> dot with residual y, before or after the activation it has already."""
    a, b = node.inputs
    if a is None or b is None or a is b or a.types != b.types or not is_f32(a, b, *node.outputs):
        return None
    candidates = [(v, other) for v, other in ((a, b), (b, a)) if _takes_residual(graph, v) and not other.is_constant]
    if not candidates:
        return None
    # The later of two producers: the other operand exists by then, and both fit in memory anyhow.
    x, residual = max(candidates, key=lambda c: c[0].producer.order if c[0].producer else -1)
    dot = x.producer
    assert dot is not None
    patch = Patch(graph, f"{dot.op} + residual", node, [dot])
    inputs = [*dot.inputs, *[None] * (3 - len(dot.inputs))]
    inputs[3:4] = [residual]
    mode = "before" if dot.attr("activation") == "none" else "after"
    new = patch.add(dot.op, inputs, {**dot.attrs, "residual_mode": mode}, name=dot.name)
    return patch.replace(node.outputs[0], new)


def _takes_residual(graph: Graph, value: Value) -> bool:
    dot = producer(value, *_WITH_RESIDUAL)
    return (
        dot is not None
        and only_use(graph, value)
        and dot.input(3) is None
        and value.rank >= 2
        and is_f32(*dot.inputs)
        and not any(c.op in _FOLDABLE and _only_constants_beside(c, value) for c in value.consumers)
    )


# What a later patch folds into the weights must not be hidden behind a residual.
_FOLDABLE = ("Mul",)


def _only_constants_beside(node: Node, value: Value) -> bool:
    return all(v is value or (v is not None and v.is_constant) for v in node.inputs)
