#!/usr/bin/env bash
# Installs what is missing, then computes bounds on log Z from both sides; see --help.
#   bash examples/sandwich/run.sh [--quick] [--out DIRECTORY]
set -euo pipefail
here=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
bash .ci/setup.sh plots
root=$PWD
cd "$here"
exec "$root/.venv/bin/python" "$root/examples/sandwich/sandwich.py" "$@"
