#!/usr/bin/env bash
# Builds the wheel, holds it and the shared library to their size limits, and uses it in an environment of its own.
# Usage: scripts/check_wheel.sh     (after scripts/setup.sh)
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PWD/.venv/bin:$PATH"
wheel_limit=2000000 library_limit=1500000 # bytes

rm -rf build/wheel && mkdir -p build/wheel
.venv/bin/python -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir build/wheel .
wheel=$(echo build/wheel/*.whl)

.venv/bin/python -m venv --clear build/wheel/venv
build/wheel/venv/bin/python -m pip install --quiet --constraint scripts/constraints.txt "$wheel"
build/wheel/venv/bin/edgec --version
(cd build/wheel && venv/bin/python -c 'import edgec.converter, edgec.quantize, edgec.cli; from edgec import _core; print(len(_core.registry()), "operators")')

status=0
limit() { # limit NAME FILE BYTES
  local size
  size=$(stat -c %s "$2")
  if [ "$size" -gt "$3" ]; then echo "$1 is $size bytes, more than $3: $2"; status=1; else echo "$1: $size bytes (limit $3)"; fi
}
limit wheel "$wheel" $wheel_limit
# The library that C and C++ programs link; `make test` builds it.
[ -f build/release/CMakeCache.txt ] || cmake -S . -B build/release -DEDGEC_TESTS=OFF >/dev/null
cmake --build build/release --parallel --target edgec_shared >/dev/null
cp -L build/release/runtime_cpp/libedgec.so build/wheel/libedgec.so && strip build/wheel/libedgec.so
limit "shared library" build/wheel/libedgec.so $library_limit
exit $status
