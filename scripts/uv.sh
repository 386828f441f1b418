#!/usr/bin/env bash
# Run uv: that of the environment, or of the PATH; else one that scripts/setup.sh installs.
#
#   scripts/uv.sh --version
set -euo pipefail
folder="$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)"
# A .venv that came along into a container, say, is not to be used. conda's uv is a program, and no module of Python.
if [ -z "${DLIB_PYTHON:-}" ] && [ -x "$folder/.venv/bin/uv" ]; then
  exec "$folder/.venv/bin/uv" "$@"
elif command -v uv >/dev/null; then
  exec uv "$@"
fi
"$folder/scripts/setup.sh"
exec "${DLIB_PYTHON:-$folder/.venv/bin/python}" -m uv "$@"
