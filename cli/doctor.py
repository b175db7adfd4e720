"""`edgec doctor`: what this machine has, and what is missing."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import sys
from pathlib import Path
from typing import Any

import click

from edgec import __version__
from edgec.cli.common import SETTINGS, Ui, bytes_text, common_options, table

# package -> (what needs it, the line that installs it)
PACKAGES = {
    "numpy": ("everything", "pip install numpy"),
    "onnx": ("reading .onnx", "pip install onnx"),
    "torch": ("reading .pt, .pt2 and nn.Module", "pip install 'edgec[torch]'"),
    "onnxscript": ("reading .pt, .pt2 and nn.Module", "pip install 'edgec[torch]'"),
    "onnxruntime": ("compare and bench against .onnx", "pip install 'edgec[bench]'"),
    "PIL": ("pictures as input", "pip install 'edgec[images]'"),
    "tflite": ("reading .tflite", "pip install 'edgec[tensorflow]'"),
    "tensorflow": ("reading SavedModel and .keras", "pip install 'edgec[tensorflow]'"),
}
_DISTRIBUTIONS = {"PIL": "pillow"}


@click.command("doctor", context_settings=SETTINGS, short_help="Show this machine, and what is missing.")
@common_options
def command(ui: Ui) -> None:
    """Show CPU features, limits and versions, and what is missing, with the line that installs it.

    \b
    Example:
      edgec doctor --json > machine.json
    """
    document = examine()
    ui.result(document)
    if not ui.talks:
        return
    cpu = document["cpu"]
    facts = table("", "")
    facts.add_row("edgec", f"{document['edgec']}   Python {document['python']}   {document['system']}")
    facts.add_row("CPU", f"{cpu['model']}   {document['machine']}")
    facts.add_row("features", " ".join(k for k, v in cpu["features"].items() if v) or "none that edgec uses")
    forced = f"   (EDGEC_ISA={document['EDGEC_ISA']})" if document["EDGEC_ISA"] else ""
    facts.add_row("kernels", f"{cpu['isa']}   of {' '.join(n for n, ok in cpu['isas'] if ok)}{forced}")
    facts.add_row(
        "cores",
        f"{cpu['usable_cpus']} usable of {cpu['logical_cpus']}   affinity {cpu['affinity']}   {_quota(cpu['quota'])}",
    )
    facts.add_row("caches", "   ".join(f"{k} {bytes_text(v)}" for k, v in cpu["caches"].items()))
    if document["memory"]:
        facts.add_row("memory", "   ".join(f"{k} {bytes_text(v)}" for k, v in document["memory"].items()))
    ui.print(facts)
    rows = table("package", "version", "for", "what to do")
    for p in document["packages"]:
        rows.add_row(p["package"], p["version"] or "missing", p["for"], "" if p["version"] else p["pip"])
    ui.print()
    ui.print(rows)
    for problem in document["problems"]:
        ui.print(f"problem: {problem}")


def examine() -> dict[str, Any]:
    """Everything that `doctor` prints."""
    problems = []
    logical = os.cpu_count() or 1
    cpu: dict[str, Any] = {"features": {}, "isas": [], "isa": "unknown", "usable_cpus": logical, "caches": {}}
    try:
        from edgec import _core

        cpu |= _core.cpu_info()
    except ImportError as e:
        problems.append(f"the native module does not load: {e}; what to do: pip install --force-reinstall edgec")
    cpu |= {
        "model": _cpu_model(),
        "logical_cpus": logical,
        "affinity": _affinity(),
        "quota": _quota_cpus(),
    }
    asked = os.environ.get("EDGEC_ISA", "")
    if asked and asked != cpu["isa"]:
        problems.append(f"EDGEC_ISA={asked} is not an instruction set of this CPU; {cpu['isa']} is used")
    return {
        "edgec": __version__,
        "python": platform.python_version(),
        "executable": sys.executable,
        "system": platform.platform(terse=True),
        "machine": platform.machine(),
        "EDGEC_ISA": asked,
        "cpu": cpu,
        "memory": _memory(),
        "packages": [
            {"package": name, "version": _version(name), "for": purpose, "pip": pip}
            for name, (purpose, pip) in PACKAGES.items()
        ],
        "problems": problems,
    }


def _version(package: str) -> str | None:
    if importlib.util.find_spec(package) is None:
        return None
    try:
        return importlib.metadata.version(_DISTRIBUTIONS.get(package, package))
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _cpu_model() -> str:
    for line in _read("/proc/cpuinfo").splitlines():
        if line.startswith(("model name", "Model", "Hardware")):
            return line.partition(":")[2].strip()
    return _read("/proc/device-tree/model").strip("\0 \n") or platform.processor() or "unknown"


def _affinity() -> str:
    if not hasattr(os, "sched_getaffinity"):
        return "unknown"
    cpus = sorted(os.sched_getaffinity(0))
    ranges: list[list[int]] = []
    for c in cpus:
        if ranges and ranges[-1][1] == c - 1:
            ranges[-1][1] = c
        else:
            ranges.append([c, c])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in ranges)


def _quota_cpus() -> float | None:
    """CPUs that the control group grants; None = no limit."""
    quota, _, period = _read("/sys/fs/cgroup/cpu.max").strip().partition(" ")
    if not quota:
        quota = _read("/sys/fs/cgroup/cpu/cpu.cfs_quota_us").strip()
        period = _read("/sys/fs/cgroup/cpu/cpu.cfs_period_us").strip()
    try:
        return int(quota) / int(period) if int(quota) > 0 else None
    except ValueError:
        return None


def _quota(cpus: float | None) -> str:
    return "no quota" if cpus is None else f"quota {cpus:g} CPUs"


def _memory() -> dict[str, int]:
    result = {}
    for line in _read("/proc/meminfo").splitlines():
        name, _, rest = line.partition(":")
        if name in ("MemTotal", "MemAvailable"):
            result[name.removeprefix("Mem").lower()] = int(rest.split()[0]) * 1024
    return result
