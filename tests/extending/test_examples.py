"""What docs/extending.md shows works as it stands: it trains, is killed, goes on bitwise, is evaluated and asked."""

import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing
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
from tests.launching import SMALL_MODEL, Place, start_warm, train

MOST_LINES = 60
GOAL = "--training_goal 24 --eval_interval 8 --save_interval 8 --max_checkpoints -1 --learning_rate 5e-3".split()
GPT2 = ("--model_overrides", "n_embd=32", "n_layer=2", "n_head=2")
LLAMA = ("--model_overrides", *SMALL_MODEL, "num_key_value_heads=2")
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
    "Weights from the data": Trial(["The harbour"], further=LLAMA),
    "A metric for each part of the data": Trial(["The court"], further=GPT2),
    "Pairs": Trial(["The bridge opens at nine.", ""], further=GPT2),
    "An optimizer": Trial(["The <mask> keeper"], further=ROBERTA),
    "What optimizers can do already": Trial(["The <mask> keeper"], further=ROBERTA),
    "A plain network": Trial(["The old keeper"], further=("--model_overrides", "hidden_size=32")),
    "A network as a transformers model": Trial(["The old keeper"], further=("--model_overrides", "hidden_size=32")),
    "Callbacks and loggers": Trial(further=ROBERTA),
    "A data format": Trial(["Two hours too long.", "A quiet film."], ["bad", "good"], ROBERTA),
    "A model shape": Trial(["The <mask> keeper"], further=ROBERTA),
    "A tracker": Trial(further=ROBERTA),
    "A second head": Trial(["The old keeper"], further=GPT2),
    "Distillation": Trial(["The old keeper"], further=GPT2),
    "Tags of words": Trial(["Ada Lovelace lived in London", ""], ["B-PER I-PER O O B-LOC", ""], ROBERTA),
    "Translation": Trial(
        ["three one", "two two one"],
        ["eins drei", "eins zwei zwei"],
        ("--model_overrides", "d_model=32", "init_std=0.1", "dropout=0.0"),
    ),
}
SHAPE = ["--model", "configs/models/roberta-tiny", "--from_scratch"]
BY_DEFAULT = ("Classification", "A plain network")


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


def from_scratch(section: Section) -> list[list[str]]:
    """The example's commands that train from scratch: the first, after those whose runs it names (`runs/teacher`)."""
    commands = [command for command in section.commands if command[0] == "train.py" and "--from_scratch" in command]
    named = {word for command in commands for word in command}
    before = [command for command in commands if f"runs/{run_of(command)}" in named]
    return [*before, next(command for command in commands if command not in before)]


def run_of(command: list[str]) -> str:
    """The name of the run that a command trains."""
    return command[len(command) - command[::-1].index("-n")]  # of flags given twice the last counts


def arguments_of(command: list[str], place: Place, name: str, further: Sequence[str]) -> list[str]:
    """A command that trains, as a tiny run at a place of the tests."""
    words = [str(place.runs / word.removeprefix("runs/")) if word.startswith("runs/") else word for word in command[1:]]
    ours = ["-n", name, "-d", str(place.data)]
    return [*place.arguments(name), *words, *further, *ours, *GOAL]


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
    *before, command = from_scratch(section)
    runs = [(needed, run_of(needed)) for needed in before] + [(command, "undisturbed")]
    for words, name in runs:
        result = train(arguments_of(words, place, name, trial.further), tmp_path)
        assert result.status == 0, result.stderr
    status = json.loads(place.folder("undisturbed").status.read_text())
    assert f"{status['best_by'].replace('/', ' ')} " in result.stderr
    killed = place.folder("killed")
    arguments = arguments_of(command, place, "killed", trial.further)
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


def test_each_example_is_tried_out() -> None:
    trained = [title for title, section in SECTIONS.items() if "train.py" in {words[0] for words in section.commands}]
    assert list(TRIALS) == trained


def test_a_tracker_has_every_step_once_and_a_sub_command_shows_the_log(
    served: Path, place: Place, tmp_path: Path
) -> None:
    section = SECTIONS["A tracker"]
    arguments = arguments_of(from_scratch(section)[-1], place, "first", ROBERTA)
    assert train(arguments, tmp_path, fault=Fault("inside weights", 2, str(place.runs))).status == -signal.SIGKILL
    assert train(arguments, tmp_path).status == 0
    with closing(sqlite3.connect(place.runs / "numbers.sqlite")) as file:
        rows = file.execute("SELECT step, value FROM numbers WHERE name = 'train/loss'").fetchall()
    assert rows == [(record["step"], record["train/loss"]) for record in read_metrics(place.folder("first").metrics)]
    [command] = SECTIONS["A sub-command"].commands
    with start_warm([*command[1:], "--out_dir", str(place.runs)], tmp_path, program=command[0]) as shown:
        assert shown.result().stdout.endswith("model: " + str(place.folder("first").best / "model") + "\n")


def test_a_launcher_queues_a_script_that_can_be_run(tree: Path, place: Place, tmp_path: Path) -> None:
    commands = tmp_path / "bin"
    commands.mkdir()
    answers = {"qsub": 'cp "$1" queued && echo 7.server', "qstat": "printf 'Job Name S Queue\\n7 big C batch\\n'"}
    for name, answer in answers.items():
        (commands / name).write_text(f"#!/bin/sh\ncd {tmp_path} && {answer}\n")
        (commands / name).chmod(0o755)
    [command] = SECTIONS["A launcher"].commands
    words = arguments_of(command[command.index("--") + 1 :], place, "big", ROBERTA)
    environment = {**os.environ, "PATH": f"{commands}:{os.environ['PATH']}"}
    submitted = [sys.executable, *command[: command.index("--")], "--no_follow", "--", "train.py", *words]
    done = subprocess.run(submitted, cwd=tree, env=environment, capture_output=True, text=True, timeout=60)
    assert (done.returncode, "job 7.server: " in done.stderr) == (0, True), done.stderr
    assert "#PBS -l walltime=08:00:00\n" in (tmp_path / "queued").read_text()
    status = [sys.executable, "jobs.py", "status", "--out_dir", str(place.runs)]
    errors = ("Unknown Job Id 7.server", "cannot connect to server big (errno=111)")
    for state, error in (("C", ""), ("gone", f"qstat: {errors[0]}"), ("unknown", f"qstat: {errors[1]}")):
        if error:
            (commands / "qstat").write_text(f"#!/bin/sh\necho '{error}' >&2\nexit 1\n")
        listed = subprocess.run(status, cwd=tree, env=environment, capture_output=True, text=True, timeout=60)
        assert listed.stdout.splitlines()[1].split() == ["big", "not", "begun", "-", "7.server", state, "-"]
        assert listed.stderr == (f"warning: qstat: {error}\n" if state == "unknown" else "")


def test_a_label_that_was_never_learned_is_told_before_training(served: Path, place: Place, tmp_path: Path) -> None:
    section = SECTIONS["Classification"]
    place = here(section, place)
    (place.data / "dev.jsonl").write_text('{"text": "So, so.", "label": "fair"}\n')
    result = train([*arguments_of(from_scratch(section)[-1], place, "run", ROBERTA), "--plan"], tmp_path)
    assert result.status == 2
    told = "error: a text has the label fair, and the training text only bad, good"
    assert result.last_line == told


def test_an_argument_is_a_flag_a_key_and_a_range_and_reaches_a_callback(
    served: Path, place: Place, tmp_path: Path
) -> None:
    arguments = [*place.arguments("run"), "--mean_loss_decay", "0", "--training_goal", "3", "--log_interval", "1"]
    assert train(arguments, tmp_path).status == 0
    assert "  mean_loss_decay: 0.0\n" in place.folder("run").config.read_text()
    records = read_metrics(place.folder("run").metrics)
    assert [record["train/mean_loss"] for record in records] == [record["train/loss"] for record in records]
    result = train([*place.arguments("run"), "--mean_loss_decay", "1"], tmp_path)
    assert (result.status, "--mean_loss_decay" in result.last_line) == (2, True)


@pytest.mark.slow
def test_weights_of_one_change_no_bit(served: Path, place: Place, tmp_path: Path) -> None:
    section = SECTIONS["Weights from the data"]
    place = here(section, place)
    for file in place.data.iterdir():
        file.write_text(re.sub(r'"weight": [\d.]+', '"weight": 1', file.read_text()))
    for name, objective in (("weighted", "weighted_clm"), ("plain", "clm")):
        arguments = arguments_of(
            from_scratch(section)[-1], place, name, [*LLAMA, "--objective", objective, "--line_by_line"]
        )
        assert train(arguments, tmp_path).status == 0
    assert place.folder("weighted").metrics.read_bytes() == place.folder("plain").metrics.read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("model", ["roberta-tiny", "gpt2-tiny", "llama-tiny"])
def test_a_pretrained_model_becomes_a_classifier(served: Path, place: Place, tmp_path: Path, model: str) -> None:
    objective = "mlm" if model == "roberta-tiny" else "clm"
    shape = ["--model", f"configs/models/{model}", "--model_overrides", "vocab_size=400"]
    pretrained = [*place.arguments("pretrained"), *shape, "--objective", objective, "--training_goal", "2"]
    result = train(pretrained, tmp_path)
    assert result.status == 0, result.stderr
    place = here(SECTIONS["Classification"], place)
    arguments = place.arguments("run", "--checkpoint", str(place.runs / "pretrained"), "--objective", "classification")
    arguments.remove("--from_scratch")
    result = train([*arguments, "--model_overrides", "use_cache=false", *GOAL], tmp_path)
    assert result.status == 0, result.stderr
    assert "new weights are drawn there" in result.stderr
    exported = str(place.folder("run").best / "model")
    asked = generate([exported, "--accelerator", "cpu", "--json"], b"Dull, loud and far too long.\n", tmp_path)
    assert json.loads(asked.stdout)["probabilities"].keys() == {"good", "bad"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("section", "command"),
    [
        pytest.param(title, command, id=" ".join(command))
        for title, section in SECTIONS.items()
        for command in section.commands
        if command[0] == "train.py" and not any(word.startswith("runs/") for word in command)  # a run has to be there
    ],
    indirect=["section"],
)
def test_a_command_of_the_page_plans(
    section: Section, command: list[str], served: Path, place: Place, tmp_path: Path
) -> None:
    place = here(section, place)
    paths = ["-d", str(place.data), "--cache_dir", str(place.cache), "--out_dir", str(place.runs), "--offline"]
    if "--from_scratch" not in command:  # a name on the hub, which no test may ask
        ours = next((other for other in section.commands if "--from_scratch" in other), SHAPE)
        paths += ours[ours.index("--model") :]
    result = train([*command[1:], *paths, "--accelerator", "cpu", "--vocab_size", "400", "--plan"], tmp_path)
    assert result.status == 0, result.stderr


@pytest.mark.parametrize("section", SECTIONS, indirect=True)
def test_an_example_is_short_and_touches_few_files(section: Section) -> None:
    assert section.num_lines <= MOST_LINES
    assert len(section.files) <= 3


def test_the_examples_are_written_in_the_style_of_this_tree(tree: Path) -> None:
    if shutil.which("ruff") is None and not (Path(sys.executable).parent / "ruff").exists():
        pytest.skip("ruff is not installed")
    for command in (["check"], ["format", "--check", "--diff"]):
        found = subprocess.run(
            [sys.executable, "-m", "ruff", *command, "dlib", "train.py", "runs.py"],
            cwd=tree,
            capture_output=True,
            text=True,
        )
        assert found.returncode == 0, found.stdout + found.stderr


@pytest.mark.slow
def test_the_types_of_the_examples_hold(tree: Path) -> None:
    pytest.importorskip("mypy")
    found = subprocess.run(
        [sys.executable, "-m", "mypy", "dlib", "train.py", "runs.py"], cwd=tree, capture_output=True, text=True
    )
    assert found.returncode == 0, found.stdout
