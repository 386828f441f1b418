"""Whether a session continues the same run: same arguments, texts, tokenizer, weights; a warning for other hardware."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from dlib.args import ExperimentArgs
from dlib.config.configuration import differing_fields
from dlib.config.durations import parse_duration
from dlib.process.errors import UserError
from dlib.process.ranks import logger
from dlib.runs.comparison import hardware_changes, package_changes, session_code_changes, shortened
from dlib.runs.folder import RunFolder
from dlib.runs.record import add_hash, read_record

SHOWN_DIFFERENCES = 5
STARTING_WEIGHTS = "starting weights"


def with_recorded_defaults(args: ExperimentArgs, recorded: ExperimentArgs) -> ExperimentArgs:
    """The arguments, with what the run settled when it began: micro-batch size, precision, documents, dev split.

    The first two are chosen by the devices and change the numbers, so a run keeps them on other devices.
    """
    batch, hardware, data = args.batch, args.hardware, args.data
    if batch.micro_batch_size is None:
        batch = replace(batch, micro_batch_size=recorded.batch.micro_batch_size)
    if hardware.precision == "auto":
        hardware = replace(hardware, precision=recorded.hardware.precision)
    if data.document == "auto":
        data = replace(data, document=recorded.data.document)
    if (recorded.data.dev_split or "").startswith(f"{data.dev_split} = "):
        data = replace(data, dev_split=recorded.data.dev_split)
    durations = args.durations
    if not durations.earlier_goals:
        durations = replace(durations, earlier_goals=recorded.durations.earlier_goals)
    return replace(args, batch=batch, hardware=hardware, data=data, durations=durations)


def has_another_goal(args: ExperimentArgs, recorded: ExperimentArgs) -> bool:
    """Whether a run is to end elsewhere than it was begun for, or made longer for."""
    goals = [parse_duration(each.durations.training_goal, "--training_goal") for each in (args, recorded)]
    return goals[0] != goals[1]


def with_new_goal(args: ExperimentArgs, recorded: ExperimentArgs, total_steps: int) -> ExperimentArgs:
    """The arguments of a run that has another goal than the recorded of `total_steps`, which is noted.

    It is what the run's shares are of, if it was the first, and where it is evaluated and saved for good: so a run of
    these arguments is, from its first step, the one that goes on.
    """
    earlier = sorted({*recorded.durations.earlier_goals, total_steps} - {0})
    return replace(args, durations=replace(args.durations, earlier_goals=earlier))


def with_what_may_change(recorded: ExperimentArgs, args: ExperimentArgs) -> ExperimentArgs:
    """The recorded arguments, with the new values of those that change nothing of what was computed so far.

    `--on_nan stop`: up to where such a run stopped, all values compute the same. The goal, whose steps
    `refuse_other_course` looks at. `--eval_interval`, where no evaluation decides when the run ends.
    """
    durations, new = recorded.durations, args.durations
    durations = replace(durations, training_goal=new.training_goal, earlier_goals=new.earlier_goals)
    if durations.early_stopping is None:
        durations = replace(durations, eval_interval=new.eval_interval)
    on_nan = args.optim.on_nan if recorded.optim.on_nan == "stop" else recorded.optim.on_nan
    return replace(recorded, durations=durations, optim=replace(recorded.optim, on_nan=on_nan))


def refuse_changes(args: ExperimentArgs, recorded: ExperimentArgs, folder: RunFolder) -> None:
    """Refuse to continue with other arguments than the run began with, but for those that may change."""
    differences = differing_fields(with_what_may_change(recorded, args), args)
    if differences:
        shown = ", ".join(f"{d.key} was {d.old!r}, now {d.new!r}" for d in differences[:SHOWN_DIFFERENCES])
        more = f" and {len(differences) - SHOWN_DIFFERENCES} more" if len(differences) > SHOWN_DIFFERENCES else ""
        further = f", and --branch {folder.root} for its last step, --checkpoint for its weights"
        if not folder.whole_checkpoints():
            further = f"; it has saved nothing: runs.py drop {folder.root} puts it away"
        raise UserError(
            f"run '{folder.name}' began with other arguments: {shown}{more}; --resume {folder.root} takes its own, or "
            f"choose another --name{further}"
        )


def refuse_other_data(folder: RunFolder, hashes: Mapping[str, str]) -> None:
    """Refuse to continue with other texts or another tokenizer; warn where the record that would tell is gone."""
    record = read_record(folder)
    if record is None:
        if folder.whole_checkpoints():
            logger().warning(
                "%s is missing or damaged: whether the run began with the same %s, code, packages and hardware can no "
                "longer be checked; it is written anew, with those of now",
                *(folder.record, ", ".join(hashes)),
            )
        return
    others = [f"another {name}" for name, value in hashes.items() if record["hashes"].get(name) != value]
    if others:
        raise UserError(
            f"run '{folder.name}' began with {' and '.join(others)}; give the same again, or choose another --name"
        )


def warn_of_changes(folder: RunFolder, session: Mapping[str, Any], *, any_number: bool) -> None:
    """Warn of hardware, packages or code other than in the run's first session.

    With `any_number` (`--exact_reduce`) the number of like devices does not matter.
    """
    record = read_record(folder)
    if record is None:
        return
    here, then = dict(session["hardware"]), dict(record["hardware"])
    if any_number:
        for hardware in (here, then):
            hardware.update(processes=1, gpus=sorted(set(hardware.get("gpus", []))))
    changes = hardware_changes(here, then) + package_changes(session, record) + session_code_changes(session, record)
    if changes:
        logger().warning("not as at the run's beginning: %s; from here on numbers may differ", shortened(changes))


def refuse_other_weights(folder: RunFolder, sha256: str, name: str = STARTING_WEIGHTS) -> None:
    """Record which weights a run starts from, or refuse others than an earlier session started from.

    A model on the hub, or the best checkpoint of another run, may have changed in between.

    Args:
        folder: of the run.
        sha256: the weights' hash.
        name: what they are.

    Raises:
        UserError: an earlier session had others.
    """
    record = read_record(folder)
    recorded = None if record is None else record["hashes"].get(name)
    if recorded is None:
        add_hash(folder, name, sha256)
    elif recorded != sha256:
        raise UserError(f"run '{folder.name}' began with other {name}; choose another --name")
