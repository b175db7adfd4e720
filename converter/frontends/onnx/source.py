"""Where a node came from, in the user's words: "net.py:88 forward()" when the exporter kept it, else its name."""

from __future__ import annotations

import re
from typing import Any

_FRAME = re.compile(r'File "(?P<file>[^"]+)", line (?P<line>\d+), in (?P<function>[\w<>.]+)')
_TS_FRAME = re.compile(r"(?P<file>[^\s(]+\.py)\((?P<line>\d+)\): (?P<function>[\w<>]+)")
# Frames of the framework say nothing to the user.
_FRAMEWORK = ("/torch/", "\\torch\\", "/onnxscript/", "<eval_with_key>")


def _short(path: str) -> str:
    return path.replace("\\", "/").rsplit("/", 1)[-1]


def where_of(node: Any, name: str) -> str:
    """Place of an ONNX NodeProto."""
    metadata = {p.key: p.value for p in node.metadata_props} if hasattr(node, "metadata_props") else {}
    for pattern, text in ((_FRAME, metadata.get("pkg.torch.onnx.stack_trace", "")), (_TS_FRAME, node.doc_string or "")):
        frames = list(pattern.finditer(text))
        if pattern is _FRAME:
            frames.reverse()
        for frame in frames:
            if not any(part in frame["file"] for part in _FRAMEWORK):
                return f"{_short(frame['file'])}:{frame['line']} {frame['function']}()"
    scopes = metadata.get("pkg.torch.onnx.name_scopes", "")
    parts = [p.strip(" '\"[]") for p in scopes.split(",")]
    parts = [p for p in parts if p]
    if parts:
        return f"module {parts[-1]}"
    return f"node {name}"
