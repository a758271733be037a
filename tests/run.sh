#!/usr/bin/env bash
# Sets up, builds and runs every test: C++ (ctest) and Python (pytest). Arguments go to pytest.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# ccache finds again what was compiled in any copy of the source tree: paths in it are taken as relative. A
# precompiled header counts by its content; the compiler itself refuses one made with other definitions.
export CCACHE_BASEDIR=$PWD CCACHE_SLOPPINESS=pch_defines,time_macros
CMAKE_ARGS="-DTORCH_EBM_BUILD_TESTS=ON -DTORCH_EBM_BUILD_EXAMPLES=ON -DTORCH_EBM_WERROR=ON" \
  bash .ci/setup.sh test digits
export PATH="$PWD/.venv/bin:$PATH"
ctest --test-dir build --output-on-failure --no-tests=error --parallel "$(nproc)"
python -m pytest "$@"
