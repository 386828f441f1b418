"""The command line as a user types it: flags, their mistakes, and the help."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dlib.args import ExperimentArgs
from dlib.args.tables import OBJECTIVES
from dlib.config.configuration import ParsedArgs, parse_args
from dlib.config.fields import FIELDS, FLAGS, SECTIONS, text_of
from dlib.process.errors import UserError

pytestmark = pytest.mark.oldest


def parse(*words: str) -> ParsedArgs:
    return parse_args(list(words), description="Trains.")


def error_of(*words: str) -> str:
    with pytest.raises(UserError) as caught:
        parse(*words)
    return str(caught.value)


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    Path("a.yml").write_text("optim: {learning_rate: 0.5, weight_decay: '${optim.learning_rate}'}\nrun: {name: filed}")
    return "a.yml"


def test_flags_win_over_files_and_flags_not_given_do_not(file: str) -> None:
    args = parse("--config_path", file, "--learning_rate", "0.25").args
    assert (args.optim.learning_rate, args.optim.weight_decay, args.run.name) == (0.25, 0.25, "filed")
    assert parse("--config_path", file).args.optim.learning_rate == 0.5


def test_a_flag_that_repeats_the_default_wins_over_a_file(file: str) -> None:
    assert parse("--config_path", file, "--learning_rate", "1e-4").args.optim.learning_rate == 1e-4


def test_several_files_are_merged_in_order(file: str) -> None:
    Path("b.yml").write_text("optim: {learning_rate: 0.75}")
    assert parse("--config_path", file, "b.yml").args.optim.learning_rate == 0.75
    assert parse("--config_path", file, "--config_path", "b.yml").args.optim.learning_rate == 0.75


def test_dashes_and_underscores_are_both_taken_in_flags_and_kept_in_values() -> None:
    args = parse("--learning-rate", "1", "--batch_size=8", "-n", "a-b_c", "--data-dir=x-y", "--dev-file", "d-e").args
    assert (args.optim.learning_rate, args.batch.batch_size) == (1.0, 8)
    assert (args.run.name, args.data.data_dir, args.data.dev_file) == ("a-b_c", "x-y", "d-e")


def test_short_flags_stand_for_long_ones() -> None:
    args = parse("-n", "x", "-d", "texts", "-b", "64").args
    assert (args.run.name, args.data.data_dir, args.batch.batch_size) == ("x", "texts", 64)


@pytest.mark.parametrize("words", [["10,100"], ["10", "100"], ["10,", "100"]])
def test_lists_are_split_on_spaces_and_commas(words: list[str]) -> None:
    assert parse("-n", "x", "--extra_steps", *words).args.checkpoint.extra_steps == [10, 100]


def test_other_lists_take_commas_too_but_model_overrides_keep_them() -> None:
    lists = ["--trackers", "wandb,tensorboard", "--cuda_device_ids", "0,2", "--model_overrides", "a=1,2", "b=3"]
    args = parse("-n", "x", *lists).args
    assert args.tracking.trackers == ["wandb", "tensorboard"]
    assert args.hardware.cuda_device_ids == [0, 2]
    assert args.model.model_overrides == ["a=1,2", "b=3"]
    assert parse("-n", "x", "--trackers").args.tracking.trackers == []


def test_a_checkpoint_wins_over_from_scratch_with_a_word(capsys: pytest.CaptureFixture[str]) -> None:
    assert not parse("-n", "x", "--from_scratch", "--checkpoint", "first").args.model.from_scratch
    assert capsys.readouterr().err == "--from_scratch is left out: the weights come from --checkpoint first\n"


@pytest.mark.parametrize(("words", "value"), [([], True), (["true"], True), (["false"], False), (["False"], False)])
def test_booleans_are_flags_with_or_without_a_value(words: list[str], value: bool) -> None:
    assert parse("-n", "x", "--from_scratch", *words).args.model.from_scratch is value
    assert parse("-n", "x", "--progress", *words).args.tracking.progress is value


def test_negative_numbers_are_values() -> None:
    assert parse("-n", "x", "--num_devices", "-1", "--seed", "-5").args.run.seed == -5


def test_a_plan_needs_no_name_and_a_run_does() -> None:
    assert (parse("--plan").args, parse("--plan").flags.plan) == (ExperimentArgs(), True)
    assert not parse("-n", "x").flags.plan
    assert error_of() == "--name is missing: give the run a name, for example -n my-run"
    assert error_of("-n", "").startswith("--name is missing")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--learnin_rate 1", "unknown flag --learnin_rate: did you mean --learning_rate?"),
        ("--lerning-rate=1", "unknown flag --lerning_rate: did you mean --learning_rate?"),
        ("--plam", "unknown flag --plam: did you mean --plan?"),
        ("--learning 1", "unknown flag --learning: did you mean --learning_rate?"),
        ("-learning_rate 1", "unknown flag -learning_rate: did you mean --learning_rate?"),
        ("-name x", "unknown flag -name: did you mean --name?"),
        ("--no-progress", "unknown flag --no_progress: write --progress false"),
        ("--zzz", "unknown flag --zzz: see --help"),
        ("-z", "unknown flag -z: see --help"),
        ("--training_goal 200 steps", '--training_goal takes one value: put it in quotes, --training_goal "200 steps"'),
        (
            "--training_goal=1 B tokens --seed 1",
            '--training_goal takes one value: put it in quotes, --training_goal "1 B tokens"',
        ),
        ("mlm.yml", '-n takes one value: put it in quotes, -n "x mlm.yml"'),
        ("--plan x", "--plan takes no value: 'x' belongs to no flag"),
        ("--seed", "--seed: a value is missing (write --seed=VALUE for one that begins with a dash)"),
        ("--seed --plan", "--seed: a value is missing (write --seed=VALUE for one that begins with a dash)"),
        ("--tokenizer", "--tokenizer: a value is missing (write --tokenizer=VALUE for one that begins with a dash)"),
        ("--seed 1.5", "--seed: '1.5' is not a whole number"),
        ("--from_scratch perhaps", "--from_scratch: 'perhaps' is not true or false"),
        ("--objective mlmm", f"--objective: 'mlmm' is none of {', '.join(OBJECTIVES)}: did you mean mlm?"),
        ("--extra_steps 1,x", "--extra_steps: ['1', 'x'] is not a list of whole numbers"),
        ("--learning_rate=-1e-4", "--learning_rate: -0.0001 is out of range: it must be at least 0"),
        ("--config_path no.yml", "--config_path: there is no file no.yml"),
    ],
)
def test_a_wrong_flag_or_value_is_one_line_with_the_right_one(line: str, message: str) -> None:
    assert error_of("-n", "x", *line.split()) == message


def test_a_word_before_all_flags_belongs_to_none() -> None:
    assert error_of("mlm.yml", "-n", "x") == "'mlm.yml' belongs to no flag: see --help"


def script(*words: str) -> subprocess.CompletedProcess[str]:
    """A script that reads its command line, in a process of its own."""
    body = (
        "import sys; from dlib.config.configuration import parse_args; from dlib.process.errors import run_script\n"
        "try: run_script(lambda: print(parse_args(description='Trains.').args.run.name))\n"
        "finally: sys.exit(99) if 'torch' in sys.modules else None"
    )
    return subprocess.run([sys.executable, "-c", body, *words], capture_output=True, text=True, timeout=60)


def test_mistake_ends_the_script_with_one_line_and_status_2() -> None:
    result = script("--learnin_rate", "1")
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == "error: unknown flag --learnin_rate: did you mean --learning_rate?\n"


def test_help_shows_every_flag_with_its_text_and_fits_80_columns(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse("-h")
    assert caught.value.code == 0
    text = capsys.readouterr().out
    flat = " ".join(text.split())
    assert max(map(len, text.splitlines())) <= 80
    assert all(f"{flag} " in flat for flag in (*FLAGS, "--config_path", "--plan", "--help"))
    for section in SECTIONS:
        assert f"\n{section}:\n" in text
        assert all(text_of(key) in flat for key in FIELDS if key.startswith(f"{section}."))
    assert "Peak learning rate. (default: 0.0001)" in flat
    assert "Arithmetic; `auto`" in flat
    assert "One of: mlm (Masked language modeling: " in flat
    assert "clm (Causal language modeling: " in flat
    assert "). (default: mlm)" in flat


def test_every_field_has_a_text() -> None:
    assert [key for key in FIELDS if not text_of(key)] == []


@pytest.mark.parametrize("asked", [["-h"], ["--help"], ["--help", "--zzz"]])
def test_help_shows_the_defaults_of_the_files(file: str, capsys: pytest.CaptureFixture[str], asked: list[str]) -> None:
    with pytest.raises(SystemExit):
        parse("--config_path", file, *asked)
    assert "Peak learning rate. (default: 0.5)" in capsys.readouterr().out


def test_help_does_not_depend_on_the_terminal() -> None:
    wide = subprocess.run(
        [
            sys.executable,
            "-c",
            "from dlib.config.configuration import parse_args; parse_args(['-h'], description='Trains.')",
        ],
        capture_output=True,
        text=True,
        env=os.environ | {"COLUMNS": "200"},
        check=True,
    )
    assert max(map(len, wide.stdout.splitlines())) <= 80
