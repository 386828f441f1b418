"""What the README tells a newcomer to type works as it stands, and what it draws is there."""

import ast
import re
import shlex
from pathlib import Path

import pytest

from dlib.config.configuration import parse_args
from tests.extending.page import sections
from tests.launching import ROOT, Place, train

README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```bash\n(.*?)```", README, re.DOTALL)
COMMANDS = [shlex.split(line, comments=True) for block in BLOCKS for line in block.splitlines()]
TRAIN = [command[2:] for command in COMMANDS if command[1:2] == ["train.py"]]

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def test_it_shows_commands() -> None:
    assert len(TRAIN) >= 3
    assert ["scripts/demo.sh"] in COMMANDS
    assert ["scripts/test.sh"] in COMMANDS


@pytest.mark.parametrize("command", [command for command in COMMANDS if command], ids=" ".join)
def test_a_command_names_something_that_can_be_run(command: list[str]) -> None:
    if command[0].startswith("scripts/"):
        assert (ROOT / command[0]).stat().st_mode & 0o111
    else:
        assert command[0] == ".venv/bin/python"
        assert (ROOT / command[1]).is_file()


@pytest.mark.parametrize("arguments", TRAIN, ids=" ".join)
def test_a_training_command_is_understood_and_plans(arguments: list[str], place: Place, tmp_path: Path) -> None:
    model = parse_args(arguments, description="").args.model.model
    here = ["-d", str(place.data), "--cache_dir", str(place.cache), "--out_dir", str(place.runs), "--vocab_size", "400"]
    if not (ROOT / model).is_dir():  # a name on the hub, which no test may ask
        here += ["--model", "configs/models/roberta-tiny", "--from_scratch"]
    result = train([*arguments, *here, "--accelerator", "cpu", "--offline", "--plan"], tmp_path)
    assert result.status == 0, result.stderr
    assert "optimizer steps" in result.stdout


@pytest.mark.parametrize(
    "page", [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))], ids=lambda page: page.name
)
def test_links_and_paths_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    shown = {change.path for section in sections() for change in section.changes}
    prose = re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)  # heads[0](hidden) is code, and no link
    for target in re.findall(r"\]\((?!https:)([^)#:]+)[^)]*\)", prose):
        assert (page.parent / target).exists(), target
    for path in re.findall(r"`((?:dlib|configs|scripts|tests|docs)/[\w./-]+)`", text):
        assert (ROOT / path).exists() or "mine" in path or path in shown, path


def test_whatever_can_be_added_has_a_worked_example() -> None:
    table = README.partition("## Change it")[2].split("\n\n")[1].splitlines()[2:]
    anchors = {section.title.lower().replace(" ", "-") for section in sections()}
    links = [re.match(r"\| \[[\w -]+\]\(docs/extending\.md#([\w-]+)\) \|", row) for row in table]
    assert len(table) >= 9
    assert [row for row, link in zip(table, links, strict=True) if link is None or link[1] not in anchors] == []


def test_every_part_of_the_package_stands_in_the_architecture() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    private = ("__init__.py", "__main__.py", "step_callback.py")
    modules = [path for path in (ROOT / "dlib").rglob("*.py") if path.name not in private]
    missing = [
        f'below "  {path.parent.name}/": "    {path.name:<21} {first_line(path)}"'
        for path in modules
        if path.parent.name not in ("args", "callbacks", "reproduce", "transfer", "demo", "tracking")
        and path.name not in text
        and not path.name.endswith("_args.py")  # beside their implementations, as the page says of all of them
    ]
    assert not missing, "\n".join(["a new file has a line in docs/architecture.md, that says what it holds:", *missing])


def first_line(path: Path) -> str:
    """What the docstring of a module begins with, or what should stand in its place."""
    return (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "what it holds").partition("\n")[0]
