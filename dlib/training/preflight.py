"""What can be told of a run by its flags and files alone: found, or refused, before the libraries are imported.

It stands apart because that import takes seconds, and somebody who mistyped a folder must not wait for it. So nothing
here, and nothing that it imports, imports torch, but for a GPU that is asked for.
"""

import importlib.util
import os
from dataclasses import dataclass, replace
from pathlib import Path

from dlib.args import DataArgs, ExperimentArgs
from dlib.args.tables import STRATEGIES
from dlib.data.batching import check_batch_arithmetic, check_token_budget
from dlib.data.finding import TextFiles, find_text
from dlib.models.sources import find_source
from dlib.process.errors import UserError
from dlib.process.placement import count_nodes
from dlib.process.ranks import is_rank_zero
from dlib.process.versions import refuse_attention_on, refuse_missing
from dlib.runs import session
from dlib.runs.folder import RunFolder
from dlib.tracking.packages import refuse_missing_packages
from dlib.training.devices import Devices, find_devices, told_devices
from dlib.training.plan import refuse_steps_outside, told_steps


@dataclass(frozen=True)
class Inputs:
    """What a run reads."""

    texts: TextFiles  # the two texts
    source: str  # name or folder of the model that it starts from
    start: session.Start  # where it begins: at its newest checkpoint, or at that of the run which it branches from
    begun: ExperimentArgs | None  # the arguments that it has been trained with, None before its beginning


def find_inputs(args: ExperimentArgs, folder: RunFolder, *, plan_only: bool) -> Inputs:
    """Find what a run reads, and refuse what it cannot do; touches nothing. `plan_only` asks for no place to write to.

    Raises:
        UserError: something is missing, or flags do not fit each other.
    """
    kernel, strategy = args.model.attn_implementation, args.hardware.distributed_strategy
    refuse_missing(kernel, args.optim.optimizer, compiles=args.model.compile, strategy=strategy)
    check_batch(args, told_devices(args.hardware), count_nodes(args.hardware.num_nodes))
    steps = told_steps(args)
    if steps is not None:
        refuse_steps_outside(args.checkpoint.extra_steps, steps)
    if not plan_only:
        refuse_missing_packages(args.tracking.trackers)
        refuse_missing_engine(strategy)
        refuse_unwritable_run(folder)
    refuse_unwritable_cache(args.data)
    texts = find_text(args.data)
    start = session.first_checkpoint(folder, args)
    return Inputs(texts, find_source(args, start.checkpoint), start, session.recorded_args(folder))


def settle_hardware(args: ExperimentArgs) -> tuple[ExperimentArgs, Devices]:
    """Find the devices, and settle what follows from them.

    Returns:
        The arguments with what was chosen, so that a run which goes on elsewhere keeps it; and the devices.

    Raises:
        UserError: there are no such devices, or other arguments do not fit them.
    """
    devices = find_devices(args.hardware)
    refuse_attention_on(devices.accelerator, args.model.attn_implementation)
    refuse_strategy_on(devices.accelerator, args.hardware.distributed_strategy)
    check_batch(args, len(devices.indices), devices.num_nodes)
    return replace(args, hardware=replace(args.hardware, precision=devices.precision)), devices


def check_batch(args: ExperimentArgs, devices: int | None, nodes: int) -> None:
    """Refuse a step of rows, or of tokens, that devices cannot share; see `check_batch_arithmetic`."""
    batch = args.batch
    if batch.max_tokens_per_batch is None:
        check_batch_arithmetic(batch.batch_size, batch.micro_batch_size, devices, nodes)
    else:
        budget, max_length = batch.max_tokens_per_batch, args.data.max_length
        check_token_budget(budget, max_length, batch.micro_batch_size, devices, nodes)


def refuse_missing_engine(strategy: str) -> None:
    """Refuse a strategy whose package is not installed."""
    package = STRATEGIES[strategy].package
    if package and importlib.util.find_spec(package) is None:
        raise UserError(f"--distributed_strategy {strategy} needs the package {package}: pip install {package}")


def refuse_strategy_on(accelerator: str, strategy: str) -> None:
    """Refuse a strategy that such devices do not have."""
    if accelerator not in (there := STRATEGIES[strategy].accelerators):
        raise UserError(f"--distributed_strategy {strategy} is for {' and '.join(there)}, and not for {accelerator}")


def refuse_unwritable_run(folder: RunFolder) -> None:
    """Refuse a run whose folder the first process could not make or write."""
    if is_rank_zero() and (reason := why_unwritable(folder.root)):
        raise UserError(f"--out_dir {folder.root.parent}: no run can be written there: {reason}")


def refuse_unwritable_cache(args: DataArgs) -> None:
    """Refuse a cache that cannot be written, and holds nothing that could be read either."""
    cache = Path(args.cache_dir)
    if (reason := why_unwritable(cache)) and not (cache.is_dir() and any(cache.iterdir())):
        raise UserError(f"cannot write to --cache_dir {cache}: {reason}; name another")


def why_unwritable(folder: Path) -> str | None:
    """Why nothing can be written into a folder, which may have to be made first; None where nothing is known of it."""
    nearest = next(path for path in (folder, *folder.parents) if os.path.lexists(path))
    if not nearest.is_dir():
        return f"{nearest} is no folder"
    return None if os.access(nearest, os.W_OK | os.X_OK) else f"{nearest} is not writable"
