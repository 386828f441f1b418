#!/usr/bin/env bash
# Open a shell, or run a command, in the image: the repository at /workspace, you as the user.
#
#   scripts/console.sh [-g 0,2|all] [-i image] [-m host:container[:ro]]... [--] [command [argument]...]
#
#   scripts/console.sh                                       a shell
#   scripts/console.sh -g 0,2 python train.py -n first -d data
#   scripts/console.sh -m /big/texts:/texts:ro -- python train.py -n first -d /texts
#   scripts/console.sh bash -c 'scripts/test.sh > "my log.txt"'
#
#   -g   GPUs to show: numbers or ids with commas, or all; without it none is shown
#   -i   the image: dlib, or what DLIB_IMAGE names
#   -m   a folder or file of this machine to show, at a place in the container; can be repeated
#
# CONTAINER_ENGINE=podman takes podman where docker is there too. The caches of Hugging Face and W&B are yours. The keys
# WANDB_API_KEY (from ~/.netrc where it is not set) and HF_TOKEN come along by name, and stand on no command line.
set -euo pipefail

repository="$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)"
# Settings that a program in the container reads as it would here.
passed_on=(WANDB_API_KEY WANDB_BASE_URL WANDB_ENTITY WANDB_MODE WANDB_PROJECT WANDB_RUN_GROUP WANDB_TAGS HF_TOKEN HF_ENDPOINT HF_HUB_OFFLINE)

fail() {
  printf 'error: %s\n' "$1" >&2
  exit 2
}
[ -n "${HOME:-}" ] || fail "HOME is not set: it has your caches and keys"
caches="${XDG_CACHE_HOME:-$HOME/.cache}"

usage() {
  sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p;}' "${BASH_SOURCE[0]}"
}

find_engine() {
  engine="${CONTAINER_ENGINE:-}"
  if [ -z "$engine" ]; then
    engine=docker
    command -v docker >/dev/null || ! command -v podman >/dev/null || engine=podman
  fi
  case "${engine##*/}" in
    docker | podman) ;;
    *) fail "CONTAINER_ENGINE=$engine: it is docker or podman" ;;
  esac
  command -v "$engine" >/dev/null || fail "$engine is not installed: install docker or podman, or use scripts/setup.sh, which needs neither"
  "$engine" version >/dev/null 2>&1 ||
    fail "$engine does not answer: is it running, and may you use it (for docker: sudo usermod -aG docker $(id -un 2>/dev/null || id -u), then log in again)?"
}

# A name with a slash may stand in a registry: the engine pulls it.
find_image() {
  local target=''
  # Podman 4 does not know the Dockerfile's last stage, whose name depends on the machine.
  if [ "${engine##*/}" = podman ]; then target='--target conda '; fi
  "$engine" image inspect "$image" >/dev/null 2>&1 && return
  case "$image" in
    */*) return ;;
    *cpu) target='--target pip ' ;;
  esac
  fail "there is no image '$image': build it with: ${engine##*/} build $target-t $image $(printf %q "$repository") (or name another with -i)"
}

add_mount() {
  local host="${1%%:*}" place="${1#*:}"
  case "$place" in
    "$1" | [!/]* | *:*:*) fail "-m $1: give host:container, or host:container:ro, with an absolute path in the container" ;;
  esac
  [ -e "$host" ] || fail "-m $1: there is no '$host' on this machine"
  arguments+=(--volume "$(realpath -- "$host"):$place")
}

# One of ours, made where it is missing: the engine would make it as root.
add_folder() {
  mkdir -p -- "$1" 2>/dev/null || fail "cannot make the folder $1, which is to be mounted"
  case "$1" in *:*) fail "a folder with a colon in its name cannot be mounted: $1" ;; esac
  arguments+=(--volume "$(realpath -- "$1"):$2")
}

add_gpus() {
  local gpu
  if [ -z "$gpus" ]; then
    # Where NVIDIA's runtime is the engine's default, the image's own setting would show them all.
    arguments+=(--env NVIDIA_VISIBLE_DEVICES=void)
  elif [ "${engine##*/}" = podman ]; then
    for gpu in ${gpus//,/ }; do arguments+=(--device "nvidia.com/gpu=$gpu"); done
  elif [ "$gpus" = all ]; then
    arguments+=(--gpus all)
  else
    # A list with commas is one value only between quotes.
    arguments+=(--gpus "\"device=$gpus\"")
  fi
}

# The password of a machine in a netrc file, which may break its lines anywhere.
netrc_password() {
  awk -v machine="$1" '
    { sub(/^[ \t]*#.*/, ""); for (i = 1; i <= NF; i++) word[++count] = $i }
    END {
      for (i = 1; i < count; i++) {
        if (word[i] == "machine") { here = (word[++i] == machine) }
        else if (word[i] == "default") { here = 0 }
        else if (word[i] == "password" && here) { i++; gsub(/^"|"$/, "", word[i]); print word[i]; exit }
        else if (word[i] == "login" || word[i] == "password" || word[i] == "account") { i++ }
      }
    }' "$2"
}

# To the engine's environment, never to its command line, which every user of the machine can read.
find_key() {
  local host="${WANDB_BASE_URL:-https://api.wandb.ai}" netrc="${NETRC:-$HOME/.netrc}"
  host="${host#*://}" && host="${host%%/*}" && host="${host%%:*}"
  if [ -z "${WANDB_API_KEY:-}" ] && [ -r "$netrc" ]; then
    WANDB_API_KEY="$(netrc_password "$host" "$netrc")"
  fi
  if [ -n "${WANDB_API_KEY:-}" ]; then export WANDB_API_KEY; else unset WANDB_API_KEY; fi
}

working_folder() {
  local here
  here="$(pwd -P)"
  case "$here/" in
    "$repository"/*) printf '/workspace%s' "${here#"$repository"}" ;;
    *) printf '/workspace' ;;
  esac
}

# Without a driver or NVIDIA's toolkit the engine ends with a message of its own that names neither.
check_gpus() {
  local said
  said="$("$engine" run --rm "${arguments[@]}" --entrypoint true "$image" 2>&1 >/dev/null </dev/null)" ||
    fail "$engine cannot show the GPUs $gpus: are there such, with NVIDIA's driver and container toolkit? It said: ${said%%$'\n'*}"
}

image="${DLIB_IMAGE:-dlib}" gpus='' mounts=()
while getopts :g:i:m:h-: flag; do
  case "$flag" in
    g) gpus="$OPTARG" ;;
    i) image="$OPTARG" ;;
    m) mounts+=("$OPTARG") ;;
    h) usage && exit ;;
    -)
      if [ "$OPTARG" = help ]; then usage && exit; fi
      fail "unknown flag '--$OPTARG': see scripts/console.sh --help"
      ;;
    :) fail "-$OPTARG needs a value: see scripts/console.sh --help" ;;
    *) fail "unknown flag '-$OPTARG': see scripts/console.sh --help" ;;
  esac
done
shift $((OPTIND - 1))

find_engine
find_image
arguments=(--interactive --user "$(id -u):$(id -g)" --ipc host --workdir "$(working_folder)")
add_folder "$repository" /workspace
add_folder "${HF_HOME:-$caches/huggingface}" /home/dlib/.cache/huggingface
add_folder "${WANDB_CACHE_DIR:-$caches/wandb}" /home/dlib/.cache/wandb
for mount in ${mounts[@]+"${mounts[@]}"}; do add_mount "$mount"; done
for name in "${passed_on[@]}"; do arguments+=(--env "$name"); done
if [ "${engine##*/}" = podman ]; then
  arguments+=(--security-opt label=disable)
  # Else you would be root in there, and your files another's.
  [ "$(id -u)" = 0 ] || arguments+=(--userns keep-id)
fi
add_gpus
find_key
[ -z "$gpus" ] || check_gpus
if [ -t 0 ] && [ -t 1 ]; then arguments+=(--tty); fi
exec "$engine" run --rm "${arguments[@]}" "$image" "$@"
