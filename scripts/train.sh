#!/usr/bin/env bash
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --signal=USR1@120
# Train as environment variables say: here, or on all nodes of a SLURM job. Arguments go to train.py.
#
#   DLIB_CONFIG=configs/demo.yml scripts/train.sh -n first
#   DLIB_RESUME=runs/first scripts/train.sh
#   DLIB_CONFIG=big.yml sbatch --nodes=4 --ntasks-per-node=2 --gres=gpu:2 scripts/train.sh -n big
#   DLIB_FORCE_LOCAL=true DLIB_CONFIG=big.yml scripts/train.sh -n small     in an allocation: on this node alone
#
# Both paths are looked for where you stand, then in the repository, where the training starts.
#
# Of a job, srun starts a process a task, and a run that was stopped (status 75: preempted, or its time is over) puts the
# job back into the queue, up to DLIB_MAX_REQUEUES times (50). jobs.py submit does the same and more.
set -euo pipefail

fail() {
  printf 'error: %s\n' "$1" >&2
  exit 2
}

# A path means what it means where the user stands, else in the repository.
seen_from_here() {
  if [ "${1#/}" = "$1" ] && [ -e "$1" ]; then printf '%s/' "$PWD"; fi
  printf '%s' "$1"
}
config="$(seen_from_here "${DLIB_CONFIG:-}")"
resume="$(seen_from_here "${DLIB_RESUME:-}")"

# sbatch runs a copy of this script from elsewhere.
root="$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)"
[ -f "$root/train.py" ] || root="${SLURM_SUBMIT_DIR:-$root}"
[ -f "$root/train.py" ] || fail "no train.py in $root: call sbatch in the folder of the repository"
cd -- "$root"

if [ -n "$config" ] && [ -n "$resume" ]; then
  fail "DLIB_CONFIG and DLIB_RESUME: give one, as a run that goes on has its own configuration"
elif [ -n "$resume" ]; then
  set -- --resume "$resume" "$@"
elif [ -n "$config" ]; then
  set -- --config_path "$config" "$@"
else
  fail "set DLIB_CONFIG to a configuration, or DLIB_RESUME to the run that is to go on"
fi

scripts/setup.sh
train=("${DLIB_PYTHON:-.venv/bin/python}" train.py)

if [ "${DLIB_FORCE_LOCAL:-false}" = true ]; then
  unset SLURM_PROCID # a shell that srun gave is no task of a run
  exec "${train[@]}" --num_nodes 1 "$@"
fi
# Numbers of steps from here on are those of job scripts and interactive shells.
if [ -z "${SLURM_JOB_ID:-}" ] || [ "${SLURM_STEP_ID:-4294967295}" -lt 4294967280 ]; then
  exec "${train[@]}" "$@"
fi

# Since SLURM 22.05 a step does not take the cores of a task from its job.
if [ -n "${SLURM_CPUS_PER_TASK:-}" ]; then export SRUN_CPUS_PER_TASK="$SLURM_CPUS_PER_TASK"; fi
status=0
srun --kill-on-bad-exit=1 "${train[@]}" "$@" || status=$?
# 138: SIGUSR1 came before Python ran. A shell of salloc cannot be put back.
if { [ "$status" = 75 ] || [ "$status" = 138 ]; } && [ "${ENVIRONMENT:-}" = BATCH ]; then
  if [ "${SLURM_RESTART_COUNT:-0}" -ge "${DLIB_MAX_REQUEUES:-50}" ]; then
    fail "put back into the queue $SLURM_RESTART_COUNT times: sbatch it again, or set DLIB_MAX_REQUEUES"
  fi
  scontrol requeue "$SLURM_JOB_ID"
fi
exit "$status"
