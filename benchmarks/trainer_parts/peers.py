"""The trainers that this project is compared with, each in a process of its own.

python -m benchmarks.trainer_parts.peers NAME, with a `Workload` as JSON on stdin; it prints `Measured` as JSON. Of
several processes it is what the first one measured.
"""

import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader
from torch.utils.data.distributed import DistributedSampler

from benchmarks.trainer_parts.plain_losses import Loss, liger_loss, masked_loss, model_loss
from benchmarks.trainer_parts.workload import Workload, build_collator, load, prepare, read_rows

LOG_INTERVAL = 10
"""Optimizer steps between two losses that are logged, as this project does by default."""
LOADER_PROCESSES = {"cpu": 1, "cuda": 4}
"""Of the Hugging Face Trainer at its best settings, and on a GPU of the plain loop: of two cores one is enough."""
MEBIBYTE = 2**20


@dataclass(frozen=True)
class Measured:
    """What a training was.

    Attributes:
        seconds_per_step: mean of the optimizer steps after the warm-up.
        losses: mean loss of a target, in nats, by optimizer step; those that were logged.
        gpu_memory_mib: the most that was allocated on the GPU; None on a CPU.
    """

    seconds_per_step: float
    losses: dict[int, float]
    gpu_memory_mib: float | None


class Clock:
    """Measures the optimizer steps after the warm-up, once the device has done what it was told."""

    def __init__(self, workload: Workload) -> None:
        """Wait for the first of the two steps that count."""
        self.workload = workload
        self.stamps: dict[int, float] = {}

    def tell(self, step: int) -> None:
        """A step, counted from 1, has ended."""
        if step in (self.workload.warm_up_steps, self.workload.steps):
            if self.workload.is_on_gpu:
                torch.cuda.synchronize()
            self.stamps[step] = time.perf_counter()

    def measured(self, losses: dict[int, float]) -> Measured:
        """What the training was, once its last step has ended."""
        (first, begin), (last, end) = self.stamps.items()
        memory = torch.cuda.max_memory_allocated() / MEBIBYTE if self.workload.is_on_gpu else None
        return Measured((end - begin) / (last - first), losses, memory)


def train_plainly(workload: Workload, *, loss_of: Callable[..., Any] | None = None, compiles: bool = False) -> Measured:
    """A loop as one writes it in an afternoon, which projects masked positions alone; torch's AdamW, clipping, DDP.

    Args:
        workload: what is trained.
        loss_of: the loss of a network and a batch, on a device; none: that of the objective.
        compiles: compile the network; of one whose head sees no whole rows, the trunk.
    """
    rank = dist.get_rank() if dist.is_initialized() else 0
    torch.manual_seed(1 + rank)
    tokenizer, model = load(workload)
    model.to(workload.accelerator)
    rows: Any = read_rows(workload, tokenizer)
    collator = build_collator(workload, tokenizer, model)
    own_rows = workload.rows // workload.processes
    micro_batch_size = workload.micro_batch_size or own_rows
    loader: Any = DataLoader(
        rows,
        micro_batch_size,
        sampler=DistributedSampler(rows, workload.processes, rank),
        collate_fn=collator,
        num_workers=LOADER_PROCESSES["cuda"] if workload.is_on_gpu else 0,
        pin_memory=workload.is_on_gpu,
    )
    fused = workload.is_on_gpu or None
    optimizer = torch.optim.AdamW(model.parameters(), workload.learning_rate, weight_decay=0.01, fused=fused)
    decay = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / workload.steps)
    loss_of = loss_of or (masked_loss if workload.objective == "mlm" else model_loss)
    if compiles:
        (model if loss_of is model_loss else model.base_model).compile()
    network: Any = Loss(model, loss_of, workload)
    if workload.processes > 1:
        network = DistributedDataParallel(network)
    clock, losses = Clock(workload), {}
    model.train()
    steps = zip(*[iter(loader)] * (own_rows // micro_batch_size), strict=False)
    for step, batches in enumerate(islice(steps, workload.steps), 1):
        loss = accumulate(network, batches)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        decay.step()
        optimizer.zero_grad()
        if step % LOG_INTERVAL == 0 or step == workload.steps:
            losses[step] = loss.item()
        clock.tell(step)
    return clock.measured(losses)


def accumulate(network: Any, batches: Sequence[Any]) -> Any:
    """Add up the gradients of micro-batches, and exchange them with the last; their mean loss."""
    total = 0
    for batch in batches:
        waits = batch is not batches[-1] and isinstance(network, DistributedDataParallel)
        with network.no_sync() if waits else nullcontext():
            loss = network(batch) / len(batches)
            loss.backward()
        total += loss.detach()
    return total


def train_with_trainer(workload: Workload, *, best: bool = False, compiles: bool = False) -> Measured:
    """The Hugging Face Trainer as its example scripts set it up; it logs as often as the others do.

    Args:
        workload: what is trained.
        best: with loader processes and the fused optimizer, and rows of like length where lengths differ.
        compiles: with torch_compile.
    """
    from datasets import Dataset
    from transformers import Trainer, TrainerCallback, TrainingArguments

    tokenizer, model = load(workload)
    rows = Dataset.from_list(read_rows(workload, tokenizer))
    clock = Clock(workload)
    processes = LOADER_PROCESSES[workload.accelerator]
    loader = {"dataloader_num_workers": processes, "dataloader_persistent_workers": True}
    settings: dict[str, Any] = {**loader, "optim": "adamw_torch_fused"} if best else {}
    if best and workload.shortest is not None:
        settings["train_sampling_strategy"] = "group_by_length"

    class Stamping(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            clock.tell(state.global_step)

    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            per_device_train_batch_size=workload.rows,
            max_steps=workload.steps,
            learning_rate=workload.learning_rate,
            logging_steps=min(LOG_INTERVAL, workload.steps),
            weight_decay=0.01,
            use_cpu=workload.accelerator == "cpu",
            bf16=workload.precision == "bf16-mixed",
            torch_compile=compiles,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            **settings,
        )
        collator = build_collator(workload, tokenizer, model)
        trainer = Trainer(model, arguments, collator, rows, callbacks=[Stamping()])
        trainer.train()
    losses = {int(entry["step"]): entry["loss"] for entry in trainer.state.log_history if "loss" in entry}
    return clock.measured(losses)


PEERS: dict[str, Callable[[Workload], Measured]] = {
    "plain": train_plainly,
    "plain_compiled": partial(train_plainly, compiles=True),
    "plain_liger": partial(train_plainly, loss_of=liger_loss, compiles=True),
    "trainer": train_with_trainer,
    "trainer_best": partial(train_with_trainer, best=True),
    "trainer_compiled": partial(train_with_trainer, best=True, compiles=True),
}


def train_and_tell(rank: int, name: str, workload: Workload, meeting: Path) -> None:
    """Train in one of the workload's processes, which meet at a file; the first prints what it measured."""
    if workload.processes > 1:
        dist.init_process_group("gloo", f"file://{meeting}", rank=rank, world_size=workload.processes)
    measured = PEERS[name](workload)
    if rank == 0:
        print(json.dumps(asdict(measured)))
    if dist.is_initialized():
        dist.destroy_process_group()


def main() -> None:
    """Do what the first word says with the workload on stdin."""
    workload = Workload(**json.load(sys.stdin))
    if sys.argv[1] == "prepare":
        prepare(workload)
        return
    with tempfile.TemporaryDirectory() as folder:
        words = sys.argv[1], workload, Path(folder, "meeting")
        if workload.processes == 1:
            train_and_tell(0, *words)
        else:
            torch.multiprocessing.spawn(train_and_tell, words, workload.processes)


if __name__ == "__main__":
    main()
