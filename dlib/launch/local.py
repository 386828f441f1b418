"""This machine, where no scheduler is: the same folder and script, started at once in the background."""

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from dlib.launch.job import Job
from dlib.launch.launchers import COMPLETED, FAILED, GONE, RUNNING, JobState
from dlib.process.errors import UserError

TEMPLATE = """\
#!/bin/bash
# {title}
# Written by jobs.py. Read it, edit it, start it by hand: bash {script}
cd {cwd} || exit 2
{setup}
exec {command}
"""
STARTER = 'trap : TERM; bash "$1" >>"$2" 2>&1 </dev/null; echo $? >"$3"'
"""Leaves the exit status in a file, as nobody waits for it; TERM, which all processes get, is for the command."""


class Local:
    """Starts jobs as processes of this machine. A number is a process's id and its folder, `4242:runs/x/job`."""

    def script(self, job: Job) -> str:
        """The shell script of a job."""
        if job.array is not None:
            raise UserError("launcher local: it starts no arrays; take sweep.py --local")
        if job.cluster.container.image or job.cluster.nodes > 1:
            raise UserError(
                "launcher local: it has this machine alone, and no container; leave out --nodes and --container"
            )
        script, *arguments = job.command
        exports = [f"export {name}={shlex.quote(value)}" for name, value in job.cluster.environment.items()]
        return TEMPLATE.format(
            title=" ".join(shlex.join([job.name, *job.command]).split()),
            script=shlex.quote(str(job.script)),
            cwd=shlex.quote(str(job.cwd)),
            setup="\n".join([*job.setup, *exports]),
            command=shlex.join([job.cluster.python or sys.executable, str(job.code / script), *arguments]),
        )

    def submit(self, job: Job) -> str:
        """Start the script in a session of its own, which outlives this terminal."""
        ended = _status_file(job.folder)
        ended.unlink(missing_ok=True)
        words = ["bash", "-c", STARTER, "job", str(job.script), str(job.log()), str(ended)]
        process = subprocess.Popen(words, start_new_session=True, stdin=subprocess.DEVNULL)
        while not _is_ours(process.pid, job.folder) and process.poll() is None:
            time.sleep(0.01)  # for an instant a new process has no command line yet
        return f"{process.pid}:{job.folder}"

    def states(self, numbers: Collection[str]) -> dict[str, JobState]:
        """Where each of some jobs stands."""
        return {number: self._state(number) for number in numbers}

    def _state(self, number: str) -> JobState:
        pid, folder = _parts(number)
        if _is_ours(pid, folder):  # asked first: its end is written down before it is gone
            return JobState(RUNNING)
        with suppress(OSError):
            status = _status_file(folder).read_text(encoding="utf-8").strip()
            word = {"0": COMPLETED, "75": "saved"}.get(status, FAILED)
            return JobState(word, "" if status == "0" else f"exit status {status}")
        return JobState(GONE)

    def cancel(self, number: str) -> None:
        """Ask all processes of a job to save and end."""
        pid, folder = _parts(number)
        if not _is_ours(pid, folder):
            raise UserError(f"process {pid} is no job that runs on this machine")
        os.killpg(pid, signal.SIGTERM)

    def requeue(self, number: str) -> None:
        """Refused: nothing here brings it back by itself."""
        raise UserError("launcher local: there is no queue; submit the same command again, and it goes on")


def _parts(number: str) -> tuple[int, Path]:
    pid, _, folder = number.partition(":")
    return int(pid), Path(folder)


def _status_file(folder: Path) -> Path:
    return folder / "exit_status"


def _is_ours(pid: int, folder: Path) -> bool:
    """Whether a living process is that of the folder's job, and no later one of the same id."""
    with suppress(OSError):
        return str(folder / "job.sh").encode() in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    return False
