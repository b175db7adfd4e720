"""PyTorch programs -> ONNX bytes, by the exporters that PyTorch itself maintains. Imports torch; import it late.

Several strategies are tried in order; the result says which one worked and why the others did not.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edgec.converter.errors import InvalidArgumentError, ShapeError, UnsupportedError
from edgec.converter.frontends.shapes import InputShape, Symbol

TS_OPSET = 17  # the newest that the TorchScript exporter fully covers
SEED = 0


@dataclass
class Exported:
    """What an exporter gave: the ONNX bytes, and inputs and outputs of the source for the check."""

    model: bytes
    strategy: str
    inputs: list[np.ndarray]
    outputs: list[np.ndarray]
    notes: list[str] = field(default_factory=list)
    input_names: list[str] = field(default_factory=list)
    fixed: list[str] = field(default_factory=list)  # inputs of the source that became constants


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """The exporters print and log a lot that is meant for PyTorch's developers."""
    previous = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(previous)


@contextlib.contextmanager
def portable_attention() -> Iterator[None]:
    """torch.nn's transformer layers call fused kernels in inference, which neither exporter knows.

    They also look at the values of a mask to find out whether it is causal, which a trace cannot. The answer only
    chooses a kernel, the mask itself is applied in any case.
    """
    import torch
    from torch.nn.modules import transformer

    switch = getattr(torch.backends, "mha", None)  # from torch 2.3 on
    previous = switch.get_fastpath_enabled() if switch is not None else None
    detect = getattr(transformer, "_detect_is_causal_mask", None)
    try:
        if switch is not None:
            switch.set_fastpath_enabled(False)
        if detect is not None:
            transformer._detect_is_causal_mask = lambda mask, is_causal=None, size=None: is_causal is True
        yield
    finally:
        if switch is not None:
            switch.set_fastpath_enabled(previous)
        if detect is not None:
            transformer._detect_is_causal_mask = detect


def short(error: BaseException, limit: int = 200) -> str:
    """The first informative line of an exporter's error; exporters wrap the reason in advice on reporting bugs."""
    while error.__cause__ is not None and "Next steps" in str(error):
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[0] if lines else type(error).__name__
    return f"{type(error).__name__}: {text}"[:limit]


# -- inputs --------------------------------------------------------------------------------------
def to_tensors(values: Any) -> Any:
    """NumPy arrays inside tuples, lists and dicts become tensors."""
    import torch

    if isinstance(values, np.ndarray):
        return torch.from_numpy(np.ascontiguousarray(values))
    if isinstance(values, np.generic):
        return torch.tensor(values.item())
    if isinstance(values, tuple):
        return tuple(to_tensors(v) for v in values)
    if isinstance(values, list):
        return [to_tensors(v) for v in values]
    if isinstance(values, dict):
        return {k: to_tensors(v) for k, v in values.items()}
    return values


def flat_tensors(values: Any) -> list[Any]:
    """All tensors of nested tuples, lists, dicts and dataclass-like outputs, in order."""
    import torch
    from torch.utils import _pytree as pytree

    if isinstance(values, torch.Tensor):
        return [values]
    leaves = pytree.tree_leaves(values)
    if len(leaves) == 1 and leaves[0] is values and hasattr(values, "__dataclass_fields__"):
        leaves = [getattr(values, name) for name in values.__dataclass_fields__]
        leaves = pytree.tree_leaves([v for v in leaves if v is not None])
    return [v for v in leaves if isinstance(v, torch.Tensor)]


def to_numpy(tensor: Any) -> np.ndarray:
    import torch

    tensor = tensor.detach().cpu()
    if tensor.dtype == torch.bfloat16:
        tensor = tensor.float()
    return tensor.contiguous().numpy() if not tensor.is_sparse else tensor.to_dense().numpy()


def example_size(d: int | Symbol, axis: int) -> int:
    """A size to trace with. Not 1: exporters would take it for a constant."""
    if isinstance(d, int):
        return d
    wanted = 2 if axis == 0 else 32
    high = d.maximum or max(wanted, d.minimum)
    return max(min(max(wanted, d.minimum), high), 1)


_KINDS = ("float32", "int64", "bool")


def random_tensor(dims: Sequence[int], kind: str, generator: Any) -> Any:
    import torch

    if kind == "int64":
        return torch.randint(0, 2, tuple(dims), generator=generator)
    if kind == "bool":
        return torch.ones(tuple(dims), dtype=torch.bool)
    if kind == "float32":
        return torch.randn(tuple(dims), generator=generator)
    return torch.zeros(tuple(dims), dtype=getattr(torch, kind))


def make_inputs(shapes: Sequence[InputShape], call: Callable[..., Any]) -> tuple[tuple[Any, ...], Any]:
    """Random inputs of these shapes with data types that the module accepts: floats first, then integers.

    Returns the inputs and what `call` gave for them. Raises ShapeError with the module's own words.
    """
    import torch

    generator = torch.Generator().manual_seed(SEED)
    sizes = [[example_size(d, i) for i, d in enumerate(s.dims)] for s in shapes]
    fixed = [getattr(s, "dtype", None) for s in shapes]
    combinations = list(itertools.islice(itertools.product(*[[f] if f else _KINDS for f in fixed]), 243))
    combinations.sort(key=lambda c: (c.count("bool"), c.count("int64")))  # as many floats as the module takes
    first: BaseException | None = None
    for kinds in combinations:
        inputs = tuple(random_tensor(s, k, generator) for s, k in zip(sizes, kinds))
        try:
            with torch.no_grad(), quiet():
                return inputs, call(*inputs)
        except Exception as e:
            first = first or e
            if not _about_types(e):
                break
    assert first is not None
    text = "; ".join("x".join(map(str, s)) for s in sizes)
    raise ShapeError(
        f"the network does not accept inputs of shape {text}: {short(first)}",
        hint="give the shapes that it was made for (--shape, once per input), or example_inputs in Python",
    )


def _about_types(error: BaseException) -> bool:
    text = str(error).lower()
    return any(
        w in text for w in ("dtype", "scalar type", "type", "indices", "expected tensor for argument", "long", "bool")
    )


def symbols_of(shapes: Sequence[InputShape]) -> bool:
    return any(isinstance(d, Symbol) for s in shapes for d in s.dims)


# -- exporters -----------------------------------------------------------------------------------
def legacy(module: Any, args: tuple[Any, ...], names: list[str], outputs: int, shapes: Sequence[InputShape]) -> bytes:
    """The TorchScript exporter."""
    import torch

    buffer = io.BytesIO()
    out_names = ["output"] if outputs == 1 else [f"output_{i}" for i in range(outputs)]
    axes = {
        name: {i: d.name for i, d in enumerate(shape.dims) if isinstance(d, Symbol)}
        for name, shape in zip(names, shapes)
        if any(isinstance(d, Symbol) for d in shape.dims)
    }
    torch._C._jit_set_onnx_log_enabled(False)  # C++ would print the whole graph of a network that cannot be exported
    with quiet(), torch.no_grad():
        torch.onnx.export(
            module,
            args,
            buffer,
            dynamo=False,
            opset_version=TS_OPSET,
            do_constant_folding=False,
            input_names=names or None,
            output_names=out_names,
            dynamic_axes=axes or None,
        )
    return buffer.getvalue()


def dynamo(program: Any, names: Sequence[str] = ()) -> bytes:
    """The exporter for torch.export programs. `names`: of the outputs; without, they are output, or output_0..."""
    import torch

    from edgec.converter.frontends.torch.decompositions import decompose

    with quiet(), torch.no_grad():
        result = torch.onnx.export(decompose(program), dynamo=True, optimize=False, verbose=False)
        proto = result.model_proto
    _distinct_outputs(proto.graph)
    outputs = list(proto.graph.output)
    inputs = {i.name for i in proto.graph.input}
    names = names or (["output"] if len(outputs) == 1 else [f"output_{i}" for i in range(len(outputs))])
    taken = {n for node in proto.graph.node for n in node.output} | inputs | {t.name for t in proto.graph.initializer}
    own = {o.name for o in outputs}
    if not own & inputs and len(own) == len(outputs) and not (set(names) & (taken - own)):
        _rename_outputs(proto.graph, dict(zip([o.name for o in outputs], names)))
    return bytes(proto.SerializeToString())


def _distinct_outputs(graph: Any) -> None:
    """A tensor that the network returns twice gets a second name for the second time."""
    seen: set[str] = set()
    for info in graph.output:
        if info.name in seen:
            node = graph.node.add(op_type="Identity", input=[info.name], output=[f"{info.name}_again_{len(seen)}"])
            info.name = node.output[0]
        seen.add(info.name)


def _rename_outputs(graph: Any, names: Mapping[str, str]) -> None:
    """ "linear_3" says nothing to a user: outputs are called output, or output_0..."""
    for node in graph.node:
        for refs in (node.input, node.output):
            for i, name in enumerate(refs):
                if name in names:
                    refs[i] = names[name]
    for info in itertools.chain(graph.output, graph.value_info):
        if info.name in names:
            info.name = names[info.name]
    for tensor in graph.initializer:
        if tensor.name in names:
            tensor.name = names[tensor.name]


def _dynamic_shapes(args: Sequence[Any], kwargs: Mapping[str, Any], shapes: Sequence[InputShape]) -> Any:
    """torch.export's description of the symbolic dimensions, one entry per argument."""
    import torch

    if not symbols_of(shapes):
        return None
    dims: dict[str, Any] = {}
    found = []
    for shape in shapes:
        entry = {}
        for axis, d in enumerate(shape.dims):
            if isinstance(d, Symbol):
                name = "".join(ch if ch.isalnum() or ch == "_" else "_" for ch in d.name)
                limits = {"min": d.minimum} | ({"max": d.maximum} if d.maximum else {})
                entry[axis] = dims.setdefault(name, torch.export.Dim(name, **limits))
        found.append(entry or None)
    if kwargs:
        return dict(zip(kwargs, found))
    return tuple(found)


def export_module(
    module: Any,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    shapes: Sequence[InputShape],
    expected: Any = None,
) -> Exported:
    """An nn.Module in Python. Strategies: torch.export (non-strict, strict), then jit.trace."""
    import torch

    notes: list[str] = []
    was_training = bool(getattr(module, "training", False))
    if was_training:
        module.eval()
        notes.append("converted in evaluation mode (model.eval())")
    try:
        if expected is None or was_training:
            with torch.no_grad(), quiet():
                expected = module(*args, **kwargs)
        tensors = flat_tensors(expected)
        inputs = flat_tensors((args, kwargs))
        with portable_attention():
            model, strategy = first_that_works(_module_strategies(module, args, kwargs, shapes, len(tensors)), notes)
    finally:
        if was_training:
            module.train()
    return Exported(model, strategy, [to_numpy(t) for t in inputs], [to_numpy(t) for t in tensors], notes)


def _module_strategies(
    module: Any, args: tuple[Any, ...], kwargs: dict[str, Any], shapes: Sequence[InputShape], outputs: int
) -> list[tuple[str, Callable[[], bytes]]]:
    import torch

    def program(strict: bool = False, deferred: bool = False) -> bytes:
        with quiet(), torch.no_grad():
            dynamic = _dynamic_shapes(args, kwargs, shapes)
            options = {"prefer_deferred_runtime_asserts_over_guards": True} if deferred else {}
            exported = torch.export.export(
                module, args, kwargs or None, dynamic_shapes=dynamic, strict=strict, **options
            )
        return dynamo(exported)

    def traced() -> bytes:
        names = _argument_names(module, len(args))
        return legacy(module, (*args, kwargs) if kwargs else args, names, outputs, shapes)

    strategies = [
        ("torch.export", program),
        ("torch.export (strict)", lambda: program(strict=True)),
        ("torch.jit.trace", traced),
    ]
    if not symbols_of(shapes):
        strategies.insert(2, ("operators as they run", lambda: operators(module, args, kwargs)))
    else:  # conditions on sizes that torch cannot prove for the whole range are left to the run
        strategies.insert(1, ("torch.export (deferred conditions)", lambda: program(deferred=True)))
    return strategies


def operators(module: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], names: Sequence[str] = ()) -> bytes:
    """The operators that one call runs: decisions on values are taken as in this call, like jit.trace does.

    Unlike jit.trace, writes through views are followed, and outputs that are no tensors (caches) are left out.
    """
    import torch
    from torch.fx.experimental.proxy_tensor import make_fx
    from torch.utils import _pytree as pytree

    leaves, spec = pytree.tree_flatten((args, dict(kwargs)))
    places = [i for i, leaf in enumerate(leaves) if isinstance(leaf, torch.Tensor)]
    tensors = [leaves[i] for i in places]

    def call(*given: Any) -> tuple[Any, ...]:
        values = list(leaves)
        for place, tensor in zip(places, given, strict=True):
            values[place] = tensor
        positional, named = pytree.tree_unflatten(values, spec)
        return tuple(flat_tensors(module(*positional, **named)))

    with quiet(), torch.no_grad():
        with portable_attention(), torch.jit.optimized_execution(False):
            graph = make_fx(call, tracing_mode="real", _error_on_data_dependent_ops=False)(*tensors)
        names = names or [*(_argument_names(module, len(args)) or [""] * len(args)), *kwargs]
        if len(names) == len(tensors) and all(names):
            rename_inputs(graph, names)
        return dynamo(torch.export.export(graph, tuple(tensors)))


def rename_inputs(graph: Any, names: Sequence[str]) -> None:
    """Names for the inputs of an fx.GraphModule, in order."""
    places = [n for n in graph.graph.nodes if n.op == "placeholder"]
    for node, name in zip(places, names, strict=True):
        node.target = name
        node._rename(name)
    graph.recompile()


def _argument_names(module: Any, count: int) -> list[str]:
    import inspect

    try:
        parameters = list(inspect.signature(module.forward).parameters.values())
    except (TypeError, ValueError):
        return []
    names = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)][:count]
    return names if len(names) == count else []


def first_that_works(strategies: Sequence[tuple[str, Callable[[], bytes]]], notes: list[str]) -> tuple[bytes, str]:
    failures = []
    for name, run in strategies:
        try:
            return run(), name
        except Exception as e:
            failures.append(f"{name}: {short(e)}")
            notes.append(f"{name} failed: {short(e)}")
    raise UnsupportedError(
        "PyTorch could not export the network:\n  " + "\n  ".join(failures),
        hint="remove Python control flow that depends on tensor values, or export to ONNX yourself and convert the .onnx",
    )


def export_program(program: Any, args: tuple[Any, ...] | None = None, kwargs: dict[str, Any] | None = None) -> Exported:
    """A torch.export.ExportedProgram, with its own example inputs unless others are given."""
    import torch

    if args is None:
        example = program.example_inputs
        if not example:
            raise ShapeError(
                "the exported program carries no example inputs",
                hint="give the input shapes (--shape) or example_inputs in Python",
            )
        args, kwargs = tuple(example[0]), dict(example[1] or {})
    kwargs = kwargs or {}
    with torch.no_grad(), quiet():
        callable_module = program.module()
        outputs = flat_tensors(callable_module(*args, **kwargs))
    notes: list[str] = []
    model, strategy = first_that_works(
        [
            ("torch.export program", lambda: dynamo(program)),
            ("operators as they run", lambda: operators(callable_module, args, kwargs)),
            ("torch.jit.trace of the program", lambda: legacy(callable_module, args, [], len(outputs), ())),
        ],
        notes,
    )
    inputs = flat_tensors((args, kwargs))
    return Exported(model, strategy, [to_numpy(t) for t in inputs], [to_numpy(t) for t in outputs], notes)


def program_inputs(program: Any, shapes: Sequence[InputShape]) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
    """Inputs of the asked-for shapes, with the data types that the program declares; None: use its own."""
    example = program.example_inputs
    if not shapes:
        return None
    names = list(program.graph_signature.user_inputs)
    from edgec.converter.frontends.shapes import bind_shapes, dims_text

    bound = bind_shapes(shapes, [str(n) for n in names])
    flat = flat_tensors(example) if example else []
    for name, tensor in zip(names, flat):
        wanted = bound.get(str(name))
        if wanted is None:
            continue
        if not symbolic_matches(tensor.shape, wanted.dims) and not program.range_constraints:
            raise ShapeError(
                f"the exported program was made for {name}:{'x'.join(map(str, tensor.shape))}, not {dims_text(wanted.dims)}",
                hint="export it again with that shape or with dynamic_shapes, or convert the nn.Module",
            )
    return None


def symbolic_matches(shape: Sequence[int], dims: Sequence[int | Symbol]) -> bool:
    return len(shape) == len(dims) and all(isinstance(d, int) and d == int(s) for s, d in zip(shape, dims))


def load_factory(spec: str, folder: str | None = None) -> Any:
    """Imports `package.module:name` and builds the network. Runs the user's code: only on explicit request."""
    import importlib

    import torch

    module_name, _, attribute = spec.partition(":")
    if not attribute:
        raise InvalidArgumentError(f"--model '{spec}': expected package.module:factory, e.g. net:Net or net:build()")
    attribute = attribute.removesuffix("()")
    if folder is not None and folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        target: Any = importlib.import_module(module_name)
        for part in attribute.split("."):
            target = getattr(target, part)
    except ImportError as e:
        raise InvalidArgumentError(
            f"--model '{spec}': cannot import '{module_name}' ({e})",
            hint=f"run it from the folder that holds it (now {os.getcwd()})",
        ) from None
    except AttributeError as e:
        raise InvalidArgumentError(f"--model '{spec}': {e}") from None
    network = target if isinstance(target, torch.nn.Module) else target()
    if not isinstance(network, torch.nn.Module):
        raise InvalidArgumentError(f"--model '{spec}' gave a {type(network).__name__}, not a torch.nn.Module")
    return network
