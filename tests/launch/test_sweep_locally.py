"""`sweep.py --local`: each point once, so many at a time, stopped and gone on with; by a stand-in for `train.py`."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from dlib.args import HardwareArgs
from dlib.launch.sweep_commands import parse_order
from dlib.launch.sweep_locally import environments
from dlib.process.errors import UserError
from dlib.runs.folder import RunFolder
from dlib.training.described import Described
from sweep import train_here
from tests.launching import ROOT
from tests.runs.folders import held

TRAIN = '''
"""Takes a point's arguments, notes that it begins, and "trains" as a file in the sweep's folder says."""
import json, os, signal, sys, time
from pathlib import Path
from dlib.config.configuration import dump_config, load_config
from dlib.config.command_line import parse_flags
from dlib.process.errors import UserError, run_script
from dlib.process.stop_signals import STOP_SIGNALS
from dlib.runs.folder import RunFolder

def main() -> int:
    stopped = []
    for number in STOP_SIGNALS:
        signal.signal(number, lambda *_: stopped.append(1))
    flags = parse_flags(None, "")
    args = load_config(flags.config_paths, flags.overrides)
    run = RunFolder(Path(args.run.out_dir, args.run.name))
    do = json.loads(Path(args.run.out_dir, "do.json").read_text()).get(str(args.run.seed), "finish")
    if do == "refuse":
        raise UserError("--model: it is too large")
    with run.hold():
        with Path(args.run.out_dir, "begun.txt").open("a") as file:
            file.write(f"{run.name} {os.environ.get('OMP_NUM_THREADS')}\\n")
        run.config.write_text(dump_config(args))
        run.record.write_text("{}")
        run.write_status("running", 1, 5)
        while do == "wait" and not stopped:
            time.sleep(0.02)
        state = "preempted" if stopped else "failed" if do == "fail" else "finished"
        run.write_status(state, 5, 5, "it was to fail" if do == "fail" else None)
        if do == "finish, then die":
            os.kill(os.getpid(), signal.SIGKILL)
    return {"preempted": 75, "failed": 1, "finished": 0}[state]

run_script(main)
'''


class Sweeping:
    """A workspace with a sweep of three seeds, and a copy of `sweep.py` beside the stand-in."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.workspace = folder / "runs"
        self.workspace.mkdir()
        (folder / "train.py").write_text(TRAIN)
        (folder / "sweep.py").write_text((ROOT / "sweep.py").read_text())
        for text in ("train.txt", "dev.txt"):
            (folder / text).write_text("a line\n")
        settings = (
            f"{{accelerator: cpu, data_dir: {folder}, model: {ROOT}/configs/models/roberta-tiny, from_scratch: true}}"
        )
        (folder / "s.yml").write_text(f"settings: {settings}\ngrid: {{seed: [1, 2, 3]}}")
        self.tell()

    def tell(self, **what: str) -> None:
        """What the points do from now on, by seed."""
        (self.workspace / "do.json").write_text(json.dumps({name.removeprefix("s"): do for name, do in what.items()}))

    def start(self, *words: str) -> "subprocess.Popen[str]":
        """Starts `sweep.py`."""
        place = ["--out_dir", str(self.workspace)]
        command = [sys.executable, str(self.folder / "sweep.py"), str(self.folder / "s.yml"), *place, *words]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        return subprocess.Popen(
            command,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *words: str) -> tuple[int, str]:
        """Exit status, and what was printed."""
        process = self.start(*words)
        printed, _ = process.communicate(timeout=60)
        return process.returncode, printed

    def status(self) -> str:
        """What `sweep.py status` ends with, asked without the flags that the points were given."""
        words = ["status", str(self.folder / "s.yml"), "--out_dir", str(self.workspace)]
        answer = subprocess.run(
            [sys.executable, "sweep.py", *words], cwd=ROOT, capture_output=True, text=True, timeout=60
        )
        return answer.stdout.splitlines()[-1]

    @property
    def begun(self) -> list[str]:
        """The seed of each start, in order."""
        path = self.workspace / "begun.txt"
        return (
            [line.split()[0].removeprefix("s-seed=") for line in path.read_text().splitlines()] if path.exists() else []
        )

    def state(self, seed: int) -> str:
        """What the run of a seed says of itself."""
        status = RunFolder(self.workspace / f"s-seed={seed}").read_status()
        return status.state if status else "none"


@pytest.fixture
def sweeping(tmp_path: Path) -> Sweeping:
    """A sweep of its own."""
    return Sweeping(tmp_path)


def wait_for(condition: Callable[[], bool]) -> None:
    """Waits until something is so."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_each_point_is_trained_once_and_the_same_command_again_does_nothing(sweeping: Sweeping) -> None:
    status, printed = sweeping.run("--local", "2")
    assert (status, printed.splitlines()[-1]) == (0, "3 points: 3 finished")
    assert sorted(sweeping.begun) == ["1", "2", "3"]
    assert sweeping.run("--local", "2") == (0, "3 points: 3 finished\n")
    assert len(sweeping.begun) == 3


def test_a_failure_does_not_keep_the_others_and_is_tried_again_on_request_only(sweeping: Sweeping) -> None:
    sweeping.tell(s1="fail", s2="finish, then die")
    status, printed = sweeping.run("--local", "1")
    assert (status, printed.splitlines()[-1]) == (1, "3 points: 1 failed, 2 finished")
    assert "[0] s-seed=1: failed: it was to fail" in printed
    assert "[1] s-seed=2: finished\n" in printed, "whatever ended its process afterwards"
    sweeping.tell()
    status, printed = sweeping.run("--local", "1")
    assert (status, len(sweeping.begun)) == (1, 3)
    assert "failed, and stays so without --retry_failed: it was to fail" in printed
    assert sweeping.run("--local", "1", "--retry_failed")[0] == 0
    assert sweeping.begun == ["1", "2", "3", "1"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_saves_what_runs_and_the_same_command_goes_on(sweeping: Sweeping, number: int) -> None:
    sweeping.tell(s1="wait", s2="wait")
    process = sweeping.start("--local", "2")
    wait_for(lambda: sweeping.state(1) == sweeping.state(2) == "running")
    process.send_signal(number)
    printed, _ = process.communicate(timeout=60)
    assert (process.returncode, printed.splitlines()[-1]) == (75, "3 points: 2 preempted, 1 not begun")
    sweeping.tell()
    assert sweeping.run("--local", "2")[0] == 0
    assert sorted(sweeping.begun) == ["1", "1", "2", "2", "3"]


def test_a_point_that_another_process_trains_is_left_to_it_and_a_killed_one_goes_on(sweeping: Sweeping) -> None:
    run = RunFolder(sweeping.workspace / "s-seed=2")
    with held(run):
        status, printed = sweeping.run("--local", "1")
        assert (status, sweeping.begun) == (1, ["1", "3"])
        assert "[1] s-seed=2: running: another process has it" in printed
        status, printed = sweeping.run("--index", "1")
        assert (status, "another process holds it" in printed) == (2, True)
    assert sweeping.run("--local", "1")[0] == 0
    assert sweeping.begun == ["1", "3", "2"]


def test_an_index_is_one_point_and_answers_what_there_is_to_do(sweeping: Sweeping) -> None:
    assert sweeping.run("--index", "1")[0] == 0
    assert sweeping.begun == ["2"]
    assert sweeping.run("--index", "1") == (0, "run 's-seed=2' is finished\n")
    assert sweeping.run("--index", "3") == (2, "error: --index 3: the sweep has points from 0 to 2\n")
    sweeping.tell(s1="fail")
    assert [sweeping.run("--index", "0")[0] for _ in range(2)] == [1, 1]
    assert sweeping.begun == ["2", "1"]


def test_a_longer_goal_is_trained_on_to(sweeping: Sweeping) -> None:
    assert sweeping.run("--local", "3", "--", "--training_goal", "5")[0] == 0
    assert sweeping.status() == "3 points: 3 finished"
    assert sweeping.run("--local", "3", "--", "--training_goal", "5 steps")[0] == 0
    assert len(sweeping.begun) == 3
    assert sweeping.run("--local", "3", "--", "--training_goal", "8")[0] == 0
    assert len(sweeping.begun) == 6


def test_a_refusal_of_train_py_is_told_by_its_last_line(sweeping: Sweeping) -> None:
    sweeping.tell(s1="refuse")
    status, printed = sweeping.run("--local", "1")
    assert status == 1
    assert "[0] s-seed=1: not begun, status 2: --model: it is too large" in printed
    assert sweeping.begun == ["2", "3"]


def test_what_flags_and_files_tell_against_a_point_is_told_before_any_is_trained(sweeping: Sweeping) -> None:
    (sweeping.workspace / "s-seed=3").write_text("in the way")
    status, printed = sweeping.run("--local", "1")
    assert (status, len(printed.splitlines())) == (2, 1)
    assert "s-seed=3 exists and is no run" in printed
    assert sweeping.begun == []


def test_points_that_others_begin_while_the_first_is_checked_are_left_to_them(
    sweeping: Sweeping, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, order = parse_order([str(sweeping.folder / "s.yml"), "--out_dir", str(sweeping.workspace), "--local", "1"])
    checked = []
    with ExitStack() as begun:

        def check(words: Sequence[str], _: Described) -> None:
            checked.append(words[words.index("-n") + 1])
            second, third = (RunFolder(sweeping.workspace / f"s-seed={seed}") for seed in (2, 3))
            begun.enter_context(held(second))
            begun.enter_context(third.hold())
            third.write_status("preempted", 1, 5)  # it does not say yet that it goes on

        monkeypatch.setattr("dlib.training.described.check_training", check)
        monkeypatch.setattr("dlib.launch.sweep_locally.run_locally", lambda *_: 0)
        assert train_here(order, 1) == 0
    assert checked == ["s-seed=1"]


def test_devices_are_dealt_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dlib.launch.sweep_locally.cuda_devices", lambda: ["2", "GPU-5f"])
    assert environments(HardwareArgs(), 2) == [{"CUDA_VISIBLE_DEVICES": "2"}, {"CUDA_VISIBLE_DEVICES": "GPU-5f"}]
    with pytest.raises(UserError, match="--local 3: 2 devices are found here"):
        environments(HardwareArgs(), 3)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert environments(HardwareArgs(accelerator="cpu"), 2) == [{"OMP_NUM_THREADS": "3"}] * 2
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.setattr("dlib.launch.sweep_locally.usable_cores", lambda: 8)
    assert environments(HardwareArgs(accelerator="cpu"), 3) == [{"OMP_NUM_THREADS": "2"}] * 3


def test_a_task_that_a_scheduler_brings_back_goes_on_though_its_run_failed(
    sweeping: Sweeping, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweeping.tell(s1="fail")
    assert [sweeping.run("--index", "0")[0] for _ in range(2)] == [1, 1]
    sweeping.tell()
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    assert sweeping.run("--index", "0")[0] == 0
    assert (sweeping.begun, sweeping.state(1)) == (["1", "1"], "finished")


@pytest.mark.parametrize("words", [("--local", "2"), ("--index", "0")])
def test_what_is_finished_with_other_settings_is_no_result_of_a_sweep(
    sweeping: Sweeping, words: tuple[str, str]
) -> None:
    assert sweeping.run("--local", "2")[0] == 0
    status, printed = sweeping.run(*words, "--", "--learning_rate", "0.5")
    assert (status, printed.count("\n")) == (2, 1), printed
    assert "run 's-seed=1' began with other arguments: optim.learning_rate was" in printed
    assert len(sweeping.begun) == 3
