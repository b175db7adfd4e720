"""TorchScript modules -> ONNX bytes. Imports torch; import it late."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from edgec.converter.errors import InvalidArgumentError, ShapeError, UnsupportedError
from edgec.converter.frontends.shapes import InputShape, bind_shapes
from edgec.converter.frontends.torch.export import (
    Exported,
    first_that_works,
    flat_tensors,
    legacy,
    make_inputs,
    operators,
    quiet,
    symbols_of,
    to_numpy,
)
from edgec.converter.frontends.torch.state import export_stateful, kept_state, mutated_attributes

_NUMBERS = {"int": int, "float": float, "bool": bool, "number": float}


def script_input_types(module: Any) -> list[tuple[str, str, list[int] | None, str | None]]:
    """(name, TorchScript type, sizes, dtype) of each argument of forward; sizes and dtype only when recorded."""
    import torch

    result = []
    for value in list(module.graph.inputs())[1:]:
        kind = value.type()
        sizes, dtype = None, None
        if isinstance(kind, torch._C.TensorType):
            sizes = kind.sizes()
            dtype = str(kind.dtype()).replace("torch.", "") if kind.dtype() is not None else None
        name = (
            value.debugName().rsplit(".", 1)[0] if value.debugName().rsplit(".", 1)[-1].isdigit() else value.debugName()
        )
        result.append((name, str(kind), [int(s) for s in sizes] if sizes else None, dtype))
    return result


def export_script(
    module: Any,
    shapes: Sequence[InputShape],
    args: tuple[Any, ...] | None = None,
    fixed: Mapping[str, Any] | None = None,
) -> Exported:
    """A TorchScript module. Its input shapes come from `args`, `shapes`, or the file when it recorded them.

    `fixed`: values of arguments that are numbers, by name; they become constants, as numbers among `args` do.
    """
    module.eval()
    types = script_input_types(module)
    numbers = _numbers(module, types, args, fixed or {})
    names = [t[0] for t in types if t[0] not in numbers]
    if args is not None:
        kept = [a for a, t in zip(args, types) if t[0] not in numbers]
        args = tuple(kept if len(args) == len(types) else args)
    call = _bound(module, [t[0] for t in types], numbers) if numbers else module
    stateful = mutated_attributes(module)
    if stateful and symbols_of(shapes):
        raise ShapeError(
            "a TorchScript module with state inside is converted for one shape, got a symbolic dimension",
            hint="give sizes, e.g. --shape 1x512",
        )
    expected: Any = None
    if args is None:
        wanted = _wanted(types, names, shapes)
        with kept_state(module, stateful):
            args, expected = make_inputs(wanted, call)
        shapes = wanted
    notes = [f"{name} is fixed to {value}" for name, value in numbers.items()]
    if stateful:
        result = export_stateful(module, call, stateful, args, names, notes)
    else:
        result = _export(call, shapes, args, expected, names, notes)
    result.fixed = list(numbers)
    return result


def _numbers(module: Any, types: Sequence[Any], args: Any, fixed: Mapping[str, Any]) -> dict[str, Any]:
    """Values of the arguments that are numbers: given by name, among the arguments, or the default."""
    defaults = {a.name: a for a in module.forward.schema.arguments[1:]}
    result = {}
    for index, (name, kind, _, _) in enumerate(types):
        if kind not in _NUMBERS:
            continue
        if name in fixed:
            value = fixed[name]
        elif args is not None and len(args) == len(types):
            value = args[index]
        elif name in defaults and defaults[name].has_default_value():
            value = defaults[name].default_value
        else:
            raise InvalidArgumentError(
                f"argument '{name}' of the TorchScript module is a number ({kind}), which becomes part of the model",
                hint=f"give its value: --fix {name}=VALUE, or fixed={{'{name}': VALUE}} in Python",
            )
        result[name] = _NUMBERS[kind](value.item() if hasattr(value, "item") else value)
    return result


def _bound(module: Any, names: Sequence[str], numbers: Mapping[str, Any]) -> Any:
    """The module as a function of its tensors."""
    import torch

    class Bound(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.module = module

        def forward(self, *tensors: Any) -> Any:
            rest = iter(tensors)
            return self.module(*[numbers[n] if n in numbers else next(rest) for n in names])

    return Bound().eval()


def _wanted(types: Sequence[Any], names: list[str], shapes: Sequence[InputShape]) -> list[InputShape]:
    bound = bind_shapes(shapes, names)
    wanted = []
    for name, kind, sizes, _ in types:
        if name not in names:
            continue
        if name in bound:
            wanted.append(bound[name])
        elif sizes is not None:
            wanted.append(InputShape(name, tuple(sizes)))
        elif "Tensor" in kind:
            missing = [n for n in names if n not in bound]
            raise ShapeError(
                f"the TorchScript file does not record the shape of its input{'s' if len(missing) > 1 else ''} "
                f"{', '.join(missing)}",
                hint=f"give it: --shape {'1x3x224x224' if len(names) == 1 else name + ':1x3x224x224'}",
            )
        else:
            raise UnsupportedError(f"input '{name}' of the TorchScript module is a {kind}, not a tensor")
    return wanted


def _export(
    module: Any, shapes: Sequence[InputShape], args: tuple[Any, ...], expected: Any, names: list[str], notes: list[str]
) -> Exported:
    import torch

    if expected is None:
        with torch.no_grad(), quiet():
            expected = module(*args)
    outputs = flat_tensors(expected)

    def exported() -> bytes:
        return legacy(module, args, names, len(outputs), shapes)

    def retraced() -> bytes:
        with quiet(), torch.no_grad():
            again = torch.jit.trace(module, args, check_trace=False)
        return legacy(again, args, names, len(outputs), shapes)

    strategies = [("TorchScript exporter (traced again)", retraced)]
    if isinstance(module, torch.jit.ScriptModule):
        strategies.insert(0, ("TorchScript exporter", exported))
    if not symbols_of(shapes):
        strategies.append(("operators as they run", lambda: operators(module, args, {}, names)))
    model, strategy = first_that_works(strategies, notes)
    return Exported(model, strategy, [to_numpy(t) for t in args], [to_numpy(t) for t in outputs], notes, names)
