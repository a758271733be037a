#!/usr/bin/env bash
# Builds the library and the C++ tests with AddressSanitizer and UndefinedBehaviorSanitizer, and runs these. Needs what
# .ci/setup.sh test sets up. Takes many minutes. The argument is a build folder (default: build-sanitizers).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
build=${1:-build-sanitizers}
python=${PYTHON:-.venv/bin/python}
torch=$("$python" -c 'import torch, pathlib; print(pathlib.Path(torch.__file__).parent)')

cmake -S . -B "$build" -GNinja -DLibTorch_INCLUDE_DIR="$torch/include" -DTORCH_EBM_BUILD_TESTS=ON \
  -DTORCH_EBM_SANITIZE=address,undefined -DCMAKE_BUILD_TYPE=RelWithDebInfo -DCMAKE_CXX_FLAGS_RELWITHDEBINFO="-O1 -g1"
cmake --build "$build"

# torch itself is not instrumented: it keeps what it allocates at its start, and its functions have no type
# information that ours could be compared with.
export ASAN_OPTIONS=detect_leaks=0:detect_stack_use_after_return=1:strict_init_order=1
export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
OMP_NUM_THREADS=2 ctest --test-dir "$build" --output-on-failure --no-tests=error --timeout 1200
