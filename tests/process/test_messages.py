"""The log file of a run: every message with its time, and nothing else on the screen."""

import errno
import io
import logging
import warnings
from pathlib import Path

import pytest
from lightning.fabric.plugins.environments import SLURMEnvironment
from lightning.pytorch.utilities.rank_zero import rank_zero_warn

from dlib.models.fitting import checkpoint_activations
from dlib.process.messages import LogFile, quiet_libraries
from dlib.process.ranks import logger, say
from tests.toys import build_toy


class Interrupted(io.StringIO):
    """A stream that a signal's handler writes to while it is being written to, or whose disk is full."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def write(self, text: str) -> int:
        raise self.error


@pytest.mark.parametrize(
    ("error", "is_told"),
    [
        (RuntimeError("reentrant call inside <_io.BufferedWriter>"), False),
        (OSError(errno.ENOSPC, "No space left on device"), False),
        (ValueError("a fault of ours"), True),
    ],
)
def test_a_line_that_comes_while_another_is_written_is_left_out_without_a_traceback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], error: Exception, is_told: bool
) -> None:
    handler = LogFile(tmp_path / "train.log")
    handler.setStream(Interrupted(error))  # type: ignore[arg-type]
    logger().addHandler(handler)
    try:
        say("stopping")
    finally:
        logger().removeHandler(handler)
        handler.close()
    printed = capsys.readouterr().err
    assert "stopping" in printed
    assert ("Traceback" in printed) == is_told
    assert ("train.log is written no further: No space left" in printed) == isinstance(error, OSError)


def test_what_lightning_warns_of_is_shown() -> None:
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        quiet_libraries()
        rank_zero_warn("You called `self.log` where nobody listens.")
    assert len(told) == 1
    assert logging.getLogger("lightning.pytorch.utilities.rank_zero").isEnabledFor(logging.WARNING)


def test_an_srun_on_the_path_is_no_matter_for_a_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = tmp_path / "srun"
    command.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("SLURM_NTASKS", raising=False)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        SLURMEnvironment.detect()
        assert len(told) == 1, "Lightning has no such hint any longer"
        quiet_libraries()
        SLURMEnvironment.detect()
    assert len(told) == 1


def test_a_name_that_only_new_versions_call_old_is_no_matter_for_a_word() -> None:
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        quiet_libraries()
        checkpoint_activations(build_toy("gpt2"))
    assert [str(warning.message) for warning in told] == []
