"""`--branch RUN@STEP` says what the run's own config.yml says; `auto` means what that run settled when it began."""

from pathlib import Path

import pytest

from dlib.args import ExperimentArgs
from dlib.config.configuration import load_config, parse_args
from dlib.process.errors import UserError
from dlib.runs.branching import with_trunk
from tests.runs.folders import write_run


@pytest.fixture
def trunk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ExperimentArgs:
    """The arguments of the run `first`, which has settled what its devices and texts decide."""
    monkeypatch.chdir(tmp_path)
    args = ExperimentArgs()
    args.batch.micro_batch_size, args.hardware.precision, args.data.document = 32, "32-true", "line"
    args.data.dev_split, args.durations.earlier_goals = "17 = 5%", [7]
    run = write_run(Path("runs"), "first", args=args)
    return load_config([run.config])


def branched(*words: str) -> ExperimentArgs:
    return with_trunk(parse_args(["--branch", "first@20", "-n", "second", *words], description="")).args


def test_what_is_left_to_be_chosen_stays_what_the_trunk_chose(trunk: ExperimentArgs) -> None:
    words = ["--micro_batch_size auto --precision auto --document auto --dev_split 17".split(), []]
    for args in (branched(*said) for said in words):
        assert (args.batch, args.hardware, args.data) == (trunk.batch, trunk.hardware, trunk.data)
        assert args.durations.earlier_goals == [], "the goals of the trunk are not those of the branch"


def test_another_value_than_that_of_the_trunk_is_refused(trunk: ExperimentArgs) -> None:
    with pytest.raises(UserError, match="--micro_batch_size was 32 there and is 16 here"):
        branched("--micro_batch_size", "16")
