"""The demo learns, shows what it learned, and needs no network."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dlib.runs.folder import RunFolder
from dlib.runs.metrics_log import read_metrics
from tests.launching import ROOT, environment

pytestmark = pytest.mark.oldest

WITHOUT_NETWORK = ["unshare", "--map-root-user", "--net"]
STEPS = 120
ONE_AFTER_THE_OTHER = """
import json, runpy, sys
for module, *words in json.loads(sys.argv[1]):
    sys.argv = [module, *words]
    try:
        runpy.run_module(module, run_name="__main__")
    except SystemExit as end:
        if end.code:
            raise
"""
"""Runs modules as `python -m` does, in one interpreter, so that the libraries are imported once."""


def cut_off() -> list[str]:
    """What to put before a command to run it without any network, where the system lets us."""
    works = shutil.which("unshare") and subprocess.run([*WITHOUT_NETWORK, "true"], capture_output=True).returncode == 0
    return WITHOUT_NETWORK if works else []


def run(*command: str) -> subprocess.CompletedProcess[str]:
    """Run a command of the demo to its end."""
    return subprocess.run(
        [*cut_off(), sys.executable, *command],
        cwd=ROOT,
        env={**environment(), "OMP_NUM_THREADS": str(os.cpu_count())},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=240,
    )


@pytest.mark.parametrize(
    ("objective", "config"),
    [("mlm", "configs/demo.yml"), pytest.param("clm", "configs/demo-clm.yml", marks=pytest.mark.slow)],
)
def test_the_demo_learns_and_shows_it_without_network(
    objective: str, config: str, demo_text: Path, tmp_path: Path
) -> None:
    folder = RunFolder(tmp_path / "runs" / "demo")
    places = ["-d", str(demo_text), "--cache_dir", str(tmp_path / "cache"), "--out_dir", str(folder.root.parent)]
    goal = ["--training_goal", f"{STEPS} steps"]
    training = ["train", "--config_path", config, "-n", "demo", "--offline", *places, *goal]
    shown = run("-c", ONE_AFTER_THE_OTHER, json.dumps([training, ["dlib.demo.__main__", str(folder.root)]]))
    assert shown.returncode == 0, shown.stderr
    losses = [record["dev/loss"] for record in read_metrics(folder.metrics) if "dev/loss" in record]
    assert losses[-1] < losses[0] - 0.1
    assert re.search(r"dev loss [\d.]+, perplexity [\d.]+", shown.stderr)
    if objective == "mlm":
        assert len(re.findall(r"___.*\n +\S+ \(\d+%\), \S+ \(\d+%\), \S+ \(\d+%\)\n", shown.stdout)) == 3
    else:
        assert re.search(r"Return a list of\S* +\S+", shown.stdout)
    assert "train.py -n mine" in shown.stdout
    assert shown.stderr.splitlines()[-1].startswith("model: "), "which the training says last"


def test_the_demo_refuses_what_is_no_run(tmp_path: Path) -> None:
    result = run("-m", "dlib.demo", str(tmp_path))
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.count("\n") == 1
    assert "scripts/demo.sh" in result.stderr
