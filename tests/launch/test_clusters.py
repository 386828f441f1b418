"""What a file of a cluster says, what a flag says instead, and what is wrong with either."""

from pathlib import Path

import pytest

from dlib.launch.clusters import CLUSTERS, Cluster, Container, load_cluster
from dlib.process.errors import UserError


def written(folder: Path, text: str) -> str:
    path = folder / "mine.yml"
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize("name", sorted(path.stem for path in CLUSTERS.glob("*.yml")))
def test_what_is_shipped_can_be_read(name: str) -> None:
    image = {"container.image": "docker://dlib"} if name == "slurm-pyxis" else {}
    assert load_cluster(name, image) == load_cluster(str(CLUSTERS / f"{name}.yml"), image)


def test_a_file_says_what_differs_from_the_defaults(tmp_path: Path) -> None:
    text = "partition: gpu\ncpus_per_task: 4\nsetup:\n  - module load a\ncontainer:\n  image: docker://a\noptions:\n"
    expected = Cluster(
        partition="gpu", cpus_per_task=4, setup=["module load a"], container=Container(image="docker://a")
    )
    assert load_cluster(written(tmp_path, text)) == expected


def test_flags_win_over_the_file(tmp_path: Path) -> None:
    file = written(tmp_path, "nodes: 4\ntime: 01:00:00\n")
    cluster = load_cluster(file, {"nodes": "2", "container.image": "docker://a", "environment": {"A": "1"}})
    assert (cluster.nodes, cluster.time, cluster.container.image) == (2, "01:00:00", "docker://a")
    assert cluster.environment == {"A": "1"}


def test_the_container_of_a_file_is_switched_off_by_its_image(tmp_path: Path) -> None:
    container = "container: {image: docker://a, mounts: ['/nowhere:/b']}\n"
    text, off = "nodes: 2\n", {"container.image": "none"}
    assert load_cluster(written(tmp_path, text + container), off) == load_cluster(written(tmp_path, text))
    assert load_cluster("slurm-pyxis", off).python == "", "the interpreter here, not the image's"
    with pytest.raises(UserError, match=r"--container.image none: a file's path begins"):
        load_cluster(written(tmp_path, text), {**off, "container.workdir": "/work"})


def test_variables_on_the_command_line_are_added_to_those_of_the_file(tmp_path: Path) -> None:
    file = written(tmp_path, "environment: {HF_HOME: /shared, A: '0'}\nsetup: [module load a]\n")
    cluster = load_cluster(file, {"environment": {"A": "1", "B": "2"}, "setup": ["module load b"]})
    assert cluster.environment == {"HF_HOME": "/shared", "A": "1", "B": "2"}
    assert cluster.setup == ["module load b"]


def test_a_variable_of_the_environment_may_stand_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB", "nlp")
    assert load_cluster(written(tmp_path, "account: ${oc.env:LAB}\n")).account == "nlp"


@pytest.mark.parametrize(("gpus", "tasks", "expected"), [(0, None, 1), (8, None, 8), (8, 2, 2)])
def test_srun_starts_a_process_a_gpu_unless_told_otherwise(gpus: int, tasks: int | None, expected: int) -> None:
    assert Cluster(gpus_per_node=gpus, tasks_per_node=tasks).tasks == expected


@pytest.mark.parametrize(
    ("image", "limit", "clock"),
    [
        ("/a.sqsh", "01:00:00", "00:57:00"),  # less the signal's margin, and the unpacking of the image
        ("/a.sqsh", "00:04:00", "00:02:00"),
        ("/a.sqsh", "1-00:00:00", "23:57:00"),
        ("/a.sqsh", None, None),
        ("", "01:00:00", None),
    ],
)
def test_in_a_container_the_clock_saves_ahead_of_the_limit(image: str, limit: str | None, clock: str | None) -> None:
    assert Cluster(container=Container(image=image), time=limit).clock == clock


@pytest.mark.parametrize(
    ("text", "flags", "error"),
    [
        ("nods: 3\n", {}, "mine.yml: nods: there is no such key: did you mean nodes?"),
        (
            "container:\n  imag: a\n",
            {},
            "mine.yml: container.imag: there is no such key: did you mean container.image?",
        ),
        ("nodes: many\n", {}, "mine.yml: nodes: Value 'many'"),
        ("- nodes\n", {}, "mine.yml: this must be a mapping"),
        ("", {"nodes": "0"}, "--nodes 0: give at least 1"),
        ("", {"tasks_per_node": "0"}, "--tasks_per_node 0: give at least 1"),
        ("", {"gpus_per_node": "-1"}, "--gpus_per_node -1: give at least 0"),
        ("", {"time": "90:00"}, "--time: '90:00' is not a time"),
        ("", {"time": "00:01:00"}, "--time 00:01:00: a run is told to save 120 seconds ahead of it"),
        (
            "setup:\n  - module load a\n  - if true; then\n",
            {},
            "--setup: the shell cannot read it: line 3: syntax error",
        ),
        ('setup: ["echo \\ud800"]\n', {}, "--setup: half a surrogate pair is no character"),
        ("", {"environment": {"A": "\udcff"}}, "--environment: half a surrogate pair is no character"),
        ('container: {image: "/\\ud800"}\n', {}, "--container: half a surrogate pair is no character"),
        ("", {"setup": ["cat <<END"]}, "--setup: the shell cannot read it: line 1: warning: here-document"),
        (
            "",
            {"container.image": "/nowhere/a.sqsh"},
            "--container.image /nowhere/a.sqsh: it is not there; where nodes alone",
        ),
        ("container:\n  mounts: []\n", {}, "--container.image is missing: "),
        ("", {"container.workdir": "/work"}, "--container.image is missing: "),
        ("", {"container.image": "dlib.sqsh"}, "--container.image dlib.sqsh: a file's path begins with / or ./"),
        (
            "environment:\n  WANDB_API_KEY: abc\n",
            {},
            "--environment WANDB_API_KEY: a key would stand in the job's script",
        ),
        ("", {"environment": {"A": f"hf_{'x' * 30}"}}, "--environment A: a key would stand in the job's script"),
        ("", {"environment": {"A B": "1"}}, "--environment: 'A B' is no name of a variable"),
        ("account: ${oc.env:NOT_SET_ANYWHERE}\n", {}, "NOT_SET_ANYWHERE is not set"),
    ],
)
def test_mistakes_name_the_key_and_what_to_do(tmp_path: Path, text: str, flags: dict[str, str], error: str) -> None:
    with pytest.raises(UserError) as caught:
        load_cluster(written(tmp_path, text), flags)
    assert error in str(caught.value)


def test_an_extended_pattern_is_no_mistake(tmp_path: Path) -> None:
    lines = ["shopt -s extglob", "ls !(a|b)", "if ! (true); then module load a; fi"]
    assert load_cluster(written(tmp_path, ""), {"setup": lines}).setup == lines


def test_a_mount_that_is_not_here_is_told_and_taken(capsys: pytest.CaptureFixture[str]) -> None:
    mounts = ["/:/x,/nowhere:/b"]
    cluster = load_cluster("slurm-pyxis", {"container.image": "docker://a", "container.mounts": mounts})
    assert cluster.container.mounts == mounts, "it may be a disk that nodes alone have"
    assert capsys.readouterr().err == (
        "warning: --container.mounts /nowhere: it is not there, and a node without it fails\n"
    )


def test_an_unknown_cluster_is_told_with_those_that_are_there() -> None:
    with pytest.raises(UserError, match=r"--cluster slum: .*did you mean slurm\? \(local, slurm, slurm-pyxis\)"):
        load_cluster("slum")
