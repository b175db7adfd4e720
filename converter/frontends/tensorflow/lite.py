"""TensorFlow's own TFLite converter, in the child process: a program becomes a .tflite, its failures become ours."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from edgec.converter.errors import Error, UnsupportedError, UnsupportedOp
from edgec.converter.frontends.tensorflow.program import Port, Program, Traced

# Training with simulated quantization leaves these; their ranges are then the model's quantization.
_FAKE_QUANT = {
    "FakeQuantWithMinMaxArgs", "FakeQuantWithMinMaxVars", "FakeQuantWithMinMaxVarsPerChannel", "QuantizeAndDequantizeV2",
    "QuantizeAndDequantizeV3", "QuantizeAndDequantizeV4",
}  # fmt: skip
_OLD_CONTROL_FLOW = {"Enter", "Exit", "NextIteration", "Switch", "Merge", "LoopCond"}


def to_tflite(program: Program) -> tuple[bytes, list[str]]:
    """(.tflite, notes).

    Loops over the steps of a recurrent network need a known batch: where the converter refuses an open one, it becomes
    1 in program.inputs.
    """
    failure: UnsupportedError | None = None
    for trace in (program.fused, program.trace):
        if trace is None:
            continue
        try:
            return _convert(trace(program.inputs)), []
        except UnsupportedError as e:
            failure = e
    assert failure is not None
    if not _has_open_batch(program.inputs):
        raise failure
    closed = [_batch_of_one(p) for p in program.inputs]
    try:
        data = _convert(program.trace(closed))
    except Error:
        raise failure from None
    program.inputs = closed
    return data, ["the batch size is fixed to 1: TensorFlow's converter does not allow another for this network"]


def _has_open_batch(ports: list[Port]) -> bool:
    return any(p.shape and p.shape[0] is None for p in ports)


def _batch_of_one(port: Port) -> Port:
    return replace(port, shape=[1, *port.shape[1:]]) if port.shape and port.shape[0] is None else port


def operators(graph: Any) -> Counter[str]:
    """How often each TensorFlow operator stands in a GraphDef, its inner functions included."""
    found = Counter(n.op for n in graph.node)
    found.update(n.op for f in graph.library.function for n in f.node_def)
    return found


def _convert(traced: Traced) -> bytes:
    from edgec.converter.frontends.tflite.registry import supported_operators

    try:
        return _attempt(traced, custom=False)
    except UnsupportedError as e:
        known = set(supported_operators()[1])
        if not e.ops or any(o.op not in known for o in e.ops):
            raise
    return _attempt(traced, custom=True)


def _attempt(traced: Traced, *, custom: bool) -> bytes:
    """custom: operators without a TFLite form are kept as custom operators under TensorFlow's names."""
    import tensorflow as tf
    from tensorflow.lite.python.convert_phase import ConverterError

    found = operators(traced.definition)
    old = sorted(_OLD_CONTROL_FLOW & set(found))
    converter = traced.converter()
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    converter.allow_custom_ops = custom
    if _FAKE_QUANT & set(found):
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    try:
        with _quiet():
            return bytes(converter.convert())
    except ConverterError as e:
        raise _unsupported(e, old) from None
    except MemoryError:
        raise
    except Exception as e:  # the converter also raises ValueError, InvalidArgumentError, SystemError...
        if old:
            raise _old_control_flow(old) from None
        text = str(getattr(e, "message", None) or e).strip()
        raise UnsupportedError(f"TensorFlow's converter refuses the model: {_first_line(text)}") from None


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The converter writes its diagnosis to the process' stderr; what matters of it is in its exception."""
    try:
        number = sys.__stderr__.fileno() if sys.__stderr__ is not None else 2
        kept = os.dup(number)
    except (OSError, ValueError):  # no stderr at all
        yield
        return
    try:
        with open(os.devnull, "wb") as nowhere:  # noqa: PTH123
            os.dup2(nowhere.fileno(), number)
        yield
    finally:
        os.dup2(kept, number)
        os.close(kept)


def _old_control_flow(names: list[str]) -> UnsupportedError:
    return UnsupportedError(
        f"the graph has loops or branches of TensorFlow 1 ({', '.join(names)}), which TensorFlow's converter cannot read",
        hint="export it as a SavedModel with TensorFlow 2 (tf.while_loop, tf.cond), or cut the part out: --inputs, --outputs",
    )


_DETAIL = re.compile(r"^\s*tf\.(\w+)\(")


def _unsupported(failure: Any, old: list[str]) -> UnsupportedError:
    """Operator names and nodes out of what the converter reports."""
    text = str(failure)
    counts: Counter[str] = Counter(m[1] for m in map(_DETAIL.match, text.splitlines()) if m)
    places: dict[str, str] = {}
    reasons: dict[str, str] = {}
    for data in getattr(failure, "errors", []) or []:
        op = data.operator.name.removeprefix("tf.")
        if not op or "Lowering tensor list ops is failed" in data.error_message:
            continue
        counts.setdefault(op, 1)
        places.setdefault(op, _place(data))
        reasons.setdefault(op, _first_line(data.error_message))
    if not counts:
        if old:
            return _old_control_flow(old)
        return UnsupportedError(f"TensorFlow's converter refuses the model: {_first_line(text)}")
    rows = [
        UnsupportedOp(op, count, places.get(op, ""), _advice(op, reasons.get(op, ""))) for op, count in counts.items()
    ]
    names = ", ".join(sorted(counts))
    return UnsupportedError(f"TensorFlow operators that have no TFLite form: {names}", rows)


def _advice(op: str, reason: str) -> str:
    if op.startswith("TensorList"):
        return "give every dimension a size: --shape (the number of steps and the batch)"
    if "neither a custom op nor a flex op" in reason or not reason:
        return "replace it by operators that TFLite has, or cut it off (--inputs, --outputs)"
    return reason


def _place(data: Any) -> str:
    """The innermost name of the node's location."""
    names = [c.name for c in data.location.call if c.name]
    for name in names:
        text = name.split("@")[0].split(";")[0].strip("\"' :")
        if text and not text.startswith(("PartitionedCall", "StatefulPartitionedCall", "callsite")):
            return text.removeprefix("graph/")
    return ""


def _first_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return (lines[0] if lines else "no reason given")[:300]
