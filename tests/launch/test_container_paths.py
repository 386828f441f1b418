"""What a container does not show of what a training reads is told before a job waits for it."""

from dataclasses import replace
from pathlib import Path

import pytest

from dlib.args import DataArgs, ExperimentArgs, ModelArgs, RunArgs
from dlib.launch.clusters import Cluster, Container
from dlib.launch.container_paths import refuse_hidden
from dlib.launch.job import Job
from dlib.process.errors import UserError


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """A folder that all machines see: with texts, a model, and a folder to submit from in which a link leads there."""
    for name in ("data", "model", "clone"):
        (tmp_path / name).mkdir()
    (tmp_path / "data" / "a.txt").touch()
    (tmp_path / "clone" / "linked").symlink_to(tmp_path / "data")
    return tmp_path


def job(shared: Path, *mounts: str, image: str = "docker://a") -> Job:
    cluster = Cluster(container=Container(image=image, mounts=list(mounts)))
    run = shared / "clone" / "runs" / "big"
    return Job(("train.py",), run / "job", cluster, "big", run=run, cwd=shared / "clone")


def args(data_dir: object, model: object = "roberta-base", **data: object) -> ExperimentArgs:
    return ExperimentArgs(data=DataArgs(data_dir=str(data_dir), **data), model=ModelArgs(model=str(model)))  # type: ignore[arg-type]


def test_what_is_here_and_not_in_the_container_is_refused_with_the_mount_that_shows_it(shared: Path) -> None:
    data, model = shared / "data", shared / "model"
    given = {
        f"--data_dir {data}": args(data),
        f"--data_dir {shared}/clone/linked": args("linked"),
        f"--data_dir {data}/": args("../data"),
        f"--train_file {data}/a.txt": args("data", train_file=str(data / "a.txt")),
        f"--train {data}/a.txt": args("data", train=[f"{data}/a.txt:0.5", "b.txt:0.5"]),
        f"--model {model}": args("data", model),
    }
    for told, asked in given.items():
        with pytest.raises(UserError) as caught:
            refuse_hidden(job(shared), asked)
        assert str(caught.value).startswith(told.rstrip("/"))
        refuse_hidden(job(shared, image=""), asked)
        refuse_hidden(job(shared, f"{data}:{data}", f"{model}:{model}:ro"), asked)
    with pytest.raises(UserError, match=f"give --container.mounts {data}:{data}"):
        refuse_hidden(job(shared, f"{data}:/data"), args("data", train_file=str(data / "a.txt")))


@pytest.mark.parametrize("data_dir", ["data", "/data/wiki", "/only/in/the/image"])
def test_what_is_mounted_or_may_stand_in_the_image_is_taken(shared: Path, data_dir: str) -> None:
    refuse_hidden(job(shared, f"{shared}/data:/data"), args(data_dir))


def test_a_mount_within_a_folder_that_is_shown_counts(shared: Path) -> None:
    refuse_hidden(job(shared, f"{shared}/data:{shared}/clone/linked"), args("linked"))


def test_a_folder_of_runs_that_is_a_link_needs_a_mount(shared: Path) -> None:
    (shared / "disk").mkdir()
    (shared / "clone" / "runs").symlink_to(shared / "disk")
    with pytest.raises(UserError, match=f"--out_dir {shared}/clone/runs: the container does not show it"):
        refuse_hidden(job(shared), args("/data"))
    refuse_hidden(job(shared, f"{shared}/disk:{shared}/disk"), args("/data"))


def test_a_run_that_would_stay_in_the_container_is_refused(shared: Path) -> None:
    runs, started = shared / "clone" / "runs", replace(job(shared).cluster.container, workdir="/workspace")
    elsewhere = replace(job(shared), cluster=Cluster(container=started))
    with pytest.raises(UserError, match=f"--out_dir runs: the command starts in /workspace .*; give --out_dir {runs}$"):
        refuse_hidden(elsewhere, args("linked"))
    refuse_hidden(elsewhere, replace(args("linked"), run=RunArgs(out_dir=str(runs))))
    mounted = replace(started, mounts=[f"{shared}/clone:/workspace"])
    refuse_hidden(replace(elsewhere, cluster=Cluster(container=mounted)), args("data"))
