"""Whatever the list says: numbers first, then what is the user's, then stopping, saving and showing."""

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
from lightning.pytorch.callbacks import (
    EarlyStopping,
    GradientAccumulationScheduler,
    LearningRateMonitor,
    ModelCheckpoint,
    RichProgressBar,
    StochasticWeightAveraging,
    Timer,
)
from lightning.pytorch.loggers import CSVLogger

from dlib.callbacks.early_stopping import stop_early
from dlib.callbacks.ema import EMA
from dlib.callbacks.order import in_order
from dlib.callbacks.progress import ProgressBar
from dlib.callbacks.recording import Recording
from dlib.callbacks.stopping import Stopping
from dlib.process.errors import UserError
from dlib.runs.folder import RunFolder
from dlib.runs.metrics_log import BestMetric
from dlib.tracking.run_log import RunLog


class Saving(pl.Callback):
    """Keeps something where nobody asks for it."""

    def on_save_checkpoint(self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: Any) -> None:
        """Never called."""


def test_the_place_of_a_callback_and_not_of_its_line_decides_when_it_acts() -> None:
    log = RunLog(None)
    shown, stopping, recording = ProgressBar(log), Stopping(None, 0.0), Recording(log)
    mine, other = pl.Callback(), LearningRateMonitor()
    average = EMA(0.9)
    listed = [shown, stopping, mine, recording, other, average]
    assert in_order(listed, log) == [average, recording, mine, other, stopping, shown]


@pytest.mark.parametrize(
    ("callback", "instead"),
    [
        (ModelCheckpoint(), "--save_interval"),
        (RichProgressBar(), "--progress"),
        (Timer("00:01:00:00"), "--max_time"),
        (StochasticWeightAveraging(1e-3), "--ema_decay"),
        (GradientAccumulationScheduler({0: 2}), "--batch_size"),
        (Saving(), "state_dict"),
    ],
)
def test_a_callback_that_would_do_nothing_names_what_to_use(callback: pl.Callback, instead: str) -> None:
    with pytest.raises(UserError, match=rf"^callback {type(callback).__name__}: .*{instead}"):
        in_order([callback], RunLog(None))


def test_what_is_no_callback_or_shares_a_state_is_refused() -> None:
    with pytest.raises(UserError, match=r"LearningRateMonitor'> in the list .* is it a class"):
        in_order([LearningRateMonitor], RunLog(None))  # type: ignore[list-item]
    with pytest.raises(UserError, match="two callbacks have the state_key 'EMA'"):
        in_order([EMA(0.9), EMA(0.99)], RunLog(None))
    namesake = type("EMA", (pl.Callback,), {})()  # which keeps nothing, and would stand in the place of what is kept
    with pytest.raises(UserError, match="two callbacks have the state_key 'EMA'"):
        in_order([EMA(0.9), namesake], RunLog(None))
    assert len(in_order([pl.Callback(), pl.Callback()], RunLog(None))) == 2, "which keep nothing"


def test_a_logger_in_the_list_is_told_every_record(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.root.mkdir()
    log, logger = RunLog(folder), CSVLogger(str(tmp_path))
    assert in_order([logger], log) == []
    log.record(7, {"train/loss": 1.5})
    log.finish("finished")
    assert (Path(logger.log_dir) / "metrics.csv").read_text().splitlines() == ["step,train/loss", "7,1.5"]


def test_early_stopping_is_asked_for_in_evaluations() -> None:
    assert stop_early(None, BestMetric()) == []
    (callback,) = stop_early("5 evaluations", BestMetric())
    assert isinstance(callback, EarlyStopping)
    assert (callback.patience, callback.monitor, callback.mode) == (5, "dev/loss", "min")
