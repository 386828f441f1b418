"""What a container shows of this file system, and what a training reads that it does not show."""

import os
from collections.abc import Iterator
from pathlib import Path

from dlib.args import ExperimentArgs
from dlib.config.corpora import parse_corpora
from dlib.config.fields import flag_of, value_of
from dlib.launch.job import Job
from dlib.process.errors import UserError

PROJECT = Path(__file__).parents[2]
PATHS = ("data.data_dir", "data.cache_dir", "model.model", "model.tokenizer", "model.checkpoint", "run.branch")
FILES = ("data.train_file", "data.dev_file")
"""Those in the data folder."""


def own_folders(job: Job) -> Iterator[Path]:
    """The folders that a job cannot do without: where it was submitted, where it writes, and the project."""
    # The tasks of an array write into runs beside the folder of sweeps, to which `run` is a link.
    written = job.folder.parents[1] if job.array is not None else (job.run or job.folder).parent
    needed = {job.cwd, written, PROJECT}
    for folder in sorted(needed):
        if not any(other in folder.parents for other in needed):
            yield folder


def refuse_hidden(job: Job, args: ExperimentArgs) -> None:
    """Refuse what a training reads here and would not find in its container.

    What is not here either may stand in the image, or be a name on the hub: the job will tell.

    Raises:
        UserError: the container does not show it.
    """
    if not job.cluster.container.image:
        return
    shown = [*((folder, folder) for folder in own_folders(job)), *job.cluster.container.sources]
    for flag, path in _paths(args, Path(job.cluster.container.workdir or job.cwd)):
        if path.exists() and not _is_shown(path, shown):
            place = path if path.is_dir() else path.parent
            raise UserError(f"{flag} {path}: the container does not show it; give --container.mounts {place}:{place}")


def _paths(args: ExperimentArgs, start: Path) -> Iterator[tuple[str, Path]]:
    """The flag and the path of what is read, those that are relative from a folder on."""
    data = start / args.data.data_dir
    named = [(key, start, value_of(args, key)) for key in PATHS] + [(key, data, value_of(args, key)) for key in FILES]
    named += [
        (key, data, corpus.path)
        for key in ("data.train", "data.dev")
        for corpus in parse_corpora(value_of(args, key), flag_of(key))
    ]
    for key, folder, value in named:
        if value is not None:
            yield flag_of(key), Path(os.path.normpath(folder / value))


def _is_shown(path: Path, shown: list[tuple[Path, Path]]) -> bool:
    """Whether a path, and what a link in it leads to, is below one of the folders here that stand there."""
    for here, there in shown:  # any of them: one mount may stand within another, or over a link in it
        if path.is_relative_to(there):
            real = (here / path.relative_to(there)).resolve()
            if real.is_relative_to(here.resolve()) or any(real.is_relative_to(folder) for _, folder in shown):
                return True
    return False
