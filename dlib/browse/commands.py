"""The sub-commands of `runs.py` and their flags.

They stand apart from what the sub-commands do, so that the help is made without reading any of it.
"""

import argparse
from pathlib import Path

from dlib.config.script_parser import ScriptParser
from dlib.process.errors import UserError


def make_parser() -> ScriptParser:
    """The parser of all sub-commands; the name of the one that was given is in `command`."""
    parser = ScriptParser(prog="runs.py", description="Work with the runs that train.py left.", allow_abbrev=False)
    commands = parser.add_subparsers(title="sub-commands", metavar="COMMAND", required=True, dest="command")
    for declare in (
        _declare_list,
        _declare_show,
        _declare_compare,
        _declare_diff,
        _declare_plot,
        _declare_export,
        _declare_import,
        _declare_drop,
        _declare_checkpoints,
        _declare_reproduce,
    ):
        declare(commands)
    return parser


def _add(commands: "argparse._SubParsersAction[ScriptParser]", name: str, text: str) -> ScriptParser:
    """A sub-command; `text` is its help."""
    parser = commands.add_parser(name, help=text, description=text, allow_abbrev=False)
    parser.add_argument(
        "--out_dir",
        metavar="FOLDER",
        type=_local_folder,
        default=Path("runs"),
        help="Folder that holds the run folders, as train.py takes it (default: runs).",
    )
    return parser


def _local_folder(text: str) -> Path:
    """The workspace."""
    if "://" in text:
        raise UserError(
            f"--out_dir {text}: give a folder here; only import's SOURCE and export's DESTINATION may be addresses"
        )
    return Path(text)


def _add_run(parser: ScriptParser, several: bool = False) -> None:
    text = "A run's name, or the path of its folder."
    if several:
        parser.add_argument("runs", metavar="RUN", nargs="+", help=text)
    else:
        parser.add_argument("run", metavar="RUN", help=text)


def _add_filter(parser: ScriptParser) -> None:
    parser.add_argument(
        "--filter",
        metavar="CONDITION",
        action="append",
        default=[],
        help="Only runs like state=finished, name='bert-*', 'step>=1000', 'loss<3', 'age>30d' or 'size>1GB'; given "
        "several times, all must hold.",
    )


def _add_json(parser: ScriptParser, text: str) -> None:
    parser.add_argument("--json", action="store_true", help=text)


def _add_yes(parser: ScriptParser) -> None:
    parser.add_argument("--yes", action="store_true", help="Do not ask.")


def _declare_list(commands: "argparse._SubParsersAction[ScriptParser]") -> None:
    parser = _add(commands, "list", "List the runs: state, step, dev loss of the best checkpoint, age, size.")
    _add_filter(parser)
    parser.add_argument(
        "--sort",
        choices=("age", "name", "state", "step", "loss", "size"),
        default="age",
        help="What is first: the newest (default), furthest, lowest in dev loss, largest; names from A on.",
    )
    parser.add_argument("--reverse", action="store_true", help="The other way round.")
    _add_json(parser, "Print a JSON object a run, one a line.")


def _declare_show(commands: "argparse._SubParsersAction[ScriptParser]") -> None:
    parser = _add(commands, "show", "Show a run: arguments that are no defaults, record, curves, checkpoints, evals.")
    _add_run(parser)
    _add_json(parser, "Print one JSON object.")


def _declare_compare(commands: "argparse._SubParsersAction[ScriptParser]") -> None:
    parser = _add(commands, "compare", "Show results and differing arguments of runs side by side.")
    _add_run(parser, several=True)
    _add_json(parser, "Print one JSON object.")


def _declare_diff(commands: "argparse._SubParsersAction[ScriptParser]") -> None:
    text = "Show in what two runs differ, line by line: arguments, code, packages, hardware, data."
    parser = _add(commands, "diff", text)
    parser.add_argument("old", metavar="A", help="A run's name, or the path of its folder.")
    parser.add_argument("new", metavar="B", help="Another.")


def _declare_plot(commands: "argparse._SubParsersAction[ScriptParser]") -> None:
    parser = _add(commands, "plot", "Plot the curves of runs, in the terminal or into a file.")
    _add_run(parser, several=True)
    parser.add_argument(
        "-o", "--output", metavar="FILE", type=Path, help="Draw with matplotlib: curves.pdf, .svg, .png and the like."
    )
    parser.add_argument(
        "--metric",
        metavar="NAME",
        action="append",
        default=[],
        help="A quantity of metrics.jsonl or performance.jsonl; may be given several times (default: train/loss and "
        "dev/loss).",
    )
    parser.add_argument(
        "--x", choices=("step", "tokens", "hours"), default="step", help="The horizontal axis (default: step)."
    )
    parser.add_argument("--log", action="store_true", help="A logarithmic vertical axis.")


def _declare_export(commands: "argparse._SubParsersAction[ScriptParser]") -> None:
    text = "Write a checkpoint as a Hugging Face folder with a model card, or a whole run, to a folder or archive."
    parser = _add(commands, "export", text)
    _add_run(parser)
    parser.add_argument(
        "destination",
        metavar="DESTINATION",
        help="A new folder, or a file that ends in .tar, .tar.gz or .tgz; here or at an address that fsspec knows, "
        "such as s3://bucket/run.tar.",
    )
    parser.add_argument(
        "--checkpoint", metavar="STEP", help="best, last or an optimizer step (default: best, or last without one)."
    )
    parser.add_argument("--full", action="store_true", help="The whole run, which import takes, not a model alone.")


def _declare_import(commands: "argparse._SubParsersAction[ScriptParser]") -> None:
    text = "Put a run that export --full wrote into the workspace, once all of it has been checked."
    parser = _add(commands, "import", text)
    parser.add_argument("source", metavar="SOURCE", help="The folder or archive; here or at an address of fsspec.")
    parser.add_argument("-n", "--name", metavar="NAME", help="Name of the run here (default: as it was).")


def _declare_drop(commands: "argparse._SubParsersAction[ScriptParser]") -> None:
    parser = _add(commands, "drop", "Move runs to the workspace's trash; --purge empties it.")
    parser.add_argument("runs", metavar="RUN", nargs="*", help="A run's name, or the path of its folder.")
    _add_filter(parser)
    parser.add_argument("--purge", action="store_true", help="Then remove all that is in the trash, for good.")
    _add_yes(parser)


def _declare_checkpoints(commands: "argparse._SubParsersAction[ScriptParser]") -> None:
    parser = _add(commands, "checkpoints", "List the checkpoints of a run, or remove some for good.")
    _add_run(parser)
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--delete", metavar="STEP", type=int, nargs="+", help="Remove these; not the best or the last.")
    group.add_argument(
        "--keep",
        metavar="STEP",
        type=int,
        nargs="+",
        help="Remove all but these; the best and the last stay in any case.",
    )
    group.add_argument(
        "--keep_newest", metavar="N", type=int, help="Remove all but the newest N, the best and the last."
    )
    _add_yes(parser)


def _declare_reproduce(commands: "argparse._SubParsersAction[ScriptParser]") -> None:
    text = "Repeat a run from its record, and compare the numbers: identical, or the first that differs."
    parser = _add(commands, "reproduce", text)
    _add_run(parser)
    parser.add_argument(
        "--steps", metavar="N", type=int, help="Compare up to the first recorded step from N on (default: all)."
    )
    parser.add_argument(
        "-d", "--data_dir", metavar="FOLDER", type=Path, help="Folder of the texts (default: as recorded)."
    )
    parser.add_argument(
        "--present_code",
        action="store_true",
        help="Run the code that stands here in place of the recorded: did my change keep the numbers?",
    )
    parser.add_argument("--keep", metavar="FOLDER", type=Path, help="Keep the repetition's run folder under this one.")
    parser.add_argument(
        "--trust_remote_code",
        action="store_true",
        help="Run Python code that the model's folder brings, as the run did.",
    )
