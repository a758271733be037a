#!/usr/bin/env bash
# The log-likelihood while a model learns digits: sets up, trains, prints a table and writes a plot
# to runs/live_log_likelihood.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
bash .ci/setup.sh plots
exec .venv/bin/python examples/live_log_likelihood/live_log_likelihood.py "$@"
