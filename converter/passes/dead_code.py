"""Dead code: nodes whose outputs nobody reads. The engine removes what a patch leaves; this takes what came in dead."""

from __future__ import annotations

from edgec.converter.ir.graph import Graph, Node
from edgec.converter.passes.engine import Patch, rewrite
from edgec.converter.passes.match import unused_outputs


@rewrite("dead-code", untyped=True)
def dead_code(graph: Graph, node: Node) -> Patch | None:
    """No output is used -> removed."""
    if not unused_outputs(graph, node):
        return None
    patch = Patch(graph, "dead code removed", node)
    patch.dead = (node,)
    return patch
