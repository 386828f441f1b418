"""SLURM, through its own commands; sacct is not asked, as many sites keep no accounts."""

import os
import re
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import replace

from dlib.launch.job import Job
from dlib.launch.launchers import COMPLETED, GONE, PENDING, RUNNING, JobState, NoSchedulerError
from dlib.launch.slurm_script import sbatch_script
from dlib.process.errors import UserError

PATIENCE_SECONDS = 60
LOOKS, SECONDS_BETWEEN_LOOKS = 4, 0.5
SQUEUE = "squeue --noheader --states=all --array --format=%i|%T|%r|%S|%N".split()
SHAPE = "--nodes, --gpus_per_node, --tasks_per_node, --cpus_per_task, --mem"
TOO_MUCH = "the partition has no nodes with all of this; `sinfo -o '%P %D %c %m %G %l'` shows what it has"
REFUSALS = {
    "invalid partition": "--partition: the cluster has no such one; `sinfo` lists them",
    "partition not available": "--partition: it takes no jobs now; `sinfo` shows its state; take another, or wait",
    "invalid account": "--account, --partition: they do not go together for you; ask with `sacctmgr show associations`",
    "invalid qos": "--qos: there is no such one for you",
    "node count": "--nodes: the partition has not so many; `sinfo` counts them",
    "node configuration is not available": f"{SHAPE}: {TOO_MUCH}",
    "node name": "--options: --nodelist or --exclude names a node that is not there; `sinfo -N` lists them",
    "memory specification": f"--mem: {TOO_MUCH}",
    "time limit": f"--time: {TOO_MUCH}",
    "violates accounting": "--qos, --account: your limit of jobs, nodes or time is reached; wait for a job to end",
    "temporarily unable to accept": "the queue is full; submit again later",
    "queue full": "the queue is full; submit again later",
    "array specification": "the sweep has more points than the cluster's arrays (MaxArraySize): make it two files",
    "unable to contact": "its controller does not answer; try again, or ask its administrators",
    "invalid job id": "the cluster knows no such job, or no longer",
}
"""What SLURM says, and what to change; the first that fits."""

HOPELESS = {
    "BadConstraints": f"--options --constraint: {TOO_MUCH}",
    "PartitionConfig": f"{SHAPE}, --time: {TOO_MUCH}",
    "PartitionNodeLimit": f"--nodes: {TOO_MUCH}",
    "PartitionTimeLimit": f"--time: {TOO_MUCH}",
    "AccountNotAllowed": "--account: the partition does not take it",
    "InvalidAccount": "--account: the cluster has no such one",
    "InvalidQOS": "--qos: the cluster has no such one",
    "QOSNotAllowed": "--qos: the partition does not take it",
}
"""Why a job waits that no other job's end will start, and what to change."""

ALWAYS_SAID = {*"ARRAY_INX JOB_NAME NO_REQUEUE OPEN_MODE REQUEUE SIGNAL".split()}
SAID_BY_KEYS = {
    "partition": "PARTITION",
    "account": "ACCOUNT",
    "qos": "QOS",
    "time": "TIMELIMIT",
    "mem": "MEM_PER_NODE",
}
"""What a script says, of a cluster's keys where they are given; a variable SBATCH_... would win over the script."""


class Slurm:
    """SLURM, asked by sbatch, squeue, scancel and scontrol."""

    def script(self, job: Job) -> str:
        """The sbatch script of a job."""
        return sbatch_script(job)

    def submit(self, job: Job) -> str:
        """Queue the script in the job's folder; returns the job's number, `41:name` in another cluster (`--clusters`).

        Raises:
            UserError: SLURM refuses it, or takes it and can never start it.
        """
        keys = {name for key, name in SAID_BY_KEYS.items() if getattr(job.cluster, key) is not None}
        without = {f"SBATCH_{name}" for name in ALWAYS_SAID | keys}
        number = _ask("sbatch", "--parsable", str(job.script), without=without).strip().replace(";", ":")
        with suppress(KeyboardInterrupt):  # the job is queued: its number must not be lost
            self._refuse_hopeless(number)
        return number

    def _refuse_hopeless(self, number: str) -> None:
        """Cancel a job that would wait for ever; SLURM says so a moment after it has taken it."""
        for _ in range(LOOKS):
            try:
                state = self.states([number])[number]
            except UserError:  # nobody answers, and the job is queued all the same
                return
            if advice := HOPELESS.get(state.reason):
                self.cancel(number)
                raise UserError(f"{advice} (SLURM: job {number} would wait for ever, {state.reason})")
            if state.word != PENDING or state.reason not in ("", "None"):
                return
            time.sleep(SECONDS_BETWEEN_LOOKS)

    def states(self, numbers: Collection[str]) -> dict[str, JobState]:
        """Where each of some jobs stands, or tasks of arrays (`41_3`); of an array, all its tasks together."""
        parts = {number: _parts(number) for number in numbers}
        jobs: dict[tuple[str, ...], list[str]] = {}
        for job, there in parts.values():
            jobs.setdefault(there, []).append(job)
        states = {there: _states(several, there) for there, several in jobs.items()}
        return {number: _together(states[there].get(job, [])) for number, (job, there) in parts.items()}

    def cancel(self, number: str) -> None:
        """End a job for good, on its way to which it may still save."""
        job, there = _parts(number)
        _ask("scancel", *there, job)

    def requeue(self, number: str) -> None:
        """Put a job back into the queue, running or ended."""
        job, there = _parts(number)
        _ask("scontrol", *there, "requeue", job)


def _parts(number: str) -> tuple[str, tuple[str, ...]]:
    """The number of a job as SLURM has it, and the flag that leads to its cluster where it is another one's."""
    job, _, cluster = number.partition(":")
    return job, (f"--clusters={cluster}",) if cluster else ()


def _states(jobs: Sequence[str], there: Sequence[str]) -> dict[str, list[JobState]]:
    """Where the jobs of a cluster and the tasks of its arrays stand; of an array, by its number, each of its tasks.

    Those that it has forgotten are left out.
    """
    try:
        lines = _ask(*SQUEUE, *there, "--jobs", ",".join(jobs)).splitlines()
    except UserError as error:
        if "knows no such job" not in str(error):
            raise
        lines = []
    found: dict[str, list[JobState]] = {}
    for job, word, *rest in (line.split("|") for line in lines if "|" in line):  # a cluster's name stands alone
        for number in {job, job.partition("_")[0]}:
            found.setdefault(number, []).append(JobState(word.lower(), *rest))
    return found


def _together(states: Sequence[JobState]) -> JobState:
    """Where the tasks of a job stand together: as one that runs, else one that lives, else one that failed."""
    if len(states) < 2:
        return next(iter(states), JobState(GONE))
    ranked = sorted(states, key=lambda state: (state.word != RUNNING, state.is_over, state.word == COMPLETED))
    tasks = ", ".join(f"{count} {word}" for word, count in Counter(state.word for state in ranked).items())
    nodes = ",".join(sorted({state.nodes for state in states if state.nodes and not state.is_over}))
    return replace(ranked[0], nodes=nodes, tasks=tasks)


def _ask(program: str, *words: str, without: Collection[str] = ()) -> str:
    """What a command of SLURM prints, in an environment `without` some variables.

    Raises:
        UserError: it is not installed, refuses, or does not answer.
    """
    if shutil.which(program) is None:
        raise NoSchedulerError(
            f"{program}: there is no SLURM on this machine; go to a login node, or take --cluster local"
        )
    try:
        command, own = [program, *words], _own_environment(without)
        done = subprocess.run(command, env=own, capture_output=True, text=True, timeout=PATIENCE_SECONDS)
    except subprocess.TimeoutExpired as error:
        if error.stderr:  # sbatch itself tries again for minutes where the queue is full, and says so; as bytes
            raise UserError(explain_refusal(program, bytes(error.stderr).decode(errors="replace"))) from error
        raise UserError(f"{program}: SLURM does not answer for {PATIENCE_SECONDS} seconds; try again later") from error
    if done.returncode != 0:
        raise UserError(explain_refusal(program, done.stderr))
    return done.stdout


def _own_environment(without: Collection[str]) -> dict[str, str]:
    """The environment without what a surrounding job says of itself: a new job would inherit, and contradict, it.

    Nor with what a user prefers to see of the queue: a job that SQUEUE_PARTITION hides would look ended.
    """
    others = ("SLURM_", "SQUEUE_", "SCANCEL_")
    return {
        name: value
        for name, value in os.environ.items()
        if name == "SLURM_CONF" or not (name.startswith(others) or name in without)
    }


def explain_refusal(program: str, said: str) -> str:
    """One line of what SLURM refused, and the flag to change."""
    lines = [re.sub(r"^\w+: (error|fatal): ", "", line) for line in said.strip().splitlines()]
    found = (advice for part, advice in REFUSALS.items() if any(part in line.lower() for line in lines))
    words = lines[-1].removeprefix("Batch job submission failed: ") if lines else "no reason is given"
    return f"{next(found, program)} (SLURM: {words})"
