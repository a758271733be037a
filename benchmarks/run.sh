#!/usr/bin/env bash
# Sets up what the benchmarks need, then prints their table: bash benchmarks/run.sh [row ...]
# Options go to harness.py: --rounds, --threads, --json. PYTHON names the interpreter of a new .venv.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bash .ci/setup.sh bench
exec .venv/bin/python benchmarks/harness.py "$@"
