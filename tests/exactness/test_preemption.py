"""A run that is stopped, by whatever, ends as if it had never been: the same weights, state and records, bit by bit."""

import shutil
import signal
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from dlib.runs.folder import RunFolder
from dlib.runs.metrics_log import read_metrics
from dlib.runs.status import Status
from dlib.training.checkpoints import read_training_state
from tests.exactness.comparing import assert_same_end
from tests.exactness.ranks import start_ranks
from tests.launching import Place, Result, Training, recorded_steps, start_warm, train, train_undisturbed

# Dropout is on, a step has four micro-batches, and the last step is partial.
GOAL = ("--training_goal", "1598 samples", "--eval_interval", "50", "--save_interval", "40")
TOTAL_STEPS = 200


def status_of(folder: RunFolder) -> Status:
    """What status.json says."""
    status = folder.read_status()
    assert status is not None
    return status


@dataclass(frozen=True)
class Session:
    """How one session of the run ended, and what it left."""

    result: Result
    status: Status
    recorded_steps: int
    checkpoint_steps: list[int]


@dataclass
class Interrupted:
    """A run that goes through one session after the other."""

    place: Place
    scratch: Path
    sessions: dict[str, Session]

    def session(self, name: str, stop: Callable[[Training], None], *further: str) -> None:
        """Lets the run go on, stops it, and keeps what it left."""
        folder = self.place.folder("run")
        arguments = self.place.arguments("run", *GOAL, *further)
        with start_warm(arguments, self.scratch) as training:
            stop(training)
            result = training.result()
        checkpoints = [step for step, _ in folder.whole_checkpoints()]
        self.sessions[name] = Session(result, status_of(folder), recorded_steps(folder), checkpoints)

    def signal_group(self, number: signal.Signals) -> Callable[[Training], None]:
        """Sends a signal to all processes after a few steps, as a terminal does with Ctrl-C."""

        def stop(training: Training) -> None:
            training.wait_for_steps(self.place.folder("run"), 3, resumed=bool(self.sessions))
            training.signal_group(number)

        return stop

    def signal_first(self, number: signal.Signals) -> Callable[[Training], None]:
        """Sends a signal to the first process alone after a few steps, as a scheduler may do."""

        def stop(training: Training) -> None:
            training.wait_for_steps(self.place.folder("run"), 3, resumed=bool(self.sessions))
            training.signal(number)

        return stop

    def move(self) -> None:
        """Moves the run folder elsewhere."""
        elsewhere = replace(self.place, runs=self.place.runs / "elsewhere")
        elsewhere.runs.mkdir()
        shutil.move(self.place.folder("run").root, elsewhere.runs)
        self.place = elsewhere


@pytest.fixture(scope="module")
def undisturbed(session_place: Place, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """The run in one session."""
    return train_undisturbed(session_place, GOAL, tmp_path_factory.mktemp("undisturbed"))


@pytest.fixture(scope="module")
def interrupted(session_place: Place, tmp_path_factory: pytest.TempPathFactory) -> Interrupted:
    """The same run, stopped in five ways and moved, then brought to its end."""
    place = replace(session_place, runs=tmp_path_factory.mktemp("interrupted"))
    run = Interrupted(place, tmp_path_factory.mktemp("output"), {})
    run.session("SIGINT", run.signal_group(signal.SIGINT), "--num_workers", "1")
    run.session("SIGTERM", run.signal_first(signal.SIGTERM), "--eval_batch_size", "5")
    run.session("SIGUSR1", run.signal_first(signal.SIGUSR1), "--save_interval", "7")
    run.move()
    run.session("SIGKILL", run.signal_group(signal.SIGKILL), "--max_checkpoints", "1")
    run.session("clock", lambda training: None, "--max_time", "00:00:01")
    return run


@pytest.fixture(scope="module")
def ended(interrupted: Interrupted) -> RunFolder:
    """The interrupted run after its last session."""
    result = train(interrupted.place.arguments("run", *GOAL), interrupted.scratch)
    assert result.status == 0, result.stderr
    return interrupted.place.folder("run")


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGUSR1", "clock"])
def test_a_stop_saves_the_step_that_was_reached(interrupted: Interrupted, name: str) -> None:
    session = interrupted.sessions[name]
    assert session.result.status == 75, session.result.stderr
    assert session.status.state == "preempted"
    assert 0 < session.status.step < TOTAL_STEPS
    assert session.status.step == session.recorded_steps == session.checkpoint_steps[-1]
    ending = f"run 'run' is saved at step {session.status.step} of {TOTAL_STEPS}; the same command goes on"
    assert session.result.last_line == ending
    told = f"--max_time is over after step {session.status.step}: saving, then stopping"
    assert (told in session.result.stderr) == (name == "clock")


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGUSR1"])
def test_a_signal_is_answered_once_and_nothing_else_is_printed(interrupted: Interrupted, name: str) -> None:
    stderr = interrupted.sessions[name].result.stderr
    assert stderr.count(f"{name}: saving after this optimizer step, then stopping") == 1
    for foreign in ("Traceback", "Warning", "warning", "Interrupt", "Error"):
        assert foreign not in stderr


def test_a_killed_run_goes_on_from_its_last_checkpoint(interrupted: Interrupted) -> None:
    before, killed, after = (interrupted.sessions[name] for name in ("SIGUSR1", "SIGKILL", "clock"))
    assert killed.result.status == -signal.SIGKILL
    assert killed.status.state == "running"
    assert killed.checkpoint_steps[-1] >= before.checkpoint_steps[-1]
    assert f"goes on after step {killed.checkpoint_steps[-1]}\n" in after.result.stderr


def test_each_session_goes_on_where_the_last_one_stopped(interrupted: Interrupted) -> None:
    for before, after in (("SIGINT", "SIGTERM"), ("SIGTERM", "SIGUSR1"), ("SIGUSR1", "SIGKILL")):
        stopped = interrupted.sessions[before].status.step
        assert f"run 'run' goes on after step {stopped}\n" in interrupted.sessions[after].result.stderr


def test_the_end_is_that_of_the_undisturbed_run(ended: RunFolder, undisturbed: RunFolder) -> None:
    assert [record["step"] for record in read_metrics(ended.metrics)] == list(range(1, TOTAL_STEPS + 1))
    assert_same_end(ended, undisturbed)


VARIANTS = {
    "gpt2": [
        "--objective",
        "clm",
        "--model",
        "configs/models/gpt2-tiny",
        "--model_overrides",
        "n_embd=32",
        "n_layer=2",
    ],
    "llama": ["--objective", "clm", "--model", "configs/models/llama-tiny", "--model_overrides", "num_hidden_layers=2"],
    "modernbert": ["--model", "configs/models/modernbert-tiny", "--model_overrides", "num_hidden_layers=2"],
    "bf16-mixed": ["--precision", "bf16-mixed"],
    "bf16-true": ["--precision", "bf16-true"],
    "64-true": ["--precision", "64-true"],
    "lines": ["--line_by_line", "--whole_word_masking", "--eval_batch_size", "3"],
    "frozen": ["--freeze", "embeddings", "--gradient_checkpointing", "--schedule", "wsd"],
}


SLOW = ("llama", "modernbert", "bf16-true", "64-true", "lines", "frozen")


@pytest.mark.parametrize(
    "variant", [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in VARIANTS]
)
@pytest.mark.oldest
def test_every_kind_of_run_ends_the_same_when_it_was_stopped(place: Place, tmp_path: Path, variant: str) -> None:
    further = [*VARIANTS[variant], *"--training_goal 60 --eval_interval 30 --save_interval 30".split()]
    assert train(place.arguments("whole", *further), tmp_path).status == 0
    with start_warm(place.arguments("halves", *further), tmp_path) as training:
        training.wait_for_steps(place.folder("halves"), 3)
        training.signal_group(signal.SIGINT)
        stopped = training.result()
    assert stopped.status == 75, stopped.stderr
    result = train(place.arguments("halves", *further), tmp_path)
    assert result.status == 0, result.stderr
    assert_same_end(place.folder("halves"), place.folder("whole"))
    losses = [record["train/loss"] for record in read_metrics(place.folder("whole").metrics)]
    assert losses[-1] < losses[0] - 0.3


@pytest.mark.parametrize("world_size", [1, 2])
def test_a_sigterm_while_training_begins_ends_all_processes(place: Place, tmp_path: Path, world_size: int) -> None:
    arguments = place.arguments("run", "--training_goal", "500", "-b", "256", "--save_interval", "100")
    folder = place.folder("run")
    with start_ranks(arguments, world_size, tmp_path) as ranks:
        # From here on processes meet: until they have, nothing is to be saved; then the first step is.
        ranks.first.wait_for(lambda: "checkpoints  every" in ranks.stderr)
        ranks.first.signal(signal.SIGTERM)
        results = ranks.results()
    assert [result.status for result in results] == [75] + [0] * (world_size - 1), ranks.stderr
    assert status_of(folder).state == "preempted"
    assert recorded_steps(folder) == (folder.pointed_step("last") or 0) == status_of(folder).step


def test_a_second_ctrl_c_stops_at_once_and_what_was_saved_stays_whole(place: Place, tmp_path: Path) -> None:
    # A step of this run takes seconds: there is time to press twice.
    arguments = place.arguments(
        "slow", "-b", "512", "--training_goal", "3", "--save_interval", "1", "--num_workers", "1"
    )
    folder = place.folder("slow")
    with start_warm(arguments, tmp_path) as training:
        training.wait_for_steps(folder, 1)
        training.wait_for(lambda: folder.pointed_step("last") == 1)
        training.signal_group(signal.SIGINT)
        training.wait_for(lambda: "saving after this optimizer step" in training.stderr)
        training.signal_group(signal.SIGINT)
        result = training.result()
    assert result.status == 130, result.stderr
    assert "Traceback" not in result.stderr
    assert status_of(folder).state == "preempted"
    assert [step for step, _ in folder.whole_checkpoints()] == [1]
    assert read_training_state(folder.last)["steps_done"] == 1
    with start_warm(arguments, tmp_path) as training:
        training.wait_for(lambda: "goes on after step 1\n" in training.stderr)
