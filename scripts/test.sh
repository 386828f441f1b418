#!/usr/bin/env bash
# Run the tests. All set-up is done on the way; arguments go to pytest.
#
#   scripts/test.sh                           all, in as many processes as there are cores, up to 4
#   scripts/test.sh -m slow
#   scripts/test.sh tests/data -k packing
#   scripts/test.sh --oldest     the main job, with the oldest versions that pyproject.toml allows
#   scripts/test.sh --conda      the same with the versions of conda-lock.yml, as far as the package index has them
set -euo pipefail
CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."

case "${1:-}" in
  --oldest | --conda)
    scripts/setup_as_locked.sh "${1#--}"
    python=".venv-${1#--}/bin/python"
    status=0
    "$python" -m pytest -m 'oldest and not slow' "${@:2}" || status=$?
    "$python" -m tests.environments.installed_versions
    exit "$status"
    ;;
esac

# Whoever names tests waits less for them in one process.
processes=(--numprocesses auto --maxprocesses 4 --dist loadscope)
for argument in "$@"; do
  [ ! -e "${argument%%::*}" ] || processes=()
done

scripts/setup.sh
python="${DLIB_PYTHON:-.venv/bin/python}"
exec "$python" -m pytest ${processes[@]+"${processes[@]}"} "$@"
