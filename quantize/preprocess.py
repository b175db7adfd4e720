"""A picture becomes a tensor: `--preprocess rgb,resize=256,crop=224,mean=0.485,0.456,0.406,std=0.229,0.224,0.225`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from edgec.errors import BadFileError, MissingDependency, ShapeError, UsageError

Array = np.ndarray[Any, Any]

IMAGES = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".gif", ".tif", ".tiff"}
# A picture of more pixels than this is refused before it is decoded: no camera makes one, decompression bombs do.
MAX_PIXELS = 200_000_000


@dataclass(frozen=True)
class Preprocess:
    """color order; resize (shortest side, or (height, width)); centre crop (height, width); (pixel / scale - mean) / std.

    Inputs of 8 bits get the pixels themselves (signed: pixel - 128).
    """

    color: str = "rgb"
    resize: int | tuple[int, int] | None = None
    crop: tuple[int, int] | None = None
    scale: float = 255.0
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)


def parse(text: str) -> Preprocess:
    """`rgb|bgr|gray`, `resize=N|HxW`, `crop=N|HxW`, `scale=255`, `mean=a,b,c`, `std=a,b,c`, separated by commas.

    Raises UsageError naming the part that is wrong.

    >>> parse("bgr,resize=240x320,mean=0.5").color
    'bgr'
    """
    parts: list[list[str]] = []
    for token in filter(None, (t.strip() for t in text.split(","))):
        if parts and re.fullmatch(r"[-+.\deE]+", token):
            parts[-1].append(token)  # a further number of mean= or std=
        else:
            key, _, value = token.partition("=")
            parts.append([key, *([value] if value else [])])
    options: dict[str, Any] = {}
    for key, *values in parts:
        if key in ("rgb", "bgr", "gray") and not values:
            options["color"] = key
        elif key in ("mean", "std", "scale") and values:
            numbers = tuple(_number(v, key) for v in values)
            if key != "mean" and 0.0 in numbers:
                raise UsageError(f"--preprocess {key}: 0 cannot divide")
            options[key] = numbers[0] if key == "scale" else numbers
        elif key in ("resize", "crop") and len(values) == 1:
            size = re.fullmatch(r"(\d{1,6})(?:x(\d{1,6}))?", values[0])
            if not size or 0 in (int(size[1]), int(size[2] or 1)):
                raise UsageError(f"--preprocess {key}: got '{values[0]}', expected N or HEIGHTxWIDTH")
            pair = (int(size[1]), int(size[2] or size[1]))
            options[key] = int(size[1]) if key == "resize" and not size[2] else pair
        else:
            known = "rgb, bgr, gray, " + ", ".join(f"{f.name}=" for f in fields(Preprocess) if f.name != "color")
            raise UsageError(f"--preprocess: '{'='.join([key, *values][:2])}' is not one of {known}")
    return Preprocess(**options)


def _number(text: str, key: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise UsageError(f"--preprocess {key}: got '{text}', expected a number") from None


def picture(path: Path, shape: Sequence[int], dtype: np.dtype[Any], options: Preprocess) -> Array:
    """The file as an input of `shape` ([N,]C,H,W or [N,]H,W,C; where 1 or 3 stands, the channels are).

    What resize and crop leave at another size than the input's is resized to it. Raises BadFileError, ShapeError.
    """
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError:
        raise MissingDependency("pillow", "reading pictures") from None
    if len(shape) not in (3, 4):
        raise ShapeError(f"a picture has 3 or 4 dimensions, the input has the shape {tuple(shape)}")
    dims = [int(d) for d in shape[-3:]]
    first = dims[0] in (1, 3) or dims[2] not in (1, 3)
    channels, height, width = dims if first else (dims[2], dims[0], dims[1])
    if channels not in (1, 3):
        raise ShapeError(f"the input's shape {tuple(shape)} has {channels} channels, a picture has 1 or 3")
    try:
        with Image.open(path) as opened:
            if opened.width * opened.height > MAX_PIXELS:
                raise BadFileError(f"{path}: {opened.width}x{opened.height} pixels are too many")
            image: Any = opened.convert("L" if channels == 1 else "RGB")
            if options.resize is not None:
                image = image.resize(_resized(image.size, options.resize), Image.Resampling.BILINEAR)
            if options.crop is not None:
                tall, wide = options.crop
                top, left = (image.height - tall) // 2, (image.width - wide) // 2
                image = image.crop((left, top, left + wide, top + tall))
            if (image.height, image.width) != (height, width):
                image = image.resize((width, height), Image.Resampling.BILINEAR)
            pixels = np.asarray(image, np.uint8).reshape(height, width, channels)
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError, SyntaxError, ValueError) as e:
        raise BadFileError(f"{path}: not a readable picture: {e}") from e
    if options.color == "bgr":
        pixels = pixels[..., ::-1]
    array = _normalised(pixels, dtype, options, channels)
    if first:
        array = array.transpose(2, 0, 1)
    return np.ascontiguousarray(array[None] if len(shape) == 4 else array)


def _resized(size: tuple[int, int], wanted: int | tuple[int, int]) -> tuple[int, int]:
    """(width, height) for Pillow."""
    if isinstance(wanted, tuple):
        return wanted[1], wanted[0]
    width, height = size
    factor = wanted / min(width, height)
    return max(1, round(width * factor)), max(1, round(height * factor))


def _normalised(pixels: Array, dtype: np.dtype[Any], options: Preprocess, channels: int) -> Array:
    if dtype == np.int8:
        return (pixels.astype(np.int16) - 128).astype(np.int8)
    if dtype.kind != "f":
        return pixels.astype(dtype)
    for name, values in (("mean", options.mean), ("std", options.std)):
        if len(values) not in (1, channels):
            raise UsageError(f"--preprocess {name} has {len(values)} values, the picture has {channels} channels")
    scaled = pixels.astype(np.float32) / np.float32(options.scale)
    return np.asarray((scaled - np.asarray(options.mean, np.float32)) / np.asarray(options.std, np.float32), dtype)
