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

from benchmarks.trainer_parts.workload import Workload, build_collator, load, prepare, read_rows

LOG_INTERVAL = 10
"""Optimizer steps between two losses that are logged, as this project does by default."""
NOT_MEASURED = -100
BEST_SETTINGS = {"dataloader_num_workers": 1, "dataloader_persistent_workers": True, "optim": "adamw_torch_fused"}
"""Of the Hugging Face Trainer; it takes torch_compile besides where --compile asks for it."""


@dataclass(frozen=True)
class Measured:
    """What a training was.

    Attributes:
        seconds_per_step: mean of the optimizer steps after the warm-up.
        losses: mean loss of a target, in nats, by optimizer step; those that were logged.
    """

    seconds_per_step: float
    losses: dict[int, float]


def mean_seconds(stamps: list[float], workload: Workload) -> float:
    """Of the steps after the warm-up; a stamp is taken at the end of each step."""
    first = workload.warm_up_steps - 1
    return (stamps[-1] - stamps[first]) / (len(stamps) - 1 - first)


def train_plainly(workload: Workload) -> Measured:
    """A loop as one writes it in an afternoon, which projects masked positions alone; torch's AdamW, clipping."""
    import torch
    from torch.utils.data import DataLoader

    torch.manual_seed(1)
    tokenizer, model = load(workload)
    rows: Any = read_rows(workload, tokenizer)
    collator = build_collator(workload, tokenizer, model)
    loader = DataLoader(rows, workload.rows, shuffle=True, collate_fn=collator)
    optimizer = torch.optim.AdamW(model.parameters(), workload.learning_rate, weight_decay=0.01)
    decay = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / workload.steps)
    loss_of = masked_loss if workload.objective == "mlm" else model_loss
    stamps, losses = [], {}
    model.train()
    for step, batch in enumerate(islice(loader, workload.steps), 1):
        loss = loss_of(model, batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        decay.step()
        optimizer.zero_grad()
        if step % LOG_INTERVAL == 0 or step == workload.steps:
            losses[step] = loss.item()
        stamps.append(time.perf_counter())
    return Measured(mean_seconds(stamps, workload), losses)


def masked_loss(model: Any, batch: Any) -> Any:
    """The mean loss of the masked tokens of BERT, whose vocabulary projection sees no others."""
    from torch.nn.functional import cross_entropy

    labels = batch.pop("labels")
    is_target = labels != NOT_MEASURED
    hidden = model.bert(**batch).last_hidden_state[is_target]
    return cross_entropy(model.cls(hidden), labels[is_target])


def model_loss(model: Any, batch: Any) -> Any:
    """The model's own."""
    return model(**batch).loss


def train_with_trainer(workload: Workload, settings: dict[str, Any]) -> Measured:
    """The Hugging Face Trainer as its example scripts set it up; it logs as often as the others do."""
    from datasets import Dataset
    from transformers import Trainer, TrainerCallback, TrainingArguments

    tokenizer, model = load(workload)
    rows = Dataset.from_list(read_rows(workload, tokenizer))
    stamps: list[float] = []

    class Stamping(TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            stamps.append(time.perf_counter())

    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            per_device_train_batch_size=workload.rows,
            max_steps=workload.steps,
            learning_rate=workload.learning_rate,
            logging_steps=min(LOG_INTERVAL, workload.steps),
            weight_decay=0.01,
            use_cpu=True,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            **settings,
        )
        collator = build_collator(workload, tokenizer, model)
        trainer = Trainer(model, arguments, collator, rows, callbacks=[Stamping()])
        trainer.train()
    losses = {int(entry["step"]): entry["loss"] for entry in trainer.state.log_history if "loss" in entry}
    return Measured(mean_seconds(stamps, workload), losses)


PEERS: dict[str, Callable[[Workload], Measured]] = {
    "plain": train_plainly,
    "trainer": partial(train_with_trainer, settings={}),
    "trainer_best": partial(train_with_trainer, settings=BEST_SETTINGS),
    "trainer_compiled": partial(train_with_trainer, settings={**BEST_SETTINGS, "torch_compile": True}),
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
