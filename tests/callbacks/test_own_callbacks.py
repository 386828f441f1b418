"""What a user adds to the list in `train.py` works as in Lightning, and as exactly as the rest."""

import csv
import json
from pathlib import Path

import pytest
import torch

from dlib.runs.folder import RunFolder
from dlib.runs.metrics_log import read_metrics
from dlib.training.checkpoints import read_training_state
from tests.callbacks.extended import extend_train
from tests.exactness.comparing import assert_same_end
from tests.exactness.faults import Fault
from tests.exactness.ranks import start_ranks
from tests.launching import Place, Result, start_warm

GOAL = ("--training_goal", "12", "--eval_interval", "3", "--save_interval", "4")
ADDING_UP = '''
from lightning.pytorch.callbacks import Callback, EarlyStopping, LearningRateMonitor
from lightning.pytorch.loggers import CSVLogger


class AddingUp(Callback):
    """One of Lightning's, with a state; it looks at what the run knows."""

    def __init__(self, run_log):
        self.run_log = run_log
        self.total = 0.0

    def on_train_batch_end(self, trainer, module, *_):
        self.total += self.run_log.newest["train/loss"] + float(trainer.callback_metrics.get("dev/loss", 0.0))
        self.log("mine/total", self.total)
        self.log_dict({"mine/even": module.steps_done % 2 == 0}, sync_dist=True)

    def state_dict(self):
        return {"total": self.total}

    def load_state_dict(self, state):
        self.total = state["total"]
'''
STOPPING = '''
from dlib.callbacks.step_callback import StepCallback


class StoppingInTheSecond(StepCallback):
    """Every process looks at the newest numbers, and one of them has enough."""

    def __init__(self, run_log):
        self.run_log = run_log

    def after_step(self, trainer, module):
        if self.run_log.newest["train/loss"] and module.steps_done == 5:
            trainer.should_stop = trainer.global_rank == trainer.world_size - 1
'''


def train(program: str, arguments: list[str], scratch: Path, fault: Fault | None = None) -> Result:
    with start_warm(arguments, scratch, fault, program=program) as training:
        return training.result()


def test_state_logged_numbers_and_loggers_survive_a_kill_bitwise(place: Place, tmp_path: Path) -> None:
    program = extend_train(
        tmp_path,
        ADDING_UP,
        "AddingUp(run_log)",
        "LearningRateMonitor()",
        "EarlyStopping('dev/loss', patience=99)",
        f"CSVLogger({str(tmp_path)!r})",
    )
    whole = train(program, place.arguments("whole", *GOAL), tmp_path)
    assert whole.status == 0, whole.stderr
    assert "Warning" not in whole.stderr
    records = read_metrics(place.folder("whole").metrics)
    assert [record["mine/even"] for record in records] == [0.0, 1.0] * 6
    assert records[-1]["mine/total"] > records[0]["mine/total"] > 0
    assert [record["lr-AdamW/pg1"] for record in records] == [record["train/learning_rate"] for record in records]
    with (tmp_path / "lightning_logs" / "version_0" / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows] == list(range(1, 13))
    assert [float(row["mine/total"]) for row in rows] == [record["mine/total"] for record in records]
    killed = train(program, place.arguments("killed", *GOAL), tmp_path, Fault("inside metrics", 7))
    assert killed.status < 0
    again = train(program, place.arguments("killed", *GOAL), tmp_path)
    assert "goes on after step 6\n" in again.stderr
    assert_same_end(place.folder("killed"), place.folder("whole"))
    state = read_training_state(place.folder("whole").last)["callbacks"]
    assert state["AddingUp"] == {"total": records[-1]["mine/total"]}


def test_two_processes_have_the_numbers_and_the_average_of_one(place: Place, tmp_path: Path) -> None:
    program = extend_train(tmp_path, ADDING_UP, "AddingUp(run_log)", "LearningRateMonitor()")
    further = (*GOAL, "--ema_decay", "0.9", "--exact_reduce")
    for name, world_size in (("one", 1), ("two", 2)):
        with start_ranks(place.arguments(name, *further), world_size, tmp_path, program=program) as ranks:
            assert [result.status for result in ranks.results()] == [0] * world_size, ranks.stderr
    assert_same_end(place.folder("two"), place.folder("one"))


def test_a_state_that_nobody_takes_is_told_and_dropped(place: Place, tmp_path: Path) -> None:
    program = extend_train(tmp_path, ADDING_UP, "AddingUp(run_log)")
    killed = train(program, place.arguments("run", *GOAL), tmp_path, Fault("inside metrics", 7))
    assert killed.status < 0
    again = train("train.py", place.arguments("run", *GOAL), tmp_path)
    assert again.status == 0, again.stderr
    assert "state of callback AddingUp" in again.stderr
    assert "callbacks" not in torch.load(place.folder("run").last / "state.ckpt", weights_only=True)


def assert_done_after(folder: RunFolder, step: int, why: str) -> None:
    status = folder.read_status()
    assert status is not None
    assert (status.state, status.step) == ("finished", step)
    assert status.reason is not None
    assert status.reason.startswith(f"stopped after step {step} by {why}")
    assert folder.pointed_step("last") == step


@pytest.mark.parametrize("world_size", [1, 2])
def test_should_stop_of_any_process_saves_and_is_done(place: Place, tmp_path: Path, world_size: int) -> None:
    program = extend_train(tmp_path, STOPPING, "StoppingInTheSecond(run_log)")
    arguments = place.arguments("run", *GOAL)
    with start_ranks(arguments, world_size, tmp_path, program=program) as ranks:
        results = ranks.results()
    assert [result.status for result in results] == [0] * world_size, ranks.stderr
    folder = place.folder("run")
    assert_done_after(folder, 5, "a callback that set trainer.should_stop")
    again = train("train.py", arguments, tmp_path)
    assert (again.status, "is finished, stopped after step 5 by a callback" in again.stderr) == (0, True)
    assert read_metrics(folder.metrics)[-1]["step"] == 5


def test_early_stopping_stops_and_a_kill_in_that_moment_does_not_train_on(place: Place, tmp_path: Path) -> None:
    further = ("--early_stopping", "2 evaluations", "--learning_rate", "0", "--eval_interval", "2")
    arguments = place.arguments("run", *GOAL, *further)
    folder = place.folder("run")
    fault = Fault("after rename", since="step-00000006", under=str(folder.root))
    killed = train("train.py", arguments, tmp_path, fault)
    assert (killed.status < 0, folder.pointed_step("last")) == (True, 4), "the checkpoint of step 6 was whole"
    assert [step for step, _ in folder.whole_checkpoints()][-1] == 6
    again = train("train.py", arguments, tmp_path)
    assert again.status == 0, again.stderr
    why = "EarlyStopping: Monitored metric dev/loss did not improve in the last 2 records. Best score: "
    assert_done_after(folder, 6, why)
    assert again.last_line.startswith("model: ")


def test_what_cannot_work_is_one_line_and_leaves_nothing(place: Place, tmp_path: Path) -> None:
    program = extend_train(
        tmp_path, "from lightning.pytorch.callbacks import ModelCheckpoint", "ModelCheckpoint(monitor='dev/loss')"
    )
    result = train(program, place.arguments("run", *GOAL), tmp_path)
    assert result.status == 2
    assert result.last_line.startswith("error: callback ModelCheckpoint: it cannot work here: --save_interval")
    assert not place.folder("run").root.exists()


def test_an_average_of_the_weights_is_evaluated_kept_and_resumed_bitwise(place: Place, tmp_path: Path) -> None:
    further = (*GOAL, "--ema_decay", "0.9")
    whole = train("train.py", place.arguments("whole", *further), tmp_path)
    assert whole.status == 0, whole.stderr
    killed = train("train.py", place.arguments("killed", *further), tmp_path, Fault("inside metrics", 9))
    assert killed.status < 0
    assert train("train.py", place.arguments("killed", *further), tmp_path).status == 0
    assert_same_end(place.folder("killed"), place.folder("whole"))
    plain = train("train.py", place.arguments("plain", *GOAL), tmp_path)
    assert plain.status == 0
    losses = [[r["train/loss"] for r in read_metrics(place.folder(name).metrics)] for name in ("whole", "plain")]
    assert losses[0] == losses[1], "what learns is the same"
    name = str(place.folder("whole").root)
    evaluation = [name, "--accelerator", "cpu", "--offline", "-d", str(place.data), "--json"]
    with start_warm(evaluation, tmp_path, program="eval.py") as measuring:
        result = measuring.result()
    assert result.status == 0, result.stderr
    best = place.folder("whole").pointed_step("best")
    dev_loss = next(r["dev/loss"] for r in read_metrics(place.folder("whole").metrics) if r["step"] == best)
    assert json.loads(result.stdout)["metrics"]["loss"] == dev_loss
