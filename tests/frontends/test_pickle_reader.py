"""Nothing in a checkpoint is executed, whatever its pickle asks for."""

from __future__ import annotations

import io
import pickle
import struct
import sys
import time
from pathlib import Path

import pytest

import edgec
from edgec.converter.frontends.detect import detect
from edgec.converter.frontends.torch.checkpoint import read_checkpoint
from edgec.converter.frontends.torch.pickle_reader import Opaque, Storage, Unpickler, classify, make_tensor
from edgec.errors import BadFileError, Error, StateDictError, UnsafeFileError
from tests.frontends.attack import global_pickle, legacy_file, malicious_pickle, stack_global_pickle, torch_zip

DANGEROUS = [
    ("os", "system"), ("posix", "system"), ("nt", "system"), ("subprocess", "Popen"), ("builtins", "eval"),
    ("builtins", "exec"), ("builtins", "getattr"), ("builtins", "__import__"), ("__builtin__", "eval"),
    ("pkgutil", "resolve_name"), ("runpy", "_run_code"), ("importlib", "import_module"), ("sys", "exit"),
    ("torch.hub", "load"), ("torch.serialization", "load"), ("torch.utils.cpp_extension", "load"),
    ("torch.jit.unsupported_tensor_ops", "execWrapper"), ("operator", "attrgetter"), ("functools", "partial"),
    ("numpy.testing._private.utils", "runstring"), ("timeit", "timeit"), ("code", "InteractiveInterpreter"),
    ("collections", "OrderedDict.fromkeys"), ("multiprocessing.util", "spawnv_passfds"), ("asyncio", "run"),
    ("ctypes", "CDLL"), ("socket", "create_connection"), ("shutil", "rmtree"), ("webbrowser", "open"),
]  # fmt: skip


def read(data: bytes) -> object:
    return Unpickler(io.BytesIO(data), "test").load()


@pytest.mark.parametrize(("module", "name"), DANGEROUS)
@pytest.mark.parametrize("make", [global_pickle, stack_global_pickle])
def test_dangerous_names_are_refused_by_name(make: object, module: str, name: str) -> None:
    with pytest.raises(UnsafeFileError, match=f"{module}.{name}".replace(".", r"\.")):
        read(make(module, name))  # type: ignore[operator]


def test_every_standard_module_is_refused_unless_listed() -> None:
    for module in sorted(sys.stdlib_module_names):
        assert classify(module, "anything_at_all") == "dangerous", module


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
@pytest.mark.parametrize("kind", ["data.pkl", "constants.pkl", "second", "legacy", "plain"])
def test_a_command_in_a_checkpoint_does_not_run(kind: str, protocol: int, tmp_path: Path) -> None:
    marker, path = tmp_path / "marker", tmp_path / "model.pt"
    bad = malicious_pickle(marker, protocol)
    good = pickle.dumps({}, protocol=2)
    if kind == "data.pkl":
        torch_zip(path, bad)
    elif kind == "constants.pkl":
        torch_zip(path, good, {"constants.pkl": bad, "code/a.py": b""})
    elif kind == "second":
        torch_zip(path, good, {"constants.pkl": good, "code/a.py": b"", "extra/more.pkl": bad})
    elif kind == "legacy":
        legacy_file(path, bad)
    else:
        path.write_bytes(bad)
    with pytest.raises(Error) as raised:
        edgec.convert(path)
    assert not marker.exists()
    assert isinstance(raised.value, UnsafeFileError), raised.value
    assert "system" in str(raised.value)


def test_the_attack_itself_works(tmp_path: Path) -> None:
    """The control: Python's own unpickler does run it."""
    marker = tmp_path / "marker"
    pickle.loads(malicious_pickle(marker))
    assert marker.exists()


def test_payload_before_a_truncated_stream(tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    data = malicious_pickle(marker)
    for end in range(len(data)):
        with pytest.raises(Error):
            read(data[:end])
    assert not marker.exists()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b".",
        b"\x80\x02.",
        b"\x80\x02(((((.",
        b"\x80\x02\x8b\xff\xff\xff\x7f" + b"\x01" * 64 + b".",  # LONG4 of 2 GiB
        b"\x80\x02\x8b" + struct.pack("<i", 4096) + b"\x7f" * 4096 + b".",  # a number of 32768 bits
        b"\x80\x02X\xff\xff\xff\xffa.",  # a text of 4 GiB
        b"\x80\x02h\x05.",  # a memo entry that was never written
        b"\x80\x02" + b"N0" * 10 + b"0.",  # pops too much
        b"\x80\x02Nq\x00" + b"R.",  # calls nothing
        b"\x80\x02K\x01K\x02\x86R.",  # calls a tuple
        b"\x80\x02}(K\x01e.",  # appends to a dictionary
        b"\x80\x02]K\x01K\x02s.",  # an item of a list
        b"\x80\x02P1\n.",
        b"\x80\x02\x82\x01.",  # an extension code
        b"\x80\x05\x97.",  # an out-of-band buffer
        b"\x80\x02NQ.",  # a persistent reference that is no storage
    ],
)
def test_damaged_pickles_give_an_error(data: bytes) -> None:
    with pytest.raises(BadFileError):
        read(data)


def test_deep_nesting_is_not_recursion() -> None:
    depth = 200_000
    value = read(b"\x80\x02" + b"]" * depth + b"a" * (depth - 1) + b".")
    assert isinstance(value, list)
    seen = read(b"\x80\x02" + b"(" * 1000 + b"t" * 1000 + b".")
    assert isinstance(seen, tuple)
    while value:  # Python's own deallocation of deep lists is safe, but slow to print on failure
        value = value.pop()  # type: ignore[attr-defined]


def test_a_memo_bomb_ends_in_bounded_time() -> None:
    doubling = b"\x80\x02]q\x00" + b"".join(
        b"]q" + bytes([i + 1]) + b"(h" + bytes([i]) + b"h" + bytes([i]) + b"e" for i in range(200)
    )
    start = time.perf_counter()
    value = read(doubling + b".")
    assert isinstance(value, list)
    from edgec.converter.frontends.torch.checkpoint import _tensors_of

    assert _tensors_of(value) == {}
    assert time.perf_counter() - start < 60, "2^200 paths must not be walked"


def test_unknown_classes_become_placeholders() -> None:
    value = read(global_pickle("my_project.models", "Net"))
    assert isinstance(value, Opaque)
    assert str(value.kind) == "my_project.models.Net"
    assert "my_project" not in sys.modules


@pytest.mark.parametrize(
    ("offset", "shape", "stride"),
    [
        (0, (5,), (1,)),
        (4, (1,), (1,)),
        (-1, (1,), (1,)),
        (0, (2, 2), (3, 1)),
        (0, (-1,), (1,)),
        (0, (2,), (-1,)),
        (0, (2,), (1, 1)),
        (0, (2**62, 2**62), (2**62, 1)),
        (0, (1,) * 65, (1,) * 65),
        (True, "xx", (1,)),
    ],
)
def test_tensors_outside_their_storage_are_refused(
    offset: int, shape: tuple[int, ...], stride: tuple[int, ...]
) -> None:
    with pytest.raises(BadFileError):
        make_tensor(Storage("0", "f32", 4), offset, shape, stride)


def _storage_pickle(shape: bytes, stride: bytes, elements: bytes = b"K\x04") -> bytes:
    return (
        (
            b"\x80\x02}X\x01\x00\x00\x00wctorch._utils\n_rebuild_tensor_v2\n(((X\x07\x00\x00\x00storagectorch\nFloatStorage\n"
            b"X\x01\x00\x00\x000X\x03\x00\x00\x00cpu" + elements + b"tQK\x00(" + shape + b"t(" + stride + b"t\x89Ntu"
        )
        .replace(b"(((X\x07", b"((X\x07")
        .replace(b"Ntu", b"NtRs.")
    )


def test_ten_to_the_twelve_elements_from_a_small_file(tmp_path: Path) -> None:
    """A stride of zero makes a huge tensor out of one number; it may be listed but never built."""
    data = _storage_pickle(b"J\x00\xca\x9a;M\xe8\x03", b"K\x00K\x00")
    path = torch_zip(tmp_path / "m.pt", data, {"data/0": bytes(16)})
    checkpoint = read_checkpoint(detect(path))
    assert checkpoint.parameters == 10**12
    with pytest.raises(UnsafeFileError):
        checkpoint.array("w")


def test_a_storage_that_is_shorter_than_it_says(tmp_path: Path) -> None:
    path = torch_zip(tmp_path / "m.pt", _storage_pickle(b"K\x04", b"K\x01"), {"data/0": bytes(8)})
    with pytest.raises(BadFileError):
        read_checkpoint(detect(path)).array("w")
    path = torch_zip(tmp_path / "n.pt", _storage_pickle(b"K\x04", b"K\x01"))
    with pytest.raises(BadFileError, match="missing"):
        read_checkpoint(detect(path)).array("w")


def test_the_guided_error_counts_the_tensor(tmp_path: Path) -> None:
    path = torch_zip(tmp_path / "m.pt", _storage_pickle(b"K\x04", b"K\x01"), {"data/0": bytes(16)})
    with pytest.raises(StateDictError, match="1 tensors, 4 numbers"):
        edgec.convert(path)
