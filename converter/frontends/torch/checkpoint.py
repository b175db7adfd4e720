"""PyTorch checkpoints: what they hold, and their weights, without torch and without executing their pickle."""

from __future__ import annotations

import io
import json
import mmap
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from edgec.converter.errors import BadFileError, StateDictError, UnsafeFileError, UnsupportedError
from edgec.converter.frontends.detect import LEGACY_MAGIC, Kind, Source
from edgec.converter.frontends.torch.architectures import guess_architecture
from edgec.converter.frontends.torch.pickle_reader import (
    ITEM_SIZE,
    Global,
    Opaque,
    Storage,
    Tensor,
    Unpickler,
    make_tensor,
)
from edgec.converter.frontends.torch.zip import ZipReader

MAX_PICKLE = 1 << 28
MAX_DEPTH = 64
MAX_TENSOR_BYTES = 1 << 35
NUMPY = {
    "f32": np.float32, "f64": np.float64, "f16": np.float16, "bf16": np.uint16, "i64": np.int64, "i32": np.int32,
    "i16": np.int16, "i8": np.int8, "u8": np.uint8, "bool": np.bool_, "c64": np.complex64,
}  # fmt: skip

# Where training scripts put the weights inside the object they save, best first.
_WEIGHT_KEYS = ("state_dict", "model_state_dict", "model_state", "ema_state_dict", "model_ema", "params_ema", "params",
                "model", "net", "network", "module", "generator", "weights", "state")  # fmt: skip
# Wrappers that add a prefix to every name.
_PREFIXES = ("module.", "_orig_mod.", "model.", "net.", "network.", "backbone.", "encoder.")


@dataclass
class Checkpoint:
    """The tensors of a checkpoint by name, and the classes that its pickle names but edgec does not know."""

    path: Path
    tensors: dict[str, Tensor]
    place: str  # the key under which they were found, "" at the top
    other_keys: list[str] = field(default_factory=list)
    classes: list[str] = field(default_factory=list)
    _zip: ZipReader | None = None
    _legacy: dict[str, memoryview] = field(default_factory=dict)

    @property
    def parameters(self) -> int:
        return sum(t.elements for t in self.tensors.values())

    def storage_bytes(self, storage: Storage) -> memoryview:
        if self._zip is not None:
            name = f"{self._zip.root()}data/{storage.key}"
            if name not in self._zip.entries:
                raise BadFileError(f"{self.path}: the data of storage '{storage.key}' is missing")
            return self._zip.view(name)
        if storage.key not in self._legacy:
            raise BadFileError(f"{self.path}: the data of storage '{storage.key}' is missing")
        return self._legacy[storage.key]

    def array(self, name: str) -> np.ndarray:
        """One tensor as a read-only NumPy view (bf16 as its bits, uint16). Bounds are checked against the file."""
        t = self.tensors[name]
        item = ITEM_SIZE[t.dtype]
        data = self.storage_bytes(t.storage)
        room = len(data) // item
        if t.elements * item > MAX_TENSOR_BYTES or (t.elements > 4096 and t.elements > 64 * max(room, 1)):
            raise UnsafeFileError(f"{self.path}: tensor '{name}' of shape {t.shape} is far larger than its data")
        if t.elements:
            last = t.offset + sum((d - 1) * s for d, s in zip(t.shape, t.stride))
            if last >= room:
                raise BadFileError(f"{self.path}: tensor '{name}' reaches element {last}; the file stores {room}")
        if t.elements == 0:
            return np.zeros(t.shape, NUMPY[t.dtype])
        base = np.frombuffer(data, NUMPY[t.dtype], room)[t.offset :]
        return np.lib.stride_tricks.as_strided(base, t.shape, [s * item for s in t.stride], writeable=False)

    def dtype(self, name: str) -> str:
        return self.tensors[name].dtype


def read_checkpoint(source: Source) -> Checkpoint:
    """Reads a checkpoint of any pickled kind. Raises UnsafeFileError when its pickle wants to run something."""
    if source.kind is Kind.SAFETENSORS:
        return _read_safetensors(source.path)
    if source.kind is Kind.TAR_CHECKPOINT:
        raise UnsupportedError(
            f"{source.path}: {source.kind.value}; this format is read by no current tool safely",
            hint="load it once with the torch version that wrote it and save it again with torch.save(state_dict, path)",
        )
    if source.kind is Kind.CHECKPOINT:
        assert source.zip is not None
        root = source.zip.root()
        _check_byte_order(source.zip, root, source.path)
        pickle = source.zip.read(f"{root}data.pkl", MAX_PICKLE)
        machine = Unpickler(io.BytesIO(pickle), str(source.path))
        found = machine.load()
        return _pick(source.path, found, machine.unknown, zip_=source.zip)
    return _read_legacy(source.path)


def _check_byte_order(zip_: ZipReader, root: str, path: Path) -> None:
    name = f"{root}byteorder"
    if name in zip_.entries and zip_.read(name, 64).strip() == b"big":
        raise UnsupportedError(f"{path}: a big-endian checkpoint", hint="save it again on a little-endian machine")


def _read_legacy(path: Path) -> Checkpoint:
    """Magic number, protocol, system description, object, storage keys, then the storages' bytes."""
    with Path(path).open("rb") as f:
        data = mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ)
    stream = io.BytesIO(data[: min(len(data), MAX_PICKLE)]) if len(data) <= MAX_PICKLE else _MapStream(data)

    def next_object() -> tuple[Any, Unpickler]:
        machine = Unpickler(stream, str(path))  # type: ignore[arg-type]
        return machine.load(), machine

    magic, machine = next_object()
    if magic != LEGACY_MAGIC:
        # A plain pickle (joblib, pickle.dump): its names were checked on the way, its content is of no use.
        raise UnsupportedError(
            f"{path}: a plain Python pickle, not a file of torch.save",
            hint="save the network with torch.save(model.state_dict(), path) or torch.jit.trace(model, x).save(path)",
        )
    next_object()
    next_object()
    found, machine = next_object()
    keys, _ = next_object()
    if not isinstance(keys, list) or not all(isinstance(k, str) for k in keys):
        raise BadFileError(f"{path}: the list of storages is damaged")
    sizes = {s.key: s for s in _storages(found)}
    legacy: dict[str, memoryview] = {}
    at, view = stream.tell(), memoryview(data)
    for key in keys:
        if at + 8 > len(data):
            raise BadFileError(f"{path}: truncated before storage '{key}'")
        (elements,) = struct.unpack_from("<q", data, at)
        storage = sizes.get(key)
        item = ITEM_SIZE[storage.dtype] if storage is not None else 1
        if storage is None:
            raise BadFileError(f"{path}: storage '{key}' belongs to no tensor")
        if elements < 0 or at + 8 + elements * item > len(data) or elements < storage.elements:
            raise BadFileError(
                f"{path}: storage '{key}' claims {elements} elements, the file is too short (truncated?)"
            )
        legacy[key] = view[at + 8 : at + 8 + elements * item]
        at += 8 + elements * item
    return _pick(path, found, machine.unknown, legacy=legacy)


class _MapStream(io.RawIOBase):
    """A mapped file as a stream with the two calls that pickletools uses."""

    def __init__(self, data: mmap.mmap) -> None:
        self._data = data
        self._at = 0

    def read(self, n: int = -1) -> bytes:
        end = len(self._data) if n < 0 else min(self._at + n, len(self._data))
        piece = self._data[self._at : end]
        self._at = end
        return piece

    def readline(self, size: int | None = -1) -> bytes:
        end = self._data.find(b"\n", self._at, self._at + 65536)
        return self.read((end + 1 if end >= 0 else min(self._at + 65536, len(self._data))) - self._at)

    def tell(self) -> int:
        return self._at


def _storages(found: Any) -> Iterator[Storage]:
    stack, seen = [found], set()
    while stack:
        item = stack.pop()
        if isinstance(item, Tensor):
            yield item.storage
            continue
        if isinstance(item, Storage):
            yield item
            continue
        if id(item) in seen:
            continue
        if isinstance(item, (dict, list, tuple, Opaque)):
            seen.add(id(item))
        if isinstance(item, dict):
            stack.extend(item.values())
        elif isinstance(item, (list, tuple)):
            stack.extend(item)
        elif isinstance(item, Opaque):
            stack.extend([item.args, item.state, item.items])


def _read_safetensors(path: Path) -> Checkpoint:
    with Path(path).open("rb") as f:
        data = mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ)
    (length,) = struct.unpack_from("<Q", data)
    if length > MAX_PICKLE or 8 + length > len(data):
        raise BadFileError(f"{path}: the header of {length} bytes does not fit the file")
    names = {"F32": "f32", "F64": "f64", "F16": "f16", "BF16": "bf16", "I64": "i64", "I32": "i32", "I16": "i16",
             "I8": "i8", "U8": "u8", "BOOL": "bool"}  # fmt: skip
    tensors, legacy = {}, {}
    try:
        header = json.loads(data[8 : 8 + length])
        for name, info in header.items():
            if name == "__metadata__":
                continue
            begin, end = (int(v) for v in info["data_offsets"])
            shape = tuple(int(d) for d in info["shape"])
            dtype = names[info["dtype"]]
            if begin < 0 or end < begin or 8 + length + end > len(data):
                raise BadFileError(f"{path}: tensor '{name}' lies outside the file")
            stride, step = [], 1
            for d in reversed(shape):
                stride.insert(0, step)
                step *= max(d, 1)
            legacy[name] = memoryview(data)[8 + length + begin : 8 + length + end]
            storage = Storage(name, dtype, (end - begin) // ITEM_SIZE[dtype])
            tensors[name] = make_tensor(storage, 0, shape, tuple(stride))
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as e:
        raise BadFileError(f"{path}: the safetensors header is damaged ({type(e).__name__})") from None
    return Checkpoint(path, tensors, "", _legacy=legacy)


# -- finding the weights -------------------------------------------------------------------------
def _pick(
    path: Path,
    found: Any,
    unknown: list[Global],
    zip_: ZipReader | None = None,
    legacy: dict[str, memoryview] | None = None,
) -> Checkpoint:
    place, tensors = _weights(found)
    others = [str(k) for k in found if isinstance(k, str)] if isinstance(found, dict) and place else []
    classes = list(
        dict.fromkeys(str(g) for g in unknown if g.module.split(".")[0] not in ("collections", "_codecs", "numpy"))
    )
    return Checkpoint(path, tensors, place, others, classes, zip_, legacy or {})


def _weights(found: Any) -> tuple[str, dict[str, Tensor]]:
    """(where, name -> tensor) of the best candidate in the object."""
    flat = _tensors_of(found)
    if not isinstance(found, dict):
        return "", flat
    own = {k: v for k, v in found.items() if isinstance(k, str) and isinstance(v, Tensor)}
    if own:
        return "", flat if len(flat) == len(own) else own
    for key in _WEIGHT_KEYS:
        inner = found.get(key)
        if inner is not None:
            tensors = _tensors_of(inner)
            if tensors:
                return key, tensors
    best = max(((str(k), _tensors_of(v)) for k, v in found.items()), key=lambda p: len(p[1]), default=("", {}))
    return best if best[1] else ("", {})


def _tensors_of(found: Any) -> dict[str, Tensor]:
    """Dotted names of all tensors below `found`; knows how modules store parameters, buffers and children."""
    result: dict[str, Tensor] = {}
    stack: list[tuple[str, Any, int]] = [("", found, 0)]
    seen: set[int] = set()
    while stack:
        name, item, depth = stack.pop()
        if isinstance(item, Tensor):
            result.setdefault(name or "tensor", item)
            continue
        if depth > MAX_DEPTH or id(item) in seen:
            continue
        if isinstance(item, (dict, list, tuple, Opaque)):
            seen.add(id(item))
        children: list[tuple[str, Any]] = []
        if isinstance(item, Opaque):
            state = item.state
            if isinstance(state, tuple) and state and isinstance(state[0], dict):
                state = state[0]
            if isinstance(state, dict) and "_modules" in state:  # an nn.Module
                for part in ("_parameters", "_buffers", "_modules"):
                    inner = state.get(part)
                    if isinstance(inner, dict):
                        children += [(str(k), v) for k, v in inner.items()]
            elif isinstance(state, dict):
                children = [(str(k), v) for k, v in state.items()]
        elif isinstance(item, dict):
            children = [(str(k), v) for k, v in item.items()]
        elif isinstance(item, (list, tuple)):
            children = [(str(i), v) for i, v in enumerate(item)]
        for key, value in reversed(children):
            stack.append((f"{name}.{key}" if name else key, value, depth + 1))
    return result


# -- the guided error ----------------------------------------------------------------------------
def guided_error(checkpoint: Checkpoint, shapes_given: bool = False) -> StateDictError:
    """What the file holds, why that is not enough, and the two ways on."""
    path = checkpoint.path
    names = list(checkpoint.tensors)
    guess = guess_architecture(checkpoint.tensors)
    first = [f"{n} {list(checkpoint.tensors[n].shape)}" for n in names[:4]]
    what = "weights only (a state_dict)"
    if checkpoint.classes:
        what = f"a pickled Python object (classes {', '.join(checkpoint.classes[:3])}); edgec does not execute pickles"
    if not names:
        what = "no tensors at all"
    lines = [f"{path} holds {what}, not a network: {len(names)} tensors, {checkpoint.parameters:,} numbers"]
    if checkpoint.place:
        lines[0] += f" under the key '{checkpoint.place}'"
    if first:
        lines.append(f"  first tensors: {', '.join(first)}{', ...' if len(names) > 4 else ''}")
    if guess:
        lines.append(f"  the names look like {guess}")
    shape = "" if shapes_given else " --shape 1x3x224x224"
    hint = "\n".join(
        [
            "how to go on, either:",
            f"  edgec convert {path} --model package.module:factory{shape}",
            "    (factory is the class or function that builds the network; edgec imports it, builds it and loads these weights)",
            "or in Python, where the network's code is:",
            f"  model.load_state_dict(torch.load('{path.name}', weights_only=True)); model.eval()",
            "  torch.jit.trace(model, example_input).save('model.pt')      # then: edgec convert model.pt",
        ]
    )
    summary = {
        "tensors": len(names),
        "parameters": checkpoint.parameters,
        "key": checkpoint.place,
        "other_keys": checkpoint.other_keys[:20],
        "classes": checkpoint.classes[:20],
        "first": [
            {"name": n, "shape": list(checkpoint.tensors[n].shape), "dtype": checkpoint.dtype(n)} for n in names[:8]
        ],
        "architecture": guess,
    }
    return StateDictError("\n".join(lines), summary, hint=hint)


def matching_names(checkpoint: Checkpoint, wanted: set[str]) -> dict[str, str]:
    """Name in the network -> name in the file, after dropping or adding the prefix that fits most names."""
    best: dict[str, str] = {}
    candidates = ["", *(p for p in _PREFIXES)]
    for drop in candidates:
        for add in candidates if not drop else [""]:
            mapping = {}
            for name in checkpoint.tensors:
                if drop and not name.startswith(drop):
                    continue
                target = add + name[len(drop) :]
                if target in wanted:
                    mapping.setdefault(target, name)
            if len(mapping) > len(best):
                best = mapping
    return best


def is_checkpoint(kind: Kind) -> bool:
    return kind in (Kind.CHECKPOINT, Kind.LEGACY_CHECKPOINT, Kind.TAR_CHECKPOINT, Kind.SAFETENSORS)


def absolute(path: str | os.PathLike[str]) -> Path:
    return Path(os.path.abspath(path))
