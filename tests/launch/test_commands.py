"""The words of `jobs.py`: its own flags, then the command after `--`."""

import shutil
import subprocess
import sys
import tempfile
from argparse import Namespace
from pathlib import Path

import pytest

from dlib.launch.clusters import Cluster
from dlib.launch.commands import cluster_fields, cluster_overrides, parse_words
from dlib.process.errors import UserError
from jobs import for_each
from tests.launching import ROOT, Place, environment


def test_what_follows_the_dashes_belongs_to_the_command() -> None:
    args, command = parse_words(["submit", "--nodes", "2", "--", "train.py", "-n", "big", "--", "--nodes", "3"])
    assert cluster_overrides(vars(args)) == {"nodes": "2"}
    assert command == ["train.py", "-n", "big", "--", "--nodes", "3"]


def test_every_key_of_a_cluster_is_a_flag() -> None:
    keys = [key for key, _, _ in cluster_fields()]
    assert {key.partition(".")[0] for key in keys} == set(Cluster.__dataclass_fields__)
    args, _ = parse_words(
        ["submit", "--environment", "A=1", "B=c=d", "--setup", "x y", "--container.writable", "--mem=1G", "--", "a"]
    )
    assert cluster_overrides(vars(args)) == {
        "environment": {"A": "1", "B": "c=d"},
        "setup": ["x y"],
        "container.writable": "true",
        "mem": "1G",
    }


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["submit"], "jobs.py submit: the command is missing; it comes after --"),
        (["submit", "train.py"], "put -- before train.py"),
        (
            ["submit", "--nodes", "2", "train.py", "-n", "x"],
            "put -- before train.py: jobs.py submit [FLAGS] -- train.py",
        ),
        (["submit", "--nodez", "2", "--", "train.py"], "unknown flag --nodez: did you mean --nodes?"),
        (["status", "--", "train.py"], "jobs.py status: only submit takes a command after --"),
        (["logs"], "see jobs.py logs --help"),
        (["status", "--out_dir", "s3://b/runs"], "--out_dir s3://b/runs: give a folder here"),
    ],
)
def test_mistakes_are_told(words: list[str], error: str) -> None:
    with pytest.raises(UserError) as caught:
        parse_words(words)
    assert error in str(caught.value)


def test_a_flag_of_a_list_that_is_given_again_adds_to_it() -> None:
    options = ["--options=--nodelist=n17", "--options=--exclusive"]
    others = ["--setup", "a", "b", "--setup", "c", "--environment", "A=1", "--environment", "B=2"]
    args, _ = parse_words(["submit", *options, *others, "--", "train.py"])
    expected = {
        "options": ["--nodelist=n17", "--exclusive"],
        "setup": ["a", "b", "c"],
        "environment": {"A": "1", "B": "2"},
    }
    assert cluster_overrides(vars(args)) == expected


def test_a_variable_without_a_name_is_told() -> None:
    with pytest.raises(UserError, match="--environment: 'A' has no name: write NAME=TEXT"):
        cluster_overrides({"environment": ["A"]})


def jobs(*words: str) -> "subprocess.CompletedProcess[str]":
    """Runs jobs.py where there is git, and no SLURM."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "git").symlink_to(shutil.which("git") or "git")
        command, without = [sys.executable, "jobs.py", *words], {**environment(), "PATH": folder}
        return subprocess.run(command, cwd=ROOT, env=without, capture_output=True, text=True, timeout=60)


def test_a_dry_run_prints_the_script_and_leaves_nothing(place: Place) -> None:
    done = jobs("submit", "--dry_run", "--gpus_per_node", "0", "--", "train.py", *place.arguments("big"))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("#!/bin/bash\n# big train.py -n big")
    assert f"{place.runs}/big/job/code/train.py" in done.stdout
    assert not place.runs.exists()


def test_one_place_says_the_folder_of_a_run(place: Place, tmp_path: Path) -> None:
    training = ("--dry_run", "--gpus_per_node", "0", "--", "train.py", *place.arguments("big"))
    done = jobs("submit", "--out_dir", str(tmp_path / "elsewhere"), *training)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert f"elsewhere: train.py writes into {place.runs}; give its --out_dir after the --" in done.stderr
    assert jobs("submit", "--out_dir", str(place.runs), *training).returncode == 0


def test_a_training_in_a_container_gets_a_clock_unless_it_has_one(place: Place) -> None:
    words = ["submit", "--cluster", "slurm-pyxis", "--container.image", "docker://a", "--dry_run"]
    words += ["--container.mounts", f"{place.data.parent}:{place.data.parent}", "--", "train.py"]
    scripts = [jobs(*words, *place.arguments("big", *own)).stdout for own in ((), ("--max_time", "01:00:00"))]
    assert [script.count("--max_time 23:57:00") for script in scripts] == [2, 0]  # in the title, too
    assert [script.count("--max_time 01:00:00") for script in scripts] == [0, 2]


def test_without_slurm_a_submission_is_one_line_and_leaves_nothing(place: Place) -> None:
    done = jobs("submit", "--gpus_per_node", "0", "--", "train.py", *place.arguments("big"))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "error: sbatch: there is no SLURM on this machine; go to a login node, or take --cluster local\n"
    )
    assert not place.runs.exists()


def test_another_file_than_a_script_of_the_project_is_refused() -> None:
    done = jobs("submit", "--", "dlib/mine.py")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "dlib/mine.py: it is no script of" in done.stderr
    assert "eval.py" in done.stderr


def test_another_script_has_a_job_of_its_own(place: Place) -> None:
    words = ("--out_dir", str(place.runs), "--dry_run", "--", "eval.py", "runs/first", "--watch")
    done = jobs("submit", *words)
    assert done.returncode == 0, done.stderr
    assert f"#SBATCH --output={place.runs}/.jobs/eval-first/log.txt\n" in done.stdout
    assert "/eval.py runs/first" in done.stdout


@pytest.mark.parametrize("words", [("--job_name", "../big", "--", "eval.py"), ("--", "generate.py", "two\nlines")])
def test_the_name_of_a_job_is_that_of_a_folder(words: tuple[str, ...]) -> None:
    done = jobs("submit", "--dry_run", *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: --job_name: "), done.stderr


def test_a_job_that_has_ended_does_not_keep_another_from_being_cancelled(tmp_path: Path) -> None:
    told = []
    for name in ("a", "b"):
        (tmp_path / name / "job").mkdir(parents=True)
        (tmp_path / name / "job" / "id").write_text("slurm 41\n")

    def cancel(folder: Path) -> None:
        if folder.parent.name == "a":
            raise UserError("job 41 has ended already")
        told.append(folder.parent.name)

    with pytest.raises(UserError, match="job 41 has ended already"):
        for_each(Namespace(jobs=["a", "b"], out_dir=tmp_path), cancel)
    assert told == ["b"]
    with pytest.raises(UserError, match=r"no job of 'c' .*; nothing is done to the others$"):
        for_each(Namespace(jobs=["b", "c"], out_dir=tmp_path), cancel)
    assert told == ["b"]


def test_a_sweep_in_a_container_of_which_some_points_have_a_clock_gets_no_other(place: Place, tmp_path: Path) -> None:
    (tmp_path / "s.json").write_text('[{"weight_decay": 0}, {"weight_decay": 0.1, "max_time": "01:00:00"}]')
    own = place.arguments("x")
    for flag in ("-n", "--out_dir"):
        del own[own.index(flag) : own.index(flag) + 2]
    words = ["--submit", "slurm-pyxis", "--container.image", "docker://a", "--dry_run", "--out_dir", str(place.runs)]
    command = [sys.executable, "sweep.py", str(tmp_path / "s.json"), *words, "--", *own]
    done = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr.count(f"--container.mounts {place.data}:{place.data}")) == (2, 1), done.stderr
    command[5:5] = ["--container.mounts", f"{place.data.parent}:{place.data.parent}"]
    done = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=60)
    assert (done.returncode, "--max_time" in done.stdout) == (0, False), done.stderr
