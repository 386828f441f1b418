"""A plain network of one's own trains, is killed and resumed, evaluated and asked as any other, bit by bit."""

import json
import signal
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pytest

from dlib.args.generation import GenerationArgs
from dlib.args.tables import MODELS
from dlib.generation.predictor import Predictor
from dlib.runs.metrics_log import read_metrics
from tests.exactness.comparing import differences
from tests.exactness.faults import Fault
from tests.exactness.ranks import start_ranks
from tests.launching import Place, Result, start_warm
from tests.own_networks import NETWORKS, NORMALIZED

NETWORK = ("--model", "own-recurrent", "--model_overrides", "hidden_size=24", "dropout=0.2")
GOAL = ("--training_goal", "12", "--eval_interval", "4", "--save_interval", "4", "--max_checkpoints", "-1")


def run(arguments: Sequence[str], scratch: Path, fault: Fault | None = None, program: str = "train.py") -> Result:
    """Runs a program that has the networks in its table."""
    with start_warm(arguments, scratch, fault, program=program, networks=NETWORKS) as training:
        return training.result()


@pytest.mark.parametrize("objective", ["mlm", "clm"])
def test_a_killed_run_of_a_plain_network_ends_evaluates_and_answers_as_the_undisturbed_one(
    place: Place, tmp_path: Path, objective: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    further = (*NETWORK, *GOAL, "--objective", objective)
    go = partial(run, scratch=tmp_path)
    assert go(place.arguments("undisturbed", *further)).status == 0
    killed = place.folder("killed")
    for _ in range(2):
        result = go(place.arguments("killed", *further), fault=Fault("inside weights", 2, str(place.runs)))
        assert result.status == -signal.SIGKILL, result.stderr
    result = go(place.arguments("killed", *further))
    assert result.status == 0, result.stderr
    assert "goes on after step" in result.stderr
    assert differences(killed, place.folder("undisturbed")) == []

    result = go([str(killed.root), "--accelerator", "cpu"], program="eval.py")
    assert result.status == 0, result.stderr
    [file] = killed.root.glob("evals/*.json")
    step = killed.pointed_step("best")
    recorded = next(record for record in read_metrics(killed.metrics) if record["step"] == step)
    assert json.loads(file.read_text())["metrics"]["loss"] == recorded["dev/loss"]

    for name, where in NETWORKS.items():
        monkeypatch.setitem(MODELS, name, where)
    line = "The old <mask> opened" if objective == "mlm" else "The old keeper"
    [answer] = Predictor(killed.root, GenerationArgs(accelerator="cpu")).predict([line])
    assert answer.text != line


def test_running_means_are_the_same_in_all_processes_after_a_stop_and_in_an_evaluation(
    place: Place, tmp_path: Path
) -> None:
    flags = ("--model", "own-normalized", "--model_overrides", "max_length=20", *GOAL, "--training_goal", "30")
    start = partial(start_ranks, world_size=2, scratch=tmp_path, networks=NORMALIZED)
    folder, whole = place.folder("means"), place.folder("means-whole")
    with start(place.arguments("means-whole", *flags)) as ranks:
        assert [result.status for result in ranks.results()] == [0, 0], ranks.stderr
    with start(place.arguments("means", *flags)) as ranks:
        assert [result.status for result in ranks.stop_after_steps(folder, 3)] == [75, 0], ranks.stderr
    with start(place.arguments("means", *flags)) as ranks:
        assert [result.status for result in ranks.results()] == [0, 0], ranks.stderr
    assert read_metrics(folder.metrics) == read_metrics(whole.metrics)
    with start_warm([str(folder.root), "--accelerator", "cpu"], tmp_path, program="eval.py", networks=NORMALIZED) as it:
        assert it.result().status == 0, it.stderr
    [file] = folder.root.glob("evals/*.json")
    step = folder.pointed_step("best")
    recorded = next(record for record in read_metrics(folder.metrics) if record["step"] == step)
    assert json.loads(file.read_text())["metrics"]["loss"] == recorded["dev/loss"]
