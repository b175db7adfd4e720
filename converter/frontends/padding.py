"""ONNX padding attributes as explicit numbers."""

from __future__ import annotations

from collections.abc import Sequence

from edgec.converter.errors import BadFileError
from edgec.converter.frontends.onnx.context import Context
from edgec.converter.frontends.onnx.registry import Unsupported


def explicit_pads(
    c: Context,
    sizes: Sequence[int | None],
    kernel: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
) -> tuple[list[int], list[int]]:
    """Pads before and after each spatial dimension from `pads` or `auto_pad`.

    SAME needs the input size, except where the stride is 1 (then it does not depend on it).
    """
    rank = len(kernel)
    auto = c.attr("auto_pad", "NOTSET") or "NOTSET"
    if auto in ("NOTSET", "VALID"):
        pads = [int(p) for p in c.attr("pads", [0] * (2 * rank))] if auto == "NOTSET" else [0] * (2 * rank)
        if len(pads) != 2 * rank:
            raise BadFileError(f"{c.op} '{c.name}': pads has {len(pads)} entries, expected {2 * rank}")
        return pads[:rank], pads[rank:]
    if auto not in ("SAME_UPPER", "SAME_LOWER"):
        raise BadFileError(f"{c.op} '{c.name}': auto_pad '{auto}' does not exist")
    begin, end = [], []
    for size, k, stride, dilation in zip(sizes, kernel, strides, dilations):
        reach = dilation * (k - 1) + 1
        if stride == 1:
            total = reach - 1
        elif size is None:
            raise Unsupported("auto_pad SAME with a symbolic size and a stride", "give fixed sizes with --shape")
        else:
            total = max((-(-size // stride) - 1) * stride + reach - size, 0)
        small, large = total // 2, total - total // 2
        begin.append(small if auto == "SAME_UPPER" else large)
        end.append(large if auto == "SAME_UPPER" else small)
    return begin, end
