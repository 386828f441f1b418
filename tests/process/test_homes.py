"""Libraries that have nowhere to write find a place, so that they need not say so."""

import os
import tempfile
from pathlib import Path

import pytest

from dlib.process.homes import HOMES, move_homes_that_cannot_be_written


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in HOMES:
        monkeypatch.setenv(name, "")  # so that what is set here does not stay
        monkeypatch.delenv(name)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))


def test_a_home_that_cannot_be_written_is_replaced(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file: nobody makes a folder there, not even root")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("WANDB_CACHE_DIR", "chosen")
    move_homes_that_cannot_be_written()
    folder = tmp_path / "temporary" / f"dlib-{os.getuid()}" / ".config" / "matplotlib"
    assert (os.environ["MPLCONFIGDIR"], os.environ["WANDB_CACHE_DIR"]) == (str(folder), "chosen")
    assert folder.is_dir()


def test_a_home_that_can_be_written_stays(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    move_homes_that_cannot_be_written()
    assert not any(name in os.environ for name in HOMES)
    assert not (tmp_path / ".config").exists()
