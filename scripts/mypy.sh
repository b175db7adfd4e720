#!/usr/bin/env bash
# mypy over the package as it is installed: four folders of the checkout under one name. Extra arguments go to mypy.
set -euo pipefail
cd "$(dirname "$0")/.."
[ -d .venv/bin ] && export PATH="$PWD/.venv/bin:$PATH"
root=$PWD
mkdir -p build/typing/edgec
for file in bindings/edgec/*; do ln -sfn "$root/$file" "build/typing/edgec/$(basename "$file")"; done
for folder in converter quantize cli; do ln -sfn "$root/$folder" "build/typing/edgec/$folder"; done
find build/typing/edgec -xtype l -delete
cd build/typing
exec mypy --config-file "$root/pyproject.toml" -p edgec "$@"
