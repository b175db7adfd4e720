"""Reading and making the inputs that `run`, `bench` and `compare` feed to a model."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgec.errors import BadFileError, MissingDependency, ShapeError, UsageError

if TYPE_CHECKING:
    import numpy as np

    from edgec.model import TensorSpec

    Array = np.ndarray[Any, Any]

IMAGES = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".gif", ".tif", ".tiff"}
# A picture of more pixels than this is refused: no camera makes one, decompression bombs do.
MAX_PIXELS = 200_000_000


@dataclass(frozen=True)
class ImageOptions:
    """How a picture becomes numbers: x = (pixel / 255 - mean) / std, per channel."""

    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    layout: str = "auto"
    size: tuple[int, int] | None = None  # height, width
    color: str = "rgb"


def image_options(function: Any) -> Any:
    """--mean, --std, --size, --layout, --color."""
    for option in (
        click.option("--mean", default="0", show_default=True, help="Images: mean per channel, of pixel/255."),
        click.option("--std", default="1", show_default=True, help="Images: standard deviation per channel."),
        click.option("--size", default=None, help="Images: HxW to resize to; default: what the input wants."),
        click.option("--layout", type=click.Choice(["auto", "nchw", "nhwc"]), default="auto", show_default=True),
        click.option("--color", type=click.Choice(["rgb", "bgr"]), default="rgb", show_default=True),
    ):
        function = option(function)
    return function


def parse_image_options(mean: str, std: str, size: str | None, layout: str, color: str) -> ImageOptions:
    """Texts of the command line -> ImageOptions. Raises UsageError."""
    height_width = None
    if size is not None:
        match = re.fullmatch(r"(\d+)(?:[xX,](\d+))?", size)
        if not match or 0 in (int(match[1]), int(match[2] or 1)):
            raise UsageError(f"--size: got '{size}', expected HxW, e.g. 224x224")
        height_width = (int(match[1]), int(match[2] or match[1]))
    return ImageOptions(_floats(mean, "--mean"), _floats(std, "--std"), layout, height_width, color)


def _floats(text: str, option: str) -> tuple[float, ...]:
    try:
        values = tuple(float(v) for v in text.split(","))
    except ValueError:
        raise UsageError(f"{option}: got '{text}', expected numbers, e.g. 0.485,0.456,0.406") from None
    if option == "--std" and 0.0 in values:
        raise UsageError("--std: 0 cannot divide")
    return values


def split_named(texts: Sequence[str], option: str) -> list[tuple[str | None, str]]:
    """`name=file` and `file`; a file that exists under the whole text wins."""
    result: list[tuple[str | None, str]] = []
    for text in texts:
        name, sep, value = text.partition("=")
        named = bool(sep) and not Path(text).exists()
        if named and (not name or not value):
            raise UsageError(f"{option}: got '{text}', expected NAME=FILE")
        result.append((name, value) if named else (None, text))
    return result


def concrete_shapes(
    specs: Sequence[TensorSpec], texts: Sequence[str], default: Callable[[], list[list[int]]]
) -> list[list[int]]:
    """Input shapes for running: what --shape says, `default()` for inputs that it does not name."""
    if not texts:
        return default()
    from edgec.converter.frontends.shapes import parse_shape

    shapes: dict[int, list[int]] = {}
    for position, text in enumerate(texts):
        given = parse_shape(text)
        index = position if given.name is None else _index(specs, given.name)
        if index >= len(specs) or not all(isinstance(d, int) for d in given.dims):
            raise ShapeError(f"--shape {text}: expected the sizes of one of the {len(specs)} inputs")
        shapes[index] = [d for d in given.dims if isinstance(d, int)]
    if len(shapes) == len(specs):
        return [shapes[i] for i in range(len(specs))]
    return [shapes.get(i, shape) for i, shape in enumerate(default())]


def _index(specs: Sequence[TensorSpec], name: str) -> int:
    for i, s in enumerate(specs):
        if s.name == name:
            return i
    raise UsageError(f"there is no input '{name}'; the inputs are {', '.join(s.name for s in specs)}")


def make_feeds(
    specs: Sequence[TensorSpec],
    shapes: Sequence[Sequence[int]],
    inputs: Sequence[str],
    options: ImageOptions,
    seed: int,
) -> dict[str, Array]:
    """One array per input: from the files of --input, random where there is none.

    Raises UsageError, BadFileError, ShapeError, MissingDependency.
    """
    import numpy as np

    from edgec.samples import random_input

    generator = np.random.default_rng(seed)
    feeds: dict[str, Array] = {}
    free = [s.name for s in specs]
    for name, value in split_named(inputs, "--input"):
        if name is None and value.endswith(".npz"):
            for key, array in read_npz(Path(value)).items():
                if key in {s.name for s in specs}:
                    feeds[key] = array
            if not feeds:
                raise UsageError(
                    f"{value} holds none of the inputs {', '.join(s.name for s in specs)}; "
                    f"it has {', '.join(read_npz(Path(value)))}",
                    hint="name one: --input NAME=FILE.npz:ARRAY",
                )
            continue
        target = name if name is not None else next((n for n in free if n not in feeds), None)
        if target is None:
            raise UsageError(f"--input {value}: the model has only {len(specs)} inputs")
        i = _index(specs, target)
        feeds[target] = read_input(value, specs[i], shapes[i], options, generator)
    for spec, shape in zip(specs, shapes, strict=True):
        if spec.name not in feeds:
            feeds[spec.name] = random_input(spec, shape, generator)
    return {s.name: feeds[s.name] for s in specs}


def read_input(
    value: str, spec: TensorSpec, shape: Sequence[int], options: ImageOptions, generator: np.random.Generator
) -> Array:
    """One input from `random`, `zeros`, an .npy, FILE.npz:ARRAY, or a picture."""
    import numpy as np

    from edgec.samples import random_input

    if value == "random":
        return random_input(spec, shape, generator)
    if value == "zeros":
        return np.zeros(tuple(shape), spec.dtype)
    file, _, key = value.rpartition(":")
    if file.endswith(".npz"):
        arrays = read_npz(Path(file))
        if key not in arrays:
            raise UsageError(f"{file} has no array '{key}'; it has {', '.join(arrays)}")
        return arrays[key]
    path = Path(value)
    if not path.exists():
        raise UsageError(f"--input: there is no file '{value}'", hint="give a file, 'random' or 'zeros'")
    suffix = path.suffix.lower()
    if suffix == ".npy":
        return read_npy(path)
    if suffix == ".npz":
        arrays = read_npz(path)
        if len(arrays) == 1:
            return next(iter(arrays.values()))
        if spec.name in arrays:
            return arrays[spec.name]
        raise UsageError(f"{value} has several arrays: {', '.join(arrays)}", hint=f"say which: {value}:NAME")
    if suffix in IMAGES:
        return read_image(path, spec, shape, options)
    raise UsageError(f"--input {value}: expected .npy, .npz or a picture ({' '.join(sorted(IMAGES))})")


def read_npy(path: Path) -> Array:
    """An array; pickled objects are refused. Raises BadFileError."""
    import numpy as np

    try:
        return np.asarray(np.load(path, allow_pickle=False))
    except (OSError, ValueError, EOFError) as e:
        raise BadFileError(f"{path}: not a readable .npy file: {e}") from e


def read_npz(path: Path) -> dict[str, Array]:
    """Name -> array; pickled objects are refused. Raises BadFileError."""
    import zipfile

    import numpy as np

    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, AttributeError, TypeError, zipfile.BadZipFile) as e:
        raise BadFileError(f"{path}: not a readable .npz file: {e}") from e


def read_image(path: Path, spec: TensorSpec, shape: Sequence[int], options: ImageOptions) -> Array:
    """A picture as the input wants it: resized (bilinear), normalised, channels where the layout says."""
    import numpy as np

    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError:
        raise MissingDependency("pillow", "reading pictures") from None
    if len(shape) not in (3, 4):
        raise ShapeError(f"input '{spec.name}': a picture has 3 or 4 dimensions, the input has shape {tuple(shape)}")
    dims = list(shape[-3:])
    layout = options.layout
    if layout == "auto":
        layout = "nchw" if dims[0] in (1, 3) or dims[2] not in (1, 3) else "nhwc"
    channels, height, width = dims if layout == "nchw" else (dims[2], dims[0], dims[1])
    if channels not in (1, 3):
        raise ShapeError(
            f"input '{spec.name}': shape {tuple(shape)} read as {layout} has {channels} channels, a picture has 1 or 3",
            hint="say where the channels are: --layout nhwc or --layout nchw",
        )
    if options.size is not None:
        height, width = options.size
    try:
        with Image.open(path) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                raise BadFileError(f"{path}: {picture.width}x{picture.height} pixels are too many")
            converted = picture.convert("RGB" if channels == 3 else "L")
            if (converted.height, converted.width) != (height, width):
                converted = converted.resize((width, height), Image.Resampling.BILINEAR)
            pixels = np.asarray(converted, np.uint8).reshape(height, width, channels)
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError, SyntaxError, ValueError) as e:
        raise BadFileError(f"{path}: not a readable picture: {e}") from e
    if options.color == "bgr":
        pixels = pixels[..., ::-1]
    if spec.dtype.kind == "f":
        for text, values in (("--mean", options.mean), ("--std", options.std)):
            if len(values) not in (1, channels):
                raise UsageError(f"{text} has {len(values)} values, the picture has {channels} channels")
        scaled = pixels.astype(np.float32) / np.float32(255)
        array = ((scaled - np.asarray(options.mean, np.float32)) / np.asarray(options.std, np.float32)).astype(
            spec.dtype
        )
    elif spec.dtype == np.int8:
        array = (pixels.astype(np.int16) - 128).astype(np.int8)
    else:
        array = pixels.astype(spec.dtype)
    if layout == "nchw":
        array = array.transpose(2, 0, 1)
    return np.ascontiguousarray(array[None] if len(shape) == 4 else array)
