#!/usr/bin/env bash
# Write requirements.lock from the ranges of pyproject.toml. What is pinned stays, unless it no longer fits.
#
#   scripts/lock.sh
#   scripts/lock.sh --upgrade                     all to the newest versions that fit together
#   scripts/lock.sh --upgrade-package torch       one of them
set -euo pipefail
CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
scripts/setup.sh

compile() {
  .venv/bin/python -m uv pip compile --quiet --no-header --no-annotate --only-binary :all: "$@"
}

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
resolved="$folder/resolved.txt"
lock="$folder/requirements.lock"

cp requirements.lock "$resolved"
compile pyproject.toml --all-extras --universal --python-version 3.11 --output-file "$resolved" "$@" >/dev/null

cat >"$lock" <<'HEADER'
# Exact versions of everything, for Python 3.11 to 3.13 on Linux (x86-64, ARM) and macOS 14 or later (Apple silicon).
# Written by scripts/lock.sh; do not edit.
# The CUDA packages stand as comments at the end, so that a machine without a GPU downloads none of them;
# scripts/setup.sh holds the CUDA build of torch, which asks for them itself, to these versions.
HEADER
pins="$(grep -vE "sys_platform == '(win32|emscripten)'" "$resolved" | sed "s/ ; sys_platform != 'emscripten'\$//")"
cuda='^(nvidia-|cuda-|triton==)'
grep -vE "$cuda" <<<"$pins" >>"$lock"
grep -E "$cuda" <<<"$pins" | sed 's/^/# cuda: /' >>"$lock"

# torch's wheels for macOS begin with this release.
export MACOSX_DEPLOYMENT_TARGET=14.0
for version in 3.11 3.12 3.13; do
  for platform in x86_64-manylinux_2_28 aarch64-manylinux_2_28 aarch64-apple-darwin; do
    printf 'Resolving for Python %s on %s\n' "$version" "$platform"
    compile "$lock" --python-version "$version" --python-platform "$platform" >/dev/null
  done
done
mv "$lock" requirements.lock
