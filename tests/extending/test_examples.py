"""What docs/extending.md shows works as it stands: it trains, is killed, goes on bitwise, is evaluated and asked."""

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from dlib.runs.folder import RunFolder
from dlib.runs.metrics_log import read_metrics
from tests.asking import generate
from tests.exactness.comparing import differences
from tests.exactness.faults import Fault
from tests.exactness.ranks import start_ranks
from tests.extending.page import Section, sections
from tests.launching import SMALL_MODEL, Place, train

MOST_LINES = 60
GOAL = "--training_goal 24 --eval_interval 8 --save_interval 8 --max_checkpoints -1 --learning_rate 5e-3".split()
ROBERTA = ("--model_overrides", *SMALL_MODEL, "initializer_range=0.1")
SECTIONS = {section.title: section for section in sections()}


@dataclass(frozen=True)
class Trial:
    """How an example is tried out.

    Attributes:
        lines: what the model is asked; nothing where it answers no lines.
        answers: what comes out; None where that is not certain.
        further: flags that make it tiny.
    """

    lines: Sequence[str] = ()
    answers: Sequence[str | None] = ()
    further: Sequence[str] = ()


TRIALS = {
    "Classification": Trial(
        ["Dull, loud and far too long.", "", "The actors are wonderful."], ["bad", None, "good"], ROBERTA
    ),
}
BY_DEFAULT = ("Classification",)


@pytest.fixture
def section(request: pytest.FixtureRequest) -> Section:
    """The example of a title."""
    return SECTIONS[request.param]


def here(section: Section, place: Place) -> Place:
    """A place with the example's own text, repeated as often as makes a small text; else the one that all have."""
    if not section.texts:
        return place
    data = place.runs.parent / "data"
    data.mkdir(exist_ok=True)
    for name, lines in section.texts.items():
        for file in (data / name, data / name.replace("train", "dev")):
            file.write_text(lines * 16)
    return replace(place, data=data)


def arguments_of(section: Section, place: Place, name: str, further: Sequence[str]) -> list[str]:
    """The example's command that trains from scratch, as a tiny run at a place of the tests."""
    command = next(command for command in section.commands if command[0] == "train.py" and "--from_scratch" in command)
    ours = ["-n", name, "-d", str(place.data)]
    return [*place.arguments(name), *command[1:], *further, *ours, *GOAL]


def evaluated(run: RunFolder, place: Place, scratch: Path, world_size: int) -> dict[str, float]:
    """What `eval.py` says of the run's best checkpoint."""
    options = [str(run.root), "--json", "--accelerator", "cpu", "--cache_dir", str(place.cache)]
    with start_ranks(options, world_size, scratch, program="eval.py") as ranks:
        result = ranks.results()[0]
    assert result.status == 0, ranks.stderr
    [line] = result.stdout.splitlines()
    found: dict[str, float] = json.loads(line)["metrics"]
    return found


@pytest.mark.parametrize(
    ("section", "trial"),
    [
        pytest.param(title, trial, marks=[] if title in BY_DEFAULT else pytest.mark.slow, id=title)
        for title, trial in TRIALS.items()
    ],
    indirect=["section"],
)
def test_an_example_is_killed_goes_on_bitwise_is_evaluated_and_asked(
    section: Section, trial: Trial, served: Path, place: Place, tmp_path: Path
) -> None:
    place = here(section, place)
    result = train(arguments_of(section, place, "undisturbed", trial.further), tmp_path)
    assert result.status == 0, result.stderr
    killed = place.folder("killed")
    arguments = arguments_of(section, place, "killed", trial.further)
    result = train(arguments, tmp_path, fault=Fault("inside weights", 2, str(place.runs)))
    assert result.status == -signal.SIGKILL, result.stderr
    result = train(arguments, tmp_path)
    assert result.status == 0, result.stderr
    assert "goes on after step 8\n" in result.stderr
    assert differences(killed, place.folder("undisturbed")) == []

    best = next(record for record in read_metrics(killed.metrics) if record["step"] == killed.pointed_step("best"))
    of_training = {name.removeprefix("dev/"): value for name, value in best.items() if name.startswith("dev/")}
    for world_size in (1, 2):
        assert evaluated(killed, place, tmp_path, world_size) == of_training

    if trial.lines:
        lines = "".join(f"{line}\n" for line in trial.lines).encode()
        asked = generate([str(killed.root), "--accelerator", "cpu"], lines, tmp_path)
        assert asked.status == 0, asked.stderr
        answers = asked.stdout.splitlines()
        assert len(answers) == len(trial.lines)
        for answer, wanted in zip(answers, trial.answers, strict=False):
            assert wanted in (None, answer)


@pytest.mark.parametrize("section", SECTIONS, indirect=True)
def test_an_example_is_short_and_touches_few_files(section: Section) -> None:
    assert section.num_lines <= MOST_LINES
    assert len(section.files) <= 3


def test_the_examples_are_written_in_the_style_of_this_tree(tree: Path) -> None:
    if shutil.which("ruff") is None and not (Path(sys.executable).parent / "ruff").exists():
        pytest.skip("ruff is not installed")
    for command in (["check"], ["format", "--check", "--diff"]):
        found = subprocess.run(
            [sys.executable, "-m", "ruff", *command, "dlib", "train.py"], cwd=tree, capture_output=True, text=True
        )
        assert found.returncode == 0, found.stdout + found.stderr
