#!/usr/bin/env bash
# Sets up a fresh Debian or Ubuntu machine in .venv: compiler, ccache, GoogleTest, torch, this package with the
# extras named as arguments (for example: .ci/setup.sh test digits). Does only what is not done yet.
# CMAKE_ARGS go to CMake. PYTHON names the interpreter (default: python3).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

PYTHON=${PYTHON:-python3}
TORCH=2.13.0

missing=()
command -v c++ >/dev/null || missing+=(g++)
command -v ccache >/dev/null || missing+=(ccache)
"$PYTHON" -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv)
[ -e /usr/include/gtest/gtest.h ] || missing+=(libgtest-dev)
if [ ${#missing[@]} -gt 0 ]; then
  as_root=$([ "$(id -u)" = 0 ] || echo sudo)
  $as_root apt-get update -qq
  DEBIAN_FRONTEND=noninteractive $as_root apt-get install -y -qq "${missing[@]}"
fi

[ -x .venv/bin/python ] || "$PYTHON" -m venv .venv
export PATH="$PWD/.venv/bin:$PATH"

extras=$(IFS=,; echo "$*")
wanted=$(cat pyproject.toml "${BASH_SOURCE[0]}" | sha256sum | cut -d' ' -f1)
if ! grep -qsx "$wanted $extras" .venv/installed.txt; then
  pip install -q "torch==$TORCH" "setuptools>=70.1,<82" wheel cmake ninja
  pip install -q $(python - "$@" <<'PY'
import sys
try:
    import tomllib
except ImportError:
    from pip._vendor import tomli as tomllib
with open("pyproject.toml", "rb") as file:
    project = tomllib.load(file)["project"]
wanted = [r for r in project["dependencies"] if not r.startswith("torch")]
for extra in sys.argv[1:]:
    wanted += project["optional-dependencies"][extra]
print(*(r.replace(" ", "") for r in wanted))
PY
)
  echo "$wanted $extras" >> .venv/installed.txt
fi

pip install -q --no-build-isolation --no-deps -e .
