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
PATHS = (
    "data.data_dir",
    "data.cache_dir",
    "model.model",
    "model.tokenizer",
    "model.checkpoint",
    "run.branch",
    "run.out_dir",
)
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
    """Refuse what a training reads here and would not find in its container, and runs that would stay in there.

    What is not here either may stand in the image, or be a name on the hub: the job will tell.

    Raises:
        UserError: the container does not show it.
    """
    if not job.cluster.container.image:
        return
    shown = [*((folder, folder) for folder in own_folders(job)), *job.cluster.container.sources]
    start = Path(job.cluster.container.workdir or job.cwd)
    runs = (job.cwd / args.run.out_dir).resolve()
    if all(real != runs for _, real in _places(Path(os.path.normpath(start / args.run.out_dir)), shown)):
        raise UserError(
            f"--out_dir {args.run.out_dir}: the command starts in {start} (--container.workdir), so the run would be "
            f"lost with the container; give --out_dir {runs}"
        )
    for flag, path in _paths(args, start):
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
    return any(
        real.is_relative_to(here.resolve()) or any(real.is_relative_to(folder) for _, folder in shown)
        for here, real in _places(path, shown)
    )


def _places(path: Path, shown: list[tuple[Path, Path]]) -> Iterator[tuple[Path, Path]]:
    """What a path of the container is here, by each folder that it is below: one mount may stand within another."""
    for here, there in shown:
        if path.is_relative_to(there):
            yield here, (here / path.relative_to(there)).resolve()
