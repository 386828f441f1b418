"""What stands in the tables, and the arguments that their entries bring."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from dlib.args import ExperimentArgs, ObjectiveArgs, OptimArgs, RunArgs
from dlib.args.fields import setting
from dlib.args.tables import OBJECTIVES, OPTIMIZERS, Plugin, arguments_of, first_lines, load
from dlib.config.configuration import load_config
from dlib.config.fields import refuse_wrong_fields
from dlib.objectives.mlm_args import MlmArgs
from dlib.process.errors import UserError
from dlib.training.optimizer_args import AdamWArgs

ROOT = Path(__file__).parents[2]


@dataclass
class FocalArgs(MlmArgs):
    """Arguments on top of another objective's."""

    gamma: float = setting(2.0)


@dataclass
class SeedyArgs:
    """A name that the run has, too."""

    seed: int = setting(3)


class Forgotten:
    """No dataclass."""

    gamma: float = setting(2.0)


def own(name: str) -> Plugin:
    return Plugin("", f"{__name__}:{name}")


def test_choices_are_those_of_the_tables() -> None:
    for args, name, table in ((ObjectiveArgs, "objective", OBJECTIVES), (OptimArgs, "optimizer", OPTIMIZERS)):
        assert tuple(args.__dataclass_fields__[name].metadata["facts"].choices) == tuple(table)


def test_an_entry_is_told_by_the_first_line_of_its_file_without_an_import() -> None:
    table = {"mine": Plugin("tests.without_torch:Refusal"), "missing": Plugin("tests.nowhere:Nobody")}
    told = "Answers command lines in one process that may not import torch, and tells what each was answered"
    assert first_lines(table) == {"mine": told, "missing": ""}


def test_arguments_of_an_entry_are_fields_of_its_section() -> None:
    args = ExperimentArgs()
    assert isinstance(args.objective, MlmArgs)
    assert isinstance(args.optim, AdamWArgs)


def test_a_file_of_before_the_tables_is_read(tmp_path: Path) -> None:
    (tmp_path / "config.yml").write_text("objective: {mask_fraction: 0.3}\noptim: {adam_beta1: 0.5}")
    args = load_config([tmp_path / "config.yml"])
    assert (args.objective.mask_fraction, args.optim.adam_beta1, args.optim.optimizer) == (0.3, 0.5, "adamw")


def test_arguments_of_one_entry_may_build_on_those_of_another() -> None:
    base, focal = OBJECTIVES["mlm"], own("FocalArgs")
    assert arguments_of({"mlm": base, "focal": focal}) == arguments_of({"focal": focal, "mlm": base}) == (FocalArgs,)
    without = OBJECTIVES["token_classification"]
    assert arguments_of({"mlm": base, "mlm2": base, "without": without}) == (MlmArgs,)


@pytest.mark.parametrize(
    ("reference", "problem"),
    [
        ("dlib.objectives.mine:Mine", " cannot be imported: No module named 'dlib.objectives.mine'"),
        ("dlib.objectives.mlm_args:Mlm", ": dlib.objectives.mlm_args has no Mlm"),
        ("dlib.objectives.mlm_args", ": write module:name"),
    ],
)
def test_an_entry_that_leads_nowhere_is_told_by_its_words(reference: str, problem: str) -> None:
    with pytest.raises(UserError) as caught:
        load(reference)
    assert str(caught.value).startswith(f'dlib/args/tables.py: "{reference}"{problem}')


def test_a_forgotten_decorator_is_told() -> None:
    with pytest.raises(UserError, match=r"Forgotten is no dataclass: write @dataclass above it$"):
        arguments_of({"forgotten": own("Forgotten")})


def test_a_name_twice_is_told_with_both_places() -> None:
    with pytest.raises(UserError) as caught:
        refuse_wrong_fields([("run", RunArgs), ("objective", SeedyArgs)])
    assert "test_tables.py: SeedyArgs.seed and dlib/args/run.py: RunArgs.seed both make the flag --seed" in str(
        caught.value
    )


def test_a_mistake_in_the_tables_ends_a_script_in_one_line() -> None:
    body = (
        "import sys, dlib.process.installation; sys.modules['dlib.objectives.mlm_args'] = None\n"
        "import dlib.config.configuration"
    )
    result = subprocess.run([sys.executable, "-c", body], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (result.returncode, result.stdout, result.stderr.count("\n")) == (2, "", 1)
    assert result.stderr.startswith('error: dlib/args/tables.py: "dlib.objectives.mlm_args:MlmArgs" cannot be')
