"""Damaged and hostile SavedModels and frozen graphs, refused from their bytes. No TensorFlow needed."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

import edgec
from edgec import errors
from edgec.converter.frontends.tensorflow.scan import read_frozen_graph
from tests.frontends.tensorflow import protobuf as pb

DANGEROUS = [
    "PyFunc", "EagerPyFunc", "PyFuncStateless", "ReadFile", "WriteFile", "MatchingFiles", "PrintV2", "ImmutableConst",
    "TFRecordDatasetV2", "InitializeTableFromTextFileV2", "DebugIdentityV3", "RpcCall",
]  # fmt: skip


def frozen(path: Path, *nodes: bytes) -> Path:
    path.write_bytes(b"".join(nodes))
    return path


@pytest.mark.parametrize("op", [*DANGEROUS, "SaveV2", "RestoreV2"])
def test_operators_that_touch_files_or_python(op: str, tmp_path: Path) -> None:
    path = frozen(tmp_path / "net.pb", pb.placeholder("x", 1, 4), pb.node("innocent", op, "x"))
    with pytest.raises(errors.UnsafeFileError) as caught:
        edgec.convert(path)
    assert op in caught.value.message and "innocent" in caught.value.message


@pytest.mark.parametrize("op", DANGEROUS)
def test_the_same_inside_a_function_of_a_saved_model(op: str, tmp_path: Path) -> None:
    body = pb.message(1, pb.message(1, "hidden")) + pb.message(3, pb.message(1, "inner") + pb.message(2, op))
    graph = pb.placeholder("x", 1, 4) + pb.message(2, pb.message(1, body))
    (tmp_path / "saved_model.pb").write_bytes(pb.saved_model(graph))
    with pytest.raises(errors.UnsafeFileError) as caught:
        edgec.convert(tmp_path)
    assert op in caught.value.message and "hidden/inner" in caught.value.message


@pytest.mark.parametrize("dims", [(10**12,), (10**6, 10**6), (2**31, 2**31, 2**31), (-4, 8)])
def test_constants_of_shapes_that_their_bytes_do_not_hold(dims: tuple[int, ...], tmp_path: Path) -> None:
    path = frozen(
        tmp_path / "net.pb", pb.placeholder("x", 1, 4), pb.constant("huge", *dims), pb.node("y", "Add", "x", "huge")
    )
    with pytest.raises(errors.BadFileError, match="huge"):
        edgec.convert(path)


@pytest.mark.parametrize("sizes", [(10**6, 10**6), (1 << 14, 1 << 15), (2**31 - 1,)])
def test_results_beyond_any_memory(sizes: tuple[int, ...], tmp_path: Path) -> None:
    parts = (
        pb.placeholder("x", 1, 4),
        pb.integers("dims", *sizes),
        pb.constant("one"),
        pb.node("fill", "Fill", "dims", "one"),
    )
    with pytest.raises(errors.BadFileError, match="Fill"):
        edgec.convert(frozen(tmp_path / "net.pb", *parts))


def test_what_else_a_pb_file_may_be(tmp_path: Path) -> None:
    text = tmp_path / "graph.pb"
    text.write_text('node {\n  name: "x"\n  op: "Placeholder"\n}\n')
    with pytest.raises(errors.BadFileError, match="text form"):
        edgec.convert(text)
    variables = frozen(tmp_path / "v.pb", pb.node("w", "VarHandleOp"), pb.node("y", "ReadVariableOp", "w"))
    with pytest.raises(errors.BadFileError, match="not frozen"):
        edgec.convert(variables)
    inner = tmp_path / "folder" / "saved_model.pb"
    inner.parent.mkdir()
    inner.write_bytes(pb.saved_model(pb.node("w", "WriteFile")))
    with pytest.raises(errors.UnsafeFileError, match="WriteFile"):
        edgec.convert(inner)  # the file inside stands for its folder
    for content in (b"\xff" * 64, b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", b"\x0a\x05ab"):
        damaged = tmp_path / "d.pb"
        damaged.write_bytes(content)
        with pytest.raises(errors.BadFileError):
            edgec.convert(damaged)


def test_a_saved_model_without_its_variables(tmp_path: Path) -> None:
    (tmp_path / "saved_model.pb").write_bytes(pb.saved_model(pb.node("w", "VarHandleOp")))
    with pytest.raises(errors.BadFileError, match=r"variables\.index"):
        edgec.convert(tmp_path)


def test_every_cut_and_many_flips_end_cleanly(tmp_path: Path, shared_models: Path) -> None:
    """Whatever the reader makes of it, it is one of edgec's errors or a graph."""
    whole = (shared_models / "fsrcnn" / "FSRCNN-small_x2.pb").read_bytes()
    rng = random.Random(7)
    path = tmp_path / "net.pb"
    for _ in range(200):
        data = bytearray(whole[: rng.randrange(len(whole))] if rng.random() < 0.3 else whole)
        for _ in range(rng.randrange(1, 8)):
            if data:
                data[rng.randrange(len(data))] = rng.randrange(256)
        path.write_bytes(data)
        try:
            read_frozen_graph(path)
        except errors.BadFileError:
            continue
