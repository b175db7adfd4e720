#!/usr/bin/env bash
# Builds the C++ tests in build/<variant> and runs them with ctest.
# Usage: scripts/test_cpp.sh release|asan|tsan|aarch64
#   release   once per instruction set of cmake/isa.cmake that was built (EDGEC_ISA=...)
#   asan      AddressSanitizer and UndefinedBehaviorSanitizer
#   tsan      ThreadSanitizer
#   aarch64   cross-compiled with zig (PyPI package ziglang), run by qemu-aarch64
set -euo pipefail
cd "$(dirname "$0")/.."
variant=${1:?usage: scripts/test_cpp.sh release|asan|tsan|aarch64}
build=build/$variant
[ -d .venv/bin ] && export PATH="$PWD/.venv/bin:$PATH"
if command -v ccache >/dev/null; then export CMAKE_CXX_COMPILER_LAUNCHER=ccache; fi
if command -v ninja >/dev/null; then export CMAKE_GENERATOR=Ninja; fi

options=()
checked=(-DCMAKE_BUILD_TYPE=Debug -DCMAKE_CXX_FLAGS_DEBUG=-O1 -DCMAKE_C_FLAGS_DEBUG=-O1) # assertions on
case $variant in
  release) ;;
  asan) options+=(-DEDGEC_SANITIZE=address,undefined "${checked[@]}") ;;
  tsan) options+=(-DEDGEC_SANITIZE=thread "${checked[@]}") ;;
  aarch64) options+=(-DCMAKE_TOOLCHAIN_FILE=cmake/toolchains/aarch64-zig.cmake) ;;
  *) echo "unknown variant '$variant'" >&2; exit 2 ;;
esac

mkdir -p build
cmake -S . -B "$build" -DEDGEC_TESTS=ON "${options[@]}" >"$build.configure.log" 2>&1 || { cat "$build.configure.log"; exit 1; }
cmake --build "$build" --parallel

run_tests() { ctest --test-dir "$build" --output-on-failure --no-tests=error --timeout 600 "$@"; }
if [ "$variant" = release ]; then
  for isa in $(sed -n 's/^EDGEC_ISA_ROW(\([a-z0-9_]*\),.*/\1/p' "$build/generated/isa_list.inc"); do
    echo "== $variant, EDGEC_ISA=$isa"
    EDGEC_ISA=$isa run_tests
  done
else
  run_tests
fi
