#!/usr/bin/env bash
# Sets up, builds and runs every test: C++ (ctest) and Python (pytest). Arguments go to pytest.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
CMAKE_ARGS="-DTORCH_EBM_BUILD_TESTS=ON -DTORCH_EBM_EXAMPLES=sample_digits;train_rbm -DTORCH_EBM_WERROR=ON" \
  bash .ci/setup.sh test digits
export PATH="$PWD/.venv/bin:$PATH"
ctest --test-dir build --output-on-failure --no-tests=error --parallel "$(nproc)"
python -m pytest --numprocesses "$(nproc)" --dist worksteal "$@"
