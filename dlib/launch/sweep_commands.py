"""The command line of `sweep.py`, and what it asks for."""

from argparse import Namespace
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

from dlib.config.command_line import Flags, parse_flags
from dlib.config.configuration import load_config
from dlib.config.fields import FIELDS, flag_of
from dlib.config.flags import flags_of
from dlib.config.script_parser import ScriptParser, add_flag, add_switch, with_underscores
from dlib.launch.commands import cluster_overrides, declare_cluster
from dlib.launch.grids import SEED
from dlib.launch.sweep_content import NOT_HERE, TRUST
from dlib.launch.sweep_file import SweepFile
from dlib.launch.sweep_points import SweepOrder
from dlib.process.errors import UserError

STATUS = "status"
TRAINING_FLAGS = {flag for key in FIELDS for flag in flags_of(key)}


def make_parser() -> ScriptParser:
    """The parser of the words before `--`."""
    parser = ScriptParser(
        prog="sweep.py",
        usage="sweep.py [status] SWEEP [--list | --index I | --local N | --submit CLUSTER] [-- FLAG VALUE ...]",
        description="Train many runs: the points of a sweep. What follows -- are flags of train.py, for all of them.",
        allow_abbrev=False,
    )
    text = "The sweep, a YAML or JSON file; `status` before it shows where its points stand."
    add_flag(parser, "words", text, "SWEEP", nargs="+")
    action = parser.add_mutually_exclusive_group()
    add_switch(action, "--list", "Print each index with its run and settings.")
    text = "Train this point, or go on with it: in an array of any scheduler, the number of the task."
    add_flag(action, "--index", text, "I", type=int)
    text = "Train all points on this machine, N at a time: each has a device of its own, or a share of the cores."
    add_flag(action, "--local", text, "N", type=int)
    text = "Send the points to a cluster, a name in configs/clusters/ or a file, as one array."
    add_flag(action, "--submit", text, "CLUSTER")
    text = "YAML files below all points, after those that the sweep names."
    add_flag(parser, "--config_path", text, "FILE", type=Path, nargs="+", action="extend", default=[])
    add_flag(parser, "--repeat", "Each point with so many seeds (default: as the sweep says).", "N", type=int)
    add_flag(parser, "--out_dir", "Folder that holds the run folders (default: as train.py has it).", "FOLDER")
    add_switch(parser, "--retry_failed", "Try points again that failed.")
    add_flag(parser, "--limit", "At most so many points of an array at a time (--submit).", "N", type=int)
    add_switch(parser, "--dry_run", "Check everything, print the script, and leave nothing (--submit).")
    add_switch(parser, "--json", "Print JSON objects, one a line (--list, status).")
    declare_cluster(parser)
    return parser


def parse_order(argv: Sequence[str]) -> tuple[Namespace, SweepOrder]:
    """What is asked for, and of which sweep.

    Raises:
        UserError: the command line or the sweep is wrong.
    """
    place = argv.index("--") if "--" in argv else len(argv)
    asked = parse_own(with_underscores(argv[:place]))
    asked.status = asked.words[0] == STATUS
    if len(asked.words) != 1 + asked.status:
        raise UserError(f"{' '.join(asked.words)}: give one sweep, a file; flags of train.py come after --")
    for flag in ("local", "limit"):
        if (number := getattr(asked, flag)) is not None and number < 1:
            raise UserError(f"--{flag} {number}: give the number of points at a time, at least 1")
    if (asked.limit or asked.dry_run or cluster_overrides(vars(asked))) and not asked.submit:
        raise UserError("--limit, --dry_run and what a cluster is asked for stand beside --submit CLUSTER")
    if not (asked.status or asked.list or asked.local or asked.submit or asked.index is not None):
        raise UserError(
            "say what to do with the sweep: --list, --index I, --local N, --submit CLUSTER, or status before it"
        )
    return asked, read_order(asked, list(argv[place + 1 :]))


def parse_own(words: list[str]) -> Namespace:
    """The flags of `sweep.py` itself.

    Raises:
        UserError: one is not known, or is a flag of `train.py`, which has its place after --.
    """
    parser = make_parser()
    names = (word.partition("=")[0] for word in words)
    if theirs := next(
        (name for name in names if name in TRAINING_FLAGS and name not in parser._option_string_actions), None
    ):
        raise UserError(f"{theirs} is a flag of train.py: put -- before it, behind all that is sweep.py's own")
    return parser.parse_args(words)


def read_order(asked: Namespace, words: list[str]) -> SweepOrder:
    """The sweep, and what was given with it; `words` are further flags of `train.py`."""
    file = SweepFile(Path(asked.words[-1]))
    sweep = file.sweep()
    if asked.repeat is not None:
        if asked.repeat < 1 or any(SEED in point for point in sweep.own):
            raise UserError(f"--repeat {asked.repeat}: give a number from 1 on, to a sweep that does not vary the seed")
        sweep = replace(sweep, repeat=asked.repeat)
    given = parse_flags(words, "")
    refuse_flags(given, {key for point in sweep.own for key in point})
    workspace = {} if asked.out_dir is None else {"run.out_dir": asked.out_dir}
    if asked.list or asked.local or asked.submit:
        file.check(asked.config_path, given.overrides | workspace)
    paths = [*sweep.config_paths, *asked.config_path]
    args = load_config(paths, {**sweep.settings, **given.overrides, **workspace})
    return SweepOrder(sweep, paths, words, args, asked.retry_failed, any_goal=asked.status)


def refuse_flags(given: Flags, varied: Collection[str]) -> None:
    """Refuse flags for `train.py` that the sweep or `sweep.py` itself says otherwise."""
    if given.config_paths or given.plan or given.help or given.fast_dev_run:
        raise UserError(
            "after -- there are values for all points: give --config_path before it; --plan has no place here"
        )
    for key in given.overrides:
        if key in varied:
            raise UserError(f"{flag_of(key)}: the sweep varies it")
        if key in NOT_HERE and key != TRUST:
            raise UserError(f"{flag_of(key)} does not stand behind --: {NOT_HERE[key]}")
