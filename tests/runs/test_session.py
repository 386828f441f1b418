"""One name, one run: what may begin, what goes on, and what a kill left between two writes is put right."""

from dataclasses import replace
from pathlib import Path

import pytest

from dlib.args import ExperimentArgs
from dlib.errors import UserError
from dlib.runs import session
from dlib.runs.folder import RunFolder
from dlib.runs.metrics_log import MetricsLog

HASHES = {"training text": "a", "development text": "b", "tokenizer": "c"}


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    """A run that does not exist yet."""
    return RunFolder(tmp_path / "runs" / "wiki")


def save(folder: RunFolder, step: int) -> None:
    """Publish a checkpoint with nothing in it but a model's configuration."""

    def write(new: Path) -> None:
        (new / "model").mkdir()
        (new / "model" / "config.json").write_text("{}")

    folder.publish_checkpoint(step, write)


def open_session(folder: RunFolder, args: ExperimentArgs | None = None) -> session.Start:
    """Begin a session and end it."""
    with session.opened(folder, args or ExperimentArgs(), 10, HASHES, {}, Path(__file__).parent) as start:
        return start


def test_a_folder_that_is_no_run_is_refused_and_not_touched(folder: RunFolder) -> None:
    folder.root.mkdir(parents=True)
    (folder.root / "thesis.tex").write_text("years of work")
    with pytest.raises(UserError, match="is no run; choose another --name"):
        session.check(folder, ExperimentArgs())
    with pytest.raises(UserError, match="is no run"):
        open_session(folder)
    assert (folder.root / "thesis.tex").read_text() == "years of work"


def test_an_empty_folder_and_what_a_killed_beginning_left_are_taken(folder: RunFolder) -> None:
    folder.root.mkdir(parents=True)
    assert not folder.is_foreign()
    with folder.hold():
        pass
    assert not folder.is_foreign()
    assert open_session(folder) == session.Start(0, None)


def test_a_new_run_that_a_mistake_ends_leaves_nothing(folder: RunFolder) -> None:
    with pytest.raises(UserError), session.opened(folder, ExperimentArgs(), 10, HASHES, {}, Path(__file__).parent):
        raise UserError("a mistake")
    assert not folder.root.exists()


def test_links_that_a_kill_left_behind_are_moved_when_the_run_goes_on(folder: RunFolder) -> None:
    open_session(folder)
    log = MetricsLog(folder.metrics)
    for step, loss in ((3, 5.8), (6, 5.7)):
        log.add(step, {"dev/loss": loss})
        log.flush()
        save(folder, step)
    folder.point("last", 3)
    folder.point("best", 3)
    log.add(9, {"dev/loss": 1.0})  # its checkpoint never became whole
    log.flush()
    assert open_session(folder).step == 6
    assert (folder.pointed_step("last"), folder.pointed_step("best")) == (6, 6)


def test_what_the_beginning_chose_by_itself_stays_when_the_run_goes_on(folder: RunFolder) -> None:
    args = ExperimentArgs()
    chosen = replace(
        args,
        batch=replace(args.batch, micro_batch_size=4),
        hardware=replace(args.hardware, precision="bf16-mixed"),
    )
    open_session(folder, chosen)
    assert session.check(folder, args) == chosen
    with pytest.raises(UserError, match=r"hardware\.precision was 'bf16-mixed', now '32-true'"):
        session.check(folder, replace(args, hardware=replace(args.hardware, precision="32-true")))


ONE_GPU = {"accelerator": "cuda", "gpus": ["A100"], "processes": 1, "threads": 8, "precision": "bf16-mixed"}
TWO_GPUS = {**ONE_GPU, "gpus": ["A100", "A100"], "processes": 2}


@pytest.mark.parametrize(
    ("devices", "exact_reduce", "said"),
    [
        (ONE_GPU, False, None),
        (TWO_GPUS, False, "gpus A100, A100 was A100, processes 2 was 1"),
        (TWO_GPUS, True, None),
        ({**TWO_GPUS, "gpus": ["H100", "H100"]}, True, "gpus H100 was A100"),
        ({**ONE_GPU, "threads": 4}, True, "threads 4 was 8"),
    ],
)
def test_who_goes_on_with_other_hardware_is_told_what_may_change_bits(
    folder: RunFolder,
    capsys: pytest.CaptureFixture[str],
    devices: dict[str, object],
    exact_reduce: bool,
    said: str | None,
) -> None:
    args = ExperimentArgs()
    args = replace(args, hardware=replace(args.hardware, exact_reduce=exact_reduce))
    for used in (ONE_GPU, devices):
        with session.opened(folder, args, 10, HASHES, used, Path(__file__).parent):
            pass
    warning = f"warning: other hardware than at the run's beginning, {said}: numbers may differ in their last bits\n"
    assert capsys.readouterr().err == ("" if said is None else warning)


def test_other_data_are_refused_by_name(folder: RunFolder) -> None:
    open_session(folder)
    session.refuse_other_data(folder, HASHES)
    with pytest.raises(UserError, match="began with another training text; give the same again"):
        session.refuse_other_data(folder, {**HASHES, "training text": "d"})
    with pytest.raises(UserError, match="began with another development text and another tokenizer;"):
        session.refuse_other_data(folder, {**HASHES, "development text": "d", "tokenizer": "e"})


def test_other_starting_weights_are_refused_when_the_run_starts_again(folder: RunFolder) -> None:
    open_session(folder)
    session.refuse_other_weights(folder, "f")
    open_session(folder)  # killed before its first checkpoint
    session.refuse_other_weights(folder, "f")
    with pytest.raises(UserError, match="began with other starting weights; choose another --name"):
        session.refuse_other_weights(folder, "g")
