"""Lightning's trainer, with everything switched off that this project does itself, and why.

Own sampler: Lightning's would duplicate samples. No checkpoints, validation or progress of its own: they
do not know optimizer steps of several micro-batches, and come in another order. One Lightning epoch is
what is left of the whole run, so that no epoch boundary ever interrupts it.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, cast

import lightning.pytorch as pl
from lightning.pytorch.plugins.environments import SLURMEnvironment
from lightning.pytorch.strategies import DDPStrategy, Strategy

from dlib.devices import Devices
from dlib.errors import UserError

COLLECTIVE_TIMEOUT = timedelta(minutes=30)
"""How long processes wait for each other: longer than a checkpoint of a large model on a slow disk."""


def build_trainer(devices: Devices, strategy: str, callbacks: Sequence[pl.Callback]) -> pl.Trainer:
    """A trainer on `devices` that runs `callbacks` in their order; `strategy` is `--distributed_strategy`."""
    on_slurm = SLURMEnvironment.detect()
    return pl.Trainer(
        accelerator=devices.accelerator,
        devices=len(devices.indices) if devices.accelerator == "cpu" else list(devices.indices),
        num_nodes=devices.num_nodes,
        strategy=choose_strategy(devices, strategy),
        precision=cast(Any, devices.precision),
        # Lightning's requeueing would save, and then prefer, a checkpoint of its own (its issue 13773).
        plugins=[SLURMEnvironment(auto_requeue=False)] if on_slurm else None,
        callbacks=list(callbacks),
        max_epochs=1,
        use_distributed_sampler=False,
        limit_val_batches=0,
        num_sanity_val_steps=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def choose_strategy(devices: Devices, strategy: str) -> Strategy | str:
    """DDP where there are several processes, or where it is asked for."""
    if devices.world_size == 1 and strategy == "auto":
        return "auto"
    find_unused = strategy == "ddp_find_unused"
    return DDPStrategy(find_unused_parameters=find_unused, gradient_as_bucket_view=True, timeout=COLLECTIVE_TIMEOUT)


def fit(trainer: pl.Trainer, module: pl.LightningModule, data: pl.LightningDataModule) -> None:
    """Train to the goal, or to a stop.

    Raises:
        UserError: DDP waits for the gradients of weights that the model does not use.
    """
    try:
        trainer.fit(module, data)
    except RuntimeError as error:
        if "find_unused_parameters" not in str(error):
            raise
        raise UserError(
            "--distributed_strategy auto: the model has weights that a step does not use; give ddp_find_unused"
        ) from error
