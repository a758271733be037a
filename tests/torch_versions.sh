#!/usr/bin/env bash
# Builds the package against several torch wheels as a user would, with `pip install .`, and runs the C++ tests and the
# core of the Python tests against each:
#   bash tests/torch_versions.sh [REQUIREMENT ...]
# The requirements go to pip; by default those of the oldest and of the newest supported release. `torch===2.13.0` takes
# the file of that very name, a build for CUDA, also from an index that has torch 2.13.0+cpu. No GPU and no CUDA toolkit
# are needed. Environments and builds stay in build/torch_versions, and are used again.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
root=$PWD
core=(energy gates criteria rbm gibbs langevin hmc negative_phase log_partition ais anneal mbar consumer)

check() {
  local requirement=$1 folder=$2 tests
  tests=$(for name in "${core[@]}"; do find "$root/tests/python" -name "test_$name.py"; done)
  local python=$folder/venv/bin/python
  [ -x "$python" ] || python3 -m venv "$folder/venv"
  "$python" -c 'import torch' 2>/dev/null || "$python" -m pip install -q --no-compile "$requirement"
  "$python" -m pip install -q --no-compile cmake ninja wheel "setuptools>=70.1,<82" tqdm pytest pytest-xdist scipy
  export TORCH_EBM_BUILD_DIR=$folder/build CMAKE_ARGS="-DTORCH_EBM_BUILD_TESTS=ON"
  "$python" -m pip install -q --force-reinstall --no-deps "$root"
  ctest --test-dir "$TORCH_EBM_BUILD_DIR" --output-on-failure --no-tests=error --parallel "$(nproc)"
  # From another folder: in this one Python would import the source tree's torch_ebm, not the installed one.
  (cd "$folder" && PATH="$folder/venv/bin:$PATH" python -m pytest -c "$root/pyproject.toml" \
    --numprocesses "$(nproc)" --dist loadfile $tests)
}

[ $# -gt 0 ] || set -- torch==2.13.0 torch===2.13.0 torch==2.14.1
summary=
for requirement in "$@"; do
  folder=$root/build/torch_versions/${requirement//[^[:alnum:].]/_}
  mkdir -p "$folder"
  set +e  # one that fails does not end the others
  (set -e; check "$requirement" "$folder") 2>&1 | tee "$folder/log.txt"
  [ "${PIPESTATUS[0]}" = 0 ] && result=passed || result=failed
  set -e
  version=$("$folder/venv/bin/python" -c 'import torch; print(torch.__version__, "CUDA", torch.version.cuda)') || version=none
  counts=$(grep -E '^[0-9]+% tests passed|^[0-9]+ passed|^[0-9]+ failed' "$folder/log.txt" | tr '\n' ';')
  summary+="$requirement ($version): $result; $counts"$'\n'
done
printf '\n%s' "$summary"
! grep -q failed <<< "$summary"
