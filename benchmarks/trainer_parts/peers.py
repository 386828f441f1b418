"""The trainers that this project is compared with, each in a process of its own.

python -m benchmarks.trainer_parts.peers NAME, with a `Workload` as JSON on stdin; it prints `Measured` as JSON.
"""

import json
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from itertools import islice
from typing import Any

import torch
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader

from benchmarks.trainer_parts.workload import Workload, build_collator, load, prepare, read_rows

LOG_INTERVAL = 10
"""Optimizer steps between two losses that are logged, as this project does by default."""
NOT_MEASURED = -100
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
    """A loop as one writes it in an afternoon, which projects masked positions alone; torch's AdamW, clipping.

    Args:
        workload: what is trained.
        loss_of: the loss of a network and a batch, on a device; none: that of the objective.
        compiles: compile the network; of one whose head sees no whole rows, the trunk.
    """
    torch.manual_seed(1)
    tokenizer, model = load(workload)
    device = torch.device(workload.accelerator)
    model.to(device)
    rows: Any = read_rows(workload, tokenizer)
    collator = build_collator(workload, tokenizer, model)
    loader: Any = DataLoader(
        rows,
        workload.rows,
        shuffle=True,
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
    clock, losses = Clock(workload), {}
    model.train()
    for step, batch in enumerate(islice(loader, workload.steps), 1):
        with torch.autocast(device.type, torch.bfloat16, enabled=workload.precision == "bf16-mixed"):
            loss = loss_of(model, batch, device)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        decay.step()
        optimizer.zero_grad()
        if step % LOG_INTERVAL == 0 or step == workload.steps:
            losses[step] = loss.item()
        clock.tell(step)
    return clock.measured(losses)


def masked_loss(model: Any, batch: Any, device: Any) -> Any:
    """The mean loss of the masked tokens of BERT or RoBERTa, whose vocabulary projection sees no others.

    Rows are full, so no mask of padding is needed; and which tokens are masked is looked up before they are on a GPU,
    as it would be waited for.
    """
    labels = batch["labels"].flatten()
    positions = (labels != NOT_MEASURED).nonzero().squeeze(1)
    hidden = model.base_model(batch["input_ids"].to(device, non_blocking=True)).last_hidden_state
    head = model.cls if hasattr(model, "cls") else model.lm_head
    return cross_entropy(head(hidden.flatten(0, 1)[positions.to(device)]), labels[positions].to(device))


def model_loss(model: Any, batch: Any, device: Any) -> Any:
    """The loss that transformers' networks compute themselves."""
    return model(**{name: each.to(device, non_blocking=True) for name, each in batch.items()}).loss


def liger_loss(model: Any, batch: Any, device: Any) -> Any:
    """The mean loss of the next tokens of GPT-2 by the kernel of liger-kernel, which keeps no logits."""
    from liger_kernel.transformers import LigerFusedLinearCrossEntropyLoss

    ids = batch["input_ids"].to(device, non_blocking=True)
    hidden = model.base_model(ids).last_hidden_state[:, :-1].flatten(0, 1)
    weights = model.lm_head.weight.to(torch.bfloat16)  # autocast does not know the kernel
    return LigerFusedLinearCrossEntropyLoss()(weights, hidden.to(torch.bfloat16), ids[:, 1:].flatten())


def train_with_trainer(workload: Workload, *, best: bool = False, compiles: bool = False) -> Measured:
    """The Hugging Face Trainer as its example scripts set it up; it logs as often as the others do.

    Args:
        workload: what is trained.
        best: with loader processes and the fused optimizer.
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


def main() -> None:
    """Do what the first word says with the workload on stdin."""
    workload = Workload(**json.load(sys.stdin))
    if sys.argv[1] == "prepare":
        prepare(workload)
    else:
        print(json.dumps(asdict(PEERS[sys.argv[1]](workload))))


if __name__ == "__main__":
    main()
