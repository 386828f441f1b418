"""A command that is to run elsewhere, and the folder in which everything of it lies:

runs/<name>/job/
  job.sh       the script: read it, edit it, submit it by hand
  log.txt      what it printed, over all its starts; log-<index>.txt of an array, whose tasks are links in points/
  id           whom to ask for: the launcher and its number, `slurm 1234`
  starts.txt   the optimizer step that each start found (-<index>)
  code/        the code as it was submitted
"""

from dataclasses import dataclass, field
from pathlib import Path

from dlib.launch.clusters import Cluster

OTHER_JOBS, SWEEPS = ".jobs", ".sweeps"
"""Folders of a workspace: of jobs that train no run of their own, and of sweeps."""
LINKS = "points"
"""The folder of an array in which links, named after its tasks, lead to what each writes."""
INDEX = "{index}"
"""The word of a command, or part of one, that an array's tasks replace by their number."""

STOP_AT_FAILURE = """\
# A line that fails ends the job; what fails within a file that a line reads does not.
failed() { echo "error: setup: $(sed -n "$1p" "$0"): this has failed, so the job ends" >&2; exit 1; }
trap '[ ${#BASH_SOURCE[@]} -gt 1 ] || failed $LINENO' ERR"""


@dataclass(frozen=True)
class Job:
    """A root script with its arguments, for a cluster."""

    command: tuple[str, ...]  # ("train.py", "-n", "big", ...)
    folder: Path  # where script, log and code lie
    cluster: Cluster  # what it asks for
    name: str  # what the queue shows
    array: str | None = None  # SLURM's words for the tasks of an array, "0-11%3"; None: a job of its own
    run: Path | None = None  # the run's folder, whose status.json tells how far it is; may have `{index}` in it
    cwd: Path = field(default_factory=Path.cwd)  # where it was submitted: relative paths of the command start there

    @property
    def handle(self) -> str:
        """What `jobs.py` calls it, whatever its name in the queue."""
        return self.folder.name if self.run is None or self.array else self.run.name

    @property
    def script(self) -> Path:
        """The file of its script."""
        return self.folder / "job.sh"

    @property
    def code(self) -> Path:
        """The copy of the working tree that it runs."""
        return self.folder / "code"

    @property
    def id_file(self) -> Path:
        """The file that keeps its number."""
        return self.folder / "id"

    @property
    def setup(self) -> list[str]:
        """The lines of the shell before the command; the first that fails ends the job, and is named in its log."""
        lines = self.cluster.setup
        return [STOP_AT_FAILURE, *lines, "trap - ERR"] if lines else []

    def log(self, index: str | None = None) -> Path:
        """What it prints; of an array by the index of a task, or the pattern for it."""
        return log_of(self.folder, index)


def log_of(folder: Path, index: str | None = None) -> Path:
    """What the job of a folder prints."""
    return folder / ("log.txt" if index is None else f"log-{index}.txt")
