#!/usr/bin/env bash
# A mode that CD-1 cannot see: sets up, trains four models, prints a table and writes a plot to
# runs/spurious_mode.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
bash .ci/setup.sh plots
exec .venv/bin/python examples/spurious_mode/spurious_mode.py "$@"
