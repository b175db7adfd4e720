"""edgec.compare: equal, different, and the first tensor that differs."""

from __future__ import annotations

import numpy as np
import pytest

import edgec
from edgec.comparison import difference
from edgec.converter.ir.graph import Graph
from edgec.converter.writer import to_bytes
from edgec.runners import open_runner
from tests.api.networks import heavy, scaled, two_by_two


def chain(*factors: float) -> edgec.Model:
    """t0 = x * f0, t1 = t0 * f1, ..."""
    graph = Graph("chain")
    x = graph.add_input("x", "f32", (1, 6))
    for i, f in enumerate(factors):
        (x,) = graph.add("Mul", [x, graph.constant(f"f{i}", np.full(6, f, np.float32))], outputs=[f"t{i}"])
    graph.set_outputs([x])
    return edgec.Model.from_bytes(to_bytes(graph))


def test_a_model_equals_itself():
    result = edgec.compare(chain(2, 3), chain(2, 3))
    assert result.ok
    assert result.first_bad is None
    assert [r.name for r in result.rows] == ["t1"]
    assert result.rows[0].max_abs == 0
    assert result.rows[0].sqnr_db == float("inf")


def test_the_first_difference_is_named():
    result = edgec.compare(chain(2, 3, 5, 7), chain(2, 3.5, 5, 7), mark_all=True)
    assert not result.ok
    assert [r.name for r in result.rows] == ["t0", "t1", "t2", "t3"]
    assert [r.ok for r in result.rows] == [True, False, False, False]
    assert result.first_bad.name == "t1"
    assert result.first_bad.relative_l2 == pytest.approx(0.5 / 3.5, rel=1e-6)
    assert result.to_dict()["first_bad"] == "t1"
    assert [r.is_output for r in result.rows] == [False, False, False, True]


def test_a_difference_that_heals_is_still_named():
    result = edgec.compare(chain(2, 3, 5), chain(4, 1.5, 5), mark_all=True)
    assert result.outputs_ok
    assert result.first_bad.name == "t0"


def test_tolerances_decide():
    a, b = chain(1.0), chain(1.001)
    assert not edgec.compare(a, b, atol=0, rtol=5e-4).ok
    assert edgec.compare(a, b, atol=0, rtol=2e-3).ok


def test_the_default_tolerance_follows_the_magnitude():
    for scale in (1e-6, 1.0, 1e6):
        b = np.array([scale, 0.0])
        assert difference("x", b + np.array([0, 2e-5 * scale]), b).ok
        assert not difference("x", b + np.array([0, 4e-5 * scale]), b).ok
        assert difference("x", b * 1.0009, b).ok
        assert not difference("x", b * 1.0011, b).ok
    assert difference("x", np.zeros(2), np.zeros(2)).ok
    assert not difference("x", np.array([0, 1e-30]), np.zeros(2)).ok


def test_data_in_order_and_by_name(rng):
    model = edgec.Model.from_bytes(two_by_two().data)
    a, b = rng.standard_normal((2, 2, 3)).astype(np.float32)
    assert edgec.compare(model, model, [a, b]).ok
    assert edgec.compare(model, edgec.Session(model), {"b": b, "a": a}).ok
    with pytest.raises(edgec.ShapeError, match="got 1 arrays, the model has 2"):
        edgec.compare(model, model, [a])


def test_saved_results(tmp_path, rng):
    network = two_by_two()
    model = edgec.Model.from_bytes(network.data)
    a, b = rng.standard_normal((2, 2, 3)).astype(np.float32)
    total, rest = network.oracle(a, b)
    np.savez(tmp_path / "saved.npz", sum=total, difference=rest)
    assert edgec.compare(model, tmp_path / "saved.npz", [a, b]).ok
    rest[1, 2] += 1
    np.savez(tmp_path / "saved.npz", sum=total, difference=rest)
    result = edgec.compare(model, tmp_path / "saved.npz", [a, b])
    assert result.first_bad.name == "difference"
    assert result.first_bad.wrong == 1


def test_models_that_cannot_be_compared():
    two = edgec.Model.from_bytes(two_by_two().data)
    with pytest.raises(edgec.UsageError, match="edgec has the inputs x; given are a, b"):
        edgec.compare(two, chain(1), [np.zeros((2, 3), np.float32)] * 2)
    graph = Graph("other")
    x = graph.add_input("x", "f32", (1, 6))
    graph.set_outputs(graph.add("Split", [x], {"axis": 1}, outputs=["p", "q"]))
    with pytest.raises(edgec.UsageError, match="no name in common"):
        edgec.compare(edgec.Model.from_bytes(to_bytes(graph)), chain(1))


def test_what_cannot_run(tmp_path):
    with pytest.raises(edgec.IoError, match="no file"):
        open_runner(tmp_path / "missing.edge")
    with pytest.raises(edgec.UsageError, match="cannot run a int"):
        open_runner(3)
    (tmp_path / "bad.npz").write_bytes(b"PK\3\4 no")
    with pytest.raises(edgec.BadFileError):
        open_runner(tmp_path / "bad.npz")
    (tmp_path / "bad.edge").write_bytes(b"no")
    with pytest.raises(edgec.BadFileError):
        open_runner(tmp_path / "bad.edge")


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    (tmp_path / "net.onnx").write_bytes(b"")
    with pytest.raises(edgec.MissingDependency, match="onnxruntime") as e:
        open_runner(tmp_path / "net.onnx")
    assert e.value.exit_code == 6


def test_nan_and_infinity():
    nan, inf = np.float32("nan"), np.float32("inf")
    one = np.array([1, nan, inf, -inf], np.float32)
    assert difference("x", one, one.copy()).ok
    for i, other in enumerate((nan, 1, -inf, inf)):
        changed = one.copy()
        changed[i] = other
        assert difference("x", changed, one).wrong == 1, i
        assert difference("x", one, changed).wrong == 1, i


def test_shapes_and_layouts(rng):
    x = rng.standard_normal((1, 3, 4, 5)).astype(np.float32)
    assert difference("x", x.transpose(0, 2, 3, 1), x).ok
    assert difference("x", x, x.transpose(0, 2, 3, 1)).ok
    row = difference("x", x, x[:, :2])
    assert not row.ok
    assert row.note == "shapes"
    assert difference("x", np.zeros((0, 3), np.float32), np.zeros((0, 3), np.float32)).ok
    assert difference("x", np.array([1, 2]), np.array([1, 2])).ok
    assert not difference("x", np.array([True, False]), np.array([True, True])).ok


def test_onnx_file_through_onnxruntime(tmp_path):
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    from onnx import helper

    nodes = [helper.make_node("Mul", ["x", "f0"], ["t0"]), helper.make_node("Mul", ["t0", "f1"], ["t1"])]
    factors = [helper.make_tensor(f"f{i}", 1, [6], [float(v)] * 6) for i, v in enumerate((2, 3))]
    info = [helper.make_tensor_value_info(n, 1, [1, 6]) for n in ("x", "t1")]
    graph = helper.make_graph(nodes, "g", info[:1], info[1:], factors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "net.onnx")
    same = edgec.compare(chain(2, 3), tmp_path / "net.onnx", mark_all=True)
    assert same.ok
    assert [r.name for r in same.rows] == ["t0", "t1"]
    assert edgec.compare(chain(2.5, 3), tmp_path / "net.onnx", mark_all=True).first_bad.name == "t0"
    assert edgec.compare(tmp_path / "net.onnx", chain(2, 3)).ok


def test_torch_modules_and_programs(tmp_path, rng):
    torch = pytest.importorskip("torch")

    class Net(torch.nn.Module):
        def forward(self, x):
            return x * torch.arange(4.0)

    edge = edgec.Model.from_bytes(scaled((2, 4)).data)
    net = Net().eval()
    x = rng.standard_normal((2, 4)).astype(np.float32)
    assert edgec.compare(edge, net, [x]).ok
    program = torch.export.export(net, (torch.from_numpy(x),))
    assert edgec.compare(edge, program, [x], mark_all=True).ok
    torch.jit.trace(net, torch.from_numpy(x)).save(tmp_path / "net.pt")
    assert edgec.compare(tmp_path / "net.pt", edge).ok
    (tmp_path / "bad.pt").write_bytes(b"no")
    with pytest.raises(edgec.BadFileError, match="torch cannot load"):
        edgec.compare(tmp_path / "bad.pt", edge)


def test_threads(rng):
    model = edgec.Model.from_bytes(heavy(65).data)
    result = edgec.compare(edgec.Session(model, threads=2), model, atol=0, rtol=0)
    assert result.ok


def test_channels_last_tensors_are_found_under_their_own_name(tmp_path, rng):
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    from onnx import helper, numpy_helper

    weight = rng.standard_normal((4, 3, 3, 3)).astype(np.float32)
    nodes = [helper.make_node("Conv", ["x", "w"], ["conv"]), helper.make_node("Relu", ["conv"], ["relu"])]
    nodes += [helper.make_node("Conv", ["relu", "w2"], ["y"])]
    weights = [numpy_helper.from_array(weight, "w"), numpy_helper.from_array(np.ones((4, 4, 1, 1), np.float32), "w2")]
    info = [helper.make_tensor_value_info("x", 1, [1, 3, 8, 7]), helper.make_tensor_value_info("y", 1, [1, 4, 6, 5])]
    graph = helper.make_graph(nodes, "g", info[:1], info[1:], weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "n.onnx")
    model = edgec.convert(tmp_path / "n.onnx")
    result = edgec.compare(model, tmp_path / "n.onnx", mark_all=True)
    assert result.ok
    assert {r.name: r.shape_a for r in result.rows} == {"relu": (1, 4, 6, 5), "y": (1, 4, 6, 5)}


def test_torch_names_that_mean_something_else_are_left_out():
    torch = pytest.importorskip("torch")

    class Net(torch.nn.Module):
        def forward(self, x):
            return (x * 2).reshape(3, 2)  # torch calls the product "mul", our tensor of that name has another shape

    graph = Graph("named")
    x = graph.add_input("x", "f32", (1, 6))
    (y,) = graph.add("Reshape", [x, graph.constant("s", np.array([2, 3], np.int64))], outputs=["mul"])
    (y,) = graph.add("Mul", [y, graph.constant("two", np.float32(2))], outputs=["product"])
    graph.set_outputs(graph.add("Reshape", [y, graph.constant("t", np.array([3, 2], np.int64))], outputs=["y"]))
    program = torch.export.export(Net().eval(), (torch.zeros(1, 6),))
    result = edgec.compare(edgec.Model.from_bytes(to_bytes(graph)), program, mark_all=True)
    assert result.ok
    assert [r.name for r in result.rows] == ["y"]


def test_exported_programs_say_what_their_inputs_are(tmp_path):
    torch = pytest.importorskip("torch")

    class Net(torch.nn.Module):
        def forward(self, x, n):
            return x * n

    arguments = (torch.zeros(3, 4), torch.zeros(4, dtype=torch.int64))
    shapes = {"x": {0: torch.export.Dim("rows", min=2, max=9)}, "n": None}
    torch.export.save(torch.export.export(Net().eval(), arguments, dynamic_shapes=shapes), tmp_path / "net.pt2")
    runner = open_runner(tmp_path / "net.pt2")
    x, n = runner.inputs
    assert (x.name, x.shape[1], x.dtype) == ("x", 4, np.float32)
    assert runner.symbols[x.shape[0]] == (2, 9)
    assert (n.name, n.shape, n.dtype) == ("n", (4,), np.int64)
    assert edgec.compare(runner, runner).ok
