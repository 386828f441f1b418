#!/usr/bin/env bash
# Make an environment with other versions than those of requirements.lock, to test the ranges of pyproject.toml in it.
#
#   scripts/setup_as_locked.sh oldest     .venv-oldest: the lower bounds, and what they need as ppc64le.conda-lock.yml has it
#   scripts/setup_as_locked.sh conda      .venv-conda: the versions that conda-lock.yml has for linux-64
#   PYTHON=python3.10 scripts/setup_as_locked.sh oldest
#
# scripts/test.sh --oldest and --conda call it; once installed it only compares strings. What PYTHON once chose stays
# until it is given again. Versions that the package index does not have are told, and left to the resolver.
set -euo pipefail
CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
unset PYTHONPATH PYTHONHOME VIRTUAL_ENV
export PIP_USER=0 PIP_DISABLE_PIP_VERSION_CHECK=1
trap 'exit 130' INT TERM

# What stands in setup.sh too is repeated: that script goes into the image alone.
fail() {
  printf 'error: %s\n' "$1" >&2
  exit 2
}

case "${1:-}" in
  oldest)
    lock=ppc64le.conda-lock.yml platform=linux-ppc64le which=transitive resolution=lowest-direct
    interpreters=(python3.10 python3.11)
    ;;
  conda)
    lock=conda-lock.yml platform=linux-64 which=all resolution=highest
    interpreters=(python3.12 python3.11 python3.13)
    ;;
  *) fail "unknown environment '${1:-}': it is oldest or conda" ;;
esac
venv=".venv-$1"
python="$venv/bin/python"
pins="$venv/pins.txt"
# lightning 2.3 imports pkg_resources, which is setuptools', and does not ask for it.
further="$venv/further.txt"
# The interpreter, then all that the installation follows from. Written last: its presence means that the rest is whole.
stamp="$venv/installed"

interpreter_identity() {
  "$1" -c 'import sys; print("%d.%d.%d" % sys.version_info[:3], sys.base_prefix)' 2>/dev/null
}

# The first that runs: a version manager may have commands that only say that a version is not there.
choose_interpreter() {
  local candidate
  for candidate in ${PYTHON:+"$PYTHON"} "${interpreters[@]}" python3; do
    if interpreter_identity "$candidate" >/dev/null; then
      printf '%s\n' "$candidate"
      return
    fi
    [ "$candidate" != "${PYTHON:-}" ] || break
  done
  fail "${PYTHON:-${interpreters[0]}} does not run: name an interpreter with PYTHON=/path/to/python"
}

inputs() {
  cat pyproject.toml "$lock" scripts/setup_as_locked.sh scripts/conda_environments.py scripts/locked_versions.py | cksum
}

is_installed() {
  [ -x "$python" ] && [ -f "$stamp" ] || return 1
  local interpreter made_of
  { read -r interpreter && read -r made_of; } <"$stamp" || return 1
  [ "$made_of" = "$(inputs)" ] || return 1
  [ -z "${PYTHON:-}" ] || [ "$interpreter" = "$(interpreter_identity "$PYTHON")" ]
}

wait_for_others() {
  command -v flock >/dev/null || return 0
  exec 9>"$venv/lock"
  # Some network file systems have no locks: better to go on than to refuse.
  flock 9 || true
}

make_venv() {
  find "$venv/" -mindepth 1 -maxdepth 1 ! -name lock -exec rm -rf {} +
  "$1" -m venv "$venv" >&2 || fail "'$1' cannot make a virtual environment (on Debian and Ubuntu: apt install python3-venv)"
  # What reads the locks. tomli is what Python 3.11 has itself.
  "$python" -m pip install --quiet --quiet uv pyyaml packaging tomli || fail "uv cannot be installed into $venv"
}

uv_pip() {
  "$python" -m uv pip "$1" --quiet --python "$python" "${@:2}"
}

# Resolve what pyproject.toml asks for: resolve compile FILE..., resolve install -r FILE...
resolve() {
  uv_pip "$@" --resolution "$resolution" --constraint "$pins" --extra plot --extra tensorboard --extra formats \
    --extra metrics --extra test
}

# The pin that the solver names first is told, with its words, and left to the solver: until the rest fits together.
relax_pins() {
  local words pin
  while ! words="$(resolve compile pyproject.toml "$further" --no-header --no-annotate -o "$venv/versions.txt" 2>&1)"; do
    words="$(tr -s ' \n' ' ' <<<"$words")"
    pin="$(grep -oE '[a-z0-9-]+==[^ ,]+' <<<"$words" | grep -Fxf "$pins" | head -n 1)" ||
      fail "the versions of $lock cannot be resolved: $words"
    printf 'Not as locked: %s, %s\n' "$pin" "$(sed -E 's/.*cause: (Because.*)/\1/; s/, we can conclude.*//' <<<"$words")"
    sed -i.before "/^$pin\$/d" "$pins"
  done
}

# The CPU build is a tenth of the size. A mirror that pip is set up with may hold it, and is asked first; then PyTorch's
# own index, which uv knows. Else the one with CUDA does as well.
install_cpu_torch() {
  "$python" -m pip install --quiet --quiet --no-deps "torch==$1+cpu" 2>/dev/null ||
    uv_pip install --no-deps --torch-backend cpu "torch==$1" 2>/dev/null ||
    printf 'No CPU build of torch %s can be had; taking the one with CUDA, which is several GB.\n' "$1"
}

main() {
  if is_installed; then return; fi
  local interpreter
  interpreter="$(choose_interpreter)"
  [ -f "$lock" ] || fail "$lock is missing"
  mkdir -p "$venv"
  wait_for_others
  if is_installed; then return; fi
  printf 'Installing into %s, with %s.\n' "$venv" "$interpreter"
  make_venv "$interpreter"
  "$python" -m scripts.locked_versions "$lock" "$platform" "$which" >"$pins"
  printf 'setuptools\n' >"$further"
  relax_pins
  install_cpu_torch "$(sed -n 's/^torch==//p' "$venv/versions.txt")"
  resolve install -r pyproject.toml -r "$further" || fail "the installation into $venv failed: the same command tries again"
  {
    interpreter_identity "$python"
    inputs
  } >"$stamp.tmp"
  mv "$stamp.tmp" "$stamp"
}

main
