"""TorchScript modules that keep state in their attributes: the state becomes inputs and outputs of the model.

The module runs once under torch's tracer of operators with its state given from outside; the calls before that bring the
state into its steady shape. From zeros the result must repeat what a fresh module computes, call after call.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from typing import Any

from edgec.converter.errors import UnsupportedError
from edgec.converter.frontends.torch.export import (
    Exported,
    dynamo,
    flat_tensors,
    portable_attention,
    quiet,
    rename_inputs,
    short,
    to_numpy,
)

CALLS = 3  # of a fresh module, to be repeated: start, first state of the full shape, steady
# The two runs compute the same operators; a few roundings apart because the fresh one may be fused by torch's JIT.
TOLERANCE = 1e-5


def mutated_attributes(module: Any) -> list[str]:
    """Dotted paths of the attributes that forward assigns: state between calls."""
    found: list[str] = []

    def path(value: Any) -> list[str] | None:
        node = value.node()
        if node.kind() == "prim::Param":
            return []
        if node.kind() != "prim::GetAttr":
            return None
        owner = path(next(iter(node.inputs())))
        return None if owner is None else [*owner, node.s("name")]

    def walk(block: Any) -> None:
        for node in block.nodes():
            if node.kind() == "prim::SetAttr":
                owner = path(next(iter(node.inputs())))
                if owner is None:
                    raise UnsupportedError(
                        f"the TorchScript module assigns the attribute '{node.s('name')}' of an object chosen at run time",
                        hint="export a version that takes its state as an input and returns it",
                    )
                found.append(".".join([*owner, node.s("name")]))
            for inner in node.blocks():
                walk(inner)

    try:
        graph = module.inlined_graph
    except RuntimeError:  # it calls itself
        graph = module.graph
    walk(graph)
    return list(dict.fromkeys(found))


def _owner(module: Any, path: str) -> tuple[Any, str]:
    prefix, _, name = path.rpartition(".")
    for part in prefix.split(".") if prefix else ():
        module = getattr(module, part)
    return module, name


def _get(module: Any, path: str) -> Any:
    owner, name = _owner(module, path)
    return getattr(owner, name)


def _set(module: Any, path: str, value: Any) -> None:
    owner, name = _owner(module, path)
    setattr(owner, name, value)


def _copy(value: Any) -> Any:
    return value.detach().clone() if hasattr(value, "detach") else value


@contextlib.contextmanager
def kept_state(module: Any, paths: Sequence[str]) -> Iterator[None]:
    """The module leaves the block with the state that it entered it with."""
    before = {p: _copy(_get(module, p)) for p in paths}
    try:
        yield
    finally:
        for path, value in before.items():
            _set(module, path, value)


def export_stateful(
    module: Any,
    call: Any,
    paths: Sequence[str],
    args: tuple[Any, ...],
    names: Sequence[str],
    notes: list[str],
) -> Exported:
    """`call` runs `module`, whose attributes `paths` are its state. Inputs and outputs for the state follow the others."""
    import torch
    from torch.fx.experimental.proxy_tensor import make_fx

    with (
        kept_state(module, paths),
        torch.no_grad(),
        quiet(),
        torch.jit.optimized_execution(False),
        portable_attention(),
    ):
        fresh = {p: _copy(_get(module, p)) for p in paths}
        recorded, settled = _fresh_calls(module, call, paths, args)
        states = [p for p in paths if isinstance(settled[p], torch.Tensor)]
        start = [settled[p] for p in states]

        def step(*values: Any) -> tuple[Any, ...]:
            for path, value in zip(states, values[len(args) :], strict=True):
                _set(module, path, value)
            result = flat_tensors(call(*values[: len(args)]))
            return (*result, *(_get(module, p).clone() for p in states))  # an output may be the state itself

        try:
            graph = make_fx(step)(*args, *start)
        except Exception as e:
            raise UnsupportedError(
                f"the TorchScript module cannot be traced with its state ({', '.join(states)}) from outside: {short(e)}",
                hint="export a version that takes its state as an input and returns it",
            ) from None
        labels = _labels(states, names)
        graph = _from_zeros(graph, args, states, fresh, start, recorded)
        rename_inputs(graph, [*names, *labels])
        results = graph(*args, *start)
        program = torch.export.export(graph, (*args, *start))
        plain = (
            ["output"]
            if len(results) == len(states) + 1
            else [f"output_{i}" for i in range(len(results) - len(states))]
        )
        model = dynamo(program, [*plain, *(f"new_{n}" for n in labels)])
    notes.append(
        f"the state inside became inputs that begin with zeros and outputs that replace them: {', '.join(labels)}; "
        "session.stream() keeps it"
    )
    return Exported(
        model,
        "TorchScript with its state lifted out",
        [to_numpy(t) for t in (*args, *start)],
        [to_numpy(t) for t in results],
        notes,
        [*names, *labels],
    )


def _inputs_of_call(args: tuple[Any, ...], index: int) -> tuple[Any, ...]:
    """Other values in every call: state that changes nothing would otherwise go unnoticed."""
    return tuple(a * (1 - 0.25 * index) if a.is_floating_point() else a for a in args)


def _fresh_calls(
    module: Any, call: Any, paths: Sequence[str], args: tuple[Any, ...]
) -> tuple[list[list[Any]], dict[str, Any]]:
    """Outputs of the first calls, and the state behind them. What is no tensor must have come to rest."""
    import torch

    recorded: list[list[Any]] = []
    before: dict[str, Any] = {}
    for index in range(CALLS):
        before = {p: _copy(_get(module, p)) for p in paths}
        recorded.append([t.clone() for t in flat_tensors(call(*_inputs_of_call(args, index)))])
    after = {p: _copy(_get(module, p)) for p in paths}
    for path, value in after.items():
        if isinstance(value, torch.Tensor):
            if not isinstance(before[path], torch.Tensor) or before[path].shape != value.shape:
                raise UnsupportedError(
                    f"the state '{path}' of the TorchScript module changes its shape from call to call",
                    hint="export a version that takes its state as an input of a fixed shape and returns it",
                )
        elif not isinstance(value, (int, float, bool, str, type(None))) or value != before[path]:
            raise UnsupportedError(
                f"the state '{path}' of the TorchScript module is a {type(value).__name__} that changes from call to call",
                hint="keep state in tensors, one attribute each",
            )
    return recorded, after


def _from_zeros(
    graph: Any,
    args: tuple[Any, ...],
    states: Sequence[str],
    fresh: dict[str, Any],
    start: Sequence[Any],
    recorded: Sequence[Sequence[Any]],
) -> Any:
    """The graph, whose state begins with zeros; where the module begins with other values, they are added inside."""
    import torch

    def repeats(candidate: Any) -> bool:
        values = [torch.zeros_like(s) for s in start]
        for index, expected in enumerate(recorded):
            results = candidate(*_inputs_of_call(args, index), *values)
            plain, values = results[: len(expected)], list(results[len(expected) :])
            for got, wanted in zip(plain, expected, strict=True):
                if got.shape != wanted.shape:
                    return False
                limit = TOLERANCE * max(float(wanted.abs().max()), 1.0) if wanted.numel() else 0.0
                if wanted.numel() and float((got - wanted).abs().max()) > limit:
                    return False
        return True

    if repeats(graph):
        return graph
    offsets = [
        fresh[p] if getattr(fresh[p], "shape", None) == s.shape else torch.zeros_like(s) for p, s in zip(states, start)
    ]

    class Shifted(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.graph = graph

        def forward(self, *values: Any) -> tuple[Any, ...]:
            moved = [v + o for v, o in zip(values[len(args) :], offsets, strict=True)]
            results = self.graph(*values[: len(args)], *moved)
            split = len(results) - len(offsets)
            return (*results[:split], *(r - o for r, o in zip(results[split:], offsets, strict=True)))

    from torch.fx.experimental.proxy_tensor import make_fx

    shifted = make_fx(Shifted())(*args, *start)
    if repeats(shifted):
        return shifted
    raise UnsupportedError(
        f"the TorchScript module does not begin with a state of zeros or of its own values ({', '.join(states)})",
        hint="export a version that takes its state as an input and returns it",
    )


def _labels(states: Sequence[str], taken: Sequence[str]) -> list[str]:
    """Names for the inputs that hold the state: "_state" is "state", "encoder.cache" is "encoder_cache"."""
    result: list[str] = []
    for path in states:
        name = re.sub(r"[^0-9A-Za-z]+", "_", path).strip("_") or "state"
        while name in taken or name in result:
            name += "_state"
        result.append(name)
    return result
