#!/usr/bin/env bash
# One RBM, every criterion, judged by the exact likelihood: sets up, trains and prints the table.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
bash .ci/setup.sh digits
exec .venv/bin/python examples/criteria_on_digits/criteria_on_digits.py "$@"
