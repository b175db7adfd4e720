"""The hierarchy of errors: codes, exit codes, texts."""

from __future__ import annotations

import pickle

import pytest

import edgec
from edgec import _core, errors


def all_classes(cls=errors.Error):
    return [cls, *(c for s in cls.__subclasses__() for c in all_classes(s))]


def test_codes_are_those_of_the_c_interface():
    assert {code: cls.__name__ for code, cls in errors.BY_CODE.items() if code < 100} == {
        1: "InvalidArgumentError",
        2: "BadFileError",
        3: "VersionError",
        4: "UnsupportedError",
        5: "OutOfMemoryError",
        6: "ShapeError",
        7: "CancelledError",
        8: "IoError",
        9: "SignatureError",
        10: "InternalError",
    }


@pytest.mark.parametrize("cls", all_classes(), ids=lambda c: c.__name__)
def test_every_error_has_a_text_an_exit_code_and_survives_pickling(cls):
    error = cls("what", "why") if cls is errors.MissingDependency else cls("what", hint="do this")
    assert error.exit_code in (1, 2, 3, 4, 5, 6, 70)
    assert "what" in str(error)
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is cls
    assert copy.to_dict()["exit_code"] == cls.exit_code
    assert cls.__doc__


def test_the_native_module_raises_these_classes():
    assert _core.Error is errors.Error
    assert _core.ShapeError is errors.ShapeError is edgec.ShapeError
    with pytest.raises(errors.BadFileError) as e:
        edgec.Model.from_bytes(b"")
    assert e.value.code == 2


def test_habits():
    assert issubclass(errors.ShapeError, ValueError)
    assert issubclass(errors.OutOfMemoryError, MemoryError)
    assert issubclass(errors.MissingDependency, ImportError)
    assert errors.UsageError is errors.InvalidArgumentError


def test_unsupported_lists_every_operator():
    ops = [errors.UnsupportedOp("A", 2, "net.py:3", "use B"), errors.UnsupportedOp("C", 1, "node 7", "remove it")]
    error = errors.UnsupportedError("2 of 9 operators cannot be converted", ops)
    assert [o["op"] for o in error.to_dict()["ops"]] == ["A", "C"]
    for part in ("A", "x2", "net.py:3", "use B", "C", "node 7"):
        assert part in str(error)


def test_missing_dependency_says_what_to_type():
    error = errors.MissingDependency("torch", "reading .pt files", "pip install 'edgec[torch]'")
    assert error.pip in str(error)
    assert error.to_dict()["pip"] == "pip install 'edgec[torch]'"
