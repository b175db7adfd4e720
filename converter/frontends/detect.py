"""What kind of file a source model is, from its bytes; nothing is loaded or executed."""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from edgec.converter.errors import BadFileError, UnsupportedError
from edgec.converter.frontends.torch.zip import ZipReader


class Kind(Enum):
    """Kinds of source models that are told apart."""

    ONNX = "ONNX model"
    TORCHSCRIPT = "TorchScript archive"
    EXPORTED_PROGRAM = "torch.export program"
    CHECKPOINT = "PyTorch checkpoint (pickle)"
    LEGACY_CHECKPOINT = "PyTorch checkpoint (pickle, before version 1.6)"
    TAR_CHECKPOINT = "PyTorch checkpoint (tar, before version 0.1.10)"
    SAFETENSORS = "safetensors weights"
    EDGE = "edgec model"
    TFLITE = "TensorFlow Lite model"
    SAVED_MODEL = "TensorFlow SavedModel"
    TF_GRAPH = "TensorFlow frozen graph"
    KERAS = "Keras model"
    CAFFE = "Caffe model"
    NCNN = "ncnn model"
    MNN = "MNN model"
    ORT = "ONNX Runtime model"
    NPZ = "NumPy archive"


@dataclass(frozen=True)
class Source:
    """A file (or folder) and its kind; `zip` is the checked directory when it is a zip archive."""

    path: Path
    kind: Kind
    zip: ZipReader | None = None


LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_EDGE_MAGIC = bytes([0x89, 0x45, 0x44, 0x47, 0x45])


def detect(path: str | os.PathLike[str]) -> Source:
    """Kind of the model at `path`. Raises BadFileError when it is none that edgec knows."""
    file = Path(path)
    if file.is_dir():
        if (file / "saved_model.pb").is_file():
            return Source(file, Kind.SAVED_MODEL)
        raise BadFileError(f"{file} is a folder without saved_model.pb; name the model file itself")
    try:
        with Path(file).open("rb") as f:
            head = f.read(512)
            size = os.fstat(f.fileno()).st_size
    except OSError as e:
        raise BadFileError(f"cannot read {file}: {e.strerror}") from None
    if size == 0:
        raise BadFileError(f"{file} is empty")
    suffix = file.suffix.lower()
    if file.name == "saved_model.pb":
        return Source(file.absolute().parent, Kind.SAVED_MODEL)
    if head.startswith(b"PK\x03\x04"):
        return _zip(file)
    if head.startswith(_EDGE_MAGIC):
        return Source(file, Kind.EDGE)
    if head.startswith(b"\x89HDF\r\n\x1a\n"):
        return Source(file, Kind.KERAS)
    if head[4:8] == b"TFL3":
        return Source(file, Kind.TFLITE)
    if head[4:8] == b"ORTM":
        return Source(file, Kind.ORT)
    if _legacy_pickle(head):
        return Source(file, Kind.LEGACY_CHECKPOINT)
    if head[257:262] == b"ustar" or (suffix in (".tar",) and len(head) == 512):
        return Source(file, Kind.TAR_CHECKPOINT)
    if _safetensors(head, size):
        return Source(file, Kind.SAFETENSORS)
    if head.startswith((b"7767517", b"\xdd\x85\x76\x00")):  # text, binary
        return Source(file, Kind.NCNN)
    if suffix == ".param" or (suffix == ".bin" and file.with_suffix(".param").is_file()):
        return Source(file, Kind.NCNN)
    if suffix == ".mnn":
        return Source(file, Kind.MNN)
    if suffix in (".caffemodel", ".prototxt"):
        return Source(file, Kind.CAFFE)
    if suffix == ".onnx" or _looks_like_onnx(head):
        return Source(file, Kind.ONNX)
    if suffix == ".pb":
        return Source(file, Kind.TF_GRAPH)
    if (head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05")) or suffix in (
        ".pt",
        ".pth",
        ".pkl",
        ".ckpt",
        ".th",
    ):
        # Any other pickle, and damaged files with a PyTorch name: the pickle reader says what is wrong.
        return Source(file, Kind.LEGACY_CHECKPOINT)
    raise BadFileError(
        f"{file}: not a model that edgec knows (it begins with {head[:8].hex(' ')})",
        hint="edgec reads PyTorch, ONNX, TensorFlow Lite, TensorFlow, Keras, Caffe and ncnn; docs/supported-sources.md lists all",
    )


def _zip(file: Path) -> Source:
    reader = ZipReader(file)
    root = reader.root()
    names = {n[len(root) :] for n in reader.names()}
    if "archive_format" in names or any(n.startswith("models/") and n.endswith(".json") for n in names):
        return Source(file, Kind.EXPORTED_PROGRAM, reader)
    if "serialized_exported_program.json" in names:
        return Source(file, Kind.EXPORTED_PROGRAM, reader)
    if "constants.pkl" in names or any(n.startswith("code/") for n in names):
        return Source(file, Kind.TORCHSCRIPT, reader)
    if "data.pkl" in names:
        return Source(file, Kind.CHECKPOINT, reader)
    if "config.json" in names and "metadata.json" in names:
        return Source(file, Kind.KERAS, reader)
    if names and all(n.endswith(".npy") for n in names):
        return Source(file, Kind.NPZ, reader)
    shown = ", ".join(sorted(names)[:4])
    raise BadFileError(f"{file}: a zip archive that is neither PyTorch nor Keras (it holds {shown}...)")


def _legacy_pickle(head: bytes) -> bool:
    """Old torch.save files begin with a pickled magic number."""
    return (
        head[:2] in (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
        and LEGACY_MAGIC.to_bytes(10, "little") in head[:32]
    )


def _safetensors(head: bytes, size: int) -> bool:
    if len(head) < 10:
        return False
    (length,) = struct.unpack_from("<Q", head)
    return 2 <= length <= size - 8 and head[8:9] == b"{" and b'"' in head[9:32]


def _looks_like_onnx(head: bytes) -> bool:
    """Field 1 (ir_version) as a small varint, then a length-delimited or varint field of ModelProto."""
    return (
        len(head) > 4
        and head[0] == 0x08
        and 1 <= head[1] <= 20
        and head[2] in (0x12, 0x1A, 0x22, 0x28, 0x32, 0x3A, 0x42)
    )


def not_read_yet(source: Source) -> UnsupportedError:
    """The error for a kind that edgec recognises but has no frontend for."""
    advice = {
        Kind.EDGE: "it is converted already: edgec run, edgec inspect, edgec bench",
        Kind.ORT: "convert the .onnx file that it was made from",
        Kind.NPZ: "pass the model; arrays are inputs (edgec run --input x.npz)",
        Kind.SAFETENSORS: "weights without a network: edgec convert --model package.module:factory --weights this file",
        Kind.MNN: "convert the model that it was made from (.pt or .onnx)",
    }.get(source.kind, "export it to ONNX (for TensorFlow: pip install tf2onnx) and convert that")
    return UnsupportedError(f"{source.path} is a {source.kind.value}; this version does not read it", hint=advice)
