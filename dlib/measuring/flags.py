"""The command line of `eval.py`.

What training can be told too (data, devices, tracking) keeps its words, its help and its checks: those flags override
the run's own `config.yml`.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from dlib.config.command_line import METAVARS, HelpFormatter, split_list
from dlib.config.fields import FIELDS, bare_type, choices_of, is_list, texts_of
from dlib.config.script_parser import ScriptParser, with_underscores
from dlib.process.durable import refuse_output
from dlib.process.errors import UserError

NEEDS_LM_EVAL = '--harness needs the package lm-eval: pip install "lm-eval[hf]>=0.4.2"'
DESCRIPTION = "Evaluate runs, checkpoints and Hugging Face models, once or as long as they train."
TRAINING_KEYS = (
    "data.data_dir",
    "data.train_file",
    "data.dev_file",
    "data.max_length",
    "data.line_by_line",
    "data.encoding_errors",
    "data.cache_dir",
    "data.tokenizer_processes",
    "model.trust_remote_code",
    "objective.objective",
    "batch.eval_batch_size",
    "hardware.accelerator",
    "hardware.num_devices",
    "hardware.cuda_device_ids",
    "hardware.num_nodes",
    "hardware.precision",
    "tracking.offline",
    "tracking.trackers",
    "tracking.wandb_project",
    "tracking.wandb_entity",
    "tracking.wandb_group",
    "tracking.wandb_tags",
)
"""The arguments of training that an evaluation has too; a run's own values are the defaults, but for its devices."""


@dataclass(frozen=True)
class Harness:
    """What lm-eval is asked: tasks by name, and the folder of the user's own."""

    tasks: tuple[str, ...]
    folder: Path | None


@dataclass(frozen=True)
class Order:
    """What is to be evaluated, and how.

    Attributes:
        targets: runs, checkpoints, models; folders of runs where they are watched.
        every_checkpoint: all of a run's, in place of its best.
        split: name of the text in the data folder.
        stride: tokens from one window to the next, for the perplexity of documents; None: not asked for.
        pseudo_perplexity: whether it is asked for.
        max_documents: of how many documents, the first ones; None: all.
        harness: what lm-eval is asked, in place of everything else.
        watch: follow runs while they train.
        once: ... and look at them once.
        json: print a JSON object for each result.
        output: file of all results.
        overrides: arguments of training by full key, as text.
    """

    targets: tuple[str, ...]
    every_checkpoint: bool
    split: str
    stride: int | None
    pseudo_perplexity: bool
    max_documents: int | None
    harness: Harness | None
    watch: bool
    once: bool
    json: bool
    output: Path | None
    overrides: dict[str, Any]


def parse_order(argv: Sequence[str]) -> Order:
    """Read the words after the script's name.

    Raises:
        UserError: a flag is unknown, or flags exclude each other.
        SystemExit: the help was asked for and printed.
    """
    flags = make_parser().parse_args(with_underscores(argv))
    harness = None
    if flags.harness is not None:
        harness = Harness(tuple(filter(None, flags.harness.split(","))), flags.harness_tasks)
    overrides = {key: getattr(flags, key) for key in TRAINING_KEYS if hasattr(flags, key)}
    if harness is not None:
        overrides.setdefault("hardware.num_devices", "1")
    order = Order(
        targets=tuple(flags.targets),
        every_checkpoint=flags.all,
        split=flags.split,
        stride=flags.stride,
        pseudo_perplexity=flags.pseudo_perplexity,
        max_documents=flags.max_documents,
        harness=harness,
        watch=flags.watch,
        once=flags.once,
        json=flags.json,
        output=flags.output,
        overrides={key: split_list(key, value) if is_list(FIELDS[key]) else value for key, value in overrides.items()},
    )
    refuse_contradictions(order, flags.harness_tasks)
    return order


def refuse_contradictions(order: Order, harness_tasks: Path | None) -> None:
    """Refuse flags that exclude or need each other, and values out of range."""
    if order.once and not order.watch:
        raise UserError("--once is for --watch, which is not asked for: write --watch --once")
    if order.watch and order.every_checkpoint:
        raise UserError("--all: --watch takes every checkpoint anyway; leave it out")
    if order.watch and order.output is not None:
        raise UserError("--output: what is watched is a run, whose results are written to its evals/; leave it out")
    if order.output is not None:
        refuse_output(order.output, "--output")
    if order.harness is not None and (order.stride is not None or order.pseudo_perplexity):
        raise UserError("--harness is an evaluation of its own: leave out --stride and --pseudo_perplexity")
    if order.harness is not None and order.overrides["hardware.num_devices"] != "1":
        raise UserError("--harness computes on one device: leave out --num_devices")
    if order.harness is not None and not order.harness.tasks:
        raise UserError("--harness: name at least one task")
    if harness_tasks is not None and order.harness is None:
        raise UserError("--harness_tasks: name the tasks to run with --harness TASK,...")
    if harness_tasks is not None and not harness_tasks.is_dir():
        raise UserError(f"--harness_tasks {harness_tasks}: there is no such folder")
    if order.stride is not None and order.stride < 1:
        raise UserError(f"--stride {order.stride}: give at least 1")
    if order.max_documents is not None and order.max_documents < 1:
        raise UserError(f"--max_documents {order.max_documents}: give at least 1")
    if order.max_documents is not None and not order.pseudo_perplexity:
        raise UserError("--max_documents: it is for --pseudo_perplexity, which is not asked for")
    if Path(order.split).name != order.split or not order.split.strip("."):
        raise UserError(f"--split {order.split}: give the name of a text in --data_dir, without .txt")


def refuse_missing_lm_eval() -> None:
    """Refuse `--harness` where its package is not installed."""
    if find_spec("lm_eval") is None:
        raise UserError(NEEDS_LM_EVAL)


def make_parser() -> ScriptParser:
    """The parser of all flags."""
    parser = ScriptParser(
        prog="eval.py",
        description=DESCRIPTION,
        usage="%(prog)s RUN_OR_CHECKPOINT ... [--FLAG VALUE ...]",
        formatter_class=HelpFormatter,
        allow_abbrev=False,
    )
    _add_targets(parser)
    _add_measures(parser.add_argument_group("what is measured"))
    _add_watching(parser.add_argument_group("while runs train"))
    training = parser.add_argument_group("as in training", "Defaults: the run's own, but for its devices.")
    for key in TRAINING_KEYS:
        _add_training_flag(training, key)
    return parser


def _add_targets(parser: ScriptParser) -> None:
    parser.add_argument(
        "targets",
        metavar="RUN_OR_CHECKPOINT",
        nargs="+",
        help="A run (its best checkpoint, else its last), its name in runs/, a checkpoint, a model folder or hub name.",
    )
    parser.add_argument("--all", action="store_true", help="Every checkpoint of a run.")
    parser.add_argument("--json", action="store_true", help="Print a JSON object a line, not a table.")
    parser.add_argument("--output", metavar="FILE", type=Path, help="Write all results there, too: one JSON list.")


def _add_measures(group: "argparse._ArgumentGroup") -> None:
    group.add_argument(
        "--split",
        metavar="NAME",
        default="dev",
        help="dev, train, or NAME for NAME.txt or NAME.jsonl in the data folder.",
    )
    group.add_argument(
        "--stride",
        metavar="N",
        type=int,
        help="clm: also the perplexity of whole documents, by windows of max_length tokens that move by N.",
    )
    group.add_argument(
        "--pseudo_perplexity", action="store_true", help="mlm: also the pseudo-perplexity; a pass for every token."
    )
    group.add_argument("--max_documents", metavar="N", type=int, help="... of the first N documents alone.")
    group.add_argument("--harness", metavar="TASK,...", help="clm: tasks of lm-eval, in place of all this.")
    group.add_argument("--harness_tasks", metavar="FOLDER", type=Path, help="Folder of task files of your own.")


def _add_watching(group: "argparse._ArgumentGroup") -> None:
    group.add_argument(
        "--watch",
        action="store_true",
        help="Evaluate each new checkpoint of a run, or of all runs in a folder, until the run ends.",
    )
    group.add_argument("--once", action="store_true", help="--watch: those that are there now, then end.")


def _add_training_flag(group: "argparse._ArgumentGroup", key: str) -> None:
    section, name = key.split(".")
    field = FIELDS[key]
    choices = f" One of: {', '.join(choices_of(field))}." if choices_of(field) else ""
    options: dict[str, Any] = {"type": lambda word: [word]} if is_list(field) else {}
    if bare_type(field) is bool:
        options = {"nargs": "?", "const": "true"}
    group.add_argument(
        *(["-d"] if name == "data_dir" else []),
        f"--{name}",
        dest=key,
        default=argparse.SUPPRESS,
        metavar="CHOICE" if choices else METAVARS[bare_type(field)],
        help=(texts_of(section)[name] + choices).replace("%", "%%"),
        **options,
    )
