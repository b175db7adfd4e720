"""ncnn files that are damaged or mean harm: an error that says where, in time and without taking the memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import edgec
from edgec.errors import BadFileError, Error, UnsupportedError
from tests.frontends import hostile
from tests.frontends.ncnn.test_ncnn_networks import NETWORK, PRIOR
from tests.frontends.ncnn.writer import graph, param, raw, tagged

IP = "InnerProduct ip 1 1 x0 y 0=3 1=1 2=12"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "does not begin with 7767517"),
        ("7767516\n1 1\n", "does not begin with 7767517"),
        ("7767517\n", "line 2: expected the numbers"),
        ("7767517\n-1 5\n", "line 2: expected the numbers"),
        ("7767517\n1000000 5\n", "1 to 8192 layers are possible"),
        ("7767517\n99999999999 5\n", "line 2: expected the numbers"),
        ("7767517\n3 3\nInput x 0 1 x\n", "announces 3 layers and holds 1"),
        ("7767517\n1 1\nInput x\n", "line 3: expected a type, a name"),
        ("7767517\n1 1\nInput x 0 99999 x\n", "1024 is the limit"),
        ("7767517\n1 1\nReLU x 1 1 x\n", "names 1 of them"),
        ("7767517\n1 1\nReLU x 1 1 0=5 1=2\n", "names 2 of them"),
        (param(["ReLU r 1 1 x0 y =5"], (2,)), "cannot read the parameter at '=5'"),
        (param(["ReLU r 1 1 x0 y 99=5"], (2,)), "no parameter number 99"),
        (param(["ReLU r 1 1 x0 y 0=0.5x"], (2,)), "is the text '0.5x'"),
        (param(["Reshape r 1 1 x0 y -23300=5,1"], (2,)), "announces 5 values and has 1"),
        (param(["Convolution c 1 1 x0 y 0=1.5 1=1 6=2"], (2, 3, 3)), "expected an integer"),
        (param(["Convolution c 1 1 x0 y 0=nan 1=1 6=2"], (2, 3, 3)), "expected an integer"),
        (param(["ReLU r 1 1 z y"], (2,)), "reads 'z', which no layer before it writes"),
        (param(["ReLU r 1 1 b a", "ReLU s 1 1 a b"], (2,)), "form a circle"),
        (param(["ReLU r 1 1 x0 a", "ReLU s 1 1 x0 a"], (2,)), "writes 'a', as layer \"r\""),
        (param(["Concat r 0 1 y"], (2,)), "0 inputs"),
        (param(["Convolution c 1 1 x0 y 0=2 1=0 6=9"], (2, 3, 3)), "its kernel .* must be at least 1"),
        (param(["Convolution c 1 1 x0 y 0=2 1=3 6=37"], (2, 3, 3)), "37 weights for 2 outputs"),
        (param(["Convolution c 1 1 x0 y 0=1 1=1 6=3"], (2, 3, 3)), "is for 3 channels, its input has 2"),
        (param(["Convolution c 1 1 x0 y 0=1 1=1 6=3"], (6,)), "expected 4 dimensions"),
        (param([IP], (5,)), "is for 4 values, its input has 5"),
        (param(["Slice s 1 2 x0 a b -23300=1,2"], (4,)), "cannot be read"),
        (param(["Slice s 1 2 x0 a b -23300=2,9,9"], (4,)), "cannot cut 4 elements"),
        (param(["Permute p 1 1 x0 y 0=7"], (2, 3)), "there is no order 7"),
        (param(["Reshape p 1 1 x0 y 0=-1 1=-1"], (2, 3)), "cannot reshape"),
        (param(["Reshape p 1 1 x0 y 6=" + "+(" * 40 + "1"], (2, 3)), "cannot read the expression"),
        (param(["Reshape p 1 1 x0 y 6=/(1,0)"], (2, 3)), "ZeroDivisionError"),
        (param(["Crop p 1 1 x0 y 0=5 3=1"], (2, 3)), "cannot cut"),
        (param(["PReLU p 1 1 x0 y 0=-1"], (2, 3)), r"would have the shape \[-1\]"),
        (param(["BatchNorm p 1 1 x0 y 0=1000000000000"], (2, 3)), r"would have the shape \[1000000000000\]"),
    ],
)
def test_param_that_makes_no_sense(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(Error, match=message):
        graph(tmp_path, text, bytes(4096))


@pytest.mark.parametrize("name", ["net.param", "net.param.bin"])
def test_binary_param(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes((7767517).to_bytes(4, "little") + bytes(64))
    (tmp_path / "net.bin").write_bytes(b"")
    with pytest.raises(UnsupportedError, match="binary"):
        edgec.convert(tmp_path / name)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "its weight takes 4 bytes at 0|tag of .*its weight takes 4 bytes at 0, net.bin has 0 left"),
        (bytes(4), r"InnerProduct layer \"ip\" .*: its weight takes 48 bytes at 4, net.bin has 0 left"),
        (tagged(np.zeros((3, 4), np.float32)) + bytes(11), "its bias takes 12 bytes at 52, net.bin has 11 left"),
        (b"\x00\x01\x00\x00" + bytes(64), "tag 0x00000100"),
        (b"\x01\x00\x00\x00" + bytes(64), "the table of .*its weight takes 1024 bytes"),
        (tagged(np.zeros((3, 4), np.int8)) + raw(np.zeros(3)), "int8 without scales"),
    ],
)
def test_bin_that_is_too_short_or_of_another_kind(data: bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(BadFileError, match=message):
        graph(tmp_path, param([IP], (4,)), data)


HUGE = {
    "input": param(["ReLU r 1 1 x0 y"], (10**6, 10**6)),
    "output": param(["Interp i 1 1 x0 y 0=1 3=1000000 4=1000000"], (1, 4, 4)),
    "tiled": param(["Tile t 1 1 x0 y 2=1000,1000,1000"], (9, 9, 9)),
    "weights": param(["InnerProduct ip 1 1 x0 y 0=1000000000 2=1000000000000"], (1000,)),
    "priors": param([PRIOR], (1, 9000, 9000), (1, 9000, 9000)),
    "crowd": param([f"ReLU r{i} 1 1 {f'b{i - 1}' if i else 'x0'} b{i}" for i in range(8_000)], (4,)),
    "numbers": param(["Reshape r 1 1 x0 y 6=" + "1," * 60_000], (4,)),
}  # fmt: skip


def test_huge_and_damaged_files_in_a_limited_process(tmp_path: Path, seed: int) -> None:
    """No file takes more than 5 seconds and 1 GiB, whatever it claims; bytes are flipped, cut and repeated."""
    cases: list[tuple[Path, Path | None, str | None]] = []
    for name, text in HUGE.items():
        (tmp_path / f"{name}.param").write_text(text)
        (tmp_path / f"{name}.bin").write_bytes(bytes(4096))
        cases.append((tmp_path / f"{name}.param", None, None))
    rng = np.random.default_rng(seed)
    data = tagged(rng.standard_normal((4, 3, 3, 3)).astype(np.float32)) + raw(np.zeros(4))
    data += tagged(rng.standard_normal((2, 36)).astype(np.float16))
    (tmp_path / "good.param").write_text(NETWORK)
    (tmp_path / "good.bin").write_bytes(data)
    for i, text in enumerate(hostile.damaged(NETWORK.encode(), 150, seed)):
        (tmp_path / f"text{i}.param").write_bytes(text)
        cases.append((tmp_path / f"text{i}.param", tmp_path / "good.bin", None))
    for i, weights in enumerate(hostile.damaged(data, 60, seed + 1)):
        (tmp_path / f"data{i}.bin").write_bytes(weights)
        cases.append((tmp_path / "good.param", tmp_path / f"data{i}.bin", None))
    outcomes = hostile.convert_all(cases)
    for case, outcome in zip(cases, outcomes):
        assert outcome.clean, (case, outcome)
    for name, outcome in zip(HUGE, outcomes):
        assert outcome.kind == ("" if name == "crowd" else "edgec"), (name, outcome)
    assert any(o.kind == "edgec" for o in outcomes[len(HUGE) :])
