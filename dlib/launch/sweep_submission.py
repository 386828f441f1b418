"""`sweep.py SWEEP --submit CLUSTER`: all points that are due as one array of a scheduler.

What the tasks read is kept beside the job, so that a sweep file that is edited meanwhile changes nothing that waits:

runs/.sweeps/<name>/
  sweep.json   the sweep as it was submitted; each task runs `sweep.py sweep.json --index <number>`
  base.yml     the configuration files below it, as one
  points/3     a link to the run of point 3
  job.sh, log-3.txt, starts-3.txt, id, code/   as of any job
"""

import itertools
import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from dlib.config.files import read_settings
from dlib.launch.clusters import Cluster
from dlib.launch.job import INDEX, LINKS, Job
from dlib.launch.submission import submit_job
from dlib.launch.sweep_points import PointState, SweepOrder
from dlib.process.durable import refusals_told, write_text_atomically

SWEEP_FILE, BASE_FILE = "sweep.json", "base.yml"


def array_job(
    order: SweepOrder, due: Sequence[PointState], cluster: Cluster, limit: int | None, flags: Sequence[str]
) -> Job:
    """The job whose tasks are the points that are due, at most `limit` of them at a time.

    `flags` are for `train.py`, besides those of the order.
    """
    folder = order.folder.absolute()
    retry = ["--retry_failed"] * order.retry_failed
    own = ["--index", INDEX, "--out_dir", str(order.workspace), *retry]
    command = ("sweep.py", str(folder / SWEEP_FILE), *own, "--", *order.flags, *flags)
    array = ranges([each.point.index for each in due]) + (f"%{limit}" if limit else "")
    return Job(command, folder, cluster, order.sweep.name, array, folder / LINKS / INDEX)


def submit_sweep(order: SweepOrder, job: Job, project: Path) -> str:
    """Write what the tasks read, and queue the job with the code of `project`; returns its number.

    Raises:
        UserError: the sweep has a job already, or the cluster refuses it; nothing is left that was not there before.
    """
    return submit_job(job, project, write=partial(keep_sweep, order, job.folder))


def ranges(numbers: Sequence[int]) -> str:
    """Rising numbers as SLURM has them: 0-3,7,9-10."""
    parts = []
    for _, run in itertools.groupby(enumerate(numbers), lambda pair: pair[1] - pair[0]):
        members = [number for _, number in run]
        parts.append(f"{members[0]}-{members[-1]}" if len(members) > 1 else str(members[0]))
    return ",".join(parts)


def keep_sweep(order: SweepOrder, folder: Path) -> None:
    """Write into a folder what the tasks read.

    Raises:
        UserError: it cannot be written.
    """
    with refusals_told(folder):
        (folder / LINKS).mkdir(parents=True, exist_ok=True)
        write_text_atomically(folder / BASE_FILE, yaml.safe_dump(_merged(order.config_paths), sort_keys=False))
        write_text_atomically(folder / SWEEP_FILE, json.dumps(_content(order), indent=1) + "\n")
        for point in order.points:
            link = folder / LINKS / str(point.index)
            link.unlink(missing_ok=True)
            link.symlink_to(Path("..", "..", "..", point.name), target_is_directory=True)


def _content(order: SweepOrder) -> dict[str, Any]:
    """The sweep as a file of its own: its points one by one."""
    sweep = order.sweep
    varied = {"points": sweep.own} if any(sweep.own) else {}
    return {
        "name": sweep.name,
        "config_path": BASE_FILE,
        **({"settings": sweep.settings} if sweep.settings else {}),
        **varied,
        "repeat": sweep.repeat,
    }


def _merged(paths: Sequence[Path]) -> dict[str, Any]:
    """What the files say together, as it is written there: references to other keys stay references."""
    content: dict[str, Any] = {}
    for setting in read_settings(paths, {}).values():
        *groups, name = setting.key.split(".")
        place = content
        for group in groups:
            place = place.setdefault(group, {})
        place[name] = setting.value
    return content
