"""Which devices a run computes on, found without touching them, and what each could do at best.

torch is imported where a GPU is asked for, so that what does not fit a CPU is told without it.
"""

import os
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

from dlib.args import HardwareArgs
from dlib.process.errors import UserError
from dlib.process.importing import without_collecting
from dlib.process.placement import count_nodes, processes_per_node, starts_rest_of_node
from dlib.process.ranks import in_slurm_step, is_told_place, was_launched, world_size
from dlib.process.threads import usable_cores

PEAK_FLOPS = {
    "B200": 2250e12,
    "H200": 989e12,
    "H100 PCIe": 756e12,
    "H100 NVL": 835e12,
    "H100": 989e12,
    "GH200": 989e12,
    "A100": 312e12,
    "A40": 150e12,
    "A30": 165e12,
    "A10": 125e12,
    "L40S": 362e12,
    "L4": 121e12,
    "V100": 125e12,
    "T4": 65e12,
    "RTX 4090": 165e12,
    "RTX 3090": 71e12,
    "RTX A6000": 155e12,
}
"""Peak of dense 16-bit matrix arithmetic, FLOP/s, by words of the device's name, of which the first that fit count;
from the makers' data sheets."""


PROCESSES_A_CORE, MOST_ON_A_SMALL_CPU = 4, 16
"""More processes than cores are of use to repeat a larger machine's run; each takes half a gigabyte of memory."""


@dataclass(frozen=True)
class Devices:
    """The devices of a run."""

    accelerator: str  # "cpu", "cuda" or "mps"
    indices: tuple[int, ...]  # their indices on each node; one 0 for each process on a CPU
    num_nodes: int  # number of machines
    precision: str  # Lightning's name of the arithmetic
    names: tuple[str, ...]  # what the devices are, in words, one for each

    @property
    def world_size(self) -> int:
        """Number of processes that train, one a device."""
        return len(self.indices) * self.num_nodes

    @property
    def gpus(self) -> tuple[str, ...]:
        """The name of every GPU, on all nodes."""
        return () if self.accelerator == "cpu" else self.names * self.num_nodes

    @property
    def peak_flops(self) -> float | None:
        """FLOP/s that one device could do at best in 16 bits; None where it is not known or not used."""
        if self.precision in ("32-true", "64-true"):
            return None
        return known_peak(self.names[0])

    def __str__(self) -> str:
        """In words, for the summary."""
        nodes = f" on each of {self.num_nodes} nodes" if self.num_nodes > 1 else ""
        return f"{len(self.indices)} x {self.names[0]}{nodes}, {self.precision}"

    def describe(self, strategy: str) -> dict[str, Any]:
        """What a run's record says of them: whatever of it changes, sums may be added up in another order."""
        return {
            "accelerator": self.accelerator,
            "gpus": list(self.gpus),
            "gpu_count": len(self.gpus),
            "processes": self.world_size,
            "threads": self.count_threads(strategy),
            "precision": self.precision,
        }

    def count_threads(self, strategy: str) -> int:
        """Number of CPU threads that each process is going to compute with.

        Where it uses DDP, Lightning deals a node's cores out to its processes when training begins, unless
        OMP_NUM_THREADS is set: until then torch tells another number.
        """
        is_ddp = self.world_size > 1 or strategy != "auto"
        if is_ddp and "OMP_NUM_THREADS" not in os.environ:
            return max(1, usable_cores() // len(self.indices))
        import torch  # only here and below, where a GPU is asked for: it takes seconds

        return torch.get_num_threads()


def known_peak(device: str) -> float | None:
    """FLOP/s of a GPU in dense 16-bit matrix arithmetic, by its name; None where its data sheet is not in the table."""
    words = device.replace("-", " ")
    return next((peak for name, peak in PEAK_FLOPS.items() if f" {name} " in f" {words} "), None)


def find_devices(args: HardwareArgs) -> Devices:
    """Choose the devices of a run.

    Raises:
        UserError: there are no such devices, or not as many.
    """
    accelerator = choose_accelerator(args.accelerator)
    indices = choose_indices(args, accelerator)
    precision = choose_precision(args.precision, accelerator, indices)
    num_nodes = count_nodes(args.num_nodes)
    devices = Devices(accelerator, indices, num_nodes, precision, name_devices(accelerator, indices))
    refuse_other_launch(devices)
    if args.exact_reduce:
        refuse_no_power_of_two(devices.world_size)
    return devices


def refuse_no_power_of_two(devices: int) -> None:
    """Refuse a number of devices whose gradients no tree adds up."""
    if devices & (devices - 1):
        raise UserError(f"--exact_reduce: {devices} devices are no power of two; give 1, 2, 4, 8, ... of them")


def refuse_other_launch(devices: Devices) -> None:
    """Refuse devices for which a launcher has started another number of processes, or not the same on each node."""
    each, started = len(devices.indices), processes_per_node()
    if in_slurm_step() and not is_told_place() and (tasks := os.environ.get("SLURM_STEP_TASKS_PER_NODE")):
        if started is None:
            raise UserError(
                f"srun has started {tasks} tasks on the nodes, for {each} devices on each: add --ntasks-per-node {each}"
            )
        if started not in (1, each):
            raise UserError(
                f"srun has started {started} tasks on each node, for {each} devices there: {_other_launch(devices)}"
            )
    if was_launched() and not starts_rest_of_node() and world_size() != devices.world_size:
        raise UserError(
            f"{world_size()} processes were launched, for {devices.world_size} devices; give --num_devices, those of a "
            "node, and --num_nodes, so that their product is the number of processes"
        )


def _other_launch(devices: Devices) -> str:
    """What to change where srun has started several tasks on a node, but not one a device."""
    each, started = len(devices.indices), processes_per_node()
    if devices.accelerator == "cuda" and each == 1:
        return "if it gives each task a GPU of its own (--gpus-per-task), add --gpu-bind=none; else --ntasks-per-node 1"
    return f"give --ntasks-per-node {each}, or 1 and they are started here, or --num_devices {started}"


def choose_accelerator(wanted: str) -> str:
    """Turn `auto` and `gpu` into the kind that is there.

    Raises:
        UserError: the wanted kind is not there, or the GPU that a job was given.
    """
    found = [] if wanted == "cpu" else [kind for kind in ("cuda", "mps") if count_gpus(kind)]
    if wanted == "auto" and not found:
        refuse_idle_gpus()
    if wanted == "cpu" or (wanted == "auto" and not found):
        return "cpu"
    if wanted in ("auto", "gpu") and found:
        return found[0]
    if wanted in found:
        return wanted
    raise UserError(f"--accelerator {wanted}: no such device is found here; use --accelerator auto or cpu")


def refuse_idle_gpus() -> None:
    """Refuse to compute on a CPU for days, unasked, in a SLURM job that was given GPUs."""
    if (given := os.environ.get("SLURM_GPUS_ON_NODE", "0")) != "0":
        import torch

        raise UserError(
            f"--accelerator auto: this SLURM job has GPUs (SLURM_GPUS_ON_NODE={given}), and torch {torch.__version__} "
            "finds none: is it one for CPUs, or the node's driver too old? --accelerator cpu computes without them"
        )


def count_gpus(accelerator: str) -> int:
    """Number of GPUs that torch can use here, of the kind `cuda` or `mps`."""
    # Once: what a program around it (a notebook) makes later is not to be kept from the collector time and again.
    with nullcontext() if "torch" in sys.modules else without_collecting():
        import torch

    return torch.cuda.device_count() if accelerator == "cuda" else int(torch.backends.mps.is_available())


def name_devices(accelerator: str, indices: Sequence[int]) -> tuple[str, ...]:
    """What each of the devices is, in words."""
    if accelerator != "cuda":
        return ({"cpu": "CPU process", "mps": "Apple GPU"}[accelerator],) * len(indices)
    import torch

    return tuple(torch.cuda.get_device_name(index) for index in indices)


def told_devices(args: HardwareArgs) -> int | None:
    """Number of devices a node, as far as the flags tell it; None where it has to be looked for."""
    if args.cuda_device_ids:
        return len(args.cuda_device_ids)
    if args.num_devices > 0:
        return args.num_devices
    return (processes_per_node() or 1) if args.accelerator == "cpu" else None


def choose_indices(args: HardwareArgs, accelerator: str) -> tuple[int, ...]:
    """The indices of the devices on each node.

    Raises:
        UserError: `--cuda_device_ids` or `--num_devices` asks for devices that are not there.
    """
    if args.cuda_device_ids and accelerator != "cuda":
        raise UserError(f"--cuda_device_ids: the accelerator is {accelerator}, not cuda; leave the flag out")
    if accelerator == "cpu":
        most = max(MOST_ON_A_SMALL_CPU, PROCESSES_A_CORE * usable_cores())
        if args.num_devices > most:
            raise UserError(f"--num_devices {args.num_devices}: {usable_cores()} cores run at most {most} processes")
        return (0,) * (args.num_devices if args.num_devices > 0 else processes_per_node() or 1)
    found = count_gpus(accelerator)
    every = min(found, (is_told_place() and processes_per_node()) or found)  # torchrun may have started fewer processes
    number = every if args.num_devices == -1 else min(args.num_devices, found + 1)  # one too many is enough to refuse
    wanted = tuple(args.cuda_device_ids) or tuple(range(number))
    missing = [index for index in wanted if index not in range(found)]
    if missing or len(set(wanted)) < len(wanted):
        flag = "--cuda_device_ids" if args.cuda_device_ids else f"--num_devices {args.num_devices}"
        raise UserError(f"{flag}: {found} {accelerator} devices are found; ask for some of 0 to {found - 1}, once each")
    return wanted


def choose_precision(wanted: str, accelerator: str, indices: Sequence[int]) -> str:
    """Turn `auto` into bf16-mixed where all the CUDA devices have it in hardware, else 32-true.

    Raises:
        UserError: the accelerator does not have the wanted arithmetic; Lightning would take another.
    """
    if wanted == "16-mixed" and accelerator == "cpu":
        raise UserError("--precision 16-mixed: a CPU does not have it; use bf16-mixed or 32-true")
    if wanted != "auto":
        return wanted
    if accelerator != "cuda":
        return "32-true"
    import torch

    # Asked of the capability and not of is_bf16_supported(), which counts slow emulation as support.
    has_bf16 = all(torch.cuda.get_device_capability(index)[0] >= 8 for index in indices)
    return "bf16-mixed" if has_bf16 else "32-true"
