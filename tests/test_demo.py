"""The demo learns, shows what it learned, and needs no network."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dlib.data.demo_corpus import write_demo_corpus
from dlib.runs.folder import RunFolder
from dlib.runs.metrics_log import read_metrics
from tests.launching import ROOT, environment

pytestmark = pytest.mark.oldest

WITHOUT_NETWORK = ["unshare", "--map-root-user", "--net"]
STEPS = 120


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's text."""
    folder = tmp_path_factory.mktemp("demo") / "data"
    write_demo_corpus(folder)
    return folder


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
    objective: str, config: str, corpus: Path, tmp_path: Path
) -> None:
    folder = RunFolder(tmp_path / "runs" / "demo")
    places = ["-d", str(corpus), "--cache_dir", str(tmp_path / "cache"), "--out_dir", str(folder.root.parent)]
    trained = run(
        "train.py", "--config_path", config, "-n", "demo", "--offline", *places, "--training_goal", f"{STEPS} steps"
    )
    assert trained.returncode == 0, trained.stderr
    losses = [record["dev/loss"] for record in read_metrics(folder.metrics) if "dev/loss" in record]
    assert losses[-1] < losses[0] - 0.1
    assert re.search(r"dev loss [\d.]+, perplexity [\d.]+", trained.stderr)

    shown = run("-m", "dlib.demo", str(folder.root))
    assert shown.returncode == 0, shown.stderr
    if objective == "mlm":
        assert len(re.findall(r"___.*\n +\S+ \(\d+%\), \S+ \(\d+%\), \S+ \(\d+%\)\n", shown.stdout)) == 3
    else:
        assert re.search(r"Return a list of\S* +\S+", shown.stdout)
    assert "train.py -n mine" in shown.stdout
    assert shown.stderr == ""


def test_the_demo_refuses_what_is_no_run(tmp_path: Path) -> None:
    result = run("-m", "dlib.demo", str(tmp_path))
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.count("\n") == 1
    assert "scripts/demo.sh" in result.stderr
