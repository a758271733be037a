#!/usr/bin/env bash
# What more data buys under each criterion: sets up, fits known models to data of theirs, prints a table of slopes and
# writes a picture to runs/consistency.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
bash .ci/setup.sh plots
exec .venv/bin/python examples/consistency/consistency.py "$@"
