"""`eval.py --watch` beside a training: every checkpoint has one result, whatever is killed."""

import json
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Collection, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import pytest

from dlib.data.fingerprint import text_sha256
from dlib.launch.launchers import LAUNCHERS, JobState, NoSchedulerError
from dlib.launch.local import Local
from dlib.measuring import watching
from dlib.measuring.flags import parse_order
from dlib.measuring.watching import Watcher, steps_to_do
from dlib.process.errors import UserError
from dlib.runs.folder import RunFolder
from tests.exactness.ranks import fork, kill_all
from tests.launching import ROOT, Place, Training, environment, evaluate, start_warm, train
from tests.runs.folders import RECORD
from tests.test_floors import imported

ONE_STAYS = ("--max_checkpoints", "1", "--eval_interval", "100%")
LONGEST_RUN_SECONDS = 600
MODEL_FILES = ("config.json", "model.safetensors", "tokenizer.json")


def watch(place: Place, scratch: Path, *targets: Path, once: bool = False) -> Training:
    """Starts a watcher."""
    options = ("--watch", *["--once"] * once, "--json", "--accelerator", "cpu", "--cache_dir", str(place.cache))
    return start_warm([*map(str, targets), *options], scratch, program="eval.py")


def results(folder: RunFolder) -> dict[int, dict[str, Any]]:
    """The metrics of each result of a run, by step; each file has to be whole."""
    found = [json.loads(path.read_text()) for path in sorted(folder.evals.glob("*.json"))]
    assert len(found) == len({content["step"] for content in found}), "a checkpoint has two results"
    return {content["step"]: content["metrics"] for content in found}


def steps_printed(stdout: str) -> list[int]:
    """The steps of the results that a watcher told of."""
    return [json.loads(line)["step"] for line in stdout.splitlines()]


def left_over(folder: RunFolder) -> list[str]:
    """What is left under evals/ beside results and the empty files of claims."""
    return [path.name for path in folder.evals.glob(".*") if path.name not in (".claims", ".pinned")] + [
        path.name for path in (folder.evals / ".pinned").glob("*")
    ]


@pytest.mark.slow
def test_twenty_kills_during_a_run_of_twenty_checkpoints_leave_twenty_results(place: Place, tmp_path: Path) -> None:
    saves, steps_a_save, kills = 20, 120, 20
    randomness = random.Random(1)
    folder = place.folder("run")
    goal = ("--training_goal", str(saves * steps_a_save), "--save_interval", str(steps_a_save), *ONE_STAYS)
    place.runs.mkdir()  # the first watcher may come before the run, but not before the folder of all
    with start_warm(place.arguments("run", *goal), tmp_path) as training:
        landed = 0
        for _ in range(kills):
            with watch(place, tmp_path, folder.root) as watcher:
                if landed == 0:  # what is thrown away before anybody watches is nobody's
                    watcher.wait_for((folder.evals / ".watched").exists)
                time.sleep(randomness.uniform(0, 3))
                landed += not training.ends_within(0)
                watcher.signal_group(signal.SIGKILL)
        assert landed == kills, f"the run ended after {landed} of {kills} kills: make it longer"
        assert training.ends_within(LONGEST_RUN_SECONDS)
        assert training.result().status == 0, training.stderr
    with watch(place, tmp_path, folder.root) as watcher:
        last = watcher.result()
    assert last.status == 0, last.stderr
    assert list(results(folder)) == [steps_a_save * (number + 1) for number in range(saves)]
    assert left_over(folder) == []
    assert len(folder.whole_checkpoints()) <= 2, "retention was not held up"


def watch_lightly(run: Path) -> None:
    """Makes this process, forked for it, a watcher whose evaluations only read the model."""
    watching.SECONDS_BETWEEN_LOOKS = 0.01
    for subject in Watcher(parse_order([str(run), "--watch"])).subjects():
        if subject is None or subject.run is None:
            continue
        time.sleep(random.uniform(0, 0.03))
        parts = [(Path(subject.model) / name).read_text() for name in MODEL_FILES]
        result = {"step": subject.step, "metrics": {"parts": parts}}
        subject.run.ledger.write(subject.checkpoint, subject.evaluation.kind, json.dumps(result))


def keep_killing(run: Path, landed: list[int], ended: threading.Event) -> None:
    """Has two watchers at any time, and kills one after the other, until the run has ended."""
    watchers = [fork(watch_lightly, run), fork(watch_lightly, run)]
    while not ended.is_set():
        time.sleep(random.uniform(0, 0.5))
        watchers[0].kill()
        watchers[0].join()
        landed.append(watchers[0].exitcode or 0)
        watchers = [watchers[1], fork(watch_lightly, run)]
    kill_all(watchers)


def test_watchers_killed_at_any_moment_leave_one_whole_result_for_every_checkpoint(place: Place) -> None:
    folder, landed, ended = saved_run(place, "running"), list[int](), threading.Event()
    folder.ledger.watch("")
    killer = threading.Thread(target=keep_killing, args=(folder.root, landed, ended))
    with folder.hold():
        killer.start()
        step = 5
        while landed.count(-signal.SIGKILL) < 20:
            step += 1
            folder.publish_checkpoint(step, partial(write_model, step=step))
            folder.remove_old_checkpoints(1, [])
            time.sleep(0.15)
        folder.write_status("finished", step, step)
    ended.set()
    killer.join()
    watch_lightly(folder.root)
    assert results(folder) == {number: {"parts": [str(number)] * len(MODEL_FILES)} for number in range(5, step + 1)}
    assert [number for number, _ in folder.whole_checkpoints()] == [step]
    assert left_over(folder) == []


def test_two_watchers_share_the_checkpoints_of_a_run(place: Place, tmp_path: Path) -> None:
    folder = place.folder("run")
    saves = ("--training_goal", "12", "--save_interval", "1", "--eval_interval", "6", "--max_checkpoints", "-1")
    assert train(place.arguments("run", *saves), tmp_path).status == 0
    with watch(place, tmp_path / "a", folder.root) as first, watch(place, tmp_path / "b", folder.root) as second:
        shares = [steps_printed(watcher.result().stdout) for watcher in (first, second)]
    assert sorted(shares[0] + shares[1]) == list(results(folder)) == list(range(1, 13)), "each once"
    assert left_over(folder) == []


def test_runs_that_begin_later_are_followed_until_ctrl_c(place: Place, tmp_path: Path) -> None:
    goal = ("--training_goal", "4", "--save_interval", "2", "--eval_interval", "2", "--max_checkpoints", "-1")
    with watch(place, tmp_path / "watcher", place.runs) as watcher:
        watcher.wait_for(lambda: "waiting for a run" in watcher.stderr)
        for name in ("first", "second"):
            assert train(place.arguments(name, *goal), tmp_path).status == 0
        watcher.wait_for(lambda: all(len(results(place.folder(name))) == 2 for name in ("first", "second")))
        watcher.signal_group(signal.SIGINT)
        assert watcher.result().status == 130
    assert left_over(place.folder("first")) == []


def test_once_evaluates_what_is_there_and_then_nothing_more(place: Place, tmp_path: Path) -> None:
    folder = place.folder("run")
    goal = ("--training_goal", "6", "--save_interval", "2", "--eval_interval", "6", "--max_checkpoints", "-1")
    assert train(place.arguments("run", *goal), tmp_path).status == 0
    (place.runs / "damaged").mkdir()
    (place.runs / "damaged" / "config.yml").write_text("no: config\n")
    (place.runs / "damaged" / "record.json").touch()
    printed = []
    for _ in range(2):
        arguments = (
            str(place.runs),
            "--watch",
            "--once",
            "--json",
            "--accelerator",
            "cpu",
            "--cache_dir",
            str(place.cache),
        )
        result = evaluate(arguments, tmp_path)
        assert result.status == 2, "a run could not be evaluated"
        assert "warning: run 'damaged' is left out" in result.stderr
        printed.append(steps_printed(result.stdout))
    assert printed == [[2, 4, 6], []]
    assert left_over(folder) == []


def test_checkpoints_that_cannot_be_evaluated_are_left_out_and_later_ones_are_not(place: Place, tmp_path: Path) -> None:
    folder = place.folder("run")
    goal = ("--training_goal", "6", "--save_interval", "2", "--eval_interval", "6", "--max_checkpoints", "-1")
    assert train(place.arguments("run", *goal), tmp_path).status == 0
    (folder.checkpoint(2) / "model" / "model.safetensors").unlink()
    shutil.rmtree(folder.checkpoint(4) / "model")
    with watch(place, tmp_path, folder.root) as watcher:
        result = watcher.result()
    assert result.status == 2
    assert steps_printed(result.stdout) == [6]
    told = result.stderr.splitlines()
    assert len(told) == 2, "each once"
    assert told[0].startswith("warning: step-00000002 of run 'run' is left out: ")
    assert told[1].startswith(f"warning: step-00000004 of run 'run' is left out: {folder.checkpoint(4)} has no model/")
    assert left_over(folder) == []


@pytest.mark.parametrize("once", [False, True])
def test_a_live_run_is_no_longer_watched_after_sigterm_or_one_look(place: Place, tmp_path: Path, once: bool) -> None:
    folder = saved_run(place, "running")
    folder.ledger.write("step-00000005", "", "{}")
    with folder.hold(), watch(place, tmp_path, folder.root, once=once) as watcher:
        if not once:
            watcher.wait_for((folder.evals / ".watched").exists)
            watcher.signal(signal.SIGTERM)
        result = watcher.result()
    assert (result.status, result.stdout, result.stderr) == (0 if once else 143, "", "")
    assert not folder.ledger.lacks("step-00000010")


TELLS_ITSELF_TO_END = """
import os, runpy, signal, sys
from omegaconf import OmegaConf
_, *sys.argv = sys.argv
structured = OmegaConf.structured

def asked_meanwhile(*args):
    if callable(signal.getsignal(signal.SIGTERM)):
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        except SystemExit:
            pass
    return structured(*args)

OmegaConf.structured = asked_meanwhile
runpy.run_path("eval.py", run_name="__main__")
"""
"""eval.py that gets SIGTERM while its configuration is built, where OmegaConf can swallow what comes of it."""


def test_a_watch_ends_by_a_signal_whose_exception_was_swallowed(place: Place) -> None:
    folder = saved_run(place, "running")
    folder.ledger.write("step-00000005", "", "{}")
    words = ["eval.py", str(folder.root), "--watch", "--cache_dir", str(place.cache), "--accelerator", "cpu"]
    with folder.hold():
        watcher = [sys.executable, "-c", TELLS_ITSELF_TO_END, *words]
        ended = subprocess.run(watcher, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=120)
    assert (ended.returncode, ended.stderr) == (143, "")
    assert not folder.ledger.lacks("step-00000010")


def write_model(folder: Path, step: int) -> None:
    """What stands for a checkpoint here."""
    (folder / "model").mkdir()
    for name in MODEL_FILES:
        (folder / "model" / name).write_text(str(step))


def saved_run(place: Place, state: str) -> RunFolder:
    """A run with a configuration, a state and one checkpoint, that no process holds."""
    folder = place.folder("run")
    folder.root.mkdir(parents=True)
    folder.config.write_text(f"data: {{data_dir: '{place.data}', cache_dir: '{place.cache}'}}\n")
    hashes = {"development text": text_sha256(place.data / "dev.txt", place.cache)}
    folder.record.write_text(json.dumps({**RECORD, "hashes": hashes}))
    folder.publish_checkpoint(5, partial(write_model, step=5))
    folder.write_status(state, 5, 10)
    return folder


def test_what_is_removed_after_a_scheduled_look_waits_for_the_next_one(place: Place) -> None:
    folder = saved_run(place, "preempted")
    watcher = Watcher(parse_order([str(folder.root), "--watch", "--once"]))
    subjects = watcher.subjects()
    assert next(subjects) is not None  # it is being evaluated, and is killed
    subjects.close()
    folder.remove_checkpoint(5)
    (subject,) = Watcher(parse_order([str(folder.root), "--watch", "--once"])).subjects()
    assert subject is not None
    assert (subject.step, Path(subject.model).is_dir()) == (5, True)


def test_a_run_that_was_stopped_is_given_a_while_to_go_on(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = saved_run(place, "preempted")
    folder.ledger.write("step-00000005", "", "{}")
    subjects = Watcher(parse_order([str(folder.root), "--watch"])).subjects()
    assert next(subjects) is None
    monkeypatch.setattr(watching, "PATIENCE_SECONDS", 0)
    assert list(subjects) == []
    assert folder.ledger.lacks("step-00000010"), "it is still watched: it may go on later"


class Queue(Local):
    """A launcher whose jobs stand as a test says; None: it does not answer, "": it is not on this machine."""

    word: ClassVar[str | None] = None

    def states(self, numbers: Collection[str]) -> dict[str, JobState]:
        """Where they stand."""
        if self.word is None:
            raise UserError("squeue: its controller does not answer")
        if not self.word:
            raise NoSchedulerError("squeue: there is no SLURM on this machine")
        return {number: JobState(self.word) for number in numbers}


@pytest.mark.parametrize("has_own_job", [True, False], ids=["a job", "a task"])
@pytest.mark.parametrize(
    ("run", "words", "ended"),
    [
        ("preempted", ("pending", None), "cancelled"),
        ("preempted", ("running",), "gone"),
        ("failed", ("pending",), None),
    ],
)
def test_a_run_whose_job_waits_or_runs_is_waited_for(
    place: Place,
    monkeypatch: pytest.MonkeyPatch,
    has_own_job: bool,
    run: str,
    words: Sequence[str | None],
    ended: str | None,
) -> None:
    monkeypatch.setitem(LAUNCHERS, "queue", f"{__name__}:Queue")
    monkeypatch.setattr(watching, "PATIENCE_SECONDS", 0)
    monkeypatch.setattr(watching, "SECONDS_BETWEEN_LOOKS", 0.01)
    folder = saved_run(place, run)
    folder.ledger.write("step-00000005", "", "{}")
    job = folder.job if has_own_job else place.runs / ".sweeps" / "rates"
    (job / "points").mkdir(parents=True)
    (job / "points" / "0").symlink_to(folder.root)
    (job / "id").write_text("queue 41\n")
    subjects = Watcher(parse_order([str(folder.root), "--watch"])).subjects()
    for word in words:
        monkeypatch.setattr(Queue, "word", word)
        assert next(subjects) is None
    monkeypatch.setattr(Queue, "word", ended)
    assert list(subjects) == []


def test_a_run_whose_job_nobody_here_can_ask_for_is_waited_for_within_a_job_alone(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(LAUNCHERS, "queue", f"{__name__}:Queue")
    monkeypatch.setattr(watching, "PATIENCE_SECONDS", 0)
    monkeypatch.setattr(watching, "SECONDS_BETWEEN_LOOKS", 0.01)
    monkeypatch.setattr(Queue, "word", "")
    folder = saved_run(place, "preempted")
    folder.ledger.write("step-00000005", "", "{}")
    folder.job.mkdir()
    (folder.job / "id").write_text("queue 41\n")
    subjects = Watcher(parse_order([str(folder.root), "--watch"])).subjects()
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    assert [next(subjects), next(subjects)] == [None, None], "a container has no command to ask with"
    monkeypatch.delenv("SLURM_JOB_ID")
    assert next(subjects, "ended") == "ended"
    told = "warning: run: stopped, and waited for no longer: squeue: there is no SLURM on this machine\n"
    assert capsys.readouterr().err == told


def test_each_time_a_run_stops_it_is_given_a_while(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "PATIENCE_SECONDS", 0.3)
    monkeypatch.setattr(watching, "SECONDS_BETWEEN_LOOKS", 0.01)
    folder = saved_run(place, "running")
    folder.ledger.write("step-00000005", "", "{}")
    subjects = Watcher(parse_order([str(folder.root), "--watch"])).subjects()
    for _ in range(2):
        with folder.hold():
            folder.write_status("running", 5, 10)
            assert next(subjects) is None
            time.sleep(0.3)
            folder.write_status("preempted", 5, 10)
        assert next(subjects) is None, "it may go on"
    time.sleep(0.3)
    assert list(subjects) == []


def test_a_run_is_watched_by_its_name_before_it_is_there(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "SECONDS_BETWEEN_LOOKS", 0.01)
    monkeypatch.chdir(place.runs.parent)
    subjects = Watcher(parse_order(["run", "--watch"])).subjects()
    assert next(subjects) is None
    saved_run(place, "finished")
    subject = next(subjects)
    assert subject is not None
    assert (subject.name, subject.step) == ("run", 5)


def test_a_stopped_watcher_has_nothing_kept_for_it_any_longer(place: Place) -> None:
    folder = saved_run(place, "preempted")
    watcher = Watcher(parse_order([str(folder.root), "--watch"]))
    watcher.prepare()
    assert folder.ledger.lacks("step-00000005")
    watcher.stop()
    assert not folder.ledger.lacks("step-00000005")
    assert steps_to_do(folder, "") == [5]


def test_nothing_of_training_knows_the_watcher() -> None:
    modules = [ROOT / "train.py", *(ROOT / "dlib").rglob("*.py")]
    users = {path for path in modules if any(name.startswith("dlib.measuring") for name in imported(path))}
    assert {path.parent.name for path in users} == {"measuring", "notebook"}


def test_a_run_that_is_not_there_is_waited_for_aloud_and_one_that_cannot_begin_is_refused(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    there, later = saved_run(place, "running").root, place.runs / "later"
    watcher = Watcher(parse_order([str(there), str(later), "--watch"]))
    watcher.prepare()
    watcher.stop()
    assert capsys.readouterr().err == f"{later}: waiting for a run to begin: train.py --name later\n"
    nowhere = str(place.runs / "frist" / "later")
    with pytest.raises(UserError, match="later: there is neither a run nor a folder of runs"):
        Watcher(parse_order([nowhere, "--watch"])).prepare()
