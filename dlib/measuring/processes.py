"""The processes of an evaluation, one a device; the first finds the work, and all share each piece of it."""

import os
from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist
from lightning.fabric import Fabric
from lightning.fabric.strategies import DDPStrategy
from lightning.pytorch.plugins.precision import DoublePrecision, HalfPrecision, MixedPrecision, Precision

from dlib.process.standing import Standing
from dlib.training.devices import Devices
from dlib.training.strategies import COLLECTIVE_TIMEOUT
from dlib.training.trainer import choose_environment, refuse_other_number

Work = TypeVar("Work")


class Processes:
    """The processes of an evaluation: all their devices, and this one's device and rank."""

    def __init__(self, devices: Devices) -> None:
        """Join the other processes, by Lightning, with as many threads as in training."""
        fabric = Fabric(
            accelerator=devices.accelerator,
            devices=len(devices.indices) if devices.accelerator == "cpu" else list(devices.indices),
            num_nodes=devices.num_nodes,
            strategy=DDPStrategy(timeout=COLLECTIVE_TIMEOUT) if devices.world_size > 1 else "auto",
            plugins=[choose_environment(devices)],
        )
        refuse_other_number(fabric.world_size, devices)
        self._threads_are_chosen = "OMP_NUM_THREADS" in os.environ  # Lightning sets it where it launches others
        fabric.launch()
        self._threads = torch.get_num_threads()
        self.devices = devices
        self.device = fabric.device
        self.rank = fabric.global_rank
        # Over the CPU: waiting for work, maybe for hours, must not keep a GPU busy.
        self._group = dist.new_group(backend="gloo", timeout=timedelta(days=1)) if devices.world_size > 1 else None

    def share(self, work: Iterable[Work | None]) -> Iterator[Work]:
        """Yields each piece of work in all processes; only the first asks `work`, which gives None when idle."""
        pieces = iter(work) if self.rank == 0 else iter(())
        ended = False
        while not ended:
            try:
                piece = next(pieces) if self.rank == 0 else None
            except StopIteration:
                piece, ended = None, True
            piece, ended = self._from_first((piece, ended))
            Standing.moves += 1  # a watch that has nothing to do sleeps in the same line, and does not hang
            if piece is not None:
                yield piece

    def _from_first(self, message: Any) -> Any:
        messages = [message]
        if self._group is not None:
            dist.broadcast_object_list(messages, src=0, group=self._group)
        return messages[0]

    def compute_as_in_training(self, *, exact: bool) -> None:
        """Use the threads, and on CUDA the kernels, of a run with or without `--exact_reduce`."""
        torch.set_num_threads(1 if exact and not self._threads_are_chosen else self._threads)
        if exact:
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it cuBLAS refuses
        torch.use_deterministic_algorithms(exact and self.device.type == "cuda")

    def end(self) -> None:
        """Leave the others."""
        if self._group is not None:
            dist.destroy_process_group()


def precision_plugin(precision: str, accelerator: str) -> Precision:
    """The precision plugin that Lightning's trainer would use."""
    if precision.endswith("-mixed"):
        return MixedPrecision(cast(Any, precision), accelerator)
    if precision == "64-true":
        return DoublePrecision()
    return Precision() if precision == "32-true" else HalfPrecision(cast(Any, precision))
