"""Caffe network (prototxt) and weights (caffemodel) -> Graph, without Caffe.

The text says what the network is; the weights come by the layers' names, as Caffe matches them. What the test phase
leaves out, losses and readers of data sets are dropped.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from edgec.converter.errors import BadFileError, IoError, ShapeError, UnsupportedError
from edgec.converter.frontends.caffe import registry as caffe_registry
from edgec.converter.frontends.caffe import text as caffe_text
from edgec.converter.frontends.caffe import wire as caffe_wire
from edgec.converter.frontends.caffe.context import CaffeContext, Weights
from edgec.converter.frontends.caffe.text import Message
from edgec.converter.frontends.layers.importer import MAX_LAYERS, Layer, LayerImporter
from edgec.converter.frontends.shapes import InputShape, bind_shapes
from edgec.converter.ir.graph import Graph

_PHASES = {"TRAIN": 0, "0": 0, "TEST": 1, "1": 1}


def import_caffe(
    definition: str | os.PathLike[str],
    weights: str | os.PathLike[str] | None,
    shapes: Sequence[InputShape] = (),
    fixed: Mapping[str, np.ndarray] | None = None,
    random_seed: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Graph, list[str]]:
    """The graph of a prototxt with the weights of a caffemodel, and remarks for the report.

    weights None with a `random_seed`: random weights. Raises BadFileError, UnsupportedError (all missing layers),
    ShapeError.
    """
    net = _read_text(Path(definition))
    file = Weights.random(random_seed) if weights is None and random_seed is not None else None
    if file is None:
        assert weights is not None
        file = Weights.of(caffe_wire.read_weights(weights), Path(weights).name)
    network = _network(net)
    used = {name for layer in network.layers for name in layer.inputs}
    inputs = _declared_inputs(net, network.layers)
    notes = ["weights are random (--random-weights)"] if weights is None else []
    for data in network.data:
        if data.name in used and data.name not in dict(inputs):
            inputs.append((data.name, data.shape))
            notes += [data.remark] if data.remark else []
    layers = [layer for layer in network.layers if layer.type != "Input"]
    _check_names(inputs, layers)
    bound = bind_shapes(shapes, [name for name, _ in inputs if name not in (fixed or {})])
    graph = Graph(net.text("name", "") or Path(definition).stem)
    importer = LayerImporter("Caffe", caffe_registry.load_all(), CaffeContext, graph, dict(fixed or {}))
    for name, dims in inputs:
        importer.declare_input(name, dims, bound.get(name))
    for layer in layers:
        layer.weights = file
    importer.run(layers, progress)
    outputs = _outputs([n for n, _ in inputs], layers, network.silenced)
    return importer.finish(outputs), [*notes, *importer.notes, *file.remarks()]


def _read_text(path: Path) -> Message:
    try:
        with path.open("rb") as f:
            raw = f.read(caffe_text.MAX_BYTES + 1)
    except OSError as e:
        raise IoError(f"cannot read {path}: {e.strerror}") from None
    net = caffe_text.parse(raw.decode("utf-8", "replace"), str(path))
    if "net" in net or "base_lr" in net or "train_net" in net:
        raise BadFileError(f"{path} is a solver", hint="convert the network that it names, best its deploy.prototxt")
    if "layer" not in net and "layers" not in net:
        raise BadFileError(f"{path} has no layers", hint="a Caffe network definition (deploy.prototxt) is wanted here")
    if "layer" in net and "layers" in net:
        raise BadFileError(f"{path} mixes 'layer' and 'layers'; Caffe takes one form or the other")
    return net


# -- layers --------------------------------------------------------------------------------------
@dataclass(frozen=True)
class _Data:
    """A top of a layer that reads a data set. `remark`: what that layer does to the data."""

    name: str
    shape: list[int] | None
    remark: str


@dataclass
class _Network:
    """The test phase."""

    layers: list[Layer] = field(default_factory=list)
    data: list[_Data] = field(default_factory=list)
    silenced: set[str] = field(default_factory=set)  # blobs that nobody wants to see


def _network(net: Message) -> _Network:
    old = "layers" in net
    messages = net.messages("layers" if old else "layer")
    if len(messages) > MAX_LAYERS:
        raise BadFileError(f"{net.name}: {len(messages)} layers, more than {MAX_LAYERS}")
    network, other = _Network(), {}  # other: data of other phases and stages, by name
    for i, message in enumerate(messages):
        if "layer" in message:
            raise UnsupportedError(
                f"{net.name}, line {message.line}: a network in the V0 format of 2013",
                hint="Caffe's upgrade_net_proto_text brings it up to date",
            )
        kind = _type(message, old)
        name = message.text("name", "") or f"{kind}_{i}"
        bottoms, tops = message.strings("bottom"), message.strings("top")
        included = _included(message)
        if kind in caffe_registry.DATA:
            found = [_Data(top, _data_shape(message, kind, j), _remark(message, top, j)) for j, top in enumerate(tops)]
            network.data += found if included else []
            other.update({} if included else {d.name: d for d in found})
        elif included and kind == "Silence":
            network.silenced.update(bottoms)
        elif included and kind not in caffe_registry.DROPPED:
            network.layers.append(Layer(kind, name, bottoms, tops, message, line=message.line))
    if not network.layers:
        raise BadFileError(f"{net.name}: no layer is left in the test phase")
    written = {d.name for d in network.data} | {top for layer in network.layers for top in layer.outputs}
    network.data += [d for name, d in other.items() if name not in written]
    return network


def _type(message: Message, old: bool) -> str:
    kind = message.text("type")
    if not old:
        return kind
    if kind.isdigit():
        kind = caffe_registry.V1_NUMBERS.get(int(kind), kind)
    return caffe_registry.V1_TYPES.get(kind, kind)


def _included(message: Message) -> bool:
    """Caffe's rules for phase TEST, level 0, no stages."""
    includes, excludes = message.messages("include"), message.messages("exclude")
    if includes:
        return any(_meets(rule) for rule in includes)
    return not any(_meets(rule) for rule in excludes)


def _meets(rule: Message) -> bool:
    if "phase" in rule:
        phase = rule.text("phase")
        if phase not in _PHASES:
            raise BadFileError(f"line {rule.line}: the phase '{phase}' does not exist")
        if _PHASES[phase] != 1:
            return False
    if rule.integer("min_level", 0) > 0 or rule.integer("max_level", 0) < 0:
        return False
    return "stage" not in rule


# -- inputs and outputs --------------------------------------------------------------------------
def _declared_inputs(net: Message, layers: Sequence[Layer]) -> list[tuple[str, list[int] | None]]:
    """`input:` with input_shape or input_dim at the top of the file, then layers of type Input."""
    names = net.strings("input")
    shapes = [shape.ints("dim") for shape in net.messages("input_shape")]
    dims = net.ints("input_dim")
    if shapes and len(shapes) != len(names):
        raise BadFileError(f"{net.name}: {len(names)} inputs, but {len(shapes)} times input_shape")
    if not shapes and dims:
        if len(dims) != 4 * len(names):
            raise BadFileError(f"{net.name}: {len(dims)} times input_dim for {len(names)} inputs, expected 4 for each")
        shapes = [dims[4 * i : 4 * i + 4] for i in range(len(names))]
    found: list[tuple[str, list[int] | None]] = [(n, shapes[i] if shapes else None) for i, n in enumerate(names)]
    for layer in layers:
        if layer.type != "Input":
            continue
        given = [shape.ints("dim") for shape in layer.parameters.message("input_param").messages("shape")]
        if given and len(given) not in (1, len(layer.outputs)):
            raise BadFileError(f"Input {layer.where}: {len(given)} shapes for {len(layer.outputs)} outputs")
        for i, top in enumerate(layer.outputs):
            found.append((top, given[min(i, len(given) - 1)] if given else None))
    for name, shape in found:
        if shape is not None and (not shape or len(shape) > 8):
            raise ShapeError(f"input '{name}' has {len(shape)} dimensions")
    return found


def _data_shape(message: Message, kind: str, index: int) -> list[int] | None:
    """One image of the size that a data layer cuts out; None where the file does not say it."""
    if kind == "DummyData":
        given = message.message("dummy_data_param").messages("shape")
        return given[min(index, len(given) - 1)].ints("dim") if given else None
    if index:
        return None
    if kind == "MemoryData":
        p = message.message("memory_data_param")
        sizes = [p.integer(n, 0) for n in ("channels", "height", "width")]
        return [1, *sizes] if all(sizes) else None
    side = max(p.integer("crop_size", 0) for p in _preparation(message))
    resize = message.message("transform_param").message("resize_param")
    sizes = [side, side] if side else [resize.integer("height", 0), resize.integer("width", 0)]
    return [1, 3, *sizes] if all(sizes) else None


def _preparation(message: Message) -> list[Message]:
    """Where a layer that reads data says what it does to them: in its own parameters in old files."""
    return [message.message(name) for name in ("transform_param", "data_param", "image_data_param")]


def _remark(message: Message, top: str, index: int) -> str:
    """Preparation of images is not part of the network."""
    names = [n for p in _preparation(message) for n in ("mean_file", "mean_value", "scale") if n in p]
    if index or not names:
        return ""
    return (
        f"'{top}' is fed as Caffe's data layer gives it: {' and '.join(names)} of line {message.line} are not applied"
    )


def _check_names(inputs: Sequence[tuple[str, Any]], layers: Sequence[Layer]) -> None:
    """Two inputs of one name, or a layer that overwrites another's top without reading it, are mistakes."""
    written: set[str] = set()
    for name, _ in inputs:
        if name in written:
            raise BadFileError(f"the input '{name}' is declared twice")
        written.add(name)
    for layer in layers:
        for top in layer.outputs:
            if top in written and top not in layer.inputs:
                raise BadFileError(f"{layer.type} {layer.where} writes '{top}', which an earlier layer writes too")
            written.add(top)


def _outputs(inputs: Sequence[str], layers: Sequence[Layer], silenced: set[str]) -> list[str]:
    """Blobs that no layer reads, in the order in which they were last written."""
    open_: dict[str, None] = dict.fromkeys(inputs)
    for layer in layers:
        for name in layer.inputs:
            open_.pop(name, None)
        for name in layer.outputs:
            open_.pop(name, None)
            open_[name] = None
    found = [name for name in open_ if name not in inputs]
    return [name for name in found if name not in silenced] or found or list(open_)
