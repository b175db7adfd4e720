"""Reads ONNX files: size and version checks, tensors, external data that stays below the model's folder."""

from __future__ import annotations

import mmap
import os
import stat
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from edgec.converter.errors import BadFileError, MissingDependency, ResourceError, UnsafeFileError, UnsupportedError

MAX_PROTOBUF_BYTES = 2**31 - 1  # protobuf itself refuses more
MIN_OPSET = 7

# ONNX TensorProto.DataType -> IR name. Strings and complex numbers have no IR name.
DTYPES = {
    1: "f32", 2: "u8", 3: "i8", 4: "u16", 5: "i16", 6: "i32", 7: "i64", 9: "bool",
    10: "f16", 11: "f64", 12: "u32", 13: "u64", 16: "bf16",
    17: "f8e4m3fn", 18: "f8e4m3fnuz", 19: "f8e5m2", 20: "f8e5m2fnuz", 24: "f8e8m0", 23: "f4e2m1",
    21: "u4", 22: "i4", 25: "u2", 26: "i2",
}  # fmt: skip
BITS = {21: 4, 22: 4, 23: 4, 25: 2, 26: 2}  # types that a file packs several to a byte
NUMPY = {
    "f32": np.float32, "u8": np.uint8, "i8": np.int8, "u16": np.uint16, "i16": np.int16, "i32": np.int32,
    "i64": np.int64, "bool": np.bool_, "f16": np.float16, "f64": np.float64, "u32": np.uint32, "u64": np.uint64,
}  # fmt: skip
# onnx needs ml_dtypes itself; these types do not exist in NumPy.
NUMPY.update({
    "bf16": ml_dtypes.bfloat16, "f8e4m3fn": ml_dtypes.float8_e4m3fn, "f8e4m3fnuz": ml_dtypes.float8_e4m3fnuz,
    "f8e5m2": ml_dtypes.float8_e5m2, "f8e5m2fnuz": ml_dtypes.float8_e5m2fnuz, "f8e8m0": ml_dtypes.float8_e8m0fnu,
    "f4e2m1": ml_dtypes.float4_e2m1fn, "u4": ml_dtypes.uint4, "i4": ml_dtypes.int4, "u2": ml_dtypes.uint2,
    "i2": ml_dtypes.int2,
})  # fmt: skip
_FIELD_OF = {
    1: "float_data", 11: "double_data", 7: "int64_data", 12: "uint64_data", 13: "uint64_data",
}  # fmt: skip


def import_onnx() -> Any:
    try:
        import onnx
    except ImportError:
        raise MissingDependency("onnx", "Reading ONNX (and PyTorch) models", "pip install onnx") from None
    return onnx


def dtype_name(elem_type: int) -> str | None:
    return DTYPES.get(elem_type)


class OnnxFile:
    """A parsed model with access to its external data."""

    def __init__(self, model: Any, folder: Path | None = None) -> None:
        self.model = model
        self.folder = folder
        self._maps: dict[str, mmap.mmap] = {}
        self._check()

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> OnnxFile:
        """Reads the file at `path`; raises BadFileError, ResourceError or MissingDependency."""
        onnx = import_onnx()
        file = Path(path)
        size = file.stat().st_size
        if size > MAX_PROTOBUF_BYTES:
            raise ResourceError(
                f"{file}: {size} bytes are more than protobuf can read (2 GiB)",
                hint="save the weights beside the model: onnx.save(m, path, save_as_external_data=True)",
            )
        return cls(parse_model(onnx, file.read_bytes(), str(file)), file.parent)

    def _check(self) -> None:
        onnx = import_onnx()
        model = self.model
        if not model.HasField("graph"):
            raise BadFileError("the ONNX model has no graph")
        newest = onnx.defs.onnx_opset_version()
        for entry in model.opset_import:
            if entry.domain not in ("", "ai.onnx"):
                continue
            if entry.version < 1 or entry.version > newest:
                raise UnsupportedError(
                    f"the model uses opset {entry.version}; the installed onnx {onnx.__version__} knows 1 to {newest}",
                    hint="pip install -U onnx, or export with a lower opset_version",
                )
            if entry.version < MIN_OPSET:
                self.model = _upgrade(onnx, model, entry.version)

    def array(self, tensor: Any) -> np.ndarray:
        """The data of a TensorProto, one element per byte or more."""
        onnx = import_onnx()
        name = tensor.name or "(unnamed)"
        if tensor.data_type == onnx.TensorProto.STRING:
            raise UnsupportedError(f"tensor '{name}' holds strings")
        count = 1
        for d in tensor.dims:
            if d < 0:
                raise BadFileError(f"tensor '{name}' has the dimension {d}")
            count *= d
        try:
            dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
        except KeyError:
            raise BadFileError(f"tensor '{name}' has the unknown data type {tensor.data_type}") from None
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            if tensor.data_type in BITS:
                raise UnsupportedError(f"tensor '{name}': external data of a type below eight bits")
            return self._external(tensor, np.dtype(dtype), count)
        # The protobuf may promise 10^12 elements in a file of 1 KB: compare before anything is allocated.
        stored = len(tensor.raw_data) if tensor.HasField("raw_data") else None
        if stored is None:
            field = getattr(tensor, _FIELD_OF.get(tensor.data_type, "int32_data"))
            if 0 < len(field) < count * BITS.get(tensor.data_type, 8) // 8 and tensor.data_type in DTYPES:
                raise BadFileError(f"tensor '{name}': {len(field)} elements stored, its shape wants {count}")
            if len(field) == 0 and count:
                raise BadFileError(f"tensor '{name}': no data stored, its shape wants {count} elements")
        else:
            bits = BITS.get(tensor.data_type, 8 * dtype.itemsize)
            if tensor.data_type in DTYPES and stored != (count * bits + 7) // 8:
                raise BadFileError(f"tensor '{name}': {stored} bytes stored, its shape wants {(count * bits + 7) // 8}")
        try:
            array = onnx.numpy_helper.to_array(tensor)
        except Exception as e:
            raise BadFileError(f"tensor '{name}': {e}") from None
        return array

    def _external(self, tensor: Any, dtype: np.dtype, count: int) -> np.ndarray:
        entries = {e.key: e.value for e in tensor.external_data}
        name = tensor.name
        location = entries.get("location", "")
        try:
            offset, length = int(entries.get("offset", "0")), int(entries.get("length", str(count * dtype.itemsize)))
        except ValueError:
            raise BadFileError(f"tensor '{name}': offset or length of its external data is not a number") from None
        need = count * dtype.itemsize if dtype.itemsize else 0
        data = self._map(location, name)
        if offset < 0 or length < 0 or offset + length > len(data) or length < need:
            raise BadFileError(
                f"tensor '{name}': bytes {offset}..{offset + length} of '{location}' ({len(data)} bytes); "
                f"its shape wants {need}"
            )
        array = np.frombuffer(data, dtype=dtype, count=count, offset=offset)
        return array.reshape(tuple(tensor.dims))

    def _map(self, location: str, tensor: str) -> mmap.mmap:
        if location in self._maps:
            return self._maps[location]
        if self.folder is None:
            raise BadFileError(
                f"tensor '{tensor}' is stored in '{location}', but the model came without a folder",
                hint="pass the path of the file, or onnx.load(path) with load_external_data=True",
            )
        refused = UnsafeFileError(
            f"tensor '{tensor}' points to '{location}': external data must be a plain file below the model's folder "
            "(no absolute path, no '..', no link)"
        )
        parts = Path(location).parts
        if not location or "\0" in location or "\\" in location or os.path.isabs(location) or ".." in parts:
            raise refused
        path = self.folder
        for part in parts:
            path = path / part
            if path.is_symlink():
                raise refused
        try:
            fd = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
        except OSError as e:
            raise BadFileError(f"tensor '{tensor}': cannot open '{location}': {e.strerror}") from None
        try:
            info = os.fstat(fd)
            if not stat.S_ISREG(info.st_mode) or info.st_nlink > 1:
                raise refused
            if info.st_size == 0:
                raise BadFileError(f"tensor '{tensor}': '{location}' is empty")
            self._maps[location] = mmap.mmap(fd, 0, access=mmap.ACCESS_READ)
        finally:
            os.close(fd)
        return self._maps[location]


def parse_model(onnx: Any, data: bytes, where: str) -> Any:
    """ModelProto from bytes; BadFileError when it is not one."""
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except Exception:
        raise BadFileError(f"{where}: not an ONNX model (the protobuf does not parse)") from None
    if not model.HasField("graph") or not (model.opset_import or model.graph.node):
        raise BadFileError(f"{where}: not an ONNX model (no graph, no opset)")
    return model


def _upgrade(onnx: Any, model: Any, version: int) -> Any:
    try:
        from onnx import version_converter

        return version_converter.convert_version(model, 13)
    except Exception as e:
        raise UnsupportedError(
            f"the model uses opset {version}; edgec reads opset {MIN_OPSET} and newer, and upgrading it failed ({e})",
            hint="export the model again with opset_version=17",
        ) from None
