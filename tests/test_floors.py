"""Imports go down only, by room: each knows the rooms below its own and those that its own line names."""

import ast
import subprocess
import sys
from collections import Counter
from graphlib import TopologicalSorter
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FLOORS = (
    "process",
    "args config",
    "runs",
    "browse report reproduce transfer launch tracking",
    "data",
    "models",
    "objectives",
    "training",
    "callbacks measuring generation preparing demo",
    "notebook",
)
"""The rooms below `dlib`, the lowest floor first. No room imports another in a circle, on one floor or over several."""

FLOOR_OF = {room: number for number, rooms in enumerate(FLOORS) for room in rooms.split()}
ENTRY_SCRIPTS = {path.stem for path in ROOT.glob("*.py") if path.is_file()}

HEAVY = {"torch", "transformers", "lightning", "tokenizers", "wandb"}
LIGHT = {
    *"process args config runs browse report reproduce transfer launch notebook".split(),
    *"models.hub models.names models.sources preparing.flags".split(),
    *"training.course training.described training.devices training.plan training.preflight training.schedules".split(),
}
"""Rooms, and modules of others, that must be there at once: `--help`, `--plan`, `runs.py` and a mistake use them."""
LAZY = {
    *(("process.seeding", "torch"), ("training.devices", "torch"), ("models.hub", "transformers")),
    ("notebook.run", "transformers"),
}
"""Imported inside functions that few need: what seeds a training process, asks for GPUs, or explains a failure; or for
types alone."""


WITHOUT_LIGHTNING = ("training.preparation", "preparing.commands", "generation.predictor", "measuring.subjects")
"""What a plan, `prepare.py`, `generate.py` and a mistake in a text or a model are answered by."""


def name_of(path: Path) -> str:
    """The full name of a module."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {name_of(path): path for path in sorted((ROOT / "dlib").rglob("*.py"))}


def imported(path: Path, *, at_once: bool = False) -> set[str]:
    """Full names of all that a file imports, inside functions too unless it is what is imported at once, with the file.

    `from a import b` is a.b where that is a module.
    """
    tree, names = ast.parse(path.read_text(encoding="utf-8")), set()
    for node in tree.body if at_once else ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide where a name comes from"
            assert node.module is not None
            full = {f"{node.module}.{alias.name}" for alias in node.names}
            names |= {name if name in MODULES else node.module for name in full}
    return names


def room_of(module: str) -> str:
    """The room that a module below `dlib` stands in: `data` for `dlib.data.packing`."""
    return module.split(".")[1]


def is_light(module: str) -> bool:
    """Whether a module has to be there at once."""
    return room_of(module) in LIGHT or module.removeprefix("dlib.") in LIGHT


def arrows() -> dict[str, set[str]]:
    """For each room the others that it imports."""
    found: dict[str, set[str]] = {room: set() for room in FLOOR_OF}
    for module in ROOMED:
        names = {name for name in imported(MODULES[module]) if name.startswith("dlib.")}
        found[room_of(module)] |= {room_of(name) for name in names} - {room_of(module)}
    return found


ROOMED = [module for module in MODULES if module != "dlib"]


def test_nothing_lies_between_the_rooms() -> None:
    assert [path.name for path in (ROOT / "dlib").glob("*.py")] == ["__init__.py"]
    assert {room_of(module) for module in ROOMED} == set(FLOOR_OF), (
        "a new room has a place in FLOORS of tests/test_floors.py, above all that it imports, and in "
        "docs/architecture.md: under `## Floors`, and under `## Rooms` with what it is for"
    )


@pytest.mark.parametrize("room", FLOOR_OF)
def test_imports_go_down_only(room: str) -> None:
    higher = {other for other in arrows()[room] if FLOOR_OF[other] > FLOOR_OF[room]}
    assert not higher, f"{room}/ imports {higher}, which stand above it"


def test_no_rooms_import_each_other_in_a_circle() -> None:
    TopologicalSorter(arrows()).prepare()


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph = {module: imported(path) & set(MODULES) - {module} for module, path in MODULES.items()}
    TopologicalSorter(graph).prepare()


def test_the_floors_are_those_of_the_picture() -> None:
    picture = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8").split("## Floors")[1].split("```")[1]
    places = [[picture.index(f" {room}/") for room in rooms.split()] for rooms in FLOORS]
    assert all(max(upper) < min(lower) for lower, upper in pairwise(places))


def test_nobody_imports_an_entry_script() -> None:
    for module, path in MODULES.items():
        assert not imported(path) & ENTRY_SCRIPTS, module


@pytest.mark.parametrize("module", [module for module in ROOMED if is_light(module)])
def test_the_light_rooms_import_no_heavy_library(module: str) -> None:
    heavy = {name.partition(".")[0] for name in imported(MODULES[module])} & HEAVY
    assert {(module.removeprefix("dlib."), name) for name in heavy} <= LAZY


def test_a_process_that_imports_the_light_rooms_has_no_heavy_library() -> None:
    modules = ", ".join(module for module in ROOMED if is_light(module))
    scripts = "eval, generate, jobs, prepare, runs, sweep, train"
    script = f"import sys, {modules}, {scripts}; print(*sorted(sys.modules.keys() & {HEAVY!r}))"
    result = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (result.stdout, result.stderr) == ("\n", "")


def reached(module: str) -> set[str]:
    """Full names of all that comes with a module of ours, over others of ours."""
    found: set[str] = set()
    left = {module}
    while left:
        names = {name for module in left for name in imported(MODULES[module], at_once=True)}
        found, left = found | names, (names & MODULES.keys()) - found
    return found


@pytest.mark.parametrize("module", WITHOUT_LIGHTNING)
def test_what_trains_nothing_does_not_wait_for_the_trainer(module: str) -> None:
    assert "dlib.training.training_module" not in reached(f"dlib.{module}")
    assert "lightning" not in {name.partition(".")[0] for name in reached(f"dlib.{module}")}


def test_the_trainer_is_found_where_it_comes_with_another_module() -> None:
    assert "lightning.pytorch" in reached("dlib.training.beginning")


def test_the_former_name_of_the_evaluation_script_hides_no_package() -> None:
    """`import evaluate` is Hugging Face's; `python evaluate.py` says what to type."""
    found = subprocess.run(
        [sys.executable, "-c", "import importlib.util; print(importlib.util.find_spec('evaluate'))"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert str(ROOT) not in found.stdout.replace(str(ROOT / ".venv"), "")
    former = subprocess.run([sys.executable, "evaluate.py"], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (former.returncode, former.stderr.startswith("error: evaluate.py is called eval.py now")) == (2, True)


def test_no_two_classes_have_one_name() -> None:
    trees = (ast.parse(path.read_text(encoding="utf-8")) for path in MODULES.values())
    names = [node.name for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    assert [name for name, count in Counter(names).items() if count > 1] == []
