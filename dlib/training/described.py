"""A training on devices that are described, and not here: what would fail there is told before a job waits for them.

Like `preflight.py` it imports no torch, unless the whole plan is asked for: a login node may be slow, and no place to
compute.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dlib.args import ExperimentArgs, HardwareArgs
from dlib.config.configuration import parse_args
from dlib.process.errors import UserError
from dlib.process.messages import quiet_libraries
from dlib.process.versions import refuse_attention_on
from dlib.runs import session
from dlib.runs.branching import with_trunk
from dlib.runs.continuity import has_another_goal
from dlib.runs.ending import ways_on
from dlib.runs.folder import RunFolder
from dlib.runs.liveness import refuse_held
from dlib.runs.resuming import with_recorded_run
from dlib.training.course import refuse_told_course
from dlib.training.devices import Devices, choose_precision, refuse_no_power_of_two
from dlib.training.preflight import Inputs, check_batch, find_inputs


@dataclass(frozen=True)
class Described:
    """The devices that a job gets."""

    nodes: int  # machines
    gpus: int  # on each machine
    tasks: int  # processes that the launcher starts on each machine
    same_files: bool = True  # whether paths and packages there are those that are here


@dataclass(frozen=True)
class DescribedTraining:
    """A training that nothing is known against."""

    folder: RunFolder  # its run
    args: ExperimentArgs  # with the devices that the job gets
    inputs: Inputs | None  # what it reads; None where that is not to be seen from here

    def flags(self, clock: str | None) -> list[str]:
        """What its command line needs besides: the time after which it is to stop, unless it says one itself."""
        return ["--max_time", clock] if clock and self.args.durations.max_time is None else []

    def plan(self) -> str:
        """Work out the whole plan, as `train.py --plan` does, in words; this tokenizes what is not tokenized yet.

        Raises:
            UserError: something of it cannot be had, or does not fit the rest; or the texts stand in a container.
        """
        if self.inputs is None:
            raise UserError("--plan: what a container shows cannot be seen from here; leave it out")
        quiet_libraries()
        from dlib.training.preparation import prepare

        hardware = self.args.hardware
        name, most = ("CPU process", "32-true") if hardware.accelerator == "cpu" else ("GPU", "bf16-mixed")
        precision = most if hardware.precision == "auto" else hardware.precision
        count = hardware.num_devices
        devices = Devices(hardware.accelerator, tuple(range(count)), hardware.num_nodes, precision, (name,) * count)
        args = replace(self.args, hardware=replace(hardware, precision=precision))
        return prepare(args, self.inputs, devices).summary


def check_training(words: Sequence[str], described: Described) -> DescribedTraining:
    """Check a command line of `train.py` as far as flags and files tell, for other devices than those here.

    Raises:
        UserError: the training would be refused there, or is finished.
    """
    parsed = with_trunk(with_recorded_run(parse_args(words, description="")))
    if parsed.flags.plan or parsed.flags.fast_dev_run:
        raise UserError(f"--{'plan' if parsed.flags.plan else 'fast_dev_run'} leaves no run: start it without a job")
    hardware = settle_described(parsed.args.hardware, described)
    folder = RunFolder(Path(parsed.args.run.out_dir, parsed.args.run.name).absolute())
    refuse_held(folder)
    args = session.check(folder, replace(parsed.args, hardware=hardware))
    if session.is_finished(folder, args):
        raise UserError(f"run '{folder.name}' is finished; {ways_on(folder, args)}")
    refuse_new_goal(folder, args)
    check_devices(args)
    inputs = find_inputs(args, folder, plan_only=False) if described.same_files else None
    return DescribedTraining(folder, args, inputs)


def refuse_new_goal(folder: RunFolder, args: ExperimentArgs) -> None:
    """Refuse a goal with which the steps that a run has done would have had other learning rates."""
    begun, status = session.recorded_args(folder), folder.read_status()
    if begun is not None and status is not None and has_another_goal(args, begun):
        refuse_told_course(args, begun, status.total_steps, session.first_checkpoint(folder, args).step)


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
    if args.num_nodes not in (-1, described.nodes):
        raise UserError(f"--num_nodes {args.num_nodes}: the job gets {described.nodes} (--nodes); leave it out")
    if described.tasks not in (1, devices):  # one task a node starts the others of its node
        raise UserError(
            f"--tasks_per_node {described.tasks}: srun would start as many processes on each node, for {devices} "
            f"devices there; give --tasks_per_node {devices}"
        )
    return replace(args, accelerator=accelerator, num_devices=devices, num_nodes=described.nodes)


def check_devices(args: ExperimentArgs) -> None:
    """Refuse a step that the devices cannot share, and arithmetic that they do not have."""
    hardware = args.hardware
    if hardware.accelerator == "cpu":
        choose_precision(hardware.precision, "cpu", ())
    refuse_attention_on(hardware.accelerator, args.model.attn_implementation)
    if hardware.exact_reduce:
        refuse_no_power_of_two(hardware.num_devices * hardware.num_nodes)
    check_batch(args, hardware.num_devices, hardware.num_nodes)
