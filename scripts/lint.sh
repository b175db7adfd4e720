#!/usr/bin/env bash
# Style and static checks of everything; changes nothing. Usage: scripts/lint.sh [--tidy]
#   --tidy   also clang-tidy over the runtime (minutes; needs build/release from `make test`)
set -euo pipefail
cd "$(dirname "$0")/.."
[ -d .venv/bin ] && export PATH="$PWD/.venv/bin:$PATH"
status=0
check() { echo "== $*"; "$@" || status=1; }

check ruff check .
check scripts/mypy.sh
mapfile -t cpp < <(git ls-files '*.cc' '*.h' '*.hpp' '*.c' '*.cu')
echo "== clang-format (${#cpp[@]} files)"
clang-format --dry-run -Werror "${cpp[@]}" || status=1
if [ "${1:-}" = --tidy ]; then
  mapfile -t units < <(git ls-files 'runtime_cpp/core/*.cc' 'runtime_cpp/format/*.cc' 'runtime_cpp/ops/*.cc')
  echo "== clang-tidy (${#units[@]} files)"
  printf '%s\n' "${units[@]}" | xargs -P "$(nproc)" -n 4 clang-tidy --quiet -p build/release || status=1
fi
[ $status = 0 ] && echo "lint: all clean"
exit $status
