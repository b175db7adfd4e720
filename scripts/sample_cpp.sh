#!/usr/bin/env bash
# Installs the C++ runtime from build/release, builds samples/cpp against it and classifies the drawn digits.
# Usage: scripts/sample_cpp.sh     (after `make demo`, which writes build/digits.edge)
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PWD/.venv/bin:$PATH"
if command -v ninja >/dev/null; then export CMAKE_GENERATOR=Ninja; fi
if command -v ccache >/dev/null; then export CMAKE_CXX_COMPILER_LAUNCHER=ccache; fi

mkdir -p build
cmake -S . -B build/release >build/release.configure.log || { cat build/release.configure.log; exit 1; }
cmake --build build/release --parallel
cmake --install build/release --prefix "$PWD/build/install" >/dev/null
cmake -S samples/cpp -B build/sample-cpp -DCMAKE_PREFIX_PATH="$PWD/build/install" >/dev/null
cmake --build build/sample-cpp
for digit in 3 7; do
  for program in classify classify_c; do
    echo "$ $program digits.edge $digit.txt"
    answer=$("build/sample-cpp/$program" build/digits.edge "samples/cpp/$digit.txt")
    echo "$answer"
    [[ $answer == *"digit $digit"* ]] || { echo "FAILED: expected digit $digit"; exit 1; }
  done
done
