#!/usr/bin/env bash
# Sets up a Debian or Ubuntu machine in .venv: a compiler, torch, this package with the extras named as arguments, for
# example `.ci/setup.sh test digits`; with `test`, GoogleTest too. Does only what is not done yet. A torch that is in
# .venv already is kept. CMAKE_ARGS go to CMake. PYTHON names the interpreter (default: python3).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

PYTHON=${PYTHON:-python3}

missing=()
command -v c++ >/dev/null || missing+=(g++)
"$PYTHON" -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv)
case " $* " in *" test "*) [ -e /usr/include/gtest/gtest.h ] || missing+=(libgtest-dev) ;; esac
if [ ${#missing[@]} -gt 0 ]; then
  as_root=$([ "$(id -u)" = 0 ] || echo sudo)
  $as_root apt-get update -qq
  DEBIAN_FRONTEND=noninteractive $as_root apt-get install -y -qq --no-install-recommends "${missing[@]}"
fi

[ -x .venv/bin/python ] || "$PYTHON" -m venv .venv
export PATH="$PWD/.venv/bin:$PATH"

build() { pip install -q --no-build-isolation --no-deps -e .; }

extras=$(IFS=,; echo "$*")
wanted=$(cat pyproject.toml "${BASH_SOURCE[0]}" | sha256sum | cut -d' ' -f1)
if grep -qsx "$wanted $extras" .venv/installed.txt; then
  build
else
  # Python compiles a module when it is first imported; compiling all of torch beforehand takes half a minute.
  python -c 'import torch' 2>/dev/null || pip install -q --no-compile torch==2.13.0
  pip install -q --no-compile "setuptools>=70.1,<82" wheel cmake ninja
  # The library is compiled while the packages that only Python needs are installed.
  build & building=$!
  pip install -q --no-compile "tqdm>=4.60" $(python - "$@" <<'PY'
import sys
try:
    import tomllib
except ImportError:
    from pip._vendor import tomli as tomllib
with open("pyproject.toml", "rb") as file:
    extras = tomllib.load(file)["project"]["optional-dependencies"]
print(*(requirement.replace(" ", "") for extra in sys.argv[1:] for requirement in extras[extra]))
PY
)
  wait "$building"
  echo "$wanted $extras" >> .venv/installed.txt
fi
