"""Whether a run may begin, where it goes on, and how it ends: the rules of one name, one run, one process.

It stands apart from the folder, which spells paths, and from `train.py`, which tells the story.
"""

import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dlib.args import ExperimentArgs
from dlib.config import differing_fields, dump_config, load_config
from dlib.durable import write_text_atomically
from dlib.errors import UserError
from dlib.ranks import is_rank_zero, logger, say
from dlib.runs.comparison import hardware_changes
from dlib.runs.folder import CheckpointFolder, RunFolder
from dlib.runs.metrics_log import BEST_BY, best, read_metrics
from dlib.runs.record import add_hash, describe_machine, read_record, write_record

SHOWN_DIFFERENCES = 5
STARTING_WEIGHTS = "starting weights"


@dataclass(frozen=True)
class Start:
    """Where a session of a run begins.

    Attributes:
        step: optimizer steps that are done.
        checkpoint: the checkpoint of these steps; None at the run's beginning.
    """

    step: int
    checkpoint: Path | None


def is_finished(folder: RunFolder) -> bool:
    """Whether the run has reached its goal."""
    status = folder.read_status()
    return status is not None and status.state == "finished"


def recorded_args(folder: RunFolder) -> ExperimentArgs | None:
    """The arguments of the run's beginning, None where it never began."""
    return load_config([folder.config]) if folder.config.is_file() else None


def refuse_changes(args: ExperimentArgs, recorded: ExperimentArgs, folder: RunFolder) -> None:
    """Refuse to go on with other arguments than the run began with.

    Raises:
        UserError: some differ that enter the function that a run computes.
    """
    differences = differing_fields(recorded, args)
    if differences:
        shown = ", ".join(f"{d.key} was {d.old!r}, now {d.new!r}" for d in differences[:SHOWN_DIFFERENCES])
        more = f" and {len(differences) - SHOWN_DIFFERENCES} more" if len(differences) > SHOWN_DIFFERENCES else ""
        raise UserError(
            f"run '{folder.name}' began with other arguments: {shown}{more}; restore them, or choose another --name, "
            f"with --checkpoint {folder.root} to start from this run's weights"
        )


def with_recorded_defaults(args: ExperimentArgs, recorded: ExperimentArgs) -> ExperimentArgs:
    """The arguments, with what the run's beginning chose by itself where the user chose nothing.

    The micro-batch and the precision are chosen by the devices, and enter what is computed: a run that goes on with
    other devices keeps those that it began with.
    """
    batch, hardware = args.batch, args.hardware
    if batch.micro_batch_size is None:
        batch = replace(batch, micro_batch_size=recorded.batch.micro_batch_size)
    if hardware.precision == "auto":
        hardware = replace(hardware, precision=recorded.hardware.precision)
    return replace(args, batch=batch, hardware=hardware)


def check(folder: RunFolder, args: ExperimentArgs) -> ExperimentArgs:
    """Refuse, before anything is built, what cannot go on; touches nothing.

    Returns:
        The arguments, with what the run's beginning chose by itself.

    Raises:
        UserError: the run exists and must not go on, or began with other arguments.
    """
    if folder.is_foreign():
        raise UserError(f"{folder.root} exists and is no run; choose another --name or --out_dir")
    recorded = recorded_args(folder)
    if recorded is None:
        return args
    if args.run.resume == "never" and is_rank_zero():  # the other processes come when the run stands
        raise UserError(f"run '{folder.name}' exists and --resume is never; choose another --name")
    args = with_recorded_defaults(args, recorded)
    refuse_changes(args, recorded, folder)
    return args


@contextmanager
def opened(
    folder: RunFolder,
    args: ExperimentArgs,
    total_steps: int,
    hashes: Mapping[str, str],
    devices: Mapping[str, Any],
    repository: Path,
) -> Iterator[Start]:
    """Hold the run for this session: write what it is, or check that it is still the same.

    Only the first process holds and writes; the others learn where to begin. A new run that fails by a
    mistake of the user leaves nothing behind.

    Args:
        folder: the run.
        args: what it computes.
        total_steps: optimizer steps of the whole run.
        hashes: hashes of its data.
        devices: what it computes on, as the record says it.
        repository: a folder in the code's working tree.

    Raises:
        UserError: another process holds the run, or it began with other arguments or data.
    """
    if not is_rank_zero():
        yield last_checkpoint(folder)
        return
    check(folder, args)
    with folder.hold(), _nothing_left_of_a_mistake(folder):
        check(folder, args)  # again: another process may have begun it meanwhile
        refuse_other_data(folder, hashes)
        warn_of_other_hardware(folder, devices, any_number=args.hardware.exact_reduce)
        start = last_checkpoint(folder)
        _mend_links(folder, start)
        if not folder.config.is_file():
            write_text_atomically(folder.config, dump_config(args))
        write_record(folder, argv=sys.argv, devices=devices, hashes=hashes, from_step=start.step, repository=repository)
        folder.write_status("running", start.step, total_steps)
        with _told_in_status(folder, total_steps):
            yield start


def _mend_links(folder: RunFolder, start: Start) -> None:
    """Move `last` and `best` to where a kill kept them from going: a checkpoint is whole before they move."""
    if start.checkpoint is None:
        return
    folder.point("last", start.step)
    lowest = best(folder.metrics, BEST_BY, among={step for step, _ in folder.whole_checkpoints()})
    if lowest is not None:
        folder.point("best", lowest[0])


@contextmanager
def _nothing_left_of_a_mistake(folder: RunFolder) -> Iterator[None]:
    """Remove a new run that a mistake of the user ended; only its holder may ask whether it is new, and remove it."""
    is_new = not folder.config.is_file()
    try:
        yield
    except UserError:
        if is_new and not folder.whole_checkpoints():
            shutil.rmtree(folder.root)
        raise


@contextmanager
def _told_in_status(folder: RunFolder, total_steps: int) -> Iterator[None]:
    """Write into status.json that an exception ended the session; an interrupt is no failure."""
    try:
        yield
    except BaseException as error:
        state = "preempted" if isinstance(error, (KeyboardInterrupt, SystemExit)) else "failed"
        if state == "failed" and not isinstance(error, UserError):  # those are told by whoever catches them
            logger().error("%s: %s", type(error).__name__, error)
        folder.write_status(state, last_checkpoint(folder).step, total_steps)
        raise


def close(folder: RunFolder, state: str, step: int, total_steps: int) -> None:
    """Write how a session ended, and tell the user, who may want to know how to go on."""
    if not is_rank_zero():
        return
    folder.write_status(state, step, total_steps)
    if state == "preempted":
        say(f"run '{folder.name}' is saved at step {step} of {total_steps}; the same command goes on")
        return
    newest = read_metrics(folder.metrics)[-1]
    numbers = ", ".join(f"{name.removeprefix('dev/')} {newest[name]:.4g}" for name in newest if name.startswith("dev/"))
    say(f"run '{folder.name}' is finished: dev {numbers}")
    say(f"model: {CheckpointFolder(folder.best if folder.best.exists() else folder.last).model}")


def refuse_other_data(folder: RunFolder, hashes: Mapping[str, str]) -> None:
    """Refuse to go on with other texts or another tokenizer than the run began with.

    Args:
        folder: the run.
        hashes: hashes, as they will be recorded.

    Raises:
        UserError: some differ from the record.
    """
    record = read_record(folder)
    if record is None:
        return
    others = [f"another {name}" for name, value in hashes.items() if record["hashes"].get(name) != value]
    if others:
        raise UserError(
            f"run '{folder.name}' began with {' and '.join(others)}; give the same again, or choose another --name"
        )


def warn_of_other_hardware(folder: RunFolder, devices: Mapping[str, Any], *, any_number: bool) -> None:
    """Warn who goes on with hardware on which the last bits of the numbers may be others than at the run's beginning.

    Args:
        folder: the run.
        devices: what this session computes on, as it will be recorded.
        any_number: whether it does not matter how many like devices there are.
    """
    record = read_record(folder)
    if record is None:
        return
    here, then = {**describe_machine(), **devices}, dict(record["hardware"])
    if any_number:
        for hardware in (here, then):
            hardware.update(processes=1, gpus=sorted(set(hardware.get("gpus", []))))
    changes = hardware_changes(here, then)
    if changes:
        logger().warning(
            "other hardware than at the run's beginning, %s: numbers may differ in their last bits", ", ".join(changes)
        )


def refuse_other_weights(folder: RunFolder, sha256: str) -> None:
    """Record what weights a run starts from; refuse to start from others than a session that saved nothing did.

    A model on the hub, or the best checkpoint of another run, may have changed meanwhile.

    Args:
        folder: the run, which this process holds.
        sha256: hash of the weights before the first optimizer step.

    Raises:
        UserError: it differs from the record.
    """
    record = read_record(folder)
    recorded = None if record is None else record["hashes"].get(STARTING_WEIGHTS)
    if recorded is None:
        add_hash(folder, STARTING_WEIGHTS, sha256)
    elif recorded != sha256:
        raise UserError(f"run '{folder.name}' began with other {STARTING_WEIGHTS}; choose another --name")


def last_checkpoint(folder: RunFolder) -> Start:
    """The newest whole checkpoint.

    The folders are asked and not the link `last`, which a kill may have left one checkpoint behind.
    """
    checkpoints = folder.whole_checkpoints()
    return Start(*checkpoints[-1]) if checkpoints else Start(0, None)
