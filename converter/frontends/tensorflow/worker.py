"""The child process that loads TensorFlow and Keras files: `python -m edgec.converter.frontends.tensorflow.worker`.

It leaves model.tflite, inputs.npz and outputs.npz in its folder: the model, and what TensorFlow computes with it.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

from edgec.converter.errors import ResourceError

# Before TensorFlow is imported: no log noise, one thread (results then do not depend on the machine), no GPU.
os.environ.update(
    TF_CPP_MIN_LOG_LEVEL="3", TF_ENABLE_ONEDNN_OPTS="0", CUDA_VISIBLE_DEVICES="-1", KERAS_BACKEND="tensorflow",
    TF_NUM_INTRAOP_THREADS="1", TF_NUM_INTEROP_THREADS="1", MALLOC_ARENA_MAX="2", KERAS_HOME=os.getcwd(),
    TF_USE_LEGACY_KERAS="0",
)  # fmt: skip


def work(request: dict[str, Any]) -> dict[str, Any]:
    from edgec.converter.frontends.shapes import parse_shape
    from edgec.converter.frontends.tensorflow.lite import to_tflite
    from edgec.converter.frontends.tensorflow.program import Port, bind, example

    folder = Path(request["folder"])
    program = _load(request, folder)
    bind(program, [parse_shape(text) for text in request["shapes"]])
    data, notes = to_tflite(program)
    (folder / "model.tflite").write_bytes(data)
    given = None
    if request.get("given"):
        with np.load(request["given"], allow_pickle=False) as stored:
            given = {k: stored[k] for k in stored.files}
    ports: list[Port] = program.inputs
    result: dict[str, Any] = {
        "inputs": [{"name": p.name, "shape": p.shape, "dtype": p.dtype} for p in ports],
        "outputs": program.outputs,
        "notes": [*program.notes, *notes],
        "compared": False,
    }
    if request["check"]:
        arrays = example(ports, given, request["seed"])
        try:
            outputs = program.trace(ports).run(arrays)
        except ResourceError:
            raise
        except Exception as e:  # an input that does not fit is no reason to refuse the model
            result["notes"].append(f"not compared: TensorFlow does not run the model ({str(e).splitlines()[0][:200]})")
            return result
        np.savez(folder / "inputs.npz", **{str(i): a for i, a in enumerate(arrays)})  # type: ignore[arg-type]
        np.savez(folder / "outputs.npz", **{str(i): a for i, a in enumerate(outputs)})  # type: ignore[arg-type]
        result["compared"] = True
    return result


def _load(request: dict[str, Any], folder: Path) -> Any:
    kind, path, what = request["kind"], request["path"], request["what"]
    if kind == "h5":
        from edgec.converter.frontends.tensorflow.keras_load import load_h5

        return load_h5(path, folder, request["trust"], what)
    if kind == "keras":
        from edgec.converter.frontends.tensorflow.keras_load import load_keras

        return load_keras(path, folder, request["trust"], what)
    from edgec.converter.frontends.tensorflow.graph import frozen_graph, saved_model

    if kind == "saved_model":
        return saved_model(path, request["signature"], what)
    return frozen_graph(path, request["inputs"], request["outputs"], what)


if __name__ == "__main__":
    from edgec.converter.frontends.child_process import child_main

    sys.exit(child_main(sys.argv, work))
