"""The sub-commands of `jobs.py` and their flags, apart from what they do, so that the help is made at once."""

import argparse
import re
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

from dlib.config.fields import KINDS, bare_type, has_many, texts_of, walk
from dlib.config.script_parser import ScriptParser, add_flag, add_switch, make_commands, with_underscores
from dlib.launch.clusters import Cluster
from dlib.process.errors import UserError

SCRIPT = re.compile(r"\w+\.py")
A_JOB = "A run's name, another job's (see status), or the path of its folder."


def parse_words(words: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """The flags of `jobs.py`, and what stands after `--`: the command of a job."""
    own, command = list(words), []
    if "--" in own:
        place = own.index("--")
        own, command = own[:place], own[place + 1 :]
    elif own[:1] == ["submit"] and (script := next((word for word in own if SCRIPT.fullmatch(word)), None)):
        raise UserError(f"jobs.py submit: put -- before {script}: jobs.py submit [FLAGS] -- {script} ...")
    args = make_parser().parse_args(with_underscores(own))
    if args.command == "submit" and not command:
        raise UserError("jobs.py submit: the command is missing; it comes after --: jobs.py submit -- train.py -n big")
    if args.command != "submit" and command:
        raise UserError(f"jobs.py {args.command}: only submit takes a command after --")
    return args, command


def make_parser() -> ScriptParser:
    """The parser of all sub-commands; the name of the one that was given is in `command`."""
    parser, add = make_commands("jobs.py", "Send runs to a cluster, and see to them.")
    _declare_submit(add("submit", "Write the script of a job, queue it and follow it: submit [FLAGS] -- train.py ..."))
    command = add("status", "All runs and jobs: state, step, why a job waits and when it may start.")
    add_flag(command, "jobs", A_JOB, "JOB", nargs="*")
    command = add("logs", "What a job has printed.")
    add_flag(command, "job", A_JOB, "JOB")
    add_switch(command, "-f", "Follow it as it grows, until the job has ended.", dest="follow")
    add_flag(command, "--index", "Number of the task, of an array.", "N")
    for name, text in (
        ("cancel", "End jobs for good; a run saves if it can, and the same command goes on with it."),
        ("requeue", "Put jobs back into the queue, running or ended: their runs go on."),
    ):
        add_flag(add(name, text), "jobs", A_JOB, "JOB", nargs="+")
    return parser


def _declare_submit(parser: ScriptParser) -> None:
    text = "Name of a file in configs/clusters/, or its path (default: slurm)."
    add_flag(parser, "--cluster", text, "FILE", default="slurm")
    add_flag(parser, "--job_name", "Name of the job (default: the run's; or the script's with its first word).", "NAME")
    add_switch(parser, "--dry_run", "Check everything, print the script, and leave nothing.")
    text = "Work out the whole plan of a training first, as train.py --plan does, for the devices of the job."
    add_switch(parser, "--plan", f"{text} This tokenizes here what is not tokenized yet.")
    add_switch(parser, "--no_follow", "Return when the job is queued.")
    declare_cluster(parser)
    parser.set_defaults(out_dir=None)  # of a training it says nothing: train.py has its own


def declare_cluster(parser: ScriptParser) -> None:
    """Declare a flag for each key of a cluster's file."""
    group = parser.add_argument_group("the cluster", "They override what its file says.")
    for key, field, text in cluster_fields():
        many = {"nargs": "+", "action": "extend"} if has_many(field) else {}  # given again, it adds to what was given
        is_bool = bare_type(field) is bool
        options: dict[str, Any] = {"nargs": "?", "const": "true"} if is_bool else many
        metavar = KINDS[bare_type(field)].metavar
        add_flag(group, f"--{key}", text.replace("%", "%%"), metavar, default=argparse.SUPPRESS, **options)


def cluster_fields() -> Iterator[tuple[str, Any, str]]:
    """Each key of a cluster's file with its field and its text."""
    for prefix, group in walk("", Cluster):
        for field in fields(group):
            if not (isinstance(field.type, type) and is_dataclass(field.type)):
                yield f"{prefix}.{field.name}".lstrip("."), field, texts_of(group)[field.name]


def cluster_overrides(given: Mapping[str, Any]) -> dict[str, Any]:
    """What was given of a cluster's keys, as `load_cluster` takes it.

    Raises:
        UserError: a variable has no name.
    """
    found = {key: (given[key], field) for key, field, _ in cluster_fields() if key in given}
    return {
        key: _as_mapping(key, value) if typing.get_origin(bare_type(field)) is dict else value
        for key, (value, field) in found.items()
    }


def _as_mapping(key: str, words: Sequence[str]) -> dict[str, str]:
    if wrong := next((word for word in words if "=" not in word), None):
        raise UserError(f"--{key}: {wrong!r} has no name: write NAME=TEXT")
    return {name: value for name, _, value in (word.partition("=") for word in words)}
