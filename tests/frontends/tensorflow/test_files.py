"""SavedModels, Keras files and frozen graphs, good, odd and hostile. TensorFlow writes them once per test run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import edgec
from edgec import errors
from edgec.cli.main import cli
from edgec.converter.frontends.child_process import writes_only_below
from tests.conftest import relative_l2

pytestmark = pytest.mark.tensorflow


@pytest.fixture(scope="session")
def files(made_once: Callable[..., Path]) -> Path:
    folder = made_once("files", "tests.frontends.tensorflow.files")
    assert (folder / "live_shapes.edge").exists(), (folder / "log").read_text(encoding="utf-8")[-3000:]
    return folder


def matches(model: edgec.Model, folder: Path, name: str) -> None:
    with np.load(folder / f"{name}.npz") as stored:
        got = edgec.Session(model).run(None, {model.inputs[0].name: stored["x"]})[0]
        assert relative_l2(got, stored["y"]) <= 1e-5


# -- Keras ---------------------------------------------------------------------------------------
@pytest.mark.parametrize("file", ["new.keras", "old.h5", "exported"])
def test_one_network_in_three_formats(file: str, files: Path) -> None:
    model = edgec.convert(files / file)
    assert [s.name for s in model.inputs] == ["image"]
    matches(model, files, "network")


def test_a_keras_2_file_stays_as_it_is(files: Path) -> None:
    before = (files / "old.h5").read_bytes()
    warnings = edgec.convert(files / "old.h5", check=False).report["warnings"]
    assert any("DepthwiseConv2D.groups" in w for w in warnings) and any("LSTM.time_major" in w for w in warnings)
    assert (files / "old.h5").read_bytes() == before


def test_inputs_and_outputs_keep_their_names(files: Path) -> None:
    model = edgec.convert(files / "two.keras", shapes={"right": (2, 4), "left": (2, 4)})
    assert [(s.name, s.shape) for s in model.inputs] == [("left", (2, 4)), ("right", (2, 4))]
    assert [(s.name, s.shape) for s in model.outputs] == [("first", (2, 3)), ("second", (2, 2))]
    one = edgec.convert(files / "two.keras", shapes={"right": ("n", 4), "left": ("n", 4)}, check=False)
    assert one.inputs[0].shape == ("n", 4)


def test_a_fixed_input_and_given_data(files: Path) -> None:
    data = {"left": np.ones((3, 4), np.float32)}
    model = edgec.convert(files / "two.keras", fixed={"right": np.zeros((1, 4), np.float32)}, check_data=data)
    assert [s.name for s in model.inputs] == ["left"]


@pytest.mark.parametrize("file", ["lambda.keras", "lambda.h5", "writes.keras"])
def test_a_lambda_is_refused(file: str, files: Path) -> None:
    with pytest.raises(errors.UnsafeFileError, match="Lambda 'lambda") as caught:
        edgec.convert(files / file)
    assert "--trust" in caught.value.hint
    assert not (files / "marker").exists()


@pytest.mark.parametrize("file", ["lambda.keras", "lambda.h5"])
def test_a_trusted_lambda_runs(file: str, files: Path) -> None:
    model = edgec.convert(files / file, trust=True)
    assert any("trusted code" in w for w in model.report["warnings"])
    x = np.arange(8, dtype=np.float32)[None]
    np.testing.assert_array_equal(edgec.Session(model).run(None, {model.inputs[0].name: x})[0], x * 2 + 1)


def test_trusted_code_writes_nothing_outside_its_folder(files: Path) -> None:
    import os

    child = os.fork()
    if child == 0:  # asks the system in a process that may lose its rights
        os._exit(0 if writes_only_below(files) else 1)
    if os.waitpid(child, 0)[1] != 0:
        pytest.skip("this kernel has no Landlock")
    with pytest.raises(errors.Error, match="PermissionError"):
        edgec.convert(files / "writes.keras", trust=True)
    assert not (files / "marker").exists()


def test_weights_without_a_network(files: Path) -> None:
    with pytest.raises(errors.UnsupportedError, match="without a network"):
        edgec.convert(files / "only.weights.h5")


@pytest.mark.parametrize(
    ("file", "kind", "text"),
    [
        ("external.h5", errors.UnsafeFileError, "external link"),
        ("soft.h5", errors.UnsafeFileError, "is a link"),
        ("virtual.h5", errors.UnsafeFileError, "another file"),
        ("huge.h5", errors.BadFileError, r"\(1000000, 1000000\)"),
        ("wants.h5", errors.UnsafeFileError, "1000000000"),
        ("cut1.h5", errors.BadFileError, "cut off"),
        ("cut2.h5", errors.BadFileError, "cut off"),
        ("cut3.h5", errors.BadFileError, "cut off"),
    ],
)
def test_hostile_h5(file: str, kind: type[Exception], text: str, files: Path) -> None:
    with pytest.raises(kind, match=text):
        edgec.convert(files / file)


# -- SavedModel ----------------------------------------------------------------------------------
def test_several_signatures(files: Path) -> None:
    with pytest.raises(errors.InvalidArgumentError) as caught:
        edgec.convert(files / "several")
    assert "plus: b [-1, 3], c [3] -> sum [-1, 3]" in caught.value.message
    with pytest.raises(errors.InvalidArgumentError, match="twice"):
        edgec.convert(files / "several", signature="twcie")
    model = edgec.convert(files / "several", signature="plus")
    assert [(s.name, s.shape) for s in model.inputs] == [("b", ("batch", 3)), ("c", (3,))]
    twice = edgec.convert(files / "several", signature="twice")
    assert [s.name for s in twice.outputs] == ["doubled"]


@pytest.mark.parametrize(
    ("name", "kind", "text"),
    [
        ("counts", errors.UnsupportedError, "changes 1 variable"),
        ("table", errors.UnsupportedError, "table"),
        ("words", errors.UnsupportedError, "string"),
        ("empty", errors.UnsupportedError, "no signatures"),
        ("writes", errors.UnsafeFileError, "WriteFile"),
    ],
)
def test_saved_models_that_do_not_fit(name: str, kind: type[Exception], text: str, files: Path) -> None:
    with pytest.raises(kind, match=text):
        edgec.convert(files / name)


def test_operators_without_a_form_are_listed(files: Path) -> None:
    with pytest.raises(errors.UnsupportedError) as caught:
        edgec.convert(files / "decomposition")
    assert [o.op for o in caught.value.ops] == ["Svd"]


def test_quantization_aware_training_needs_no_calibration(files: Path) -> None:
    model = edgec.convert(files / "aware")
    after = model.report["operators"]["after"]
    assert after.get("QuantizedConv2d") == 1 and "Conv2d" not in after, after
    assert model.report["check"][0]["relative_l2"] <= 1e-2


def test_truncated_variables(files: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(files / "several", tmp_path / "cut")
    data = tmp_path / "cut" / "variables" / "variables.data-00000-of-00001"
    data.write_bytes(data.read_bytes()[:5])
    with pytest.raises(errors.BadFileError, match="variables"):
        edgec.convert(tmp_path / "cut", signature="twice")


# -- frozen graphs -------------------------------------------------------------------------------
def test_inputs_and_outputs_are_guessed(files: Path) -> None:
    """The rank of the input follows from the product that reads it; keep_prob takes its default."""
    model = edgec.convert(files / "plain.pb")
    assert [(s.name, s.shape) for s in model.inputs] == [("x", ("batch", 6))]
    assert [s.name for s in model.outputs] == ["scores", "best"]


def test_inputs_and_outputs_are_chosen(files: Path) -> None:
    with np.load(files / "plain.npz") as stored:
        weights = stored["weights"]
    model = edgec.convert(files / "plain.pb", outputs=["hidden"], shapes="x:2x6")
    x = np.random.default_rng(0).normal(size=(2, 6)).astype(np.float32)
    got = edgec.Session(model).run(None, {"x": x})[0]
    assert relative_l2(got, np.maximum(x @ weights, 0)) <= 1e-5
    inner = edgec.convert(files / "plain.pb", inputs=["hidden"], outputs=["best"], shapes="hidden:nx4")
    assert inner.inputs[0].shape == ("n", 4)
    with pytest.raises(errors.InvalidArgumentError, match="hiden") as caught:
        edgec.convert(files / "plain.pb", outputs=["hiden"])
    assert "hidden" in caught.value.hint


def test_a_rank_that_nobody_knows(files: Path) -> None:
    with pytest.raises(errors.ShapeError, match="not even its number of dimensions"):
        edgec.convert(files / "rankless.pb")
    assert edgec.convert(files / "rankless.pb", shapes="x:2x3").outputs[0].shape == (2, 3)


def test_a_loop_of_tensorflow_1(files: Path) -> None:
    model = edgec.convert(files / "loop.pb", fixed={"count": 3})
    x = np.ones((1, 4), np.float32)
    outputs = edgec.Session(model).run(None, {"x": x})
    assert any(np.array_equal(o, x * 8) for o in outputs)


def test_a_loop_without_an_end(files: Path) -> None:
    with pytest.raises(errors.ResourceError, match="does not finish"):
        edgec.convert(files / "endless.pb")


# -- the rest ------------------------------------------------------------------------------------
def test_live_objects(files: Path) -> None:
    matches(edgec.Model.open(files / "live_model.edge"), files, "live_model")
    x = np.array([[1.0, -2, 3]], np.float32)
    twice = edgec.Session(edgec.Model.open(files / "live_function.edge"))
    np.testing.assert_array_equal(twice.run(None, {"a": x})[0], x * np.array([2.0, 4, 6], np.float32))
    q = np.arange(-5, 5, dtype=np.float32).reshape(2, 5)
    concrete = edgec.Session(edgec.Model.open(files / "live_concrete.edge"))
    np.testing.assert_array_equal(concrete.run(None, {"q": q})[0], np.maximum(q, 0) - 1)
    shapes = edgec.Session(edgec.Model.open(files / "live_shapes.edge"))
    np.testing.assert_array_equal(shapes.run(None, {"q": q})[0], q * 3)


def test_options_that_do_not_belong_together(files: Path) -> None:
    with pytest.raises(errors.InvalidArgumentError, match="SavedModel"):
        edgec.convert(files / "plain.pb", signature="x")
    with pytest.raises(errors.InvalidArgumentError, match="frozen graph"):
        edgec.convert(files / "new.keras", outputs=["y"])
    with pytest.raises(errors.ShapeError, match="image"):
        edgec.convert(files / "new.keras", shapes="1x7x7x3")


def test_the_command_line(files: Path, tmp_path: Path) -> None:
    """No line of TensorFlow's own log reaches the user."""
    target = tmp_path / "net.edge"
    command = ["convert", str(files / "several"), "--signature", "twice", "-o", str(target), "--json"]
    result = CliRunner().invoke(cli, command, prog_name="edgec")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["inputs"][0]["name"] == "a"
    refused = CliRunner().invoke(
        cli, ["convert", str(files / "lambda.keras"), "-o", str(tmp_path / "no.edge")], prog_name="edgec"
    )
    assert refused.exit_code == 4 and "--trust" in refused.output
    assert "oneDNN" not in result.output + refused.output
