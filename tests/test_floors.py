"""Imports go down only: each part of the project knows the floors below its own, and no other."""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FLOORS = (
    "errors durable threads args config config_errors config_fields config_files config_yaml command_line validation "
    "familiar_names spelling wandb_names durations seeding ranks launch versions script_parser standard_streams "
    "installation",
    "runs",
    "data modeling model_overrides model_limits model_probes pretrained tokenization hub optim non_finite metrics "
    "tracking devices flops tree_sum messages plan run_log model_names model_sources preflight",
    "objectives",
    "training_module checkpoints preparation",
    "callbacks evaluation inference filling continuing sampling line_batches trainer",
    "measuring",
)
"""Names below `dlib`, the lowest floor first."""

FLOOR_OF = {name: number for number, names in enumerate(FLOORS) for name in names.split()}
ENTRY_SCRIPTS = {path.stem for path in ROOT.glob("*.py")}
DEMO_PARTS = {"demo"}
"""Scripts inside the package: they stand on the roof."""

HEAVY = {"torch", "transformers", "lightning", "tokenizers", "wandb"}
LIGHT = {
    *FLOORS[0].split(),
    *FLOORS[1].split(),
    *"devices hub messages model_names model_sources plan preflight".split(),
}
LAZY = {("seeding", "torch"), ("devices", "torch"), ("hub", "transformers")}
"""Imported inside functions that few need: what seeds a training process, asks for GPUs, or explains a failure."""


def name_of(path: Path) -> str:
    """The full name of a module."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {name_of(path): path for path in sorted((ROOT / "dlib").rglob("*.py"))}


def imported(path: Path) -> set[str]:
    """Full names of all that a file imports, inside functions too; `from a import b` is a.b where that is a module."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide where a name comes from"
            assert node.module is not None
            full = {f"{node.module}.{alias.name}" for alias in node.names}
            names |= {name if name in MODULES else node.module for name in full}
    return names


def part_of(module: str) -> str:
    """The part of the project that a module below `dlib` belongs to: `data` for `dlib.data.packing`."""
    return module.split(".")[1]


def test_every_part_has_its_floor() -> None:
    parts = {part_of(module) for module in MODULES if module != "dlib"} - DEMO_PARTS
    assert parts <= set(FLOOR_OF), "say in FLOORS where it stands"


@pytest.mark.parametrize("module", [module for module in MODULES if module != "dlib"])
def test_imports_go_down_only(module: str) -> None:
    floor = FLOOR_OF.get(part_of(module), len(FLOORS))
    for name in imported(MODULES[module]):
        if name.startswith("dlib."):
            assert FLOOR_OF[part_of(name)] <= floor, f"{module} imports {name} from a higher floor"


def test_nobody_imports_an_entry_script() -> None:
    for module, path in MODULES.items():
        assert not imported(path) & ENTRY_SCRIPTS, module


def test_no_imports_go_in_a_circle() -> None:
    graph = {module: imported(path) & set(MODULES) - {module} for module, path in MODULES.items()}
    TopologicalSorter(graph).prepare()


@pytest.mark.parametrize("module", [module for module in MODULES if module != "dlib" and part_of(module) in LIGHT])
def test_the_light_floors_import_no_heavy_library(module: str) -> None:
    heavy = {name.partition(".")[0] for name in imported(MODULES[module])} & HEAVY
    assert {(part_of(module), name) for name in heavy} <= LAZY


def test_a_process_that_imports_the_light_floors_has_no_heavy_library() -> None:
    modules = ", ".join(module for module in MODULES if module != "dlib" and part_of(module) in LIGHT)
    script = f"import sys, {modules}, evaluate, generate, runs, train; print(*sorted(sys.modules.keys() & {HEAVY!r}))"
    result = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (result.stdout, result.stderr) == ("\n", "")
