#!/usr/bin/env bash
# Consistency of the criteria: sets up, fits known models to their own data, prints a table of
# slopes and writes a plot to runs/consistency.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
bash .ci/setup.sh plots
exec .venv/bin/python examples/consistency/consistency.py "$@"
