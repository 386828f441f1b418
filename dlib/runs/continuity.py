"""Whether a session goes on with the same run: the same arguments, texts, tokenizer and weights, by the same means.

It stands apart from the session, which holds the run: these are rules, and more of them come with what can be set.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from dlib.args import ExperimentArgs
from dlib.config.configuration import differing_fields
from dlib.process.errors import UserError
from dlib.process.ranks import logger
from dlib.runs.comparison import hardware_changes, package_changes, session_code_changes, shortened
from dlib.runs.folder import RunFolder
from dlib.runs.record import add_hash, read_record

SHOWN_DIFFERENCES = 5
STARTING_WEIGHTS = "starting weights"


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


def refuse_changes(args: ExperimentArgs, recorded: ExperimentArgs, folder: RunFolder) -> None:
    """Refuse to go on with other arguments than the run began with.

    A run with `--on_nan stop` may go on with another value: up to where it stopped, all of them compute the same.
    """
    differences = [d for d in differing_fields(recorded, args) if (d.key, d.old) != ("optim.on_nan", "stop")]
    if differences:
        shown = ", ".join(f"{d.key} was {d.old!r}, now {d.new!r}" for d in differences[:SHOWN_DIFFERENCES])
        more = f" and {len(differences) - SHOWN_DIFFERENCES} more" if len(differences) > SHOWN_DIFFERENCES else ""
        raise UserError(
            f"run '{folder.name}' began with other arguments: {shown}{more}; restore them, or choose another --name, "
            f"with --checkpoint {folder.root} to start from this run's weights"
        )


def refuse_other_data(folder: RunFolder, hashes: Mapping[str, str]) -> None:
    """Refuse to go on with other texts or another tokenizer than the run began with.

    Args:
        folder: the run.
        hashes: hashes, as they will be recorded.

    Raises:
        UserError: some differ from the record. Where there is none any more, a warning says what is not checked.
    """
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
    """Warn who goes on with hardware, packages or code other than the run's first session had.

    Args:
        folder: the run.
        session: what this session is made with (`describe_session`).
        any_number: whether it does not matter how many like devices there are.
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


def refuse_other_weights(folder: RunFolder, sha256: str) -> None:
    """Record what weights a run starts from; refuse to start from others than a session that saved nothing did.

    A model on the hub, or the best checkpoint of another run, may have changed meanwhile.

    Args:
        folder: the run, which this process holds.
        sha256: hash of the weights before the first optimizer step.
    """
    record = read_record(folder)
    recorded = None if record is None else record["hashes"].get(STARTING_WEIGHTS)
    if recorded is None:
        add_hash(folder, STARTING_WEIGHTS, sha256)
    elif recorded != sha256:
        raise UserError(f"run '{folder.name}' began with other {STARTING_WEIGHTS}; choose another --name")
