"""Caffe files that are damaged or mean harm: an error that says where, in time and without taking the memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgec.errors import BadFileError, Error, ShapeError, UnsupportedError
from tests.frontends import hostile
from tests.frontends.caffe.test_caffe_networks import V1
from tests.frontends.caffe.writer import blob, caffemodel, field, graph, net, varint

IP = 'layer { name: "ip" type: "InnerProduct" bottom: "x0" top: "y" inner_product_param { num_output: 3 } }'
CONV = 'layer { type: "Convolution" bottom: "x0" top: "y" convolution_param { SIZES } }'
WEIGHTS = {"ip": [np.zeros((3, 4), np.float32), np.zeros(3, np.float32)]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("layer { name: 'a'", "line 1: the text ends inside 'layer'"),
        ("layer { name 'a' }", "followed by"),
        ("layer { name: }", "stands where the value"),
        ("layer { name: 'a\n' }", "cannot read"),
        ("layer " + "{ a " * 100, "nested more than"),
        ("\n\nlayer { type: 'Pooling' name: 'p' bottom: 'x' top: 'y' } @", "line 3"),
        ("net: 'a.prototxt' base_lr: 1", "is a solver"),
        ("name: 'nothing'", "has no layers"),
        ("layers { layer { name: 'a' type: 'conv' } }", "V0 format"),
        ("layer { type: 'Input' top: 'x' } layers { type: RELU }", "mixes"),
        ("input: 'x' input_dim: 1 layer { type: 'ReLU' bottom: 'x' top: 'y' }", "expected 4"),
        ("input: 'x' input_dim: [1, 1, 1, a] layer { type: 'ReLU' bottom: 'x' top: 'y' }", "expected an integer"),
        ("layer { type: 'ReLU' bottom: 'x' top: 'y' include { phase: NEVER } }", "phase 'NEVER'"),
        (net('layer { type: "ReLU" name: "r" bottom: "z" top: "y" }', (1, 2)), "reads 'z'"),
        # A circle: each reads what the other writes later.
        (
            net(
                'layer { type: "ReLU" name: "r" bottom: "b" top: "a" } layer { type: "ReLU" name: "s" bottom: "a" top: "b" }',
                (1, 2),
            ),
            "reads 'b', which no layer before it writes",
        ),
        (net('layer { type: "ReLU" bottom: "x0" top: "x0" } layer { type: "ReLU" top: "x0" }', (1, 2)), "writes 'x0'"),
        (net('layer { type: "ReLU" name: "r" top: "y" }', (1, 2)), "0 inputs"),
        (net('layer { type: "ReLU" bottom: "x0" top: "y" top: "z" }', (1, 2)), "2 outputs"),
        (net('layer { type: "Pooling" name: "p" bottom: "x0" top: "y" }', (1, 2, 3, 4)), "kernel_size"),
        (
            net('layer { type: "Pooling" name: "p" bottom: "x0" top: "y" pooling_param { kernel_size: 0 } }', (1, 2, 3, 4)),
            "at least 1",
        ),
        (
            net(CONV.replace("SIZES", "kernel_size: 3 group: 0 num_output: 2"), (1, 2, 3, 4)),
            "0 groups",
        ),
        (
            net('layer { type: "Reshape" name: "r" bottom: "x0" top: "y" reshape_param { shape { dim: -1 dim: -1 } } }', (2, 2)),
            "cannot reshape",
        ),
        (
            net('layer { type: "Tile" name: "t" bottom: "x0" top: "y" tile_param { tiles: 99999999999 } }', (2, 2)),
            "must be at least 1",
        ),
        (net('layer { type: "Permute" name: "p" bottom: "x0" top: "y" permute_param { order: 7 } }', (2, 2)), "is no order"),
        (net(IP.replace('"ip"', '"other"'), (1, 4)), "no weights for it .it has 'ip'|has no weights"),
        (net(IP, (1, 5)), r"weight is \[3, 4\] \(12 values\).*expected \[3, 5\]"),
    ],
)  # fmt: skip
def test_definition_that_makes_no_sense(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises((BadFileError, UnsupportedError, ShapeError), match=message):
        graph(tmp_path, text, WEIGHTS)


def _blob_of(dims: bytes, data: bytes) -> bytes:
    return field(100, field(1, b"ip") + field(7, field(7, field(1, dims)) + data))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty"),
        (b"\x89HDF\r\n\x1a\n" + bytes(64), "HDF5"),
        (varint(100 << 3 | 2) + varint(1 << 40), "has 1099511627776 bytes"),
        (varint(100 << 3 | 2) + b"\xff" * 12, "longer than 64 bits"),
        (b"\x0b\x00", "wire type 3"),
        (field(1, b"only a name"), "holds no layers"),
        (field(2, field(1, field(1, b"conv1"))), "V0 format"),
        (_blob_of(varint(10**12), b""), r"weights of shape \[1000000000000\]"),
        (_blob_of(varint(-1), b""), r"weights of shape \[-1\]"),
        (_blob_of(varint(3) + varint(4), field(5, b"\0" * 47)), "no whole number"),
        (_blob_of(varint(3) + varint(4), field(5, b"\0" * 40)), r"\(10 values\)"),
        (_blob_of(varint(1) * 40, b""), "more than 32 dimensions"),
        (field(100, field(1, b"ip") + field(7, blob(np.zeros((3, 4)))) * 65), "more than 64 blobs"),
        (field(100, field(1, b"ip") + field(7, blob(np.zeros((3, 4))))), "has 1 blobs for it, expected bias as blob 1"),
    ],
)
def test_weights_that_make_no_sense(data: bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(Error, match=message):
        graph(tmp_path, net(IP, (1, 4)), data)


HUGE = {
    "input": net('layer { name: "r" type: "ReLU" bottom: "x0" top: "y" }', (10**6, 10**6)),
    "output": net(
        'layer { name: "u" type: "Upsample" bottom: "x0" top: "y" upsample_param { scale: 1000000 } }', (1, 1, 4, 4)
    ),
    "weights": net(
        'layer { name: "ip" type: "InnerProduct" bottom: "x0" top: "y" inner_product_param { num_output: 1000000000 } }',
        (1, 4096),
    ),
    "priors": net(
        """layer { name: "p" type: "PriorBox" bottom: "x0" bottom: "x1" top: "y" prior_box_param {"""
        + "min_size: 9 " * 500
        + "} }",
        (1, 1, 3000, 3000),
        (1, 1, 3000, 3000),
    ),
    "crowd": "input: 'x0' input_shape { dim: 1 dim: 4 } " + "layer { type: 'ReLU' bottom: 'x0' top: 'x0' } " * 8_000,
    "fields": "a: 1 " * 700_000,
    "files": net(IP, (1, 4)) + 'layer { type: "Data" top: "d" data_param { source: "/etc/passwd" } }',
}


def test_huge_and_damaged_files_in_a_limited_process(tmp_path: Path, seed: int) -> None:
    """No file takes more than 5 seconds and 1 GiB, whatever it claims; bytes are flipped, cut and repeated."""
    cases: list[tuple[Path, Path | None, str | None]] = []
    for name, text in HUGE.items():
        (tmp_path / f"{name}.prototxt").write_text(text)
        (tmp_path / f"{name}.caffemodel").write_bytes(caffemodel(WEIGHTS))
        cases.append((tmp_path / f"{name}.prototxt", None, None))
    rng = np.random.default_rng(seed)
    arrays = [rng.standard_normal(s).astype(np.float32) for s in ((4, 3, 3, 3), (4,), (5, 36), (5,))]
    weights = caffemodel({"conv": arrays[:2], "ip": arrays[2:]})
    (tmp_path / "good.prototxt").write_text(V1)
    (tmp_path / "good.caffemodel").write_bytes(weights)
    for i, data in enumerate(hostile.damaged(V1.encode(), 120, seed)):
        (tmp_path / f"text{i}.prototxt").write_bytes(data)
        cases.append((tmp_path / f"text{i}.prototxt", tmp_path / "good.caffemodel", None))
    for i, data in enumerate(hostile.damaged(weights, 80, seed + 1)):
        (tmp_path / f"data{i}.caffemodel").write_bytes(data)
        cases.append((tmp_path / "good.prototxt", tmp_path / f"data{i}.caffemodel", None))
    outcomes = hostile.convert_all(cases)
    for case, outcome in zip(cases, outcomes):
        assert outcome.clean, (case, outcome)
    by_name = dict(zip(HUGE, outcomes))
    for name in ("input", "output", "weights", "priors", "fields"):
        assert by_name[name].kind == "edgec", (name, by_name[name])
    assert by_name["files"].kind == ""  # the path is of no interest
    assert any(o.kind == "edgec" for o in outcomes[len(HUGE) :])
