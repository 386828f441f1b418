#!/usr/bin/env bash
# Run conda-lock, from an environment of its own that uv keeps: what it depends on would hold our packages back.
#
#   scripts/conda_lock.sh --help
#   scripts/conda_lock.sh render -k explicit -p linux-64 conda-lock.yml     a list that conda create --file takes
set -euo pipefail
exec "$(dirname -- "${BASH_SOURCE[0]}")/uv.sh" tool run --quiet --from conda-lock==4.0.3 conda-lock "$@"
