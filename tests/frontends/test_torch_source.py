"""PyTorch programs of every form reach the ONNX frontend; the report says by which exporter."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import edgec  # noqa: E402
from edgec.errors import BadFileError, CheckError, Error, ShapeError, UnsafeFileError, UnsupportedError  # noqa: E402
from tests.conftest import relative_l2  # noqa: E402
from tests.frontends.attack import global_pickle  # noqa: E402

LIMIT = 1e-5


class Net(torch.nn.Module):
    """Convolution, pooling to one pixel, a classifier: accepts any picture size."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.norm = torch.nn.BatchNorm2d(8)
        self.drop = torch.nn.Dropout(0.5)
        self.head = torch.nn.Linear(8, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.drop(torch.relu(self.norm(self.conv(x))).mean((2, 3))))


class TwoInputs(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = torch.nn.Embedding(50, 6)

    def forward(self, tokens: Any, scale: Any) -> Any:
        y = self.embed(tokens) * scale
        return {"values": y, "sum": y.sum(-1)}


class Branches(torch.nn.Module):
    """Control flow on a value: torch.export refuses it, tracing freezes one branch."""

    def forward(self, x: Any) -> Any:
        if float(x.sum()) > -1e9:
            return x * 2
        return x - 1


@pytest.fixture
def net() -> Any:
    torch.manual_seed(0)
    return Net().eval()


def check(model: edgec.Model, module: Any, *shapes: tuple[int, ...]) -> None:
    session = edgec.Session(model)
    for shape in shapes:
        x = torch.randn(shape)
        with torch.no_grad():
            assert relative_l2(session(x.numpy()), module(x).numpy()) <= LIMIT


@pytest.mark.parametrize("example", ["tensor", "tuple", "list", "array", "shapes", "named shapes"])
def test_module(example: str, net: Any) -> None:
    x = torch.randn(2, 3, 8, 8)
    if example == "shapes":
        model = edgec.convert(net, shapes=[(2, 3, 8, 8)])
    elif example == "named shapes":
        model = edgec.convert(net, shapes={"x": (2, 3, 8, 8)})
    else:
        model = edgec.convert(net, {"tensor": x, "tuple": (x,), "list": [x], "array": x.numpy()}[example])
    check(model, net, (2, 3, 8, 8))
    assert [s.name for s in model.inputs] == ["x"]
    assert model.native.output_names == ["output"]
    assert model.report["source"]["framework"] == "pytorch"


def test_dynamic_dimensions_keep_their_names(net: Any) -> None:
    model = edgec.convert(net, shapes="batchx3x(8..64)x(8..64)")
    assert model.inputs[0].shape[0] == "batch"
    assert [isinstance(d, str) for d in model.inputs[0].shape] == [True, False, True, True]
    check(model, net, (1, 3, 8, 8), (3, 3, 17, 64), (2, 3, 64, 9))
    with pytest.raises(Error):
        edgec.Session(model)(np.zeros((1, 3, 100, 8), np.float32))


def test_dynamic_script_and_trace(net: Any, tmp_path: Path) -> None:
    for index, module in enumerate((torch.jit.script(net), torch.jit.trace(net, torch.randn(1, 3, 8, 8)))):
        path = tmp_path / f"{index}.pt"
        module.save(str(path))
        check(edgec.convert(path, shapes="nx3xhxw"), net, (1, 3, 8, 8), (3, 3, 17, 9))
        check(edgec.convert(module, shapes="2x3x8x8"), net, (2, 3, 8, 8))


def test_traced_file_knows_its_shape_and_scripted_does_not(net: Any, tmp_path: Path) -> None:
    traced, scripted = tmp_path / "traced.pt", tmp_path / "scripted.pt"
    torch.jit.trace(net, torch.randn(1, 3, 8, 8)).save(str(traced))
    torch.jit.script(net).save(str(scripted))
    assert edgec.convert(traced).inputs[0].shape == (1, 3, 8, 8)
    with pytest.raises(ShapeError, match="--shape"):
        edgec.convert(scripted)


def test_training_mode_is_left_as_it_was(net: Any) -> None:
    net.train()
    model = edgec.convert(net, torch.randn(2, 3, 8, 8))
    assert net.training
    assert any("evaluation mode" in w for w in model.report["warnings"])
    check(model, net.eval(), (2, 3, 8, 8))


def test_two_inputs_named_outputs_and_integers() -> None:
    torch.manual_seed(0)
    module = TwoInputs()
    tokens, scale = torch.randint(0, 50, (1, 7)), torch.randn(1, 7, 1)
    wanted = module(tokens, scale)
    for example in ((tokens, scale), {"tokens": tokens, "scale": scale}):
        model = edgec.convert(module, example)
        feeds = {"tokens": tokens.numpy(), "scale": scale.numpy()}
        got = edgec.Session(model).run(None, feeds)
        for g, w in zip(got, wanted.values(), strict=True):
            assert relative_l2(g, w.detach().numpy()) <= LIMIT
    by_shape = edgec.convert(module, shapes={"tokens": (1, 7), "scale": (1, 7, 1)})
    assert [s.dtype for s in by_shape.inputs] == [np.int64, np.float32]


def test_export_program_and_file(net: Any, tmp_path: Path) -> None:
    program = torch.export.export(net, (torch.randn(1, 3, 8, 8),))
    check(edgec.convert(program), net, (1, 3, 8, 8))
    path = tmp_path / "m.pt2"
    torch.export.save(program, path)
    check(edgec.convert(path), net, (1, 3, 8, 8))
    with pytest.raises(ShapeError, match="made for x:1x3x8x8"):
        edgec.convert(path, shapes="1x3x16x16")


def test_dynamic_export_program(net: Any, tmp_path: Path) -> None:
    batch = torch.export.Dim("batch", min=1, max=16)
    program = torch.export.export(net, (torch.randn(2, 3, 8, 8),), dynamic_shapes=({0: batch},))
    path = tmp_path / "m.pt2"
    torch.export.save(program, path)
    check(edgec.convert(path), net, (1, 3, 8, 8), (5, 3, 8, 8))


def test_a_fallback_is_reported() -> None:
    model = edgec.convert(Branches(), torch.ones(2, 3))
    text = " ".join(model.report["warnings"])
    assert "operators as they run" in text and "torch.export failed" in text
    np.testing.assert_array_equal(edgec.Session(model)(np.ones((2, 3), np.float32)), 2 * np.ones((2, 3)))


def test_nothing_works_lists_every_strategy() -> None:
    class Hopeless(torch.nn.Module):
        def forward(self, x: Any) -> Any:
            return torch.linalg.svd(x).S

    with pytest.raises(UnsupportedError, match="torch.export"):
        edgec.convert(Hopeless(), torch.randn(4, 4))


def test_wrong_shapes_say_what_the_network_said(net: Any) -> None:
    with pytest.raises(ShapeError, match="does not accept inputs of shape 1x4x8x8"):
        edgec.convert(net, shapes="1x4x8x8")
    with pytest.raises(ShapeError, match="example_inputs"):
        edgec.convert(net)


def test_a_script_that_never_ends_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Forever(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            i = 0
            while i >= 0:
                i = (i + 1) % 1000
            return x

    from edgec.converter.frontends.torch import source as torch_source

    monkeypatch.setattr(torch_source, "CHILD_SECONDS", 12)
    path = tmp_path / "m.pt"
    torch.jit.script(Forever()).save(str(path))
    with pytest.raises(edgec.ResourceError):
        edgec.convert(path, shapes="1")


def test_truncated_and_swapped_archives(net: Any, tmp_path: Path) -> None:
    path = tmp_path / "m.pt"
    torch.jit.trace(net, torch.randn(1, 3, 8, 8)).save(str(path))
    data = path.read_bytes()
    for part in (0.1, 0.5, 0.9, 0.999):
        path.write_bytes(data[: int(len(data) * part)])
        with pytest.raises(BadFileError):
            edgec.convert(path)


def test_a_program_with_a_poisoned_example(net: Any, tmp_path: Path) -> None:
    """torch.export files hold their example inputs as a torch.save archive inside the archive."""
    import io
    import zipfile

    program = torch.export.export(net, (torch.randn(1, 3, 8, 8),))
    path, bad = tmp_path / "m.pt2", tmp_path / "bad.pt2"
    torch.export.save(program, path)
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as z:
        z.writestr("archive/data.pkl", global_pickle("os", "system"))
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(bad, "w") as target:
        for info in source.infolist():
            poisoned = "sample_inputs" in info.filename
            target.writestr(info.filename, inner.getvalue() if poisoned else source.read(info))
    with pytest.raises(UnsafeFileError, match="os.system"):
        edgec.convert(bad)


def test_a_difference_is_an_error(net: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from edgec.converter.frontends.torch import export as torch_export

    real = torch_export.to_numpy
    monkeypatch.setattr(torch_export, "to_numpy", lambda t: real(t) * 1.01)
    with pytest.raises(CheckError, match="relative L2") as raised:
        edgec.convert(net, torch.randn(1, 3, 8, 8))
    assert raised.value.exit_code == 1
    edgec.convert(net, torch.randn(1, 3, 8, 8), check=False)


def test_masked_assignment_keeps_its_shape() -> None:
    class Masked(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = x.clone()
            y[x < 0] = 7.0
            return y @ y.T

    x = torch.randn(3, 5)
    model = edgec.convert(Masked(), x)
    assert not any(row["edgec"] in ("NonZero", "ScatterND") for row in model.report.get("ops", []))
    np.testing.assert_allclose(edgec.Session(model)(x.numpy()), Masked()(x).numpy(), rtol=1e-5)


def test_outputs_that_are_no_tensors_and_outputs_given_twice() -> None:
    class Cache:
        pass

    class Net(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> Any:
            y = x * 2
            return y, Cache(), y + 1, y

    x = torch.randn(2, 3)
    got = edgec.Session(edgec.convert(Net(), x)).run(None, {"x": x.numpy()})
    assert len(got) == 3
    for g, e in zip(got, (x * 2, x * 2 + 1, x * 2), strict=True):
        np.testing.assert_array_equal(g, e.numpy())
