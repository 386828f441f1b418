"""Signals that come before there is anything to save, from the first line of `train.py` on."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.launching import ROOT, Place, Training, start, start_warm

LINE = "the old keeper opened the stone bridge " * 8


def takes(training: Training, number: signal.Signals) -> bool:
    """Whether a process has a handler of a signal, by what Linux tells."""
    (line,) = (line for line in Path(f"/proc/{training.pid}/status").read_text().splitlines() if "SigCgt" in line)
    return bool(int(line.split()[1], 16) >> (number - 1) & 1)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP])
def test_a_signal_while_the_program_imports_ends_it_as_one_that_is_to_go_on(
    place: Place, tmp_path: Path, number: signal.Signals
) -> None:
    with start(place.arguments("run", "--training_goal", "4"), tmp_path) as training:
        training.wait_for(lambda: takes(training, number))
        began = time.monotonic()
        training.signal(number)
        result = training.result()
    assert (result.status, result.stdout) == (75, "")
    assert result.stderr == f"{number.name}: nothing was computed yet; the same command goes on\n"
    assert time.monotonic() - began < 2
    assert not place.folder("run").root.exists()


def test_a_further_process_leaves_the_status_to_the_first() -> None:
    script = (
        "import os, signal; from dlib.process.stop_signals import stop_unsaved_when_asked; "
        "stop_unsaved_when_asked(); os.kill(os.getpid(), signal.SIGTERM)"
    )
    for variables in ({"RANK": "1"}, {"SLURM_PROCID": "1"}):
        environment = {**os.environ, **variables}
        done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, env=environment, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")


def test_a_signal_while_processes_tokenize_ends_it_so_too(place: Place, tmp_path: Path) -> None:
    for name, count in (("train.txt", 9_000), ("dev.txt", 10)):
        (tmp_path / name).write_text(f"{LINE}\n" * count)
    further = ("-d", str(tmp_path), "--training_goal", "4", "--tokenizer_processes", "2")
    arguments = place.arguments("run", *further, "--cache_dir", str(tmp_path / "cache"))
    with start_warm(arguments, tmp_path / "output") as training:
        training.wait_for(lambda: any((tmp_path / "cache").glob("**/part-*")))
        workers = subprocess.run(["pgrep", "-P", str(training.pid)], capture_output=True, text=True).stdout.split()
        assert workers
        for pid in workers:
            subprocess.run(["kill", "-USR1", pid], check=True)  # a scheduler sends it to every process
        time.sleep(0.2)
        training.signal(signal.SIGUSR1)
        assert training.result().status == 75, training.stderr
    assert not place.folder("run").root.exists()


def test_a_signal_that_is_ignored_stays_so() -> None:
    script = (
        "import os, signal; from dlib.process.stop_signals import stop_unsaved_when_asked; "
        "signal.signal(signal.SIGHUP, signal.SIG_IGN); stop_unsaved_when_asked(); "
        "os.kill(os.getpid(), signal.SIGHUP); print('on')"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "on\n")
