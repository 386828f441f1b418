"""The command line of `eval.py`. Flags that training has too keep their words, and override the run's config.yml."""

import argparse
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from dlib.args.fields import facts_of
from dlib.config.command_line import HelpFormatter
from dlib.config.corpora import name_of, names_files
from dlib.config.fields import FIELDS, has_many
from dlib.config.flags import flag_options, flags_of, split_value
from dlib.config.script_parser import ScriptParser, add_flag, add_switch, with_underscores
from dlib.process.durable import refuse_output
from dlib.process.errors import UserError

NEEDS_LM_EVAL = '--harness needs the package lm-eval: pip install "lm-eval[hf]>=0.4.2"'
DESCRIPTION = "Evaluate runs, checkpoints and Hugging Face models, once or as long as they train."
NUMBERS_DEPEND_ON = tuple(
    key for key, field in FIELDS.items() if key.startswith("objective.") or facts_of(field).changes_evaluation
)
"""What is part of a result's name, but for the weights and the text."""
OTHER_KEYS = (
    "data.data_dir",
    "data.train_file",
    "data.dev_file",
    "data.cache_dir",
    "data.tokenizer_processes",
    "model.trust_remote_code",
    "batch.eval_batch_size",
    "hardware.accelerator",
    "hardware.num_devices",
    "hardware.cuda_device_ids",
    "hardware.num_nodes",
    "tracking.offline",
    "tracking.trackers",
    "tracking.wandb_project",
    "tracking.wandb_entity",
    "tracking.wandb_group",
    "tracking.wandb_tags",
)
TRAINING_KEYS = tuple(key for key in FIELDS if key in (*NUMBERS_DEPEND_ON, *OTHER_KEYS))
"""The arguments of training that an evaluation has too; a run's own values are the defaults, but for its devices."""


@dataclass(frozen=True)
class Harness:
    """What lm-eval is asked: tasks by name, and the folder of the user's own."""

    tasks: tuple[str, ...]
    folder: Path | None


@dataclass(frozen=True)
class Order:
    """What is to be evaluated, and how."""

    targets: tuple[str, ...]  # runs, checkpoints, models; folders of runs where they are watched
    every_checkpoint: bool  # all of a run's, in place of its best
    split: str  # name of the text in the data folder, or a file, folder or pattern there
    stride: int | None  # tokens from one window to the next, for the perplexity of documents; None: not asked for
    pseudo_perplexity: bool  # whether it is asked for
    max_documents: int | None  # of how many documents, the first ones; None: all
    harness: Harness | None  # what lm-eval is asked, in place of everything else
    watch: bool  # follow runs while they train
    once: bool  # ... and look at them once
    json: bool  # print a JSON object for each result
    output: Path | None  # file of all results
    overrides: dict[str, Any]  # arguments of training by full key, as text

    @property
    def split_name(self) -> str:
        """The name of the text in a result's: `test` of test/*/*.txt."""
        return (name_of(re.split(r"[*?[]", self.split)[0]) or "files") if names_files(self.split) else self.split


def parse_order(argv: Sequence[str]) -> Order:
    """Read the words after the script's name.

    Raises:
        UserError: a flag is unknown, or flags exclude each other.
        SystemExit: the help was asked for and printed.
    """
    given = vars(make_parser().parse_args(with_underscores(argv)))
    tasks, folder = given.pop("harness"), given.pop("harness_tasks")
    harness = None if tasks is None else Harness(tuple(filter(None, tasks.split(","))), folder)
    overrides = {key: given.pop(key) for key in TRAINING_KEYS if key in given}
    overrides = {key: split_value(key, value) for key, value in overrides.items()}
    if harness is not None:
        overrides.setdefault("hardware.num_devices", "1")
    order = Order(**{**given, "targets": tuple(given["targets"])}, harness=harness, overrides=overrides)
    refuse_contradictions(order, folder)
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
    if not order.split.strip("./ "):
        raise UserError(f"--split {order.split}: give the name of a text in --data_dir, or a pattern such as 'test/*'")


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
    text = "A run (its best checkpoint, else its last), its name in runs/, a checkpoint, a model folder or hub name."
    add_flag(parser, "targets", text, "RUN_OR_CHECKPOINT", nargs="+")
    add_switch(parser, "--all", "Every checkpoint of a run.", dest="every_checkpoint")
    add_switch(parser, "--json", "Print a JSON object a line, not a table.")
    add_flag(parser, "--output", "Write all results there, too: one JSON list.", "FILE", type=Path)
    _add_metrics(parser.add_argument_group("metrics"))
    group = parser.add_argument_group("while runs train")
    text = "Evaluate each new checkpoint of a run, or of all runs in a folder, until the run ends."
    add_switch(group, "--watch", text)
    add_switch(group, "--once", "--watch: those that are there now, then end.")
    training = parser.add_argument_group("as in training", "Defaults: the run's own, but for its devices.")
    for key in TRAINING_KEYS:
        _add_training_flag(training, key)
    return parser


def _add_metrics(group: "argparse._ArgumentGroup") -> None:
    text = "dev, train, a name of --dev or --train, or NAME for NAME.txt, NAME.jsonl and so on in the data folder, or "
    text += "files there, as --train_file takes them."
    add_flag(group, "--split", text, "NAME", default="dev")
    text = "Next tokens: also the perplexity of whole documents, by windows of max_length tokens that move by N."
    add_flag(group, "--stride", text, "N", type=int)
    add_switch(group, "--pseudo_perplexity", "Masks: also the pseudo-perplexity; a pass for every token.")
    add_flag(group, "--max_documents", "... of the first N documents alone.", "N", type=int)
    add_flag(group, "--harness", "Next tokens: tasks of lm-eval, in place of all this.", "TASK,...")
    add_flag(group, "--harness_tasks", "Folder of task files of your own.", "FOLDER", type=Path)


def _add_training_flag(group: "argparse._ArgumentGroup", key: str) -> None:
    options: dict[str, Any] = {"type": lambda word: [word]} if has_many(FIELDS[key]) else {}
    group.add_argument(*flags_of(key), **flag_options(key), **options)
