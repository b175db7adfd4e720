"""A pool whose window is the whole image is a reduction, which works in every layout."""

from __future__ import annotations

from edgec.converter.ir.graph import Graph, Node
from edgec.converter.passes.engine import Patch, rewrite
from edgec.converter.passes.match import is_f32


@rewrite("global-pool", ops=("AvgPool2d", "MaxPool2d"), stages=("simplify",))
def global_pool(graph: Graph, node: Node) -> Patch | None:
    """AvgPool2d or MaxPool2d over all of H and W -> ReduceMean or ReduceMax."""
    x, y = node.inputs[0], node.outputs[0]
    if x is None or any(node.attr("pads")) or not is_f32(x, y) or y.shape[1:3] != (1, 1):
        return None
    if list(x.shape[1:3]) != list(node.attr("kernel")):
        return None
    if node.op == "MaxPool2d" and list(node.attr("dilations")) != [1, 1]:
        return None
    op = "ReduceMean" if node.op == "AvgPool2d" else "ReduceMax"
    patch = Patch(graph, f"{node.op} over the whole image made {op}", node)
    return patch.replace(y, patch.add(op, [x], {"axes": [1, 2], "keepdims": 1}))
