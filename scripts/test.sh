#!/usr/bin/env bash
# Run the tests. All set-up is done on the way; arguments go to pytest.
#
#   scripts/test.sh
#   scripts/test.sh -m slow
#   scripts/test.sh tests/data -k packing
set -euo pipefail
CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
scripts/setup.sh
exec .venv/bin/python -m pytest "$@"
