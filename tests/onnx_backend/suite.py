"""The backend test suite of the installed `onnx` package: every node test and every light whole model.

One case = one function call per engine, so that the pytest module and the scoreboard run the very same thing.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.backend.test
from onnx import numpy_helper
from onnx.backend.test.runner import Runner

LIGHT = Path(onnx.backend.test.__file__).parent / "data" / "light"
# What the suite's own runner allows a light model, whose data.json gives no other.
LIGHT_RTOL, LIGHT_ATOL = 1e-3, 1e-7

# Takes the model, returns a function from a list of inputs to the list of outputs.
Engine = Callable[[onnx.ModelProto], Callable[[Sequence[Any]], Sequence[Any]]]


@dataclass(frozen=True)
class Case:
    """One test of the suite: `load` gives the model and its data sets of (inputs, expected outputs)."""

    name: str
    rtol: float
    atol: float
    load: Callable[[], tuple[onnx.ModelProto, list[tuple[list[Any], list[Any]]]]]


def _array(value: Any) -> Any:
    return numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else value


def _node_case(test: Any) -> Case:
    def load() -> tuple[onnx.ModelProto, list[tuple[list[Any], list[Any]]]]:
        return test.model, [([_array(v) for v in i], [_array(v) for v in o]) for i, o in test.data_sets]

    return Case(test.name, test.rtol, test.atol, load)


def _light_case(path: Path) -> Case:
    def load() -> tuple[onnx.ModelProto, list[tuple[list[Any], list[Any]]]]:
        model = onnx.load(path)
        initializers = {i.name for i in model.graph.initializer}
        inputs = [
            Runner.generate_dummy_data(i, seed=0, name=path.stem, random=False)
            for i in model.graph.input
            if i.name not in initializers
        ]
        outputs = []
        for i in range(len(model.graph.output)):
            tensor = onnx.TensorProto()
            tensor.ParseFromString(path.with_name(f"{path.stem}_output_{i}.pb").read_bytes())
            outputs.append(numpy_helper.to_array(tensor))
        return model, [(inputs, outputs)]

    return Case(path.stem, LIGHT_RTOL, LIGHT_ATOL, load)


@cache
def node_cases() -> list[Case]:
    """Every node test, in the suite's order."""
    from onnx.backend.test.loader import load_model_tests

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # NumPy warns while the suite computes overflowing references
        return [_node_case(t) for t in load_model_tests(kind="node")]


def light_cases() -> list[Case]:
    """The whole models whose weights the package carries."""
    return [_light_case(p) for p in sorted(LIGHT.glob("light_*.onnx"))]


def run_case(case: Case, engine: Engine) -> None:
    """Raises AssertionError when outputs differ, or whatever the engine raises."""
    model, data_sets = case.load()
    run = engine(model)
    for inputs, expected in data_sets:
        Runner.assert_similar_outputs(expected, list(run(inputs)), rtol=case.rtol, atol=case.atol)


def edgec_engine(model: onnx.ModelProto) -> Callable[[Sequence[Any]], Sequence[Any]]:
    """The real thing: converter, file in memory, session."""
    import edgec

    session = edgec.Session(edgec.convert(model, check=False))
    names = [i.name for i in session.inputs]

    def run(inputs: Sequence[Any]) -> Sequence[Any]:
        return session.run(None, dict(zip(names, (np.asarray(v) for v in inputs), strict=True)))

    return run


def onnxruntime_engine(model: onnx.ModelProto) -> Callable[[Sequence[Any]], Sequence[Any]]:
    """onnxruntime's CPU provider on the same model."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4

    def open_session(proto: onnx.ModelProto) -> Any:
        return onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])

    constants = {t.name for t in model.graph.initializer}
    names = [i.name for i in model.graph.input if i.name not in constants]
    small = {o.name: t for o in model.graph.output if (t := _small_type(o.type.tensor_type.elem_type)) is not None}
    session = None if small else open_session(model)

    def run(inputs: Sequence[Any]) -> Sequence[Any]:
        feeds = {n: np.asarray(v) if isinstance(v, np.generic) else v for n, v in zip(names, inputs, strict=True)}
        odd = {n: v for n, v in feeds.items() if isinstance(v, np.ndarray) and v.dtype.kind == "V"}
        if session is not None and not odd:
            return session.run(None, feeds)
        # NumPy interfaces take no bfloat16, float8 or 4 bits: they go in as constants and come out as float32, exactly.
        proto = onnx.ModelProto()
        proto.CopyFrom(model)
        kept = [i for i in model.graph.input if i.name not in odd]
        del proto.graph.input[:]
        proto.graph.input.extend(kept)
        proto.graph.initializer.extend(numpy_helper.from_array(v, n) for n, v in odd.items())
        for output in proto.graph.output:
            if output.name in small:
                wide = f"{output.name}_float32"
                proto.graph.node.append(onnx.helper.make_node("Cast", [output.name], [wide], to=onnx.TensorProto.FLOAT))
                output.name, output.type.tensor_type.elem_type = wide, onnx.TensorProto.FLOAT
        results = open_session(proto).run(None, {n: v for n, v in feeds.items() if n not in odd})
        return [
            r.astype(small[o.name]) if o.name in small else r for o, r in zip(model.graph.output, results, strict=True)
        ]

    return run


def _small_type(kind: int) -> Any:
    """The NumPy type of a tensor type that NumPy itself does not know; None for all others."""
    if kind in (onnx.TensorProto.UNDEFINED, onnx.TensorProto.STRING):
        return None
    dtype = onnx.helper.tensor_dtype_to_np_dtype(kind)
    return dtype if dtype.kind == "V" else None
