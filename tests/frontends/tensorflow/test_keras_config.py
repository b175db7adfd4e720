"""What a Keras configuration may hold: code is named and refused before Keras sees it. No TensorFlow needed."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

import edgec
from edgec import errors
from edgec.converter.frontends.tensorflow.keras_config import modernise, read_config, refuse_code


def sequential(*layers: dict[str, Any]) -> dict[str, Any]:
    return {"class_name": "Sequential", "module": "keras", "config": {"name": "net", "layers": list(layers)}}


def layer(kind: str, name: str = "bad", module: str | None = "keras.layers", **config: Any) -> dict[str, Any]:
    return {"class_name": kind, "module": module, "registered_name": None, "config": {"name": name, **config}}


def archive(path: Path, config: Any, **more: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as z:
        z.writestr("metadata.json", json.dumps({"keras_version": "3.5.0"}))
        z.writestr("config.json", config if isinstance(config, (str, bytes)) else json.dumps(config))
        for name, content in more.items():
            z.writestr(name, content)
    return path


LAMBDA = {"class_name": "__lambda__", "config": {"value": "4wEAAAA=", "defaults": None, "closure": None}}
CODE = {
    "Lambda": layer("Lambda", function=LAMBDA),
    "Lambda of Keras 2": {"class_name": "Lambda", "config": {"name": "bad", "function": ["4wEAAAA=", None, None]}},
    "lambda as activation": layer("Dense", activation=LAMBDA),
    "function of another module": layer(
        "Dense", activation={"class_name": "function", "module": "os", "config": "system", "registered_name": "system"}
    ),
    "function that downloads": layer(
        "Dense", activation={"class_name": "function", "module": "keras.utils", "config": "get_file"}
    ),
    "pickled torch module": layer("TorchModuleWrapper", module_b64="gASVAAA="),
    "another SavedModel": layer("TFSMLayer", filepath="/etc"),
    "TFOpLambda that writes": layer("TFOpLambda", function="io.write_file"),
    "TFOpLambda raw": layer("TFOpLambda", function="raw_ops.PyFunc"),
    "TensorFlowOpLayer that reads": layer("TensorFlowOpLayer", node_def=json.dumps({"name": "x", "op": "ReadFile"})),
    "vocabulary in a file": layer("Discretization", vocabulary="/etc/passwd"),
}


@pytest.mark.parametrize("case", sorted(CODE))
def test_code_is_refused_and_named(case: str, tmp_path: Path) -> None:
    path = archive(tmp_path / "net.keras", sequential(layer("Dense", "good", units=3), CODE[case]))
    with pytest.raises(errors.UnsafeFileError) as caught:
        edgec.convert(path)
    assert "'bad'" in caught.value.message
    assert "--trust" in caught.value.hint


@pytest.mark.parametrize("case", sorted(CODE))
def test_trust_lets_code_pass_with_a_warning(case: str) -> None:
    notes = refuse_code(sequential(CODE[case]), "net.keras", trust=True)
    assert notes and all(n.startswith("trusted code: ") for n in notes)


def test_custom_layers_are_listed(tmp_path: Path) -> None:
    custom = {**layer("MyAttention", "att", module="my.package"), "registered_name": "My>MyAttention"}
    with pytest.raises(errors.UnsupportedError) as caught:
        edgec.convert(archive(tmp_path / "net.keras", sequential(custom)))
    assert [(o.op, o.where) for o in caught.value.ops] == [("MyAttention", "att")]


def test_layers_on_texts_are_listed(tmp_path: Path) -> None:
    path = archive(tmp_path / "net.keras", sequential(layer("TextVectorization", "words"), layer("Hashing", "buckets")))
    with pytest.raises(errors.UnsupportedError) as caught:
        edgec.convert(path)
    assert {(o.op, o.where) for o in caught.value.ops} == {("TextVectorization", "words"), ("Hashing", "buckets")}


def test_ordinary_models_pass() -> None:
    functions = [
        {"class_name": "function", "module": "builtins", "config": "gelu", "registered_name": "gelu"},
        {"class_name": "GlorotUniform", "module": "keras.initializers", "config": {"seed": 2**40}},
    ]
    dense = layer("Dense", "d", units=3, activation=functions[0], kernel_initializer=functions[1])
    calls = layer("TFOpLambda", "tf.math.add", function="math.add")
    assert refuse_code(sequential(dense, calls), "net", trust=False) == []


@pytest.mark.parametrize(
    ("key", "value"), [("units", 10**12), ("batch_shape", [None, 10**12]), ("kernel_size", [3, 2**31])]
)
def test_sizes_beyond_any_memory(key: str, value: Any, tmp_path: Path) -> None:
    path = archive(tmp_path / "net.keras", sequential(layer("Dense", "huge", **{key: value})))
    with pytest.raises(errors.BadFileError, match="huge"):
        edgec.convert(path)


@pytest.mark.parametrize(
    "text", ["", "{", "[1]", "{}", '{"a":' * 5000 + "1" + "}" * 5000, "[" * 100000, "\x00\xff", '"class_name"']
)
def test_configurations_that_are_none(text: str, tmp_path: Path) -> None:
    with pytest.raises(errors.BadFileError):
        edgec.convert(archive(tmp_path / "net.keras", text))


def test_keras_2_words_leave() -> None:
    config = sequential(
        layer("DepthwiseConv2D", "d", groups=1),
        layer("LSTM", "l", time_major=False, implementation=2),
        layer("BatchNormalization", "b", axis=[3], fused=True, renorm=False),
        layer("LeakyReLU", "r", alpha=0.25),
        layer("DepthwiseConv2D", "odd", groups=2),
    )
    changes = modernise(config)
    inner = [item["config"] for item in config["config"]["layers"]]
    assert inner[0] == {"name": "d"}
    assert inner[1] == {"name": "l"}
    assert inner[2] == {"name": "b", "axis": 3}
    assert inner[3] == {"name": "r", "negative_slope": 0.25}
    assert inner[4] == {"name": "odd", "groups": 2}  # this one means something: Keras says what it thinks of it
    assert "DepthwiseConv2D.groups left out" in changes


def test_a_configuration_may_not_be_endless() -> None:
    with pytest.raises(errors.BadFileError, match="at most"):
        read_config(b" " * ((1 << 27) + 1), "net")


def test_archives_that_deceive(tmp_path: Path) -> None:
    config = sequential(layer("Dense", "d", units=3))
    with pytest.raises(errors.UnsafeFileError):
        edgec.convert(archive(tmp_path / "up.keras", config, **{"../../evil": b"x"}))
    bomb = tmp_path / "bomb.keras"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as z:
        z.writestr("metadata.json", "{}")
        z.writestr("config.json", b" " * (1 << 26))
    with pytest.raises(errors.BadFileError):
        edgec.convert(bomb)
    whole = archive(tmp_path / "whole.keras", config, **{"model.weights.h5": b"0" * 4096}).read_bytes()
    for length in (30, len(whole) // 2, len(whole) - 1):
        (tmp_path / "cut.keras").write_bytes(whole[:length])
        with pytest.raises(errors.BadFileError):
            edgec.convert(tmp_path / "cut.keras")
