#!/usr/bin/env bash
# How well annealed importance sampling estimates log Z of RBMs: sets up, trains six of them, prints
# a table and writes it with figures to runs/partition_function; see --help.
#   bash examples/partition_function/run.sh [--quick] [--large-chains 1000] ...
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
bash .ci/setup.sh digits mnist5k
exec .venv/bin/python examples/partition_function/partition_function.py "$@"
