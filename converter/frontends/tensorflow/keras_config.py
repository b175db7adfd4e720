"""The JSON configuration of a Keras model: what in it would run code, and Keras 2 words that Keras 3 does not know.

Nothing here imports Keras: a configuration is read before the framework sees it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from edgec.converter.errors import BadFileError, UnsafeFileError, UnsupportedError, UnsupportedOp
from edgec.converter.frontends.tensorflow.scan import VARIABLE_FILES, danger_of

MAX_CONFIG = 1 << 27
MAX_SIZE = 1 << 31  # no layer has a dimension beyond it
_DEPTH = 200

_CODE = {
    "Lambda": "holds compiled Python code",
    "__lambda__": "is compiled Python code",
    "TorchModuleWrapper": "holds a pickled PyTorch module",
    "JaxLayer": "holds compiled Python code",
    "FlaxLayer": "holds compiled Python code",
    "TFSMLayer": "loads another file",
}
# Google's package for training with simulated quantization; it works with Keras 2.
QUANTIZATION = "tensorflow_model_optimization"
# Layers on texts have no place in a network on an edge device; edgec has no tensors of strings.
_TEXT = {
    "TextVectorization": "tokenise before the model and feed numbers",
    "StringLookup": "look the words up before the model and feed numbers",
    "IntegerLookup": "look the numbers up before the model",
    "Hashing": "hash before the model and feed numbers",
    "HashedCrossing": "hash before the model and feed numbers",
}
# Where a Keras 2 functional model stores calls of TensorFlow functions by name (TFOpLambda).
_SAFE_FUNCTIONS = (
    "math.",
    "nn.",
    "linalg.",
    "image.",
    "signal.",
    "__operators__.",
    "keras.",
    "bitwise.",
    "quantization.",
)
_UNSAFE_PARTS = {"io", "raw_ops", "py_function", "numpy_function", "py_func", "saved_model", "train", "data", "summary",
                 "load_op_library", "load_library", "print", "gfile", "function", "autograph", "experimental"}  # fmt: skip


def read_config(text: str | bytes, what: str) -> Any:
    """The parsed JSON. Raises BadFileError for text that is damaged, huge or nested without end."""
    if len(text) > MAX_CONFIG:
        raise BadFileError(f"{what}: a configuration of {len(text)} bytes; at most {MAX_CONFIG} are expected")
    try:
        config = json.loads(text)
        for _ in _walk(config):
            pass
    except RecursionError:
        raise BadFileError(f"{what}: the configuration is nested too deeply") from None
    except (ValueError, UnicodeDecodeError) as e:
        raise BadFileError(f"{what}: the configuration is no JSON ({e})") from None
    if not isinstance(config, dict) or "class_name" not in config:
        raise BadFileError(f"{what}: the configuration describes no model (class_name is missing)")
    return config


def refuse_code(config: Any, what: str, trust: bool) -> list[str]:
    """Raises UnsafeFileError that names the layers which hold code; with `trust` they are returned as warnings.

    Layers on texts and layers that are defined outside Keras raise UnsupportedError.
    """
    code: list[str] = []
    text: dict[str, list[str]] = {}
    custom: dict[str, list[str]] = {}
    for item, layer in _walk(config):
        _refuse_sizes(item, layer, what)
        name = item.get("class_name")
        if not isinstance(name, str):
            continue
        inner = item.get("config")
        if name in _CODE:
            code.append(f"{name} '{layer}' {_CODE[name]}")
        elif name in ("TFOpLambda", "SlicingOpLambda"):
            function = inner.get("function") if isinstance(inner, dict) else None
            if not _safe_function(str(function)):
                code.append(f"{name} '{layer}' calls tf.{function}")
        elif name == "TensorFlowOpLayer":
            node = str(inner.get("node_def")) if isinstance(inner, dict) else ""
            op = _op_of(node)
            if danger_of(op) or op in VARIABLE_FILES or not op:
                code.append(f"{name} '{layer}' runs the operator {op or '(unreadable)'}")
        elif name in _TEXT:
            text.setdefault(name, []).append(layer)
        elif _is_custom(item, name):
            custom.setdefault(name, []).append(layer)
        elif name == "function" and not _is_keras_function(item):
            code.append(f"'{layer}' refers to the function {item.get('module')}.{inner}")
        if isinstance(inner, dict) and isinstance(inner.get("vocabulary"), str) and inner["vocabulary"]:
            code.append(f"{name} '{layer}' reads the file {inner['vocabulary']!r}")
    if code and not trust:
        raise UnsafeFileError(
            f"{what} holds code, and reading it would run it:\n  " + "\n  ".join(_shown(c) for c in code[:8]),
            hint="if you made this file or trust who did: --trust (trust=True). "
            "Better: replace the layer by Keras layers or export the model as a SavedModel",
        )
    _refuse_layers(text, what, "layers on texts or tables", _TEXT)
    if not trust:
        advice = (
            "convert the live model object (edgec.convert(model)) or export it as a SavedModel: model.export(folder)"
        )
        _refuse_layers(custom, what, "layers that are defined outside Keras", dict.fromkeys(custom, advice))
    return [f"trusted code: {c}" for c in code]


def _refuse_layers(found: dict[str, list[str]], what: str, kind: str, advice: dict[str, str]) -> None:
    if found:
        ops = [UnsupportedOp(_shown(n), len(w), _shown(w[0]), advice[n]) for n, w in sorted(found.items())]
        raise UnsupportedError(f"{what} has {kind}", ops)


def _walk(config: Any) -> Iterator[tuple[dict[str, Any], str]]:
    """Every object with the name of the innermost layer around it."""
    stack: list[tuple[Any, str, int]] = [(config, "", 0)]
    while stack:
        item, layer, depth = stack.pop()
        if depth > _DEPTH:
            raise RecursionError
        if isinstance(item, dict):
            inner = item.get("config")
            if isinstance(inner, dict) and isinstance(inner.get("name"), str):
                layer = inner["name"]
            elif isinstance(item.get("name"), str) and "class_name" in item:
                layer = item["name"]
            yield item, layer
            stack += [(v, layer, depth + 1) for v in reversed(item.values()) if isinstance(v, (dict, list))]
        elif isinstance(item, list):
            stack += [(v, layer, depth + 1) for v in reversed(item) if isinstance(v, (dict, list))]


def _refuse_sizes(item: dict[str, Any], layer: str, what: str) -> None:
    for key, value in item.items():
        numbers = value if isinstance(value, list) else [value]
        if not key.endswith(("seed", "_id")) and any(isinstance(v, int) and abs(v) >= MAX_SIZE for v in numbers):
            raise BadFileError(
                f"{what}: layer '{_shown(layer)}' has {_shown(key)} {str(value)[:80]}, beyond any memory"
            )


def _is_custom(item: dict[str, Any], name: str) -> bool:
    registered, module = item.get("registered_name"), item.get("module")
    if ">" in name or (isinstance(registered, str) and ">" in registered):
        return not str(registered or name).startswith(("keras>", "Keras>", "tf_keras>"))
    if module is None or name == "function":
        # Keras' own objects always name their module; Keras 2 files have neither key.
        return isinstance(registered, str) and "module" in item and name != "function"
    return not _is_keras_module(str(module)) and str(module) != "builtins"


def _is_keras_module(module: str) -> bool:
    return module.split(".", maxsplit=1)[0] in ("keras", "tf_keras", QUANTIZATION)


def is_quantization_aware(config: Any) -> bool:
    """True for networks wrapped by tensorflow_model_optimization, whose layers only that package knows."""
    return any(str(item.get("class_name")).startswith("QuantizeWrapper") for item, _ in _walk(config))


def _is_keras_function(item: dict[str, Any]) -> bool:
    module = item.get("module")
    return module in (None, "builtins") or (
        _is_keras_module(str(module)) and any(p in str(module) for p in ("activations", "initializers", "regularizers"))
    )


def _safe_function(name: str) -> bool:
    parts = name.removeprefix("compat.v1.").split(".")
    if _UNSAFE_PARTS & set(parts):
        return False
    return len(parts) == 1 or name.removeprefix("compat.v1.").startswith(_SAFE_FUNCTIONS)


def _op_of(node: str) -> str:
    """The operator of a NodeDef in JSON form."""
    try:
        found = json.loads(node).get("op", "")
    except (ValueError, AttributeError, RecursionError):
        return ""
    return found if isinstance(found, str) else ""


def _shown(text: str) -> str:
    return text.encode("unicode_escape").decode()[:200]


# -- Keras 2 -------------------------------------------------------------------------------------
_RECURRENT = ("RNN", "LSTM", "GRU", "SimpleRNN", "ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D", "Bidirectional")
_CONVOLUTIONS = (
    "DepthwiseConv1D", "DepthwiseConv2D", "SeparableConv1D", "SeparableConv2D", "SeparableConvolution1D",
    "SeparableConvolution2D", "Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose", "Convolution2DTranspose",
)  # fmt: skip
_SEPARABLE = ("SeparableConv1D", "SeparableConv2D", "SeparableConvolution1D", "SeparableConvolution2D")
# (layers, key, values): values with which the key changes nothing in a forward pass; None: any value.
_NEUTRAL: list[tuple[tuple[str, ...], str, tuple[Any, ...] | None]] = [
    (_CONVOLUTIONS, "groups", (1,)),
    (_RECURRENT, "time_major", (False,)),
    (_RECURRENT, "implementation", None),
    (("BatchNormalization", "BatchNormalizationV1", "SyncBatchNormalization"), "fused", None),
    (("BatchNormalization", "BatchNormalizationV1", "SyncBatchNormalization"), "virtual_batch_size", (None,)),
    (("BatchNormalization", "BatchNormalizationV1", "SyncBatchNormalization"), "adjustment", (None,)),
    (("BatchNormalization", "BatchNormalizationV1", "SyncBatchNormalization"), "renorm", (False,)),
    (("BatchNormalization", "BatchNormalizationV1", "SyncBatchNormalization"), "renorm_clipping", None),
    (("BatchNormalization", "BatchNormalizationV1", "SyncBatchNormalization"), "renorm_momentum", None),
    (_SEPARABLE, "kernel_initializer", None),
    (_SEPARABLE, "kernel_regularizer", None),
    (_SEPARABLE, "kernel_constraint", None),
    (("Attention",), "score_mode", ("dot",)),
    (("SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D", "Discretization"), "trainable", None),
    (("SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D"), "noise_shape", (None,)),
    (("Dropout", "SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D"), "data_format", None),
    (("Embedding",), "input_length", None),
    (("Embedding",), "sparse", (False,)),
    (
        ("CategoryEncoding", "Discretization", "Normalization", "Rescaling", "Resizing", "CenterCrop"),
        "sparse",
        (False,),
    ),
]
_RENAMED = {
    "LeakyReLU": {"alpha": "negative_slope"},
    "CategoryEncoding": {"max_tokens": "num_tokens"},
    "Discretization": {"bins": "bin_boundaries"},
}


def modernise(config: Any) -> list[str]:
    """Edits a Keras 2 configuration in place so that Keras 3 reads it; returns what was changed, a line per key."""
    changes: dict[str, int] = {}
    for item, _ in list(_walk(config)):
        name, inner = item.get("class_name"), item.get("config")
        if not isinstance(name, str) or not isinstance(inner, dict):
            continue
        for layers, key, values in _NEUTRAL:
            if name in layers and key in inner and (values is None or inner[key] in values):
                del inner[key]
                changes[f"{name}.{key} left out"] = changes.get(f"{name}.{key} left out", 0) + 1
        for old, new in _RENAMED.get(name, {}).items():
            if old in inner and new not in inner:
                inner[new] = inner.pop(old)
        axis = inner.get("axis")
        if name.startswith("BatchNormalization") and isinstance(axis, list) and len(axis) == 1:
            inner["axis"] = axis[0]
        policy = inner.get("dtype")
        if isinstance(policy, dict) and policy.get("class_name") == "Policy":
            inner["dtype"] = (policy.get("config") or {}).get("name", "float32")
    return [f"{text}{f' ({n} times)' if n > 1 else ''}" for text, n in changes.items()]
