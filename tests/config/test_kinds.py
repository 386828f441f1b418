"""Every kind of argument in a copy of the tree: as a flag, in a file, in the help, there and back, and wrong."""

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest

from dlib.args.fields import setting
from dlib.config.fields import refuse_wrong_fields
from dlib.process.errors import UserError

pytestmark = pytest.mark.oldest

ROOT = Path(__file__).parents[2]
DRIVER = """
import json, sys
from pathlib import Path
from dlib.args import ExperimentArgs
from dlib.config.configuration import differing_fields, dump_config, load_config, parse_args
from dlib.process.errors import UserError

def answer(words, text):
    Path("a.yml").write_text("objective: " + text)
    try:
        args = parse_args(["-n", "x", "--config_path", "a.yml", *words], description="").args
    except UserError as error:
        return str(error)
    Path("config.yml").write_text(dump_config(args))
    assert load_config([Path("config.yml")]) == args
    changes = differing_fields(ExperimentArgs(), args)
    return {change.key.partition(".")[2]: change.new for change in changes}

print(json.dumps([answer(*case) for case in json.load(sys.stdin)]))
"""
FLAGS: dict[str, Any] = {
    "": {},
    "--rates 1,2 3e-1": {"rates": [1.0, 2.0, 0.3]},
    "--rates x": "--rates: ['x'] is not a list of numbers",
    "--rates 1 -1": "--rates: -1.0 is out of range: it must be at least 0",
    "--rates nan": "--rates: nan is not a finite number: it must be at least 0",
    "--mode mean": {"mode": "mean"},
    "--mode maen": "--mode: 'maen' is none of sum, mean: did you mean mean?",
    "--level 4": {"level": 4},
    "--level 3": "--level: 3 is none of 1, 2, 4",
    "--level x": "--level: 'x' is not a whole number",
    "--perhaps b": {"perhaps": "b"},
    "--perhaps none": {},
    "--perhaps c": "--perhaps: 'c' is none of a, b",
    "--label_weights a=1,b=2 c=2.5": {"label_weights": {"a": 1.0, "b": 2.0, "c": 2.5}},
    "--label_weights": {"label_weights": {}},
    "--label_weights a": "--label_weights: 'a' has no name: write NAME=X",
    "--label_weights a=x": "--label_weights: {'a': 'x'} is not a mapping of names to numbers",
    "--label_weights a=-1": "--label_weights: -1.0 is out of range: it must be at least 0",
    r"--label_names a=\${x} b=${optim.schedule} c=\???": {"label_names": {"a": "${x}", "b": "linear", "c": "???"}},
    "--layers 1 2": {"layers": [1, 2]},
    "--layers none": {},
    "--layers": {"layers": []},
    "--plain 4": {"plain": 4},
    "--written none": {"written": None},
    "--written inf": "--written: inf is not a finite number",
    "--focal.gamma 3": {"focal.gamma": 3.0},
    "--focal.gamma -3": "--focal.gamma: -3.0 is out of range: it must be at least 0",
    "--focal.gama 3": "unknown flag --focal.gama: did you mean --focal.gamma?",
}
FILES: dict[str, Any] = {
    "{rates: [1, 2]}": {"rates": [1.0, 2.0]},
    "{rates: 1}": "objective.rates: '1' is not a list of numbers",
    "{rates: {a: 1}}": "objective.rates: this must be a list of numbers",
    "{mode: null}": "objective.mode: None is not a text",
    "{mode: '${run.out_dir}'}": "objective.mode: 'runs' is none of sum, mean",
    "{label_weights: {a: 1, b: '${optim.weight_decay}'}}": {"label_weights": {"a": 1.0, "b": 0.01}},
    "{label_weights: {a: [1]}}": "objective.label_weights: this must be a mapping of names to numbers",
    "{label_weights: 3}": "objective.label_weights: '3' is not a mapping of names to numbers",
    "{label_weights: {a: '${run.out_dir}'}}": "objective.label_weights: {'a': '${run.out_dir}'} does not lead to a",
    "{label_weights: '${from_file:b.yml}'}": {"label_weights": {"gamma": 5.0}},
    "{focal: {gamma: 3}}": {"focal.gamma": 3.0},
    "{focal: '${from_file:b.yml}'}": {"focal.gamma": 5.0},
    "{focal: 3}": "objective.focal: this must be a mapping of keys to values, not '3'",
    "{focal: {gama: 3}}": "unknown key objective.focal.gama: did you mean objective.focal.gamma?",
    "{gamma: 3}": "unknown key objective.gamma: did you mean objective.focal.gamma?",
}


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the tree in which masked language modeling has the arguments of `own_args.py`."""
    folder = tmp_path_factory.mktemp("tree")
    shutil.copytree(ROOT / "dlib", folder / "dlib", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(Path(__file__).with_name("own_args.py"), folder / "dlib" / "objectives" / "mlm_args.py")
    for script in ("train.py", "eval.py"):
        shutil.copy(ROOT / script, folder)
    (folder / "b.yml").write_text("gamma: 5")
    return folder


def start(tree: Path, *words: str, stdin: str = "") -> str:
    result = subprocess.run(
        [sys.executable, *words], cwd=tree, input=stdin, capture_output=True, text=True, timeout=60, check=True
    )
    return result.stdout


def test_each_kind_is_read_written_and_checked(tree: Path) -> None:
    cases = [(line.split(), "{}") for line in FLAGS] + [([], text) for text in FILES]
    answers = json.loads(start(tree, "-c", DRIVER, stdin=json.dumps(cases)))
    for case, answer, expected in zip(cases, answers, [*FLAGS.values(), *FILES.values()], strict=True):
        if isinstance(expected, str) and isinstance(answer, str):
            answer = answer.removeprefix("a.yml: ")[: len(expected)]
        assert answer == expected, case


def test_the_help_shows_each_kind(tree: Path) -> None:
    text = " ".join(start(tree, "train.py", "--help").split())
    for shown in (
        "--rates [X ...] Rates of the layers. (default: 0.1 0.2)",
        "--mode CHOICE One of: sum, mean. (default: sum)",
        "--label_weights [NAME=X ...] Weights by label. (default: good=1.0)",
        "objective.focal: A nested group. --focal.gamma X How much easy targets are weighed down. (default: 2.0)",
    ):
        assert shown in text
    assert "--label_weights NAME=X Weights by label. " in " ".join(start(tree, "eval.py", "--help").split())


@dataclass
class Wrong:
    """Types that cannot be read; the class variable is no argument."""

    limit: ClassVar[complex] = 1j
    pair: Any = setting(None)


@pytest.mark.parametrize("kind", [tuple[int, int], complex, list[bool], list, int | str, Literal[1, "a"], Wrong | None])
def test_another_type_is_told_with_those_that_work(kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Wrong.__dataclass_fields__["pair"], "type", kind)
    with pytest.raises(UserError) as caught:
        refuse_wrong_fields([("objective", Wrong)])
    assert "test_kinds.py: Wrong.pair: a field cannot be of the type " in str(caught.value)
    assert ": take int, float, bool, str, Literal, list[T], dict[str, T]" in str(caught.value)


@dataclass
class Alike:
    """What train.py has, too."""

    plan: bool = setting(False)


@dataclass
class AlikeInShort:
    """The same short flag twice."""

    first: int = setting(1, alias="-f")
    second: int = setting(2, alias="-f")


@pytest.mark.parametrize(
    ("group", "message"),
    [
        (Alike, "test_kinds.py: Alike.plan and train.py itself both make the flag --plan: rename one of them"),
        (AlikeInShort, "AlikeInShort.first both make the flag -f: rename one of them"),
    ],
)
def test_a_flag_twice_is_told_with_both_places(group: type, message: str) -> None:
    with pytest.raises(UserError) as caught:
        refuse_wrong_fields([("objective", group)])
    assert message in str(caught.value)


def test_a_default_of_another_type_is_told(tree: Path) -> None:
    file = tree / "dlib" / "objectives" / "mlm_args.py"
    text = file.read_text()
    file.write_text(text.replace("plain: int = 3", 'plain: int = "three"'))
    result = subprocess.run(
        [sys.executable, "train.py", "--plan"], cwd=tree, capture_output=True, text=True, timeout=60
    )
    file.write_text(text)
    assert (result.returncode, result.stderr.count("\n")) == (2, 1)
    assert result.stderr.endswith("plain: its default in the code is not of the field's type\n")
