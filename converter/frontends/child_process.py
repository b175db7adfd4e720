"""Runs a part of the converter in a child process with limits, and brings its result or its error back.

A child reads files that another framework has to load. It gets limits on time, memory and file size, no network and
no place to write but its own folder, as far as the system offers that; its result is bytes, arrays and JSON, never
Python objects.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgec import errors
from edgec.converter.errors import BadFileError, ResourceError, UnsupportedError, UnsupportedOp

KEPT_ENVIRONMENT = {"PATH", "HOME", "LANG", "TMPDIR", "TEMP", "TMP", "SYSTEMROOT", "LD_LIBRARY_PATH", "VIRTUAL_ENV"}
REQUEST, RESULT = "request.json", "result.json"


@dataclass(frozen=True)
class Limits:
    """Bytes and seconds of CPU time; the wall clock may take twice as long."""

    seconds: int = 900
    memory: int = 24 << 30
    file_size: int = 1 << 33


@dataclass
class ChildError(Exception):
    """The child raised something that is no error of edgec: `text` is the exception, `trace` where it came from."""

    text: str
    trace: str = field(default="", repr=False)


# -- the parent's side ---------------------------------------------------------------------------
def run_child(
    module: str,
    request: Mapping[str, Any],
    folder: Path,
    limits: Limits,
    what: str,
    environment: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Runs `python -m module request.json` in `folder` and returns what its work() returned.

    what: the file, for messages. Raises the child's own edgec error, ChildError for any other exception,
    ResourceError when it was stopped.
    """
    content = {**request, "folder": str(folder), "limits": vars(limits)}
    (folder / REQUEST).write_text(json.dumps(content), encoding="utf-8")
    kept = {k: v for k, v in os.environ.items() if k in KEPT_ENVIRONMENT or k.startswith(("LC_", "OMP_", "MKL_"))}
    kept.update(environment or {})
    kept["PYTHONPATH"] = os.pathsep.join(os.path.abspath(p) for p in sys.path if p)
    command = [sys.executable, "-m", module, str(folder / REQUEST)]
    try:
        done = subprocess.run(
            command, cwd=folder, env=kept, stdin=subprocess.DEVNULL, capture_output=True,
            timeout=2 * limits.seconds, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise ResourceError(f"{what}: loading it took more than {2 * limits.seconds} s; it was stopped") from None
    file = folder / RESULT
    if not file.is_file():
        text = done.stderr.decode("utf-8", "replace")
        if "bad_alloc" in text or "out of memory" in text.lower() or "Cannot allocate memory" in text:
            raise ResourceError(f"{what}: loading it took more memory than the {limits.memory >> 20} MiB it may have")
        tail = [line for line in text.strip().splitlines() if line.strip()][-2:]
        raise ResourceError(
            f"{what}: the process that loaded it ended with status {done.returncode}"
            + (f": {' | '.join(tail)[:500]}" if tail else ""),
            hint="a negative status is a signal: -9 or -24 means that a memory or time limit was reached",
        )
    result: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    if "error" in result:
        raise _error(result)
    return result


def _error(result: dict[str, Any]) -> Exception:
    kind = getattr(errors, result["error"], None) if result["error"] else None
    if not isinstance(kind, type) or not issubclass(kind, errors.Error):
        return ChildError(result["message"], result.get("trace", ""))
    hint = result.get("hint", "")
    if issubclass(kind, UnsupportedError):
        return kind(result["message"], [UnsupportedOp(**o) for o in result.get("ops", [])], hint=hint)
    if issubclass(kind, errors.MissingDependency):
        return BadFileError(result["message"], hint=hint)
    return kind(result["message"], hint=hint)


# -- the child's side ----------------------------------------------------------------------------
def child_main(arguments: Sequence[str], work: Callable[[dict[str, Any]], dict[str, Any]]) -> int:
    """The main function of a child module: limits, work(request), result.json."""
    request = json.loads(Path(arguments[1]).read_text(encoding="utf-8"))
    folder = Path(request["folder"])
    limit(**request["limits"])
    no_network()
    writes_only_below(folder)
    try:
        result = work(request)
    except MemoryError:
        result = {"error": "ResourceError", "message": "the child process ran out of memory while loading the model"}
    except errors.Error as e:
        result = {"error": type(e).__name__, "message": e.message, "hint": e.hint}
        if isinstance(e, UnsupportedError):
            result["ops"] = [o.to_dict() for o in e.ops]
    except Exception as e:  # every failure becomes a message for the parent
        text = f"{type(e).__name__}: {str(e)[:4000]}"
        result = {"error": "", "message": text, "trace": traceback.format_exc()[-4000:]}
    (folder / RESULT).write_text(json.dumps(result), encoding="utf-8")
    sys.stdout.flush()
    os._exit(0)  # frameworks with threads of their own may hang in an orderly exit


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
        (resource.RLIMIT_CORE, 0),
    ):
        with contextlib.suppress(ValueError, OSError):
            hard = resource.getrlimit(kind)[1]
            value = value if hard == resource.RLIM_INFINITY else min(value, hard)
            resource.setrlimit(kind, (value, hard))


def no_network() -> None:
    """An own, empty network namespace where the system allows one."""
    with contextlib.suppress(Exception):
        import ctypes

        libc = ctypes.CDLL(None, use_errno=True)
        libc.unshare(0x10000000 | 0x40000000)  # CLONE_NEWUSER | CLONE_NEWNET


# linux/landlock.h; the system call numbers are the same on every architecture.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF, _RULE_PATH_BENEATH = 444, 445, 446, 1
_WRITE_FILE, _TRUNCATE = 1 << 1, 1 << 14
_REMOVE_AND_MAKE = sum(1 << bit for bit in range(4, 13))
_PR_SET_NO_NEW_PRIVS = 38


def writes_only_below(folder: Path) -> bool:
    """Landlock: from here on this process writes, creates and removes files in `folder` only. False: not available."""
    with contextlib.suppress(Exception):
        import ctypes
        import struct

        libc = ctypes.CDLL(None, use_errno=True)
        version = libc.syscall(_CREATE_RULESET, None, 0, 1)
        if version < 1:
            return False
        rights = _WRITE_FILE | _REMOVE_AND_MAKE | (_TRUNCATE if version >= 3 else 0)
        ruleset = libc.syscall(_CREATE_RULESET, ctypes.create_string_buffer(struct.pack("<Q", rights), 8), 8, 0)
        for path, allowed in ((str(folder), rights), ("/dev/null", _WRITE_FILE)):
            handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
            rule = ctypes.create_string_buffer(struct.pack("<Qi", allowed, handle), 12)
            if libc.syscall(_ADD_RULE, ruleset, _RULE_PATH_BENEATH, rule, 0):
                return False
            os.close(handle)
        libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        restricted = libc.syscall(_RESTRICT_SELF, ruleset, 0) == 0
        os.close(ruleset)
        return bool(restricted)
    return False
