"""Elementwise operators, constants and casts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from edgec.converter.errors import BadFileError
from edgec.converter.frontends.onnx.context import Context
from edgec.converter.frontends.onnx.model import dtype_name
from edgec.converter.frontends.onnx.registry import HANDLERS, MAIN, MICROSOFT, Unsupported, onnx_op
from edgec.converter.ir.graph import Value

# ONNX operators that are IR operators of the same name, inputs and output.
SAME = [
    "Abs",
    "Neg",
    "Relu",
    "Sigmoid",
    "Tanh",
    "Exp",
    "Log",
    "Sqrt",
    "Reciprocal",
    "Erf",
    "Softsign",
    "Softplus",
    "HardSwish",
    "Mish",
    "Floor",
    "Ceil",
    "Round",
    "Sign",
    "Sin",
    "Cos",
    "Tan",
    "Asin",
    "Acos",
    "Atan",
    "Sinh",
    "Cosh",
    "Asinh",
    "Acosh",
    "Atanh",
    "IsNaN",
    "Not",
    "BitwiseNot",
    "Add",
    "Sub",
    "Mul",
    "Div",
    "Pow",
    "PRelu",
    "Equal",
    "Less",
    "LessEqual",
    "Greater",
    "GreaterEqual",
    "And",
    "Or",
    "Xor",
    "BitwiseAnd",
    "BitwiseOr",
    "BitwiseXor",
    "Where",
]
RENAMED = {"LessOrEqual": "LessEqual", "GreaterOrEqual": "GreaterEqual"}

# ONNX operator -> (IR operator, {attribute: default}).
WITH_ATTRIBUTES: dict[str, tuple[str, dict[str, Any]]] = {
    "LeakyRelu": ("LeakyRelu", {"alpha": 0.01}),
    "Elu": ("Elu", {"alpha": 1.0}),
    "Selu": ("Selu", {"alpha": 1.67326319217681884765625, "gamma": 1.05070102214813232421875}),
    "Celu": ("Celu", {"alpha": 1.0}),
    "HardSigmoid": ("HardSigmoid", {"alpha": 0.2, "beta": 0.5}),
    "ThresholdedRelu": ("ThresholdedRelu", {"alpha": 1.0}),
    "Shrink": ("Shrink", {"lambd": 0.5, "bias": 0.0}),
    "Gelu": ("Gelu", {"approximate": "none"}),
    "IsInf": ("IsInf", {"detect_negative": 1, "detect_positive": 1}),
    "Mod": ("Mod", {"fmod": 0}),
    "BitShift": ("BitShift", {"direction": ""}),
}


def _same(op: str) -> Callable[[Context], Value]:
    def handler(c: Context) -> Value:
        return c.emit(op, [c.need(i) for i in range(len(c.inputs))])

    return handler


def _with_attributes(op: str, defaults: dict[str, Any]) -> Callable[[Context], Value]:
    def handler(c: Context) -> Value:
        attrs = {name: c.attr(name, default) for name, default in defaults.items()}
        return c.emit(op, [c.need(i) for i in range(len(c.inputs))], attrs)

    return handler


for _op in SAME:
    HANDLERS[(MAIN, _op)] = _same(_op)
for _op, _to in RENAMED.items():
    HANDLERS[(MAIN, _op)] = _same(_to)
for _op, (_to, _defaults) in WITH_ATTRIBUTES.items():
    HANDLERS[(MAIN, _op)] = _with_attributes(_to, _defaults)


@onnx_op("Pow")
def power(c: Context) -> Value:
    """The exponent may have another type; the result has the type of the base."""
    base, exponent = c.need(0), c.need(1)
    if base.dtype == exponent.dtype:
        return c.emit("Pow", [base, exponent])
    if base.dtype in ("f32", "f16", "f64", "bf16"):
        return c.emit("Pow", [base, c.cast(exponent, base.dtype)])
    wide = c.emit("Pow", [c.cast(base, "f64"), c.cast(exponent, "f64")])
    return c.cast(wide, base.dtype)


@onnx_op("Swish")
def swish(c: Context) -> Value:
    x = c.need(0)
    alpha = c.attr("alpha", 1.0)
    if alpha == 1.0:
        return c.emit("Silu", [x])
    return c.emit("Mul", [x, c.emit("Sigmoid", [c.emit("Mul", [x, c.like(alpha, x)])])])


@onnx_op("Min", "Max", "Sum")
def nary(c: Context) -> Value:
    op = {"Min": "Min", "Max": "Max", "Sum": "Add"}[c.op]
    result = c.need(0)
    for i in range(1, len(c.inputs)):
        result = c.emit(op, [result, c.need(i)])
    return result if len(c.inputs) > 1 else c.emit("Identity", [result])


@onnx_op("Mean")
def mean(c: Context) -> Value:
    result = c.need(0)
    for i in range(1, len(c.inputs)):
        result = c.emit("Add", [result, c.need(i)])
    return c.emit("Mul", [result, c.like(1.0 / len(c.inputs), result)])


@onnx_op("Clip")
def clip(c: Context) -> Value:
    """Bounds: attributes before opset 11, scalar inputs since. Only floats have the fused form."""
    x = c.need(0)
    low, high = c.input(1), c.input(2)
    if c.opset < 11:
        bounds = c.attr("min"), c.attr("max")
    else:
        known = [None if v is None else c.static(v) for v in (low, high)]
        bounds = tuple(None if k is None else k.reshape(-1)[0].item() for k in known)  # type: ignore[assignment]
        dynamic = any(v is not None and k is None for v, k in zip((low, high), known))
        if dynamic or x.dtype not in ("f32", "f16", "f64", "bf16"):
            # Min(Max(x, low), high): with low > high every element becomes high, as ONNX wants.
            result = x if low is None else c.emit("Max", [x, low])
            result = result if high is None else c.emit("Min", [result, high])
            return c.emit("Identity", [x]) if result is x else result
    attrs = {k: float(v) for k, v in zip(("min", "max"), bounds) if v is not None}
    if "min" in attrs and "max" in attrs and attrs["min"] > attrs["max"]:
        attrs["min"] = attrs["max"]
    return c.emit("Clip", [x], attrs)


@onnx_op("Identity")
def identity(c: Context) -> Any:
    return c.inputs[0]


@onnx_op("Dropout")
def dropout(c: Context) -> list[Value]:
    x = c.need(0)
    training = c.input(2)
    if training is not None and c.opset >= 12:
        mode = c.static(training)
        ratio = c.scalar(c.input(1), 0.5)
        if mode is None or (bool(mode.reshape(-1)[0]) and ratio != 0):
            raise Unsupported("dropout in training mode is random", "call model.eval() before exporting")
    mask = c.emit("ConstantOfShape", [c.emit("Shape", [x])], {"value": 1.0, "dtype": "bool"}) if c.wants(1) else None
    return [x, mask] if mask is not None else [x]


@onnx_op("Cast")
def cast(c: Context) -> Value:
    to = dtype_name(c.need_attr("to"))
    if to is None:
        raise Unsupported(f"cast to ONNX data type {c.attr('to')} (strings)")
    return c.cast(c.need(0), to, _cast_rules(c, to))


def _cast_rules(c: Context, to: str) -> dict[str, Any]:
    if not to.startswith(("f8", "f4")):
        return {}
    rules: dict[str, Any] = {"saturate": int(c.attr("saturate", 1))}
    mode = c.attr("round_mode")
    if mode is not None:
        rules["round_mode"] = mode if isinstance(mode, str) else mode.decode()
    return rules


@onnx_op("CastLike")
def cast_like(c: Context) -> Value:
    to = c.need(1).dtype
    return c.cast(c.need(0), to, _cast_rules(c, to))


@onnx_op("BitCast")
def bit_cast(c: Context) -> Value:
    x, to = c.need(0), dtype_name(c.need_attr("to"))
    if to is None:
        raise Unsupported("reinterpreting the bits of a tensor as strings")
    return c.emit("BitCast", [x], {"to": to})


@onnx_op("Constant")
def constant(c: Context) -> Value:
    for name, value in c.attributes.items():
        if name == "value":
            return c.importer.tensor_value(c.output_names[0], value)
        if name == "sparse_value":
            return c.const(c.importer.dense(value))
        if name in ("value_float", "value_floats"):
            return c.const(np.asarray(value, np.float32))
        if name in ("value_int", "value_ints"):
            return c.const(np.asarray(value, np.int64))
        if name in ("value_string", "value_strings"):
            raise Unsupported("string tensors")
    raise BadFileError(f"Constant '{c.name}' has no value")


@onnx_op("BiasGelu", domain=MICROSOFT)
def bias_gelu(c: Context) -> Value:
    return c.emit("Gelu", [c.emit("Add", [c.need(0), c.need(1)])], {"approximate": "none"})


@onnx_op("Gelu", domain=MICROSOFT)
def microsoft_gelu(c: Context) -> Value:
    return c.emit("Gelu", [c.need(0)], {"approximate": "none"})


@onnx_op("FastGelu", domain=MICROSOFT)
def fast_gelu(c: Context) -> Value:
    x = c.need(0)
    if c.input(1) is not None:
        x = c.emit("Add", [x, c.need(1)])
    return c.emit("Gelu", [x], {"approximate": "tanh"})


@onnx_op("QuickGelu", domain=MICROSOFT)
def quick_gelu(c: Context) -> Value:
    x = c.need(0)
    scaled = c.emit("Mul", [x, c.like(c.attr("alpha", 1.702), x)])
    return c.emit("Mul", [x, c.emit("Sigmoid", [scaled])])


@onnx_op("BiasAdd", domain=MICROSOFT)
def bias_add(c: Context) -> Value:
    return c.emit("Add", [c.emit("Add", [c.need(0), c.need(1)]), c.need(2)])
