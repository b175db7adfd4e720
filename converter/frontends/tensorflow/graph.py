"""Frozen graphs and SavedModels in the child process: both become a GraphDef with its inputs and outputs named."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgec.converter.errors import BadFileError, InvalidArgumentError, UnsafeFileError, UnsupportedError
from edgec.converter.frontends.tensorflow.program import Port, Program, Traced, argument_name
from edgec.converter.frontends.tensorflow.scan import Node, refuse_dangerous
from edgec.converter.frontends.tensorflow.traced import TracedGraph

# What a training script leaves at the front of a graph; its outputs are where the network begins.
_FEEDS = ("Placeholder", "PlaceholderV2", "IteratorGetNext", "PlaceholderWithDefault", "OneShotIterator")
_NO_OUTPUTS = {"Const", "NoOp", "Assert", "Placeholder", "PlaceholderWithDefault", "Identity_", "Print", "SaveV2"}
# Restoring variables needs these and nothing else.
_RESTORING = {
    "RestoreV2", "Restore", "RestoreSlice", "Const", "Identity", "IdentityN", "NoOp", "Assign", "AssignVariableOp",
    "Placeholder", "PlaceholderWithDefault", "VarHandleOp", "VariableV2", "Variable", "PartitionedCall",
    "StatefulPartitionedCall", "Pack", "StringJoin", "ShardedFilename", "ReadVariableOp", "Reshape", "Cast",
    "StaticRegexFullMatch", "Select", "AssignAddVariableOp",
}  # fmt: skip


def saved_model(folder: str, signature: str | None, what: str) -> Program:
    """A signature of a SavedModel, its variables frozen. Works without restoring any Python object."""
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import (
        convert_variables_to_constants_from_session_graph as freeze,
    )
    from tensorflow.python.saved_model import loader_impl

    proto = loader_impl.parse_saved_model(folder)
    meta, name = _choose(proto, signature, what)
    chosen = meta.signature_def[name]
    if not chosen.outputs:
        raise UnsupportedError(
            f"{what}: the signature '{name}' has no outputs", hint="choose another: --signature NAME"
        )
    _check_restore(meta, what)
    tags = list(meta.meta_info_def.tags)
    with tf.Graph().as_default() as graph, tf.compat.v1.Session(graph=graph) as session:
        loader = loader_impl.SavedModelLoader(folder)
        saver, _ = loader.load_graph(graph, tags)
        try:
            loader.restore_variables(session, saver)
        except tf.errors.OpError as e:
            raise BadFileError(f"{what}: its variables cannot be read ({e.message.splitlines()[0][:300]})") from None
        inputs = [_port(tf, key, info) for key, info in sorted(chosen.inputs.items())]
        feeds = [info.name for _, info in sorted(chosen.inputs.items())]
        keys = sorted(chosen.outputs)
        fetches = [chosen.outputs[k].name for k in keys]
        if not all(feeds) or not all(fetches):
            raise UnsupportedError(f"{what}: the signature '{name}' takes or returns sparse or ragged tensors")
        frozen = freeze(session, graph.as_graph_def(), [f.split(":")[0] for f in fetches])
    _drop_unused_functions(frozen)
    nodes = [Node(n.name, n.op, list(n.input)) for n in frozen.node]
    nodes += [Node(n.name, n.op, [], f.signature.name) for f in frozen.library.function for n in f.node_def]
    _refuse_state(nodes, what)
    program = _program(frozen, inputs, feeds, keys, fetches)
    if name != "serving_default" or len(meta.signature_def) > 2:
        program.notes.append(f"signature '{name}'")
    return program


def _choose(proto: Any, signature: str | None, what: str) -> tuple[Any, str]:
    """The meta graph for serving and the name of the signature in it."""
    metas = [m for m in proto.meta_graphs if "serve" in m.meta_info_def.tags] or list(proto.meta_graphs)
    meta = next((m for m in metas if set(m.meta_info_def.tags) == {"serve"}), metas[0])
    names = [n for n in meta.signature_def if n not in ("__saved_model_init_op", "__saved_model_train_op")]
    if signature is not None:
        if signature in meta.signature_def:
            return meta, signature
        near = difflib.get_close_matches(signature, names, 1)
        raise InvalidArgumentError(
            f"{what} has no signature '{signature}'; it has: {', '.join(names) or '(none)'}",
            hint=f"did you mean '{near[0]}'?" if near else "",
        )
    if "serving_default" in names:
        return meta, "serving_default"
    if len(names) == 1:
        return meta, names[0]
    if not names:
        raise UnsupportedError(
            f"{what} has no signatures: nothing in it says what its inputs and outputs are",
            hint="save it again with tf.saved_model.save(model, folder, signatures=...) or model.export(folder)",
        )
    rows = "".join(f"\n  {n}: {_signature_text(meta.signature_def[n])}" for n in names)
    raise InvalidArgumentError(f"{what} has several signatures:{rows}", hint=f"choose one: --signature {names[0]}")


def _signature_text(signature: Any) -> str:
    def text(items: Any) -> str:
        rows = []
        for key, info in sorted(items.items()):
            dims = "?" if info.tensor_shape.unknown_rank else [d.size for d in info.tensor_shape.dim]
            rows.append(f"{key} {dims}")
        return ", ".join(rows)

    return f"{text(signature.inputs)} -> {text(signature.outputs)}"


def _port(tf: Any, key: str, info: Any) -> Port:
    shape = info.tensor_shape
    dims = None if shape.unknown_rank else [d.size if d.size >= 0 else None for d in shape.dim]
    return Port(key, tf.dtypes.as_dtype(info.dtype).name, dims)


def _check_restore(meta: Any, what: str) -> None:
    """Restoring runs a part of the file's own graph: only operators that restoring needs may stand in it."""
    if not meta.saver_def.restore_op_name:
        return
    nodes = {n.name: n for n in meta.graph_def.node}
    functions = {f.signature.name: f for f in meta.graph_def.library.function}
    todo, seen = [meta.saver_def.restore_op_name], set()
    while todo:
        name = todo.pop().lstrip("^").split(":")[0]
        if name in seen or name not in nodes:
            continue
        seen.add(name)
        node = nodes[name]
        bodies = [functions[a.func.name] for a in node.attr.values() if a.func.name in functions]
        for item in [node, *(n for b in bodies for n in b.node_def)]:
            if item.op not in _RESTORING:
                raise UnsafeFileError(
                    f"{what}: restoring its variables would run the operator {item.op} ({item.name}), which it does not need"
                )
        todo += node.input


def _drop_unused_functions(graph: Any) -> None:
    """A SavedModel's library also holds the functions that save and restore."""
    bodies = {f.signature.name: f for f in graph.library.function}

    def called(nodes: Any) -> set[str]:
        values = [a for n in nodes for a in n.attr.values()]
        return {f.name for a in values for f in [a.func, *a.list.func] if f.name in bodies}

    todo, used = called(graph.node), set()
    while todo:
        name = todo.pop()
        used.add(name)
        todo |= called(bodies[name].node_def) - used
    kept = [bodies[n] for n in bodies if n in used]
    for body in kept:
        # Both speak of the variables, which are frozen by now.
        body.attr.pop("_input_shapes", None)
        for argument in body.signature.input_arg:
            del argument.handle_data[:]
    del graph.library.function[:]
    graph.library.function.extend(kept)
    del graph.library.gradient[:]


def _refuse_state(nodes: Sequence[Node], what: str) -> None:
    refuse_dangerous(what, list(nodes), variable_files=False)
    left = [n for n in nodes if n.op in ("AssignVariableOp", "AssignAddVariableOp", "AssignSubVariableOp", "Assign")]
    if left:
        raise UnsupportedError(
            f"{what} changes {len(left)} variables while it runs ({left[0].place})",
            hint="export a form that takes its state as an input and returns it",
        )
    tables = [n for n in nodes if n.op.startswith(("HashTable", "LookupTable", "MutableHashTable"))]
    if tables:
        raise UnsupportedError(
            f"{what} looks values up in a table ({tables[0].place})",
            hint="do this before the model, or choose inputs behind it (--inputs)",
        )


# -- frozen graphs -------------------------------------------------------------------------------
def frozen_graph(path: str, inputs: Sequence[str], outputs: Sequence[str], what: str) -> Program:
    """A GraphDef. inputs and outputs: names of nodes or tensors; guessed where none are given."""
    import tensorflow as tf

    graph = tf.compat.v1.GraphDef()
    try:
        graph.ParseFromString(Path(path).read_bytes())
    except Exception as e:  # google.protobuf.message.DecodeError
        raise BadFileError(f"{what}: damaged or cut off ({e})") from None
    # Devices of the machine that trained it, and placements that mean nothing here.
    for node in graph.node:
        node.device = ""
        node.attr.pop("_class", None)
    shapes = _inferred(tf, graph, what)
    feeds = [_tensor(n, shapes, what, "input") for n in inputs] or _guess_inputs(graph, shapes, what)
    fetches = [_tensor(n, shapes, what, "output") for n in outputs] or _guess_outputs(graph, feeds, shapes, what)
    ports = [Port(_short(f, inputs), shapes[f][0], shapes[f][1] or _rank_of_use(f, graph, shapes)) for f in feeds]
    names = [_short(f, outputs) for f in fetches]
    for node in graph.node:
        if node.op == "PlaceholderWithDefault" and f"{node.name}:0" not in feeds:  # inference takes the default
            node.op = "Identity"
            node.attr["T"].type = node.attr["dtype"].type
            del node.attr["dtype"], node.attr["shape"]
    program = _program(graph, ports, feeds, names, fetches)
    if not inputs or not outputs:
        program.notes.append(f"inputs {', '.join(p.name for p in ports)}; outputs {', '.join(names)}")
    return program


def _inferred(tf: Any, graph: Any, what: str) -> dict[str, tuple[str, Any]]:
    """Every tensor of the graph: type and shape."""
    with tf.Graph().as_default() as live:
        try:
            tf.import_graph_def(graph, name="")
        except Exception as e:  # ValueError, InvalidArgumentError, NotFoundError: whatever the importer meets
            text = str(getattr(e, "message", None) or e)
            if "Op type not registered" in text:
                op = text.split("'")[1] if "'" in text else "?"
                raise UnsupportedError(
                    f"{what} uses the operator {op}, which TensorFlow itself does not have"
                ) from None
            raise BadFileError(f"{what}: TensorFlow refuses the graph ({text.splitlines()[0][:300]})") from None
        return {
            t.name: (t.dtype.name, t.shape.as_list() if t.shape.rank is not None else None)
            for op in live.get_operations()
            for t in op.outputs
        }


def _rank_of_use(feed: str, graph: Any, shapes: dict[str, Any]) -> list[int | None] | None:
    """The shape of an input that the graph leaves open altogether, from the first product that reads it."""
    if shapes[feed][1] is not None:
        return shapes[feed][1]
    names = {feed, feed.removesuffix(":0")}
    for node in graph.node:
        if not node.input or node.input[0] not in names:
            continue
        if node.op in ("Identity", "BiasAdd", "Relu", "Sub", "Mul", "Add", "AddV2"):
            names |= {node.name, f"{node.name}:0"}
        weights = (
            shapes.get(node.input[1] if ":" in node.input[1] else f"{node.input[1]}:0") if len(node.input) > 1 else None
        )
        sizes = weights[1] if weights is not None else None
        if node.op in ("Conv2D", "DepthwiseConv2dNative") and sizes and len(sizes) == 4:
            channels_first = node.attr["data_format"].s == b"NCHW"
            return [None, sizes[2], None, None] if channels_first else [None, None, None, sizes[2]]
        if node.op in ("MatMul", "BatchMatMul", "BatchMatMulV2") and sizes and len(sizes) == 2:
            transposed = node.attr["transpose_b"].b or node.attr["adj_y"].b
            return [None, sizes[1 if transposed else 0]]
        if node.op in ("MaxPool", "AvgPool"):
            return [None, None, None, None]
    return None


def _short(tensor: str, given: Sequence[str]) -> str:
    return tensor[:-2] if tensor.endswith(":0") and tensor not in given else tensor


def _tensor(name: str, shapes: dict[str, Any], what: str, kind: str) -> str:
    tensor = name if ":" in name else f"{name}:0"
    if tensor not in shapes:
        near = difflib.get_close_matches(tensor, shapes, 3)
        near_text = f"did you mean {', '.join(_short(n, ()) for n in near)}?" if near else ""
        raise InvalidArgumentError(f"{what} has no node '{name}' (--{kind}s)", hint=near_text)
    return tensor


def _guess_inputs(graph: Any, shapes: dict[str, Any], what: str) -> list[str]:
    used = {i for n in graph.node for i in n.input}
    found = []
    for node in graph.node:
        if node.op not in _FEEDS:
            continue
        for i in range(64):
            tensor = f"{node.name}:{i}"
            if tensor not in shapes:
                break
            if node.name not in used and tensor not in used and not (i == 0 and node.name in used):
                continue
            if shapes[tensor][0] in ("string", "resource", "variant"):
                continue
            if node.op == "PlaceholderWithDefault" and shapes[tensor][1] == []:
                continue  # keep_prob, is_training: the default is what inference wants
            found.append(tensor)
    if not found:
        raise InvalidArgumentError(
            f"{what}: no node of the graph looks like an input (Placeholder, IteratorGetNext)",
            hint="name it: --inputs NODE",
        )
    return found


def _guess_outputs(graph: Any, feeds: Sequence[str], shapes: dict[str, Any], what: str) -> list[str]:
    """Nodes that nobody uses and that depend on an input."""
    reached = {f.split(":")[0] for f in feeds}
    for _ in range(2):  # nodes need not stand in order; the second round reaches what the first one missed
        for node in graph.node:
            if node.name not in reached and any(i.lstrip("^").split(":")[0] in reached for i in node.input):
                reached.add(node.name)
    used = {i.lstrip("^").split(":")[0] for n in graph.node for i in n.input}
    found = []
    for node in graph.node:
        if node.name in used or node.name not in reached or node.op in _NO_OUTPUTS:
            continue
        found += [t for t in (f"{node.name}:{i}" for i in range(64)) if t in shapes]
    if not found:
        raise InvalidArgumentError(
            f"{what}: the graph has no node that looks like an output", hint="name it: --outputs NODE"
        )
    return found


def _program(graph: Any, inputs: list[Port], feeds: list[str], names: list[str], fetches: list[str]) -> Program:
    def trace(ports: Sequence[Port]) -> Traced:
        import tensorflow as tf

        with tf.Graph().as_default() as live:
            arguments = [
                tf.compat.v1.placeholder(tf.dtypes.as_dtype(p.dtype), p.shape, name=argument_name(i))
                for i, p in enumerate(ports)
            ]
            feed = dict(zip(feeds, arguments))
            results = tf.import_graph_def(graph, input_map=feed, return_elements=list(fetches), name="graph")
            return TracedGraph(live, arguments, [tf.identity(r) for r in results])

    return Program(inputs, names, trace)
