"""The command line of `prepare.py`. What decides which tokens a run has is said as in training."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dlib.args import ExperimentArgs
from dlib.config.command_line import HelpFormatter
from dlib.config.configuration import load_training_config
from dlib.config.fields import FIELDS, has_many
from dlib.config.files import read_settings
from dlib.config.flags import flag_options, flags_of, split_value
from dlib.config.script_parser import ScriptParser, add_flag, with_underscores
from dlib.process.errors import UserError

SECTIONS = ("data.", "objective.")
MODEL_NAMES = ("model.model", "model.from_scratch", "model.checkpoint")
"""What may bring a tokenizer."""
TOKENIZER_KEYS = (
    "model.tokenizer",
    "model.tokenizer_type",
    "model.vocab_size",
    "model.unknown_token",
    "model.special_tokens",
)
OTHER_KEYS = ("model.trust_remote_code", "tracking.offline")
TRAINING_KEYS = tuple(
    key for key in FIELDS if key.startswith(SECTIONS) or key in (*MODEL_NAMES, *TOKENIZER_KEYS, *OTHER_KEYS)
)


@dataclass(frozen=True)
class Task:
    """What is to be done."""

    command: str  # "tokenizer", "tokens" or "report"
    args: ExperimentArgs  # of the run that is prepared
    names_model: bool  # whether a model was named, which may bring a tokenizer
    output: Path | None  # folder of the tokenizer, or file of the figure


def parse_task(argv: Sequence[str]) -> Task:
    """Read the words after the script's name.

    Raises:
        UserError: a flag is unknown, or a value is wrong.
        SystemExit: the help was asked for and printed.
    """
    flags = make_parser().parse_args(with_underscores(argv))
    output: Path | None = vars(flags).get("out", vars(flags).get("png"))
    if output is not None and flags.command == "tokenizer":
        refuse_new_folder(output, "--out")
    overrides = {key: split_value(key, value) for key, value in vars(flags).items() if key in TRAINING_KEYS}
    args = load_training_config(flags.config_path, overrides)
    if args.model.checkpoint is None:  # no weights are needed here
        args = replace(args, model=replace(args.model, from_scratch=True))
    named = read_settings(flags.config_path, overrides).keys() & {*MODEL_NAMES}
    return Task(flags.command, args, bool(named), output)


def refuse_new_folder(folder: Path, flag: str) -> None:
    """Refuse a folder that is to be made and cannot be; `flag` is named."""
    if folder.exists() or folder.is_symlink():
        raise UserError(f"{flag} {folder}: it is there already; name a new folder")
    if not folder.absolute().parent.is_dir():
        raise UserError(f"{flag} {folder}: there is no folder {folder.parent}; make it first")


def make_parser() -> ScriptParser:
    """The parser of all sub-commands; the name of the one that was given is in `command`."""
    description = "Prepare a corpus ahead of training: a tokenizer, token stores, a report."
    parser = ScriptParser(prog="prepare.py", description=description, allow_abbrev=False)
    commands = parser.add_subparsers(title="sub-commands", metavar="COMMAND", required=True, dest="command")

    def add(name: str, text: str) -> ScriptParser:
        command: ScriptParser = commands.add_parser(
            name, help=text, description=text, formatter_class=HelpFormatter, allow_abbrev=False
        )
        return command

    command = add("tokenizer", "Train a tokenizer on the training text, into a folder that --tokenizer takes.")
    add_flag(command, "--out", "A new folder.", "FOLDER", type=Path, required=True)
    _add_training_flags(command, without=MODEL_NAMES)
    _add_training_flags(add("tokens", "Tokenize the texts ahead of train.py, which finds them by the same arguments."))
    command = add("report", "Count documents, tokens, unknown tokens, duplicates, and what stands in train and dev.")
    add_flag(command, "--png", "Draw it, too: report.png, .pdf, .svg and the like.", "FILE", type=Path)
    _add_training_flags(command)
    return parser


def _add_training_flags(parser: ScriptParser, without: Sequence[str] = ()) -> None:
    group = parser.add_argument_group("as in training")
    text = "YAML files, merged in order; flags win over files."
    add_flag(group, "--config_path", text, "FILE", type=Path, nargs="+", action="extend", default=[])
    for key in TRAINING_KEYS:
        if key not in without:
            options: dict[str, Any] = {"nargs": "*"} if has_many(FIELDS[key]) else {}
            group.add_argument(*flags_of(key), **{**flag_options(key), **options})
