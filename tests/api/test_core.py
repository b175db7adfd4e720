"""The reflection that the converter builds on: schemas, inference, evaluation of single operators."""

from __future__ import annotations

import numpy as np
import pytest

import edgec
from edgec import _core


def test_registry_is_sorted_and_complete():
    schemas = _core.registry()
    names = [s["name"] for s in schemas]
    assert names == sorted(names)
    assert len(set(names)) == len(names)
    for schema in schemas:
        assert _core.schema(schema["name"]) == schema
        for attr in schema["attrs"]:
            assert attr["type"] in ("int", "float", "string", "ints", "floats", "graph")
            if attr["choices"] and attr["type"] == "string" and not attr["required"]:
                assert attr["default"] in attr["choices"], (schema["name"], attr["name"])


def test_unknown_operator():
    with pytest.raises(edgec.UnsupportedError, match="'Nope' does not exist"):
        _core.schema("Nope")
    with pytest.raises(edgec.UnsupportedError, match="'Nope' does not exist"):
        _core.infer("Nope", {}, [], [], 1)


def test_infer():
    shape = np.array([3, -1])
    assert _core.infer("Reshape", {}, [("f32", (2, 6)), ("i64", (2,))], [None, shape], 1) == [("f32", (3, 4))]
    assert _core.infer("Split", {"axis": 1}, [("i32", (2, 6))], [None], 3) == [("i32", (2, 2))] * 3
    with pytest.raises(edgec.ShapeError, match="Reshape"):
        _core.infer("Reshape", {}, [("f32", (2, 6)), ("i64", (2,))], [None, np.array([5, -1])], 1)


@pytest.mark.parametrize(
    "attrs, text",
    [
        ({"axis": "1"}, "attribute 'axis' wants int, got '1'"),
        ({"axis": 1.5}, "attribute 'axis' wants int, got 1.5"),
        ({"axis": None}, "attribute 'axis' wants int, got None"),
        ({"axis": 2**70}, "attribute 'axis' wants int"),
        ({"sizes": 3}, "attribute 'sizes' wants ints, got 3"),
        ({"sizes": [1, "2"]}, "attribute 'sizes' wants ints"),
        ({"nope": 3}, "nope"),
    ],
)
def test_wrong_attributes_are_named(attrs, text):
    with pytest.raises(edgec.Error) as e:
        _core.infer("Split", attrs, [("f32", (2, 6))], [None], 2)
    assert text in str(e.value)
    assert "Split" in str(e.value)


@pytest.mark.parametrize("axis", [1, np.int64(1), True, np.int8(1)])
def test_integers_of_every_kind_are_attributes(axis):
    assert _core.infer("Split", {"axis": axis}, [("f32", (2, 6))], [None], 2) == [("f32", (2, 3))] * 2


@pytest.mark.parametrize(
    "types, values",
    [
        ([("f33", (2,))], [None]),
        ([("f32", (-2,))], [None]),
        ([("f32", (1,) * 9)], [None]),
        ([("f32", (2**31, 2**31, 2**31))], [None]),
        ([("f32", 3)], [None]),
        (["f32"], [None]),
        ([("f32", (2,))], []),
        ([("f32", (2,))], [np.zeros(3, np.float32)]),
        ([("f32", (2,))], [np.zeros(2, np.float64)]),
        ([("f32", (2,))], [np.array(["a", "b"])]),
    ],
)
def test_wrong_types_are_refused(types, values):
    with pytest.raises(edgec.Error):
        _core.infer("Relu", {}, types, values, 1)


def test_evaluate(rng):
    x = rng.standard_normal((3, 5)).astype(np.float32)
    (y,) = _core.evaluate("Transpose", {"perm": [1, 0]}, [x], 1)
    np.testing.assert_array_equal(y, x.T)
    (y,) = _core.evaluate("Transpose", {"perm": [1, 0]}, [x[:, ::2]], 1)
    np.testing.assert_array_equal(y, x[:, ::2].T)
    (y,) = _core.evaluate("Shape", {}, [("f32", (7, 8))], 1)
    np.testing.assert_array_equal(y, [7, 8])
    assert y.dtype == np.int64
    with pytest.raises(edgec.Error):
        _core.evaluate("Relu", {}, [("f32", (7, 8))], 1)
    with pytest.raises(edgec.Error):
        _core.evaluate("Relu", {}, [], 1)


def test_results_outlive_everything():
    import gc

    arrays = [_core.evaluate("Relu", {}, [np.full((100,), i, np.float32)], 1)[0] for i in range(50)]
    gc.collect()
    for i, a in enumerate(arrays):
        assert (a == i).all()


DTYPES = {
    "f32": np.float32,
    "f16": np.float16,
    "f64": np.float64,
    "i8": np.int8,
    "u8": np.uint8,
    "i16": np.int16,
    "u16": np.uint16,
    "i32": np.int32,
    "u32": np.uint32,
    "i64": np.int64,
    "u64": np.uint64,
    "bool": np.bool_,
}


@pytest.mark.parametrize("name", DTYPES)
def test_data_types(name):
    assert _core.dtype_name(np.dtype(DTYPES[name])) == name
    assert _core.dtype_name(DTYPES[name]) == name
    assert _core.numpy_dtype(name) == DTYPES[name]


def test_c_types_of_the_same_size():
    assert _core.dtype_name(np.dtype("longlong")) == "i64"
    assert _core.dtype_name(np.dtype("long")) in ("i32", "i64")
    assert _core.dtype_name(np.dtype("ulonglong")) == "u64"


def test_bfloat16_is_the_type_of_ml_dtypes():
    ml_dtypes = pytest.importorskip("ml_dtypes")
    assert _core.dtype_name(np.dtype(ml_dtypes.bfloat16)) == "bf16"
    assert _core.numpy_dtype("bf16") == ml_dtypes.bfloat16


@pytest.mark.parametrize("dtype", ["complex64", "S3", "datetime64[s]", "object", ">f4", "longdouble"])
def test_other_data_types_are_refused(dtype):
    with pytest.raises(edgec.InvalidArgumentError, match="no data type"):
        _core.dtype_name(np.dtype(dtype))


def test_cpu_info():
    info = _core.cpu_info()
    supported = [name for name, ok in info["isas"] if ok]
    assert "scalar" in supported
    assert info["isa"] in supported
    assert info["usable_cpus"] >= 1
    assert set(info["caches"]) == {"l1d", "l2", "l3"}
