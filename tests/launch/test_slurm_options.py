"""What the sbatch script says of a cluster and a container, and what it cannot say."""

import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from dlib.launch.clusters import Cluster, Container
from dlib.launch.job import Job
from dlib.launch.slurm_script import sbatch_script
from dlib.process.errors import UserError


@pytest.fixture
def job(tmp_path: Path) -> Job:
    run = tmp_path / "the runs" / "big"
    return Job(("train.py", "-n", "big"), run / "job", Cluster(), "big", run=run)


def options(job: Job) -> list[str]:
    """The options of sbatch in a script."""
    return [shlex.split(line)[1] for line in sbatch_script(job).splitlines() if line.startswith("#SBATCH ")]


def test_a_cluster_is_said_in_options_of_sbatch(job: Job) -> None:
    cluster = Cluster(
        partition="gpu",
        account="lab",
        qos="long",
        nodes=2,
        gpus_per_node=8,
        cpus_per_task=4,
        mem="64G",
        time="08:00:00",
    )
    found = options(replace(job, cluster=replace(cluster, options=["--constraint=a100"])))
    assert found == [
        *("--job-name=big", f"--output={job.folder}/log.txt", f"--chdir={Path.cwd()}", "--open-mode=append"),
        *("--requeue", "--signal=USR1@120", "--partition=gpu", "--account=lab", "--qos=long", "--mem=64G"),
        *("--time=08:00:00", "--nodes=2", "--ntasks-per-node=8", "--gpus-per-node=8", "--cpus-per-task=4"),
        "--constraint=a100",
    ]


IMAGE = Container(image="/shared/dlib.sqsh", mounts=["/data:/data"], writable=True)


def container_flags(job: Job) -> Sequence[str]:
    return [line.strip(" \\") for line in sbatch_script(job).splitlines() if "--container" in line]


def test_a_container_is_asked_of_pyxis(job: Job, tmp_path: Path) -> None:
    cluster = Cluster(container=IMAGE, time="01:00:00", environment={"HF_HOME": "/hf"})
    job = replace(job, cluster=cluster)
    flags = container_flags(job)
    assert flags[:2] == ["--container-image=/shared/dlib.sqsh", '--container-name=dlib-"$SLURM_JOB_ID"']
    mounts = shlex.split(flags[2])[0].removeprefix("--container-mounts=").split(",")
    assert f"{tmp_path}/the runs:{tmp_path}/the runs" in mounts
    assert mounts[-1] == "/data:/data"
    assert flags[3:] == [
        f"--container-workdir={job.cwd}",
        "--container-env=ENROOT_FORCE_OVERRIDE,NVIDIA_VISIBLE_DEVICES,HF_HOME",
        "--container-writable",
    ]
    script = sbatch_script(job)
    assert "export ENROOT_FORCE_OVERRIDE=y\nexport NVIDIA_VISIBLE_DEVICES=void\n" in script
    assert "  python " in script


def test_no_part_of_a_path_or_word_is_taken_for_an_arrays_index(job: Job, tmp_path: Path) -> None:
    folder = tmp_path / "INDEX 5%" / "job"
    job = replace(job, folder=folder, command=("generate.py", "the {index}"))
    assert f"--output={tmp_path}/INDEX 5%%/job/log.txt" in options(job)
    assert f"--output={tmp_path}/INDEX 5%%/job/log-%a.txt" in options(replace(job, array="0-1"))
    assert "'the {index}'" in sbatch_script(job)


def test_a_line_break_cannot_add_lines_to_the_script(job: Job, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="an option of sbatch stands on one line"):
        sbatch_script(replace(job, folder=tmp_path / "a\ntouch b\nc"))
    with pytest.raises(UserError, match="sbatch drops a backslash from a path"):
        sbatch_script(replace(job, cwd=tmp_path / "a\\b"))
