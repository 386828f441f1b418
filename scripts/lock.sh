#!/usr/bin/env bash
# Write every lock from the ranges of pyproject.toml: requirements.lock, and conda's environment files and locks. What is
# pinned in requirements.lock stays, unless it no longer fits; a conda lock is solved anew where its environment changed.
#
#   scripts/lock.sh
#   scripts/lock.sh --upgrade                     all to the newest versions that fit together
#   scripts/lock.sh --upgrade-package torch       one of them, in requirements.lock
#
# Needs the Python index and the conda channels; conda-lock takes the conda or mamba of the PATH, or fetches one.
set -euo pipefail
CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
scripts/setup.sh
python="${DLIB_PYTHON:-.venv/bin/python}"

fail() {
  printf 'error: %s\n' "$1" >&2
  exit 2
}

# Nothing is replaced before all is solved, and then by renaming.
folder="$(mktemp -d "$PWD/.locking.XXXXXX")"
trap 'rm -rf "$folder"' EXIT
lock="$folder/requirements.lock"

compile() {
  scripts/uv.sh pip compile --quiet --no-header --no-annotate --only-binary :all: "$@"
}

lock_requirements() {
  local resolved="$folder/resolved.txt" pins cuda='^(nvidia-|cuda-|triton==)'
  cp requirements.lock "$resolved"
  compile pyproject.toml --extra plot --extra tensorboard --extra formats --extra metrics --extra test --extra dev --universal \
    --python-version 3.11 --output-file "$resolved" "$@" >/dev/null
  cat >"$lock" <<'HEADER'
# Exact versions of everything, for Python 3.11 to 3.13 on Linux (x86-64, ARM) and macOS 14 or later (Apple silicon).
# Written by scripts/lock.sh; do not edit.
# The CUDA packages stand as comments at the end, so that a machine without a GPU downloads none of them;
# scripts/setup.sh holds the CUDA build of torch, which asks for them itself, to these versions.
HEADER
  pins="$(grep -vE "sys_platform == '(win32|emscripten)'" "$resolved" | sed "s/ ; sys_platform != 'emscripten'\$//")"
  grep -vE "$cuda" <<<"$pins" >>"$lock"
  grep -E "$cuda" <<<"$pins" | sed 's/^/# cuda: /' >>"$lock"
  rm "$resolved"
}

check_requirements() {
  # torch's wheels for macOS begin with this release.
  export MACOSX_DEPLOYMENT_TARGET=14.0
  local version platform
  for version in 3.11 3.12 3.13; do
    for platform in x86_64-manylinux_2_28 aarch64-manylinux_2_28 aarch64-apple-darwin; do
      printf 'Resolving for Python %s on %s\n' "$version" "$platform"
      compile "$lock" --python-version "$version" --python-platform "$platform" >/dev/null
    done
  done
}

# conda_lock ENVIRONMENT LOCKFILE [--check-input-hash]: status 4 says that nothing had changed. The folder's name would
# stand in the lock file, were it not locked from inside.
conda_lock() {
  local scripts="$PWD/scripts" status=0
  cp virtual-packages.yml "$folder"
  cp "$2" "$folder" || true
  (cd "$folder" && "$scripts/conda_lock.sh" lock --log-level ERROR --file "$1" --lockfile "$2" ${3:+"$3"}) \
    2>"$folder/said.txt" || status=$?
  [ "$status" = 0 ] || [ "$status" = 4 ] || fail "$1 cannot be locked: $(tail -n 1 "$folder/said.txt")"
  rm "$folder/virtual-packages.yml" "$folder/said.txt"
}

only_changed=--check-input-hash
for argument in "$@"; do
  [ "$argument" != --upgrade ] || only_changed=
done
lock_requirements "$@"
"$python" scripts/conda_environments.py "$folder"
conda_lock environment.yml conda-lock.yml "$only_changed"
conda_lock ppc64le.environment.yml ppc64le.conda-lock.yml "$only_changed"
check_requirements
mv "$folder"/* .
