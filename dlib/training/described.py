"""A training on devices that are described, and not here: what would fail there is told before a job waits for them.

Like `preflight.py` it imports no torch: a login node may be slow, and no place to compute.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dlib.args import ExperimentArgs, HardwareArgs
from dlib.config.configuration import parse_args
from dlib.process.errors import UserError
from dlib.process.versions import refuse_attention_on
from dlib.runs import session
from dlib.runs.branching import with_trunk
from dlib.runs.folder import RunFolder
from dlib.runs.resuming import with_recorded_run
from dlib.training.devices import choose_precision, refuse_no_power_of_two
from dlib.training.preflight import check_batch, find_inputs


@dataclass(frozen=True)
class Described:
    """The devices that a job gets."""

    nodes: int  # machines
    gpus: int  # on each machine
    tasks: int  # processes that the launcher starts on each machine
    same_files: bool = True  # whether paths and packages there are those that are here


def check_training(words: Sequence[str], described: Described) -> tuple[RunFolder, list[str]]:
    """Check a command line of `train.py` as far as flags and files tell, for other devices than those here.

    Returns:
        The run's folder, and the flags to add for the devices.

    Raises:
        UserError: the training would be refused there, or is finished.
    """
    parsed = with_trunk(with_recorded_run(parse_args(words, description="")))
    if parsed.flags.plan or parsed.flags.fast_dev_run:
        raise UserError(f"--{'plan' if parsed.flags.plan else 'fast_dev_run'} leaves no run: start it without a job")
    hardware = settle_described(parsed.args.hardware, described)
    folder = RunFolder(Path(parsed.args.run.out_dir, parsed.args.run.name).absolute())
    args = session.check(folder, replace(parsed.args, hardware=hardware))
    if session.is_finished(folder, args):
        raise UserError(f"run '{folder.name}' is finished; a longer --training_goal goes on, another --name is new")
    check_devices(args, described)
    if described.same_files:
        find_inputs(args, folder, plan_only=False)
    return folder, flags_for(parsed.args.hardware, hardware)


def settle_described(args: HardwareArgs, described: Described) -> HardwareArgs:
    """The hardware arguments for described devices.

    Raises:
        UserError: they ask for other devices, or the job starts another number of processes.
    """
    accelerator = args.accelerator if args.accelerator != "auto" else "cuda" if described.gpus else "cpu"
    if accelerator != "cpu" and not described.gpus:
        raise UserError(f"--accelerator {accelerator}: the job gets no GPU; give --gpus_per_node before the --")
    if accelerator != "cpu" and any(index >= described.gpus for index in args.cuda_device_ids):
        raise UserError(f"--cuda_device_ids: the job gets GPUs 0 to {described.gpus - 1} (--gpus_per_node)")
    asked = len(args.cuda_device_ids) or args.num_devices
    devices = asked if asked > 0 else described.tasks if accelerator == "cpu" else described.gpus
    if accelerator != "cpu" and devices > described.gpus:
        raise UserError(f"--num_devices {devices}: the job gets {described.gpus} GPUs a node (--gpus_per_node)")
    if args.num_nodes not in (-1, 1, described.nodes):
        raise UserError(f"--num_nodes {args.num_nodes}: the job gets {described.nodes} (--nodes); leave it out")
    if described.tasks not in (1, devices):  # one task a node starts the others of its node
        raise UserError(
            f"--tasks_per_node {described.tasks}: srun would start as many processes on each node, for {devices} "
            f"devices there; give --tasks_per_node {devices}"
        )
    return replace(args, accelerator=accelerator, num_devices=devices, num_nodes=described.nodes)


def check_devices(args: ExperimentArgs, described: Described) -> None:
    """Refuse a step that the devices cannot share, and arithmetic that they do not have."""
    hardware = args.hardware
    if hardware.accelerator == "cpu":
        choose_precision(hardware.precision, "cpu", ())
    refuse_attention_on(hardware.accelerator, args.model.attn_implementation)
    check_batch(args, hardware.num_devices, hardware.num_nodes)
    if hardware.exact_reduce:
        refuse_no_power_of_two(hardware.num_devices * described.nodes)


def flags_for(given: HardwareArgs, settled: HardwareArgs) -> list[str]:
    """The flags that a command needs for several nodes, and for several processes on a CPU."""
    flags = ["--num_nodes", str(settled.num_nodes)] if max(given.num_nodes, 1) != settled.num_nodes else []
    is_told = given.num_devices == settled.num_devices or settled.accelerator != "cpu" or settled.num_devices == 1
    return flags if is_told else [*flags, "--num_devices", str(settled.num_devices)]
