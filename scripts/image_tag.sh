#!/usr/bin/env bash
# Print the tag of an image, from the versions that its lock holds: torch-2.9.1-cuda-12.9.
#
#   scripts/image_tag.sh full | ppc64le | pip
set -euo pipefail
CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."

fail() {
  printf 'error: %s\n' "$1" >&2
  exit 2
}

# conda_version LOCK PLATFORM PACKAGE
conda_version() {
  awk -v platform="$2" -v package="$3" '
    /^- name: / { name = $3 }
    /^  version: / { version = $2 }
    /^  platform: / && $2 == platform && name == package { gsub("\047", "", version); print version }' "$1"
}

tag() {
  local torch cuda
  torch="$(conda_version "$1" "$2" pytorch)"
  cuda="$(conda_version "$1" "$2" cuda-version)"
  if [ -z "$torch" ] || [ -z "$cuda" ]; then fail "$1 names no pytorch or no cuda-version for $2"; fi
  printf 'torch-%s-cuda-%s%s\n' "$torch" "$cuda" "${3:-}"
}

case "${1:-}" in
  full) tag conda-lock.yml linux-64 ;;
  ppc64le) tag ppc64le.conda-lock.yml linux-ppc64le -ppc64le ;;
  pip) sed -n 's/^torch==\([^ ;]*\).*/torch-\1-cpu/p' requirements.lock ;;
  *) fail "unknown image '${1:-}': it is full, ppc64le or pip" ;;
esac
