"""Reads the pickles of PyTorch checkpoints without executing anything.

A pickle is a program for a small stack machine; Python's own machine imports and calls whatever the file names.
This one knows about twenty names (tensors, storages, dictionaries, sizes, types) and builds plain data from them.
A class that it does not know becomes an `Opaque` placeholder; a name that has no business in a model file
(`os.system`, `builtins.eval`...) ends the reading with an error that says so.
"""

from __future__ import annotations

import io
import pickletools
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from edgec.converter.errors import BadFileError, UnsafeFileError

MAX_OPCODES = 20_000_000
MAX_STACK = 1_000_000
MAX_LONG_BYTES = 1024
MAX_STRING = 1 << 28

# Storage classes: name -> (IR-like dtype name, bytes per element).
STORAGES = {
    "FloatStorage": ("f32", 4), "DoubleStorage": ("f64", 8), "HalfStorage": ("f16", 2), "BFloat16Storage": ("bf16", 2),
    "LongStorage": ("i64", 8), "IntStorage": ("i32", 4), "ShortStorage": ("i16", 2), "CharStorage": ("i8", 1),
    "ByteStorage": ("u8", 1), "BoolStorage": ("bool", 1), "UntypedStorage": ("u8", 1), "QInt8Storage": ("i8", 1),
    "QUInt8Storage": ("u8", 1), "QInt32Storage": ("i32", 4), "ComplexFloatStorage": ("c64", 8),
}  # fmt: skip
DTYPES = {
    "float32": "f32", "float": "f32", "float64": "f64", "double": "f64", "float16": "f16", "half": "f16",
    "bfloat16": "bf16", "int64": "i64", "long": "i64", "int32": "i32", "int": "i32", "int16": "i16", "int8": "i8",
    "uint8": "u8", "bool": "bool", "quint8": "u8", "qint8": "i8", "qint32": "i32", "complex64": "c64",
}  # fmt: skip
ITEM_SIZE = {
    "f32": 4, "f64": 8, "f16": 2, "bf16": 2, "i64": 8, "i32": 4, "i16": 2, "i8": 1, "u8": 1, "bool": 1, "c64": 8,
}  # fmt: skip

# Standard-library names that appear in honest checkpoints; their objects become Opaque, nothing is called.
_HARMLESS_STDLIB = {
    "collections": {"OrderedDict", "defaultdict", "Counter", "deque", "namedtuple"},
    "argparse": {"Namespace"},
    "pathlib": {"PosixPath", "WindowsPath", "Path", "PurePosixPath", "PureWindowsPath"},
    "datetime": {"datetime", "date", "time", "timedelta", "timezone"},
    "copyreg": {"_reconstructor"},
    "copy_reg": {"_reconstructor"},
    "_codecs": {"encode"},
    "builtins": {"set", "frozenset", "slice", "complex", "bytearray", "object", "list", "dict", "tuple", "int", "float",
                 "str", "bool", "bytes", "range"},
    "__builtin__": {"set", "frozenset", "slice", "complex", "bytearray", "object", "list", "dict", "tuple", "int",
                    "float", "str", "bool", "bytes", "long", "unicode", "xrange"},
    "enum": {"Enum", "IntEnum"},
    "typing": {"Any"},
    "types": {"SimpleNamespace"},
    "decimal": {"Decimal"},
    "fractions": {"Fraction"},
    "uuid": {"UUID"},
}  # fmt: skip
_DANGEROUS_ROOTS = {"nt", "posix", "os", "subprocess", "sys", "socket", "shutil", "runpy", "pkgutil", "importlib", "ctypes",
                    "pip", "setuptools", "distutils", "webbrowser", "commands", "popen2", "cloudpickle", "dill", "joblib",
                    "numpy.testing", "torch.hub", "torch.utils.cpp_extension", "torch.utils.collect_env",
                    "torch.distributed.run", "torch.serialization", "torch.package", "torch._inductor", "torch.jit",
                    "torch.fx.experimental", "torch._dynamo", "torch.utils.bottleneck", "torch.utils.data.datapipes",
                    "torch.ops", "torch._C", "pandas.io", "requests", "urllib3", "aiohttp", "httpx", "site",
                    "pydoc", "bdb", "pdb", "code", "pty", "timeit", "cProfile", "trace", "idlelib", "lib2to3",
                     "asyncio"}  # fmt: skip
_ALLOWED_IN_DANGEROUS = {("torch.serialization", "_get_layout")} | {
    ("torch.jit._pickle", f)
    for f in (
        "build_intlist",
        "build_tensorlist",
        "build_doublelist",
        "build_boollist",
        "build_tensor_from_id",
        "restore_type_tag",
    )
}


@dataclass(frozen=True)
class Global:
    """A name in the pickle that stands for a class or function. It is never imported."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(eq=False)
class Opaque:
    """An object of a class that is not known here: its constructor's arguments and its state, unexecuted."""

    kind: Global
    args: Any = ()
    state: Any = None
    items: list[Any] = field(default_factory=list)


@dataclass(frozen=True)
class Storage:
    """A block of numbers: `key` names its bytes in the file."""

    key: str
    dtype: str
    elements: int


@dataclass(frozen=True, eq=False)
class Tensor:
    """A view into a storage; sizes in elements. Bounds are checked when it is made."""

    storage: Storage
    dtype: str
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    @property
    def elements(self) -> int:
        n = 1
        for d in self.shape:
            n *= d
        return n


class _Mark:
    pass


_MARK = _Mark()


def _ints(values: Any, what: str) -> tuple[int, ...]:
    if not isinstance(values, (tuple, list)) or not all(isinstance(v, int) and not isinstance(v, bool) for v in values):
        raise BadFileError(f"a tensor of the checkpoint has the {what} {str(values)[:80]}")
    return tuple(values)


def make_tensor(storage: Any, offset: Any, shape: Any, stride: Any, dtype: str | None = None) -> Tensor:
    """Checks that the view lies inside its storage; raises BadFileError."""
    if not isinstance(storage, Storage):
        raise BadFileError("a tensor of the checkpoint has no storage")
    size, steps = _ints(shape, "shape"), _ints(stride, "stride")
    if not isinstance(offset, int) or offset < 0 or len(size) != len(steps) or len(size) > 64:
        raise BadFileError(
            f"a tensor of the checkpoint has the offset {str(offset)[:40]}, shape {size}, stride {steps}"
        )
    if any(d < 0 for d in size) or any(s < 0 for s in steps):
        raise BadFileError(f"a tensor of the checkpoint has the shape {size} and stride {steps}")
    elements = storage.elements
    kind = dtype or storage.dtype
    if kind != storage.dtype:  # an untyped storage counts bytes
        elements = storage.elements * ITEM_SIZE.get(storage.dtype, 1) // ITEM_SIZE.get(kind, 1)
    if 0 not in size:
        last = offset + sum((d - 1) * s for d, s in zip(size, steps))
        if last >= elements:
            raise BadFileError(
                f"a tensor of the checkpoint (shape {size}, stride {steps}, offset {offset}) reaches element {last} "
                f"of a storage of {elements}"
            )
    return Tensor(storage, kind, offset, size, steps)


def classify(module: str, name: str) -> str:
    """ "known" (built here), "opaque" (a placeholder) or "dangerous" (the file is refused)."""
    if (module, name) in _KNOWN or (module, name) in _ALLOWED_IN_DANGEROUS:
        return "known"
    if module in ("torch", "torch.storage") and (
        name in STORAGES or name in DTYPES or name in ("_TypedStorage", "TypedStorage")
    ):
        return "known"
    if name in _HARMLESS_STDLIB.get(module, ()):
        return "opaque"
    root = module.split(".", maxsplit=1)[0]
    if module in _HARMLESS_STDLIB or root in ("builtins", "__builtin__") or root in sys.stdlib_module_names:
        return "dangerous"
    if any(module == d or module.startswith(d + ".") for d in _DANGEROUS_ROOTS) or "." in name:
        return "dangerous"
    return "opaque"


# -- what the known names build ------------------------------------------------------------------
def _rebuild_v2(args: Sequence[Any]) -> Any:
    return make_tensor(args[0], args[1], args[2], args[3])


def _rebuild_v3(args: Sequence[Any]) -> Any:
    dtype = args[6] if len(args) > 6 else None
    return make_tensor(args[0], args[1], args[2], args[3], dtype if isinstance(dtype, str) else None)


def _first(args: Sequence[Any]) -> Any:
    return args[0] if args else None


def _ordered(args: Sequence[Any]) -> Any:
    result: dict[Any, Any] = {}
    for pair in args[0] if args and isinstance(args[0], (list, tuple)) else ():
        if isinstance(pair, (list, tuple)) and len(pair) == 2 and _hashable(pair[0]):
            result[pair[0]] = pair[1]
    return result


def _hashable(key: Any) -> bool:
    return (
        key is None
        or isinstance(key, (str, int, float, bool, bytes, Global))
        or (isinstance(key, tuple) and all(_hashable(k) for k in key))
    )


def _size(args: Sequence[Any]) -> Any:
    return tuple(args[0]) if args and isinstance(args[0], (list, tuple)) else ()


_KNOWN: dict[tuple[str, str], Callable[[Sequence[Any]], Any]] = {
    ("collections", "OrderedDict"): _ordered,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_v2,
    ("torch._utils", "_rebuild_tensor_v3"): _rebuild_v3,
    ("torch._utils", "_rebuild_tensor"): _rebuild_v2,
    ("torch._utils", "_rebuild_parameter"): _first,
    ("torch._utils", "_rebuild_parameter_with_state"): _first,
    ("torch._tensor", "_rebuild_from_type_v2"): lambda a: _rebuild_from_type(a),  # noqa: PLW0108  defined below
    ("torch", "Size"): _size,
    ("torch", "device"): lambda a: str(a[0]) if a else "cpu",
    ("torch.nn.parameter", "Parameter"): _first,
    ("torch.serialization", "_get_layout"): _first,
    ("torch", "_utils"): _first,
}


def _rebuild_from_type(args: Sequence[Any]) -> Any:
    """(function, type, arguments, state): a subclass of Tensor around an ordinary one."""
    if len(args) >= 3 and isinstance(args[0], Global) and isinstance(args[2], (tuple, list)):
        build = _KNOWN.get((args[0].module, args[0].name))
        if build is not None:
            return build(args[2])
    raise BadFileError("a tensor subclass of the checkpoint cannot be read")


class Unpickler:
    """One pickle. `storage_of(persistent id)` turns a storage reference into a Storage."""

    def __init__(self, stream: io.BufferedIOBase | io.BytesIO, where: str) -> None:
        self.stream = stream
        self.where = where
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.unknown: list[Global] = []  # classes that became Opaque, in order of appearance

    # -- helpers ----------------------------------------------------------------------------------
    def _bad(self, text: str) -> BadFileError:
        return BadFileError(f"{self.where}: the pickle is damaged ({text})")

    def _pop(self) -> Any:
        if not self.stack or self.stack[-1] is _MARK:
            raise self._bad("stack underflow")
        return self.stack.pop()

    def _pop_mark(self) -> list[Any]:
        for i in range(len(self.stack) - 1, -1, -1):
            if self.stack[i] is _MARK:
                items = self.stack[i + 1 :]
                del self.stack[i:]
                return items
        raise self._bad("no mark")

    def _global(self, module: Any, name: Any) -> Any:
        if not isinstance(module, str) or not isinstance(name, str):
            raise self._bad("a global that is not text")
        kind = classify(module, name)
        found = Global(module, name)
        if kind == "dangerous":
            raise UnsafeFileError(
                f"{self.where}: the pickle names '{found}', which no model needs: loading it with torch or pickle would run "
                "code. edgec did not execute it",
                hint="do not load this file with other tools unless you trust its author",
            )
        if module == "torch" and name in DTYPES and name not in STORAGES:
            return DTYPES[name]
        if kind == "opaque":
            self.unknown.append(found)
        return found

    def _call(self, target: Any, args: Any) -> Any:
        args = args if isinstance(args, tuple) else ()
        if isinstance(target, Global):
            build = _KNOWN.get((target.module, target.name))
            if build is not None:
                try:
                    return build(args)
                except (IndexError, TypeError, ValueError) as e:
                    raise self._bad(f"{target} with unusable arguments: {e}") from None
            if str(target) == "_codecs.encode":
                return str(args[0]).encode("latin1", "replace") if args else b""
            if target.module in ("builtins", "__builtin__", "collections") and target.name in (
                "set",
                "frozenset",
                "list",
                "tuple",
            ):
                return list(args[0]) if args and isinstance(args[0], (list, tuple)) else []
            if target.module in ("builtins", "__builtin__", "collections") and target.name in ("dict", "defaultdict"):
                return {}
            return Opaque(target, args)
        if isinstance(target, str):  # a dtype that is called: torch.dtype objects are not callable in honest files
            return target
        raise self._bad("something is called that is not a class")

    def storage_of(self, pid: Any) -> Any:
        """('storage', class, key, location, elements[, view])"""
        if not isinstance(pid, tuple) or len(pid) < 5 or pid[0] != "storage":
            raise self._bad("an unknown persistent reference")
        kind, key, elements = pid[1], pid[2], pid[4]
        name = kind.name if isinstance(kind, Global) else ""
        if name not in STORAGES or not isinstance(key, str) or not isinstance(elements, int) or elements < 0:
            raise self._bad(f"a storage of type {kind}")
        view = pid[5] if len(pid) > 5 else None
        if view is not None:
            raise self._bad("a storage that is a view of another")
        return Storage(key, STORAGES[name][0], elements)

    # -- the machine ------------------------------------------------------------------------------
    def load(self) -> Any:
        """The object of the next pickle in the stream."""
        count = 0
        try:
            for opcode, arg, _ in pickletools.genops(self.stream):  # type: ignore[arg-type]
                count += 1
                if count > MAX_OPCODES or len(self.stack) > MAX_STACK or len(self.memo) > MAX_OPCODES:
                    raise self._bad("it is larger than any checkpoint")
                if opcode.name == "STOP":
                    return self._pop()
                self._step(opcode.name, arg)
        except (BadFileError, RecursionError):
            raise
        except (
            ValueError,
            TypeError,
            KeyError,
            IndexError,
            OverflowError,
            MemoryError,
            UnicodeDecodeError,
            EOFError,
        ) as e:
            raise self._bad(f"{type(e).__name__}: {str(e)[:100]}") from None
        raise self._bad("it has no end")

    def _step(self, op: str, arg: Any) -> None:
        stack = self.stack
        if op in _PUSH_ARG:
            if op in ("LONG4", "LONG1", "LONG") and isinstance(arg, int) and arg.bit_length() > 8 * MAX_LONG_BYTES:
                raise self._bad("a huge number")
            stack.append(arg)
        elif op in _PUSH_CONSTANT:
            make = _PUSH_CONSTANT[op]
            stack.append(make() if callable(make) else make)
        elif op in ("PROTO", "FRAME"):
            pass
        elif op == "MARK":
            stack.append(_MARK)
        elif op == "POP":
            stack.pop()
        elif op == "POP_MARK":
            self._pop_mark()
        elif op == "DUP":
            stack.append(stack[-1])
        elif op in ("BINPUT", "LONG_BINPUT", "PUT"):
            self.memo[int(arg)] = stack[-1]
        elif op == "MEMOIZE":
            self.memo[len(self.memo)] = stack[-1]
        elif op in ("BINGET", "LONG_BINGET", "GET"):
            stack.append(self.memo[int(arg)])
        elif op == "TUPLE":
            stack.append(tuple(self._pop_mark()))
        elif op in ("TUPLE1", "TUPLE2", "TUPLE3"):
            n = int(op[-1])
            items = [self._pop() for _ in range(n)]
            stack.append(tuple(reversed(items)))
        elif op == "LIST":
            stack.append(self._pop_mark())
        elif op in ("DICT", "SETITEMS"):
            items = self._pop_mark()
            target = {} if op == "DICT" else stack[-1]
            for key, value in zip(items[::2], items[1::2]):
                self._set_item(target, key, value)
            if op == "DICT":
                stack.append(target)
        elif op == "SETITEM":
            value, key = self._pop(), self._pop()
            self._set_item(stack[-1], key, value)
        elif op in ("APPENDS", "ADDITEMS", "FROZENSET"):
            items = self._pop_mark()
            if op == "FROZENSET":
                stack.append(items)
            else:
                self._extend(stack[-1], items)
        elif op == "APPEND":
            value = self._pop()
            self._extend(stack[-1], [value])
        elif op == "GLOBAL":
            module, name = str(arg).split(" ", 1)
            stack.append(self._global(module, name))
        elif op == "STACK_GLOBAL":
            name, module = self._pop(), self._pop()
            stack.append(self._global(module, name))
        elif op in {"REDUCE", "NEWOBJ"}:
            args, target = self._pop(), self._pop()
            stack.append(self._call(target, args))
        elif op == "NEWOBJ_EX":
            _, args, target = self._pop(), self._pop(), self._pop()
            stack.append(self._call(target, args))
        elif op == "OBJ":
            items = self._pop_mark()
            stack.append(self._call(items[0], tuple(items[1:])))
        elif op == "INST":
            module, name = str(arg).split(" ", 1)
            target = self._global(module, name)
            stack.append(self._call(target, tuple(self._pop_mark())))
        elif op == "BUILD":
            state = self._pop()
            if isinstance(stack[-1], Opaque):
                stack[-1].state = state
        elif op == "BINPERSID":
            stack.append(self.storage_of(self._pop()))
        else:  # PERSID, EXT1.., buffers: nothing that PyTorch writes
            raise self._bad(f"opcode {op}")

    def _set_item(self, target: Any, key: Any, value: Any) -> None:
        if isinstance(target, dict):
            if not _hashable(key):
                raise self._bad("a dictionary key that is not text or a number")
            target[key] = value
        elif isinstance(target, Opaque):
            target.items.append((key, value))
        else:
            raise self._bad("an item of something that is not a dictionary")

    def _extend(self, target: Any, items: list[Any]) -> None:
        if isinstance(target, list):
            target.extend(items)
        elif isinstance(target, Opaque):
            target.items.extend(items)
        else:
            raise self._bad("an element of something that is not a list")


_PUSH_ARG = {
    "BININT", "BININT1", "BININT2", "INT", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT", "STRING", "BINSTRING",
    "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8", "UNICODE", "SHORT_BINUNICODE",
    "BINUNICODE", "BINUNICODE8",
}  # fmt: skip
_PUSH_CONSTANT: dict[str, Any] = {
    "NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": (),
    "EMPTY_SET": list,
}  # fmt: skip
