"""The graph: names, order, types under symbols, edits and the invariants that `check` finds broken."""

from __future__ import annotations

import numpy as np
import pytest

from edgec.converter.ir.check import check
from edgec.converter.ir.graph import Graph, GraphError, TensorType, Value
from edgec.converter.ir.run import run
from edgec.converter.ir.text import dump


def chain(length: int = 3) -> Graph:
    graph = Graph("g")
    value = graph.add_input("x", "f32", ("n", 4))
    for _ in range(length):
        (value,) = graph.add("Relu", [value])
    graph.set_outputs([value])
    return graph


def test_symbols_show_as_unknown_dimensions() -> None:
    graph = Graph()
    x = graph.add_input("x", "f32", ("n", 3, "t"))
    assert x.shape == (None, 3, None)
    assert graph.symbols == {"n": (1, 0), "t": (1, 0)}
    (shape,) = graph.add("Shape", [x])
    assert shape.shape == (3,)
    assert shape.static_value is None
    (part,) = graph.add("Slice", [shape, graph.constant("s", np.array([1])), graph.constant("e", np.array([2]))])
    assert part.static_value is not None
    assert part.static_value.tolist() == [3]


def test_symbol_with_a_range_probes_inside_it() -> None:
    graph = Graph()
    graph.add_symbol("n", 2, 5, example=4)
    graph.add_input("x", "f32", ("n",))
    assert [p["n"] for p in graph.probes] == [4, 2]


def test_constant_that_is_older_than_the_first_symbol() -> None:
    graph = Graph()
    one = graph.constant("one", np.float32(1).reshape(()))
    (y,) = graph.add("Add", [graph.add_input("x", "f32", ("n", 3)), one])
    assert y.shape == (None, 3)
    graph.set_outputs([y])
    check(graph)


def test_error_names_node_and_source() -> None:
    graph = Graph()
    x = graph.add_input("x", "f32", (2, 3))
    with pytest.raises(GraphError, match=r"layer7 \(net.py:12\)"):
        graph.add("MatMul", [x, x], name="layer7", source="net.py:12")
    assert len(graph) == 0
    assert not x.consumers


def test_names_are_unique_and_can_be_taken_over() -> None:
    graph = chain(2)
    names = [v.name for n in graph.nodes for v in n.outputs]
    assert names == ["Relu", "Relu_1"]
    first, second = (n.outputs[0] for n in graph.nodes)
    graph.take_name(first, second)
    assert (first.name, second.name) == ("Relu_1", "Relu")
    graph.rename(first, "new")
    assert first.name == "new"
    with pytest.raises(GraphError, match="taken"):
        graph.rename(first, "Relu")


def test_insertion_in_front_of_a_node_many_times() -> None:
    """The order keys run out of room between neighbours and are dealt anew."""
    graph = chain(1)
    last = graph.nodes[-1]
    for _ in range(200):
        graph.add("Neg", [graph.inputs[0]], before=last)
    check(graph)
    orders = [n.order for n in graph.nodes]
    assert orders == sorted(set(orders))
    assert graph.nodes[-1] is last
    assert len(graph) == len(graph.nodes) == 201


def test_loop_over_nodes_may_remove_them() -> None:
    graph = chain(5)
    graph.set_outputs([graph.inputs[0]])
    for node in reversed(graph.nodes):
        graph.remove(node)
    assert graph.nodes == ()
    assert not graph.inputs[0].consumers


def test_a_used_node_cannot_be_removed() -> None:
    graph = chain(2)
    for node in graph.nodes:
        with pytest.raises(GraphError, match="still used"):
            graph.remove(node)


def test_replace_uses_reaches_outputs() -> None:
    graph = chain(2)
    x, last = graph.inputs[0], graph.nodes[-1]
    graph.replace_uses(last.outputs[0], graph.nodes[0].outputs[0])
    graph.remove(last)
    assert graph.outputs == [graph.nodes[0].outputs[0]]
    assert x.consumers == [graph.nodes[0]]
    check(graph)


def test_attr_gives_the_default_of_the_operator() -> None:
    graph = Graph()
    x = graph.add_input("x", "f32", (2, 3))
    graph.add("Softmax", [x])
    assert graph.nodes[0].attr("axis") == -1
    with pytest.raises(KeyError):
        graph.nodes[0].attr("no such attribute")


def broken_order(graph: Graph) -> None:
    a, b = graph.nodes[:2]
    a.order, b.order = b.order, a.order


def broken_uses(graph: Graph) -> None:
    graph.nodes[0].outputs[0].consumers.append(graph.nodes[0])


def missing_use(graph: Graph) -> None:
    graph.inputs[0].consumers.clear()


def duplicate_name(graph: Graph) -> None:
    graph.nodes[0].outputs[0].name = "x"


def lost_probe(graph: Graph) -> None:
    graph.nodes[0].outputs[0].types = (TensorType("f32", (2, 4)),)


def unproduced(graph: Graph) -> None:
    node = graph.nodes[0]
    graph.set_inputs(node, [Value("ghost", types=graph.inputs[0].types)])


def removed_output(graph: Graph) -> None:
    node = graph.nodes[-1]
    graph.set_outputs([])
    graph.remove(node)
    graph.set_outputs(node.outputs)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (broken_order, "before"),
        (broken_uses, "use list|stands before"),
        (missing_use, "use list"),
        (duplicate_name, "two tensors"),
        (lost_probe, "types for"),
        (unproduced, "nothing produces"),
        (removed_output, "removed node"),
    ],
)
def test_check_finds_damage(damage, message: str) -> None:  # type: ignore[no-untyped-def]
    graph = chain(3)
    check(graph)
    damage(graph)
    with pytest.raises(GraphError, match=message):
        check(graph)


def test_run_computes_and_names_what_is_missing() -> None:
    graph = chain(2)
    x = np.array([[-1, 2, -3, 4]], np.float32)
    out = run(graph, {"x": x})
    np.testing.assert_array_equal(out["Relu_1"], np.maximum(x, 0))
    assert set(run(graph, {"x": x}, keep_all=True)) == {"Relu", "Relu_1"}
    with pytest.raises(GraphError, match="'x'"):
        run(graph, {})


def test_run_keeps_an_intermediate_output() -> None:
    graph = chain(2)
    first = graph.nodes[0].outputs[0]
    graph.set_outputs([*graph.outputs, first, graph.inputs[0]])
    out = run(graph, {"x": np.full((2, 4), -1, np.float32)})
    assert list(out) == ["Relu_1", "Relu", "x"]


def test_text_form() -> None:
    graph = Graph("net")
    x = graph.add_input("x", "f32", ("n", 4))
    w = graph.constant("w", np.zeros((4, 3), np.float32))
    (y,) = graph.add(
        "MatMul",
        [x, w, graph.constant("bias", np.array([1, 2, 3], np.float32))],
        {"activation": "relu", "transpose_b": 0},
    )
    (a, b) = graph.add("Split", [y], {"axis": 1, "sizes": [1, 2]}, outputs=["a", "b"])
    graph.set_outputs([a, b])
    assert dump(graph) == (
        "graph net(x: f32[n,4])\n"
        "  MatMul: f32[?,3] = MatMul(x, w: f32[4,3], bias: f32 [1.0, 2.0, 3.0])  activation=relu\n"
        "  a: f32[?,1], b: f32[?,2] = Split(MatMul)  axis=1  sizes=[1,2]\n"
        "  return a, b\n"
    )
