"""The sbatch script of a job: all that it does stands in it, and `sbatch` takes it without `jobs.py`, too."""

import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

from dlib.launch.clusters import Cluster
from dlib.launch.container_paths import own_folders
from dlib.launch.job import INDEX, Job, log_of
from dlib.process.errors import UserError
from dlib.runs.paths import RunPaths

TEMPLATE = """\
#!/bin/bash
# {title}
# Written by jobs.py. Read it, edit it, submit it by hand: sbatch {script}
{options}

# Signals are for the command: it saves and ends with 75. TERM says that SLURM itself ends or requeues the job.
trap : USR1
trap taken=yes TERM

# By this number jobs.py asks for the job, also where it was submitted by hand.
grep -Eqs "^{launcher} {number}(:|$)" {id} || echo "{launcher} {number}" >{id}

# Each start notes the step that it finds. What comes no further in {max_requeues} more is given up.
starts={starts}
step() {{ {step}; }}
given_up() {{
  [ "$(grep -cx "$(step)" "$starts")" -gt {max_requeues} ] || return 1
  echo "error: given up{at}: {max_requeues} more starts (--max_requeues) came no further" >&2
}}
if [ "${{SLURM_RESTART_COUNT:-0}}" = 0 ]; then
  : >"$starts"
elif given_up; then
  exit 1
{wait}fi
step >>"$starts"
{setup}
{srun}
status=$?
{spared}
# 75: saved, to go on later, with the same job id. 138: USR1 came before Python ran.
case "$status" in 75 | 138) ;; *) exit "$status" ;; esac
if [ "${{taken:-}}" ]; then exit "$status"; fi
given_up && exit 1
echo "stopped{at}: job {job_id} goes back into the queue"
for _ in 1 2 3; do  # a controller may be away for a moment
  scontrol requeue "{job_id}" && exit
  sleep 20
done
exit 1
"""
WAIT = """\
elif [ -e {lock} ]; then  # a start on a node that SLURM has lost may still train
  flock --shared --timeout 3600 {lock} true
"""
SPARED = """\
# It has no step to show: a start that SLURM itself ended, by preemption or a requeue, does not count.
if [ "${taken:-}" ] || scontrol show job "$SLURM_JOB_ID" | grep -q "PreemptTime=[0-9]"; then
  : >"$starts"
fi
"""


def sbatch_script(job: Job) -> str:
    """The text of a job's script."""
    lock = "" if job.run is None else quoted(str(RunPaths(job.run).lock))
    options = list(_options(job))
    if broken := next((option for option in options if "\n" in option), None):
        raise UserError(
            f"{broken!r}: an option of sbatch stands on one line; choose a name or folder without line breaks"
        )
    if "\\" in f"{job.folder}{job.cwd}":
        raise UserError(f"{job.folder}, {job.cwd}: sbatch drops a backslash from a path; choose other folders")
    suffix = "" if job.array is None else f"-{INDEX}"
    setup = [*job.setup, *_exports(job.cluster)]
    return TEMPLATE.format(
        title=" ".join(shlex.join([job.name, *job.command]).split()),
        script=shlex.quote(str(job.script)),
        options="\n".join(f"#SBATCH {option}" for option in options),
        max_requeues=job.cluster.max_requeues,
        starts=quoted(f"{job.folder}/starts{suffix}.txt"),
        step=_read_step(job.run),
        at=" at step $(step)" if job.run else "",
        wait=WAIT.format(lock=lock) if lock else "",
        setup="\n".join(["", *setup, ""]) if setup else "",
        srun=_srun(job),
        spared="" if job.run else SPARED,
        launcher=job.cluster.launcher,
        number="${SLURM_ARRAY_JOB_ID:-$SLURM_JOB_ID}",
        id=shlex.quote(str(job.id_file)),
        job_id="$SLURM_JOB_ID" if job.array is None else "${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID",
    )


def _options(job: Job) -> Iterator[str]:
    """The options of sbatch that a cluster's keys stand for."""
    cluster = job.cluster
    log = log_of(Path(str(job.folder).replace("%", "%%")), None if job.array is None else "%a")
    yield f"--job-name={shlex.quote(job.name)}"
    yield f"--output={shlex.quote(str(log))}"
    yield f"--chdir={shlex.quote(str(job.cwd))}"
    yield "--open-mode=append"
    yield "--requeue"
    yield f"--signal=USR1@{cluster.signal_seconds}"
    if job.array is not None:
        yield f"--array={job.array}"
    for name in ("partition", "account", "qos", "mem", "time"):
        if (value := getattr(cluster, name)) is not None:
            yield f"--{name}={shlex.quote(value)}"
    yield f"--nodes={cluster.nodes}"
    yield f"--ntasks-per-node={cluster.tasks}"
    if cluster.gpus_per_node:
        yield f"--gpus-per-node={cluster.gpus_per_node}"
    if cluster.cpus_per_task is not None:
        yield f"--cpus-per-task={cluster.cpus_per_task}"
    yield from cluster.options


def _read_step(run: Path | None) -> str:
    """A command that prints the optimizer step which a run's status.json tells; 0 where there is none."""
    if run is None:
        return "echo 0"
    return f"""grep -o '"step": [0-9]*' {quoted(str(RunPaths(run).status))} 2>/dev/null | grep -o '[0-9]*' || echo 0"""


def _exports(cluster: Cluster) -> Iterator[str]:
    for name, value in _environment(cluster).items():
        yield f"export {name}={shlex.quote(value)}"


def _environment(cluster: Cluster) -> dict[str, str]:
    """The variables of a command, with those that keep enroot from what goes wrong without them."""
    if not cluster.container.image:
        return cluster.environment
    # A requeued job has the id of the one before, whose unpacked image may still lie there.
    needed = {"ENROOT_FORCE_OVERRIDE": "y"}
    if not cluster.gpus_per_node:  # else nodes without NVIDIA's runtime refuse an image that asks for GPUs
        needed["NVIDIA_VISIBLE_DEVICES"] = "void"
    return {**needed, **cluster.environment}


def _srun(job: Job) -> str:
    """The step that runs the command: when one of its processes fails, SLURM ends the others."""
    cluster = job.cluster
    words = ["srun", "--kill-on-bad-exit=1"]
    if cluster.cpus_per_task is not None:  # since SLURM 22.05 a step does not take it from its job
        words.append(f"--cpus-per-task={cluster.cpus_per_task}")
    lines = [" ".join(words), *_container_options(job)]
    python = cluster.python or ("python" if cluster.container.image else sys.executable)
    script, *arguments = job.command
    lines.append(f"{shlex.quote(python)} {shlex.quote(str(job.code / script))}")
    quote = shlex.quote if job.array is None else quoted
    for word in arguments:
        lines += [quote(word)] if word.startswith("-") else []
        lines[-1] += "" if word.startswith("-") else f" {quote(word)}"
    return " \\\n  ".join(lines)


def _container_options(job: Job) -> Iterator[str]:
    """The flags of pyxis."""
    container = job.cluster.container
    if not container.image:
        return
    mounts = ",".join([*(f"{folder}:{folder}" for folder in own_folders(job)), *container.mounts])
    yield quoted(f"--container-image={container.image}")
    yield f'{quoted(f"--container-name={container.name}-")}"$SLURM_JOB_ID"'
    yield quoted(f"--container-mounts={mounts}")
    yield quoted(f"--container-workdir={container.workdir or job.cwd}")
    yield f"--container-env={','.join(_environment(job.cluster))}"  # else the image's own win
    if container.writable:
        yield "--container-writable"


def quoted(word: str) -> str:
    """A word for the shell, in which an array's task puts its index."""
    return '"$SLURM_ARRAY_TASK_ID"'.join(shlex.quote(part) if part else "" for part in word.split(INDEX)) or "''"
