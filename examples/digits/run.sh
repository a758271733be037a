#!/usr/bin/env bash
# Installs what is missing, then learns a model of digits and samples it from C++; see --help.
#   bash examples/digits/run.sh [--data digits|mnist5k|PATH] [--resume] [--compare] ...
set -euo pipefail
here=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

extras=(digits)
case " $* " in *mnist5k*) extras+=(mnist5k) ;; esac
CMAKE_ARGS="${CMAKE_ARGS:-} -DTORCH_EBM_EXAMPLES=sample_digits" bash .ci/setup.sh "${extras[@]}"

root=$PWD
build=${TORCH_EBM_BUILD_DIR:-$root/build}
cd "$here"
exec "$root/.venv/bin/python" "$root/examples/digits/train.py" \
  --cpp-program "$build/examples/cpp/sample_digits" "$@"
