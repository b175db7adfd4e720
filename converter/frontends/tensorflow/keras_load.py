"""Keras files in the child process: checked, brought up to date, loaded without running code of the file."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import shutil
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from edgec.converter.errors import BadFileError, UnsafeFileError, UnsupportedError
from edgec.converter.frontends.tensorflow.keras_config import (
    QUANTIZATION,
    is_quantization_aware,
    modernise,
    read_config,
    refuse_code,
)
from edgec.converter.frontends.tensorflow.keras_recurrent import fused_layers
from edgec.converter.frontends.tensorflow.program import Port, Program, Traced, TracedFunction, argument_name

# Weights that a network may have beyond those its file holds: constants that layers compute themselves.
_SPARE_BYTES = 1 << 27


def load_h5(path: str, folder: Path, trust: bool, what: str) -> Program:
    """An .h5 file of Keras 2 or 3. The file itself stays as it is; changes go into a copy in `folder`."""
    config, stored = _read_h5(path, what)
    notes = refuse_code(config, what, trust)
    _need_quantization_package(config, what)
    original = json.dumps(config)
    changes = modernise(config)
    failures: list[str] = []
    copy = folder / "keras3.h5"
    shutil.copyfile(path, copy)
    _set_config(copy, config)
    with _limited_weights(stored, what):
        model = _attempt(lambda: _keras_load(copy, trust), "Keras 3", failures, what)
        if model is not None:
            notes += [f"Keras 2 file, read by Keras 3: {c}" for c in changes]
        elif importlib.util.find_spec("tf_keras") is not None:
            legacy = folder / "keras2.h5"
            shutil.copyfile(path, legacy)
            _set_config(legacy, json.loads(original))
            model = _attempt(lambda: _tf_keras_load(legacy, trust), "tf_keras", failures, what)
    if model is None:
        hint = (
            ""
            if importlib.util.find_spec("tf_keras")
            else "pip install tf_keras reads files of Keras 2 that Keras 3 refuses"
        )
        raise _refused(failures, what, hint)
    return from_model(model, notes)


def load_keras(path: str, folder: Path, trust: bool, what: str) -> Program:
    """A .keras archive, whose zip directory and configuration the parent has checked."""
    with zipfile.ZipFile(path) as archive:
        config = read_config(archive.read("config.json"), what)
        names = set(archive.namelist())
        weights = next((n for n in ("model.weights.h5", "model.weights.npz") if n in names), None)
        if weights is None:
            raise BadFileError(f"{what} holds no weights (model.weights.h5)")
        archive.extract(weights, folder)
        metadata = json.loads(archive.read("metadata.json")) if "metadata.json" in names else {}
    notes = refuse_code(config, what, trust)
    _need_quantization_package(config, what)
    stored = _check_hdf5(folder / weights, what) if weights.endswith(".h5") else (folder / weights).stat().st_size
    (folder / weights).unlink()
    failures: list[str] = []
    with _limited_weights(stored, what):
        loaders: list[tuple[str, Callable[[], Any]]] = [("Keras 3", lambda: _keras_load(Path(path), trust))]
        if importlib.util.find_spec("tf_keras") is not None:
            legacy = ("tf_keras", lambda: _tf_keras_load(Path(path), trust))
            loaders.insert(0 if str(metadata.get("keras_version", "3")).startswith("2") else 1, legacy)
        for name, loader in loaders:
            model = _attempt(loader, name, failures, what)
            if model is not None:
                return from_model(model, notes)
    hint = ""
    if is_quantization_aware(config):
        hint = "export the model as a SavedModel: model.export(folder)"
    elif str(metadata.get("keras_version", "3")).startswith("2") and importlib.util.find_spec("tf_keras") is None:
        hint = "pip install tf_keras"
    raise _refused(failures, what, hint)


# -- HDF5 ----------------------------------------------------------------------------------------
def _read_h5(path: str, what: str) -> tuple[Any, int]:
    """(configuration, bytes of all arrays)."""
    import h5py

    stored = _check_hdf5(Path(path), what)
    with h5py.File(path, "r") as file:
        config = file.attrs.get("model_config")
        if config is None:
            groups = ", ".join(list(file)[:5])
            raise UnsupportedError(
                f"{what} holds weights without a network (model_config is missing; it has: {groups or 'nothing'})",
                hint="save the whole model: model.save('model.keras'), and convert that",
            )
        text = config if isinstance(config, (str, bytes)) else str(config)
    return read_config(text, what), stored


def _check_hdf5(path: Path, what: str) -> int:
    """Refuses links and storage outside the file, and arrays that the file cannot hold; returns the bytes of all."""
    import h5py

    total = 0
    size = path.stat().st_size
    try:
        with h5py.File(path, "r") as file:
            todo = [file["/"]]
            seen: set[Any] = set()
            while todo:
                group = todo.pop()
                if group.id.__hash__() in seen or len(seen) > 1_000_000:
                    continue
                seen.add(group.id.__hash__())
                for name in group:
                    link = group.get(name, getlink=True)
                    if not isinstance(link, h5py.HardLink):
                        kind = "an external link" if isinstance(link, h5py.ExternalLink) else "a link"
                        raise UnsafeFileError(f"{what}: '{group.name}/{name}' is {kind}; models hold their own weights")
                    item = group[name]
                    if isinstance(item, h5py.Group):
                        todo.append(item)
                        continue
                    if not isinstance(item, h5py.Dataset):
                        continue
                    if item.external or item.is_virtual:
                        raise UnsafeFileError(
                            f"{what}: '{item.name}' lies in another file; models hold their own weights"
                        )
                    if item.nbytes > max(200 * item.id.get_storage_size(), 1 << 20):
                        raise BadFileError(
                            f"{what}: '{item.name}' has the shape {item.shape} in a file of {size} bytes"
                        )
                    total += item.nbytes
    except (OSError, RuntimeError, KeyError, ValueError) as e:
        raise BadFileError(f"{what}: damaged or cut off ({str(e).splitlines()[0][:200]})") from None
    return total


def _set_config(path: Path, config: Any) -> None:
    import h5py

    with h5py.File(path, "r+") as file:
        file.attrs["model_config"] = json.dumps(config)
        for name in ("training_config", "optimizer_weights"):
            if name in file.attrs:
                del file.attrs[name]


# -- loading -------------------------------------------------------------------------------------
def _keras_load(path: Path, trust: bool) -> Any:
    import keras

    return keras.models.load_model(path, compile=False, safe_mode=not trust)


def _tf_keras_load(path: Path, trust: bool) -> Any:
    import tf_keras

    if importlib.util.find_spec(QUANTIZATION) is not None:
        import tensorflow_model_optimization as optimization

        with optimization.quantization.keras.quantize_scope():
            return tf_keras.models.load_model(path, compile=False, safe_mode=not trust)
    return tf_keras.models.load_model(path, compile=False, safe_mode=not trust)


def _need_quantization_package(config: Any, what: str) -> None:
    if not is_quantization_aware(config):
        return
    missing = [p for p in ("tf_keras", QUANTIZATION) if importlib.util.find_spec(p) is None]
    if missing:
        raise UnsupportedError(
            f"{what} was trained with simulated quantization by {QUANTIZATION}, which is not installed",
            hint=f"pip install {' '.join(missing)}; or export the model as a SavedModel: model.export(folder)",
        )


def _attempt(loader: Callable[[], Any], name: str, failures: list[str], what: str) -> Any:
    try:
        return loader()
    except (MemoryError, UnsafeFileError):
        raise
    except Exception as e:  # Keras raises about anything
        text = str(e).strip()
        if "OOM" in text or "bad_alloc" in text or "failed to allocate" in text.lower():
            raise MemoryError from None
        failures.append(f"{name}: {_reason(text) or type(e).__name__}")
        return None


def _reason(text: str) -> str:
    """The line of Keras' long messages that says what is wrong."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    for line in lines:
        if any(
            w in line for w in ("Exception encountered", "Unrecognized keyword", "Unknown layer", "Could not locate")
        ):
            return line[:300]
    return lines[0][:300] if lines else ""


def _refused(failures: list[str], what: str, hint: str) -> UnsupportedError:
    return UnsupportedError(f"{what}: Keras cannot build this model\n  " + "\n  ".join(failures), hint=hint)


@contextlib.contextmanager
def _limited_weights(stored: int, what: str) -> Iterator[None]:
    """Building a network allocates its weights before the file's are read: those that the file does not hold are refused."""
    import keras

    limit = stored + stored // 4 + _SPARE_BYTES
    used = [0]
    patched = [keras.layers.Layer]
    if importlib.util.find_spec("tf_keras") is not None:
        import tf_keras

        patched.append(tf_keras.layers.Layer)
    originals = [c.add_weight for c in patched]

    def counted(original: Any) -> Any:
        def add_weight(self: Any, *args: Any, **kwargs: Any) -> Any:
            shape = kwargs.get("shape", next((a for a in args if isinstance(a, (tuple, list))), ()))
            elements = 1
            for d in shape if isinstance(shape, (tuple, list)) else (shape,):
                elements *= int(d or 1)
            used[0] += 4 * elements
            if used[0] > limit:
                raise UnsafeFileError(
                    f"{what}: layer '{self.name}' wants weights of the shape {tuple(shape or ())}; "
                    f"the file holds {stored} bytes of weights in all"
                )
            return original(self, *args, **kwargs)

        return add_weight

    for c, original in zip(patched, originals):
        c.add_weight = counted(original)
    try:
        yield
    finally:
        for c, original in zip(patched, originals):
            c.add_weight = original


# -- the network as a program --------------------------------------------------------------------
def from_model(model: Any, notes: Sequence[str] = ()) -> Program:
    """A built Keras model, of Keras 3 or of tf_keras."""
    if not getattr(model, "inputs", None):
        raise UnsupportedError(
            f"the model '{model.name}' was never called: its input shapes are unknown",
            hint="call or build it once before saving: model.build((None, 224, 224, 3))",
        )
    import keras

    inputs = [Port(_input_name(t, i), _dtype(t), _dims(t)) for i, t in enumerate(_flat(model.inputs))]
    _distinct(inputs)
    names = _output_names(model)

    def trace(ports: Sequence[Port]) -> Traced:
        import tensorflow as tf

        specs = [
            tf.TensorSpec(p.shape, tf.dtypes.as_dtype(p.dtype), name=argument_name(i)) for i, p in enumerate(ports)
        ]
        structure = _structure(model)

        def forward(*arguments: Any) -> Any:
            packed = structure(list(arguments))
            return [tf.identity(y) for y in tf.nest.flatten(model(packed, training=False))]

        return TracedFunction(tf.function(forward, autograph=False).get_concrete_function(*specs))

    def fused(ports: Sequence[Port]) -> Traced:
        with fused_layers():
            return trace(ports)

    has_loops = any("RNN" in c.__name__ for layer in model._flatten_layers() for c in type(layer).__mro__)
    keras_3 = isinstance(model, keras.Model)
    return Program(inputs, names, trace, list(notes), fused if has_loops and keras_3 else None, model)


def _structure(model: Any) -> Callable[[list[Any]], Any]:
    """How the model wants its inputs: one tensor, a list, or a dict."""
    own = getattr(model, "_inputs_struct", None)
    if own is None:
        own = getattr(model, "_nested_inputs", None)
    if isinstance(own, dict):
        import tensorflow as tf

        return lambda values: tf.nest.pack_sequence_as(own, values)
    return lambda values: values[0] if len(values) == 1 else values


def _flat(inputs: Any) -> list[Any]:
    return list(inputs) if isinstance(inputs, (list, tuple)) else [inputs]


def _input_name(tensor: Any, index: int) -> str:
    name = str(getattr(tensor, "name", "") or f"input_{index + 1}")
    return name.split(":", maxsplit=1)[0]


def _distinct(ports: list[Port]) -> None:
    seen: dict[str, int] = {}
    for port in ports:
        count = seen.get(port.name, 0)
        seen[port.name] = count + 1
        if count:
            port.name = f"{port.name}_{count}"


def _dtype(tensor: Any) -> str:
    dtype = tensor.dtype
    return dtype if isinstance(dtype, str) else str(dtype.name)


def _dims(tensor: Any) -> list[int | None]:
    return [None if d is None else int(d) for d in tensor.shape]


def _output_names(model: Any) -> list[str]:
    """One name per output tensor: those of the layers where they are distinct."""
    count = len(_flat(model.outputs))
    names = [str(n) for n in getattr(model, "output_names", []) or []]
    if len(names) == count and len(set(names)) == count:
        return names
    return ["output"] if count == 1 else [f"output_{i}" for i in range(count)]
