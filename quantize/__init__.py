"""Quantization: `edgec.quantize(model, calibration=...)`; the steps are in `quantizer.py`, the manual in docs/quantization.md."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgec.model import Model


def quantize(
    model: Model | str | os.PathLike[str] | Any,
    calibration: Any = None,
    *,
    weights: str | None = None,
    group: int = 32,
    preprocess: str | None = None,
    samples: int = 128,
    method: str = "auto",
    per_tensor: bool = False,
    keep_float: str | Sequence[str] = (),
    equalize: bool = True,
    bias_correction: bool = True,
    adaround: bool | None = None,
    max_drop: float | None = None,
    metric: Any = "sqnr",
    evaluation: Any = None,
    threads: int = 1,
    progress: Callable[[str, int, int], None] | None = None,
    **convert: Any,
) -> Model:
    """An 8-bit model of a float model; its `report["quantization"]` says what was lost where, and why.

    model        a Model, a `.edge` file, or anything that `edgec.convert` takes (`convert` holds options for it)
    calibration  samples of what the model will see: a folder of pictures (`preprocess` says how they become tensors) or
                 arrays, an .npy or .npz, an array, an iterable of arrays, tuples or dicts, "module:function"
    weights      "int8", "int4" or "f16": only the weights become smaller, in groups of `group`; needs no calibration
    samples      at most so many are used
    method       "minmax", "percentile", "kl", "mse", or "auto": per tensor whatever harms the outputs least
    per_tensor   one scale for all output channels of a weight (only for comparisons; it costs accuracy)
    keep_float   names or patterns (`*` and `?`) of layers or tensors that stay in floating point
    equalize     scale channels so that few of them do not take the whole range
    bias_correction  remove the mean error of every layer
    adaround     learn which weights to round up; None: where it is affordable
    max_drop     with `metric`: layers return to floating point until the loss is at most this
    metric       "sqnr", "cosine", "agreement", "top1", "module:function", or a function (float outputs, int8 outputs,
                 labels) -> score, larger is better
    evaluation   samples, or (samples, labels), to measure on; default: the calibration samples

    Raises UsageError (data), UnsupportedError, and what `edgec.convert` raises.

    >>> small = edgec.quantize("net.edge", calibration="photos/", preprocess="rgb,resize=256,crop=224")
    >>> small.save("net-int8.edge")
    """
    from edgec.quantize.api import Settings, run

    settings = Settings(
        weights=weights,
        group=group,
        preprocess=preprocess,
        samples=samples,
        method=method,
        per_tensor=per_tensor,
        keep_float=(keep_float,) if isinstance(keep_float, str) else tuple(keep_float),
        equalize=equalize,
        bias_correction=bias_correction,
        adaround=adaround,
        max_drop=max_drop,
        metric=metric,
        evaluation=evaluation,
        threads=threads,
        progress=progress,
    )
    return run(model, calibration, convert, settings)


class _CallableModule(ModuleType):
    """`edgec.quantize` is this package and, for users, also the function: `edgec.quantize(model, ...)`."""

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        return quantize(*arguments, **options)


sys.modules[__name__].__class__ = _CallableModule
