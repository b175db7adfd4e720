"""The child process that loads a PyTorch file: `python -m edgec.converter.frontends.torch.worker request.json`.

A TorchScript file is a program. It runs here, with limits on time, memory and file size and without network, and the
result comes back as ONNX bytes and arrays, never as Python objects.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import traceback
from pathlib import Path
from typing import Any

import numpy as np


def limit(seconds: int, memory: int, file_size: int) -> None:
    """Resource limits of this process; what the system does not offer is left out."""
    try:
        import resource
    except ImportError:
        return
    for kind, value in (
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_FSIZE, file_size),
    ):
        with contextlib.suppress(ValueError, OSError):
            hard = resource.getrlimit(kind)[1]
            value = value if hard == resource.RLIM_INFINITY else min(value, hard)
            resource.setrlimit(kind, (value, hard))
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def no_network() -> None:
    """An own, empty network namespace where the system allows one."""
    with contextlib.suppress(Exception):
        import ctypes

        libc = ctypes.CDLL(None, use_errno=True)
        libc.unshare(0x10000000 | 0x40000000)  # CLONE_NEWUSER | CLONE_NEWNET


def main(request_path: str) -> int:
    request = json.loads(Path(request_path).read_text())
    out = Path(request["out"])
    limit(request["seconds"], request["memory"], request["file_size"])
    no_network()
    try:
        result = work(request)
    except MemoryError:
        result = {"error": "ResourceError", "message": "the child process ran out of memory while loading the model"}
    except Exception as e:  # every failure becomes a message for the parent
        from edgec.errors import Error

        if isinstance(e, Error):
            result = {"error": type(e).__name__, "message": e.message, "hint": e.hint}
        else:
            result = {
                "error": "",
                "message": f"{type(e).__name__}: {str(e)[:2000]}",
                "trace": traceback.format_exc()[-4000:],
            }
    (out / "result.json").write_text(json.dumps(result))
    return 0


def work(request: dict[str, Any]) -> dict[str, Any]:
    import torch

    from edgec.converter.frontends.shapes import parse_shape
    from edgec.converter.frontends.torch import export as exporter
    from edgec.converter.frontends.torch.script import export_script

    torch.set_num_threads(max(1, min(4, os.cpu_count() or 1)))
    shapes = [parse_shape(text) for text in request["shapes"]]
    arrays = None
    if request.get("inputs"):
        with np.load(request["inputs"], allow_pickle=False) as stored:
            arrays = tuple(torch.from_numpy(stored[k]) for k in sorted(stored.files, key=int))
    path = request["path"]
    if request["kind"] == "TORCHSCRIPT":
        module = torch.jit.load(path, map_location="cpu")
        exported = export_script(module, shapes, arrays, request["fixed"])
    else:
        program = torch.export.load(path)
        exporter.program_inputs(program, shapes)
        exported = exporter.export_program(program, arrays)
    out = Path(request["out"])
    (out / "model.onnx").write_bytes(exported.model)
    np.savez(out / "inputs.npz", **{str(i): a for i, a in enumerate(exported.inputs)})  # type: ignore[arg-type]
    np.savez(out / "outputs.npz", **{str(i): a for i, a in enumerate(exported.outputs)})  # type: ignore[arg-type]
    return {
        "strategy": exported.strategy,
        "notes": exported.notes,
        "names": exported.input_names,
        "fixed": exported.fixed,
        "torch": torch.__version__,
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
