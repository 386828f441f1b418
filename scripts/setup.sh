#!/usr/bin/env bash
# Make .venv from requirements.lock. The other scripts call this first; once installed it only compares strings.
#
#   scripts/setup.sh
#   PYTHON=python3.12 scripts/setup.sh     another interpreter, 3.11 to 3.13 (python3)
#   TORCH=cpu scripts/setup.sh             cpu | cuda | auto: CUDA where an NVIDIA driver is present, else CPU
#
# What PYTHON and TORCH once chose stays until they are given again.
#
# DLIB_PYTHON=/path/to/python names the interpreter of an environment that is already there, as the image and a conda
# environment have one: nothing is installed then, and the other scripts run with it.
set -euo pipefail
CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."

# A module system's or a user's own packages must not pass for installed ones.
unset PYTHONPATH PYTHONHOME
export PIP_USER=0 PIP_DISABLE_PIP_VERSION_CHECK=1
# pip answers Ctrl-C with an ordinary failure, after which the next way to install would be tried.
trap 'exit 130' INT TERM

# Line 1: the interpreter, line 2: the build of torch, then the lock file. Written last: its presence means that
# all before it is whole.
stamp=.venv/installed

fail() {
  printf 'error: %s\n' "$1" >&2
  exit 2
}

interpreter_identity() {
  "$1" -c 'import sys; print("%d.%d.%d" % sys.version_info[:3], sys.base_prefix)' 2>/dev/null
}

is_installed() {
  [ -x .venv/bin/python ] && [ -f "$stamp" ] || return 1
  local interpreter build lock
  { read -r interpreter && read -r build && lock="$(cat)"; } <"$stamp" || return 1
  [ "$lock" = "$(cat requirements.lock)" ] || return 1
  [ -z "${PYTHON:-}" ] || [ "$interpreter" = "$(interpreter_identity "$PYTHON")" ] || return 1
  [ "${TORCH:-auto}" = auto ] || [ "$TORCH" = "$build" ]
}

check_interpreter() {
  local version
  version="$(interpreter_identity "$1")" || fail "'$1' does not run: name a Python 3.11 to 3.13 with PYTHON=/path/to/python"
  case "$version" in
    3.11.* | 3.12.* | 3.13.*) ;;
    *) fail "'$1' is Python ${version%% *}: name a Python 3.11 to 3.13 with PYTHON=/path/to/python" ;;
  esac
}

has_nvidia_driver() {
  [ -e /proc/driver/nvidia/version ] || nvidia-smi -L >/dev/null 2>&1
}

torch_build() {
  if [ "${TORCH:-auto}" != auto ]; then
    printf '%s\n' "$TORCH"
  elif [ "$(uname -s)" = Linux ] && has_nvidia_driver; then
    printf 'cuda\n'
  else
    printf 'cpu\n'
  fi
}

announce() {
  local what="torch $2 for CPU" size="about 0.4 GB to download, 1.9 GB on disk"
  if [ "$1" = cuda ]; then
    what="torch $2 with CUDA" size="about 3 GB to download, 6 GB on disk"
  fi
  printf 'Installing %s and what else requirements.lock names into .venv: %s.\n' "$what" "$size"
}

# One at a time: whoever comes second waits, and finds all done.
wait_for_others() {
  command -v flock >/dev/null || return 0
  exec 9>.venv/lock
  flock -n 9 && return 0
  printf 'Waiting for another installation into .venv.\n'
  # Some network file systems have no locks: better to go on than to refuse.
  flock 9 || true
}

make_venv() {
  if [ "$(interpreter_identity .venv/bin/python)" = "$(interpreter_identity "$1")" ] &&
    .venv/bin/python -m pip --version >/dev/null 2>&1; then
    return
  fi
  printf '  1 of 3: a virtual environment\n'
  find .venv/ -mindepth 1 -maxdepth 1 ! -name lock -exec rm -rf {} +
  "$1" -m venv .venv >&2 || fail "'$1' cannot make a virtual environment (on Debian and Ubuntu: apt install python3-venv)"
}

# Errors are shown, warnings are not.
pip_install() {
  .venv/bin/python -m pip install --quiet --quiet "$@"
}

# PyTorch keeps its CPU builds in an index of its own. A mirror that pip is set up with may hold them too and is
# asked first; else uv, which knows that index.
install_cpu_torch() {
  pip_install --no-deps "torch==$1+cpu" 2>/dev/null && return
  pip_install --constraint requirements.lock uv &&
    .venv/bin/python -m uv pip install --quiet --python .venv/bin/python --no-deps --torch-backend cpu "torch==$1" && return
  fail "no CPU build of torch $1 can be had: set pip up with an index that has it, or take the larger one with TORCH=cuda"
}

install_packages() {
  printf '  2 of 3: torch %s\n' "$2"
  case "$1 $(uname -s)" in
    "cpu Linux") install_cpu_torch "$2" ;;
    "cuda Linux")
      # "===" leaves out "+cpu" builds, which pass for the version with "==".
      sed -n 's/^# cuda: //p' requirements.lock >.venv/cuda.txt
      set -- "$@" "torch===$2" --constraint .venv/cuda.txt
      ;;
    cuda*) fail "there is no CUDA build of torch for $(uname -s): leave TORCH out" ;;
  esac
  shift 2
  printf '  3 of 3: %s other packages\n' "$(($(grep -c '^[^#[:space:]]*==' requirements.lock) - 1))"
  pip_install --requirement requirements.lock "$@" || fail "the installation into .venv failed: the same command tries again"
}

check_environment() {
  "$DLIB_PYTHON" -c 'import importlib.util, sys; sys.exit(not importlib.util.find_spec("lightning"))' 2>/dev/null ||
    fail "DLIB_PYTHON=$DLIB_PYTHON does not run, or has no lightning: name the python of an environment that is set up"
}

write_stamp() {
  {
    interpreter_identity .venv/bin/python
    printf '%s\n' "$1"
    cat requirements.lock
  } >"$stamp.tmp"
  mv "$stamp.tmp" "$stamp"
}

main() {
  if [ -n "${DLIB_PYTHON:-}" ]; then
    check_environment
    return
  fi
  case "${TORCH:-auto}" in
    auto | cpu | cuda) ;;
    *) fail "TORCH=$TORCH: it is auto, cpu or cuda" ;;
  esac
  if is_installed; then return; fi
  local python="${PYTHON:-python3}" build version
  check_interpreter "$python"
  mkdir -p .venv
  wait_for_others
  if is_installed; then return; fi
  build="$(torch_build)"
  version="$(sed -n 's/^torch==\([^ ;]*\).*/\1/p' requirements.lock)"
  announce "$build" "$version"
  rm -f "$stamp"
  make_venv "$python"
  install_packages "$build" "$version"
  write_stamp "$build"
  printf 'Installed in %s s.\n' "$SECONDS"
}

main
