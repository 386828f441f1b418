"""`train.py --branch RUN@STEP -n NAME`: a new run that begins with the weights, optimizer, place and numbers of a step.

    trunk:   1 ... 800 ... 2000
    branch:  1 ... 800 - 801 ... 1000      other learning rates from step 801 on; its numbers up to 800 are the trunk's

What is inherited is copied, so that the trunk may go; the recorded arguments name it.
"""

import json
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

from dlib.args import ExperimentArgs
from dlib.config.configuration import ParsedArgs, differing_fields, load_config, load_training_config
from dlib.config.fields import flag_of
from dlib.process.durable import write_text_atomically
from dlib.process.errors import UserError
from dlib.process.ranks import say
from dlib.runs.continuity import refuse_other_data, with_recorded_defaults
from dlib.runs.folder import RunFolder
from dlib.runs.metrics_log import encode, read_metrics
from dlib.runs.registry import find_run

MAY_DIFFER = (
    *("optim.learning_rate", "optim.schedule", "optim.warmup", "optim.decay", "optim.min_learning_rate_ratio"),
    *("optim.max_grad_norm", "optim.on_nan", "run.branch"),
    *("durations.training_goal", "durations.earlier_goals", "durations.eval_interval", "durations.early_stopping"),
    *("checkpoint.extra_steps", "tracking.log_interval"),
)
"""What a branch may do otherwise than its trunk: how it goes on. The rest says what was trained so far."""


def with_trunk(parsed: ParsedArgs) -> ParsedArgs:
    """The parsed command line, with the arguments of the run that `--branch` names below all that was said.

    Where `auto` was said, the branch takes what that run settled.

    Raises:
        UserError: there is no such run or checkpoint, or something differs that was settled with its first step.
    """
    run = parsed.args.run
    if run.branch is None:
        return parsed
    own = RunFolder(Path(run.out_dir, run.name))
    if own.config.is_file():
        return _with_config(parsed, own, recorded_branch(own, run.branch))
    trunk, step = find_trunk(run.branch, Path(run.out_dir))
    parsed, recorded = _with_config(parsed, trunk, f"{trunk.root.resolve()}@{step}"), load_config([trunk.config])
    args = replace(with_recorded_defaults(parsed.args, recorded), durations=parsed.args.durations)
    differences = [d for d in differing_fields(recorded, args) if d.key not in MAY_DIFFER]
    if differences:
        key, old, new = differences[0].key, differences[0].old, differences[0].new
        raise UserError(
            f"--branch {run.branch}: {flag_of(key)} was {old!r} there and is {new!r} here, and a branch goes on with "
            "what was trained; leave it out, or begin with --checkpoint"
        )
    return replace(parsed, args=args)


def _with_config(parsed: ParsedArgs, base: RunFolder, branch: str) -> ParsedArgs:
    """The parsed command line with the arguments of a run below all that was said."""
    run = parsed.args.run
    place = {"run.name": run.name, "run.out_dir": run.out_dir, "run.branch": branch}
    overrides = {"durations.earlier_goals": [], **parsed.flags.overrides, **place}
    return replace(parsed, args=load_training_config([base.config, *parsed.flags.config_paths], overrides))


def recorded_branch(own: RunFolder, word: str) -> str:
    """Where a run that is there began, which is what `--branch` says again.

    Raises:
        UserError: it says something else.
    """
    recorded = load_config([own.config]).run.branch
    said = word
    with suppress(UserError):  # the trunk may be gone
        trunk, step = find_trunk(word, own.root.parent)
        said = f"{trunk.root.resolve()}@{step}"
    if recorded is None or (said != recorded and said != word):
        began = "by itself" if recorded is None else f"at {recorded}"
        raise UserError(f"--branch {word}: run '{own.name}' began {began}; choose another --name")
    return recorded


def find_trunk(word: str, workspace: Path) -> tuple[RunFolder, int]:
    """The run and step of `RUN@STEP`, `RUN@best` or `RUN`, which is its last.

    Raises:
        UserError: there is no such run, or it has no such checkpoint.
    """
    name, _, at = word.rpartition("@") if "@" in word else (word, "", "last")
    try:
        trunk = find_run(name, workspace)
    except UserError as error:
        raise UserError(f"--branch {word}: {error}") from error
    steps = [step for step, _ in trunk.whole_checkpoints()]
    wanted = {"last": steps[-1] if steps else None, "best": trunk.pointed_step("best")}
    step = wanted.get(at, int(at) if at.isdecimal() else None)
    if step not in steps or not trunk.config.is_file():
        there = f"it has {', '.join(map(str, steps))}" if steps else "it has none"
        raise UserError(f"--branch {word}: no such checkpoint: {there}; write {name}@STEP")
    assert step is not None
    return trunk, step


def trunk_checkpoint(args: ExperimentArgs) -> tuple[int, Path] | None:
    """Step and folder of the checkpoint that a branch begins with; None for any other run."""
    if args.run.branch is None:
        return None
    trunk, step = find_trunk(args.run.branch, Path(args.run.out_dir))
    return step, trunk.checkpoint(step)


def begin_branch(folder: RunFolder, args: ExperimentArgs, hashes: Mapping[str, str]) -> None:
    """Copy what a branch inherits into its folder, its checkpoint last: without it, it is copied again.

    Raises:
        UserError: the texts or the tokenizer are not the trunk's, or the disk refuses.
    """
    assert args.run.branch is not None
    trunk, step = find_trunk(args.run.branch, Path(args.run.out_dir))
    refuse_other_data(trunk, hashes)
    records = [record for record in read_metrics(trunk.metrics) if record["step"] <= step]
    lines = (json.dumps({k: encode(v) for k, v in record.items()}, ensure_ascii=False) for record in records)
    write_text_atomically(folder.metrics, "".join(f"{line}\n" for line in lines))
    folder.publish_checkpoint(step, partial(_copy, trunk.checkpoint(step)))
    say(f"run '{folder.name}' begins at step {step} of {trunk.root}: its numbers up to there are that run's")


def _copy(checkpoint: Path, new: Path) -> None:
    shutil.copytree(checkpoint, new, dirs_exist_ok=True)
