#!/usr/bin/env bash
# Makes .venv with edgec in it, built from this checkout; safe to repeat, then it only rebuilds what changed.
# Usage: scripts/setup.sh EXTRAS        (comma separated extras of pyproject.toml, e.g. dev,torch)
# PYTHON=python3.12 chooses the interpreter.
set -euo pipefail
cd "$(dirname "$0")/.."
extras=${1:?usage: scripts/setup.sh EXTRAS}
python=${PYTHON:-python3}

install_or_explain() {  # install_or_explain APT-PACKAGES...
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "setup: installing with apt-get: $*"
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
  else
    echo "setup: this machine lacks: $*" >&2
    echo "setup: on Debian or Ubuntu run: sudo apt-get install $*   and then this command again" >&2
    exit 1
  fi
}

missing=()
command -v "$python" >/dev/null || missing+=(python3 python3-venv python3-dev)
command -v c++ >/dev/null || missing+=(g++)
[ ${#missing[@]} = 0 ] || install_or_explain "${missing[@]}"

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' || {
  echo "setup: $python is $("$python" -V), edgec needs Python 3.10 or newer (choose one: PYTHON=python3.11 make ...)" >&2
  exit 1
}
# Debian splits off what a virtual environment and an extension module need.
mapfile -t missing < <("$python" - <<'PYTHON_END'
import importlib.util, os, sys, sysconfig
name = "python%d.%d" % sys.version_info[:2]
if importlib.util.find_spec("ensurepip") is None:
    print(name + "-venv")
if not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")):
    print(name + "-dev")
PYTHON_END
)
[ ${#missing[@]} = 0 ] || install_or_explain "${missing[@]}"

if ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
  echo "setup: creating .venv with $("$python" -V)"
  "$python" -m venv --clear .venv
fi

pip=(.venv/bin/python -m pip install --disable-pip-version-check --quiet --constraint scripts/constraints.txt)
# Where it can be reached, PyTorch's own index has the CPU build, 200 MB instead of 3 GB with CUDA.
cpu_index=https://download.pytorch.org/whl/cpu
if [[ ,$extras, == *,torch,* ]] && ! .venv/bin/python -c 'import torch' 2>/dev/null &&
  .venv/bin/python -c "import urllib.request as u; u.urlopen('$cpu_index/torch/', timeout=5)" 2>/dev/null; then
  pip+=(--extra-index-url "$cpu_index")
fi

# Without build isolation the build folder keeps its paths, and a second run compiles only what changed.
"${pip[@]}" 'scikit-build-core>=0.10' 'pybind11>=2.13' 'cmake>=3.18' ninja
export PATH="$PWD/.venv/bin:$PATH"
if command -v ccache >/dev/null; then export CMAKE_CXX_COMPILER_LAUNCHER=ccache; fi
echo "setup: building edgec and installing extras [$extras] (a few minutes the first time)"
"${pip[@]}" --no-build-isolation --editable ".[$extras]"
.venv/bin/edgec --version
