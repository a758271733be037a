#!/usr/bin/env bash
# Energies learned by score matching, in the plane and on patches of photographs: sets up, trains, prints two tables and
# writes figures to runs/score_matching.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
bash .ci/setup.sh images
.venv/bin/python examples/score_matching/plane.py "$@"
exec .venv/bin/python examples/score_matching/patches.py "$@"
