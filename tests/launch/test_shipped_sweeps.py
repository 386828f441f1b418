"""The sweeps that are shipped: each point is a configuration that train.py takes, and W&B's agent is understood."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from dlib.config.configuration import load_config, parse_args
from dlib.launch.sweep_file import SweepFile
from tests.launching import ROOT

AGENT = ROOT / "configs" / "sweeps" / "wandb.yml"
SWEEPS = [
    path
    for folder in ("sweeps", "experiments")
    for path in sorted((ROOT / "configs" / folder).glob("*.yml"))
    if path != AGENT
]


def test_sweeps_are_shipped() -> None:
    assert len(SWEEPS) >= 3


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: str(path.stem))
def test_a_shipped_sweep_is_one_of_runs_that_can_begin(path: Path) -> None:
    file = SweepFile(path)
    file.check([], {})
    sweep = file.sweep()
    points = sweep.points(seed=1)
    assert len({point.name for point in points}) == len(points) >= 9
    for point in points:
        args = load_config(sweep.config_paths, {**sweep.settings, **point.settings})
        assert args.batch.micro_batch_size is not None
        assert args.batch.batch_size % args.batch.micro_batch_size == 0


def test_what_an_agent_of_wandb_types_is_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    content: dict[str, Any] = yaml.safe_load(AGENT.read_text())
    values = {name: kind.get("min", kind.get("values", [None])[0]) for name, kind in content["parameters"].items()}
    # As wandb's agent does it: a word that is a reference from end to end is replaced, and all others stay.
    known = {"${program}": [content["program"]], "${args}": [f"--{name}={value}" for name, value in values.items()]}
    words = [word for given in content["command"] for word in known.get(given, [given])]
    assert not any(word.startswith("${") for word in words)
    monkeypatch.setenv("WANDB_RUN_ID", "abcd1234")
    args = parse_args(words[2:], description="").args
    assert (args.run.name, args.optim.learning_rate) == ("agent-abcd1234", values["learning_rate"])
    assert args.tracking.trackers == ["wandb"]
