#!/usr/bin/env bash
# Sets up what is missing, then holds log Z between two bounds; see --help.
#   bash examples/sandwich/run.sh [--quick] [--out DIRECTORY]
set -euo pipefail
here=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
bash .ci/setup.sh plots
root=$PWD
cd "$here"
exec "$root/.venv/bin/python" "$root/examples/sandwich/sandwich.py" "$@"
