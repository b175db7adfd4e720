#!/usr/bin/env bash
# Fuzzes the .edge reader with libFuzzer, AddressSanitizer and UndefinedBehaviorSanitizer.
# Usage: scripts/fuzz.sh SECONDS [TARGET...]     corpus: build/fuzz/corpus/<target>, kept between runs
# EDGEC_FUZZ_FLAGS adds flags of libFuzzer: "-seed=1 -runs=20000" does the same work on every machine.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:?usage: scripts/fuzz.sh SECONDS [TARGET...]}
shift
[ -d .venv/bin ] && export PATH="$PWD/.venv/bin:$PATH"
if command -v ccache >/dev/null; then export CMAKE_CXX_COMPILER_LAUNCHER=ccache; fi
if command -v ninja >/dev/null; then export CMAKE_GENERATOR=Ninja; fi
compiler=$(command -v clang++ || command -v clang++-14) || { echo "fuzz: needs clang++ (apt-get install clang)" >&2; exit 1; }

mkdir -p build
cmake -S . -B build/fuzz -DCMAKE_CXX_COMPILER="$compiler" -DCMAKE_C_COMPILER="${compiler/clang++/clang}" \
  -DEDGEC_FUZZ=ON -DEDGEC_TESTS=OFF -DEDGEC_TOOLS=OFF -DEDGEC_SANITIZE=address,undefined \
  -DCMAKE_BUILD_TYPE=Debug -DCMAKE_CXX_FLAGS_DEBUG=-O1 -DCMAKE_C_FLAGS_DEBUG=-O1 >build/fuzz.configure.log 2>&1 ||
  { cat build/fuzz.configure.log; exit 1; }
cmake --build build/fuzz --parallel
targets=("$@")
if [ ${#targets[@]} = 0 ]; then mapfile -t targets < <(find build/fuzz -type f -executable -name 'fuzz_*' -printf '%f\n' | sort); fi
[ ${#targets[@]} -gt 0 ] || { echo "fuzz: no target was built" >&2; exit 1; }
for target in "${targets[@]}"; do
  mkdir -p "build/fuzz/corpus/$target"
  echo "== $target, $seconds s"
  "$(find build/fuzz -type f -name "$target" | head -1)" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 \
    -print_final_stats=1 -artifact_prefix=build/fuzz/ ${EDGEC_FUZZ_FLAGS:-} "build/fuzz/corpus/$target" 2>&1 | tail -15
done
