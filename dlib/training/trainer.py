"""Lightning's trainer, with everything switched off that this project does itself, and why.

Own sampler: Lightning's would duplicate samples. No checkpoints, validation or progress of its own: they
do not know optimizer steps of several micro-batches, and come in another order. One Lightning epoch is
what is left of the whole run, so that no epoch boundary ever interrupts it.
"""

import os
import re
from collections.abc import Sequence
from typing import Any, cast

import lightning.pytorch as pl
import torch.distributed as dist
from lightning.fabric.plugins.environments import ClusterEnvironment, LightningEnvironment, TorchElasticEnvironment
from lightning.pytorch.loggers import Logger

from dlib.args.tables import STRATEGIES, load
from dlib.process.errors import TrainingError, UserError
from dlib.training.devices import Devices

INSTEAD = {
    **dict.fromkeys(("validation_step", "on_validation_epoch_end"), "the objective says how a model is evaluated"),
    "val_dataloader": "--data_dir and --dev_file name the text that is evaluated",
    **dict.fromkeys(("test_step", "test_dataloader"), "eval.py measures a checkpoint on any text"),
    **dict.fromkeys(("predict_step", "predict_dataloader"), "generate.py asks a checkpoint"),
    "configure_callbacks": "the list in train.py has the callbacks",
    **dict.fromkeys(
        ("on_save_checkpoint", "on_load_checkpoint"), "what a callback returns from state_dict is in the checkpoint"
    ),
}
"""Methods of Lightning's that are never called, and what to use."""

STORES: "list[dist.TCPStore]" = []
"""They listen until this process ends."""

LOADER_PROCESS_DIED = re.compile(r"DataLoader worker \(pid.*?\) (?:is )?(killed by signal: [\w ]+|exited unexpectedly)")
"""What torch says of it, in the middle of whatever the training process does."""


def build_trainer(
    devices: Devices,
    strategy: str,
    callbacks: Sequence[pl.Callback],
    *,
    logger: Logger | None = None,
    exact_reduce: bool = False,
) -> pl.Trainer:
    """A trainer on `devices` that runs `callbacks` in their order; `logger` takes the numbers of `self.log`.

    With `exact_reduce` it leaves gradients to `TrainingModule`, and takes no kernel that adds up in a changing order.
    """
    trainer = pl.Trainer(
        accelerator=devices.accelerator,
        devices=len(devices.indices) if devices.accelerator == "cpu" else list(devices.indices),
        num_nodes=devices.num_nodes,
        strategy=load(STRATEGIES[strategy].implementation)(devices, exact_reduce=exact_reduce),
        precision=cast(Any, devices.precision),
        deterministic=True if exact_reduce and devices.accelerator == "cuda" else None,
        plugins=[choose_environment(devices)],
        callbacks=list(callbacks),
        max_epochs=1,
        # It would load an `hpc_ckpt_N.ckpt` from here in a SLURM job; the working directory is anybody's.
        default_root_dir=os.devnull,
        use_distributed_sampler=False,
        limit_val_batches=0,
        num_sanity_val_steps=0,
        # `EarlyStopping` takes from these two whether it looks at evaluations or at the end of the epoch.
        val_check_interval=1,
        check_val_every_n_epoch=None,
        logger=logger or False,
        log_every_n_steps=1,  # counted from the session's start; which steps are logged is the logger's matter
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    refuse_other_number(trainer.world_size, devices)
    # Its handler of SIGTERM waits for the other processes inside the handler, and ends the run unsaved with status 0.
    # There is no public way to leave it out; whoever trains has taken the signals already (`Stopping.listen`).
    trainer._signal_connector.register_signal_handlers = lambda: None  # type: ignore[method-assign]
    trainer.save_checkpoint = refuse_checkpoint  # type: ignore[method-assign]
    return trainer


def refuse_checkpoint(*_: Any, **__: Any) -> None:
    """Stand in the place of `trainer.save_checkpoint`."""
    raise UserError("trainer.save_checkpoint: --save_interval and --extra_steps say when a run is saved")


def refuse_unused_hooks(module: pl.LightningModule, data: pl.LightningDataModule) -> None:
    """Refuse methods that Lightning would call in loops that are not run here."""
    for owner, base in ((module, pl.LightningModule), (data, pl.LightningDataModule)):
        for name, instead in INSTEAD.items():
            if getattr(type(owner), name, None) is not getattr(base, name, None):
                raise UserError(f"{type(owner).__name__}.{name} is never called: {instead}")


def open_store() -> int:
    """Listen where the processes of the run meet; returns the port.

    torch takes this store where it is to open one at the same port (`multi_tenant`, as in its own rendezvous).
    """
    store = dist.TCPStore("127.0.0.1", 0, None, True, wait_for_workers=False, multi_tenant=True)
    STORES.append(store)
    return int(store.port)


def choose_environment(devices: Devices) -> ClusterEnvironment:
    """Where Lightning reads which process this is: what `launched` has said, and nothing that it finds itself.

    It would believe a SLURM job's number of tasks, and save before a requeue what it prefers then (its issue 13773).
    """
    return TorchElasticEnvironment() if devices.world_size > 1 else LightningEnvironment()


def refuse_other_number(started: int, devices: Devices) -> None:
    """Refuse to compute with another number of processes than the one that is told and recorded."""
    if started != devices.world_size:
        raise UserError(
            f"{started} processes were started, and --num_devices {len(devices.indices)} --num_nodes "
            f"{devices.num_nodes} make {devices.world_size}"
        )


def fit(trainer: pl.Trainer, module: pl.LightningModule, data: pl.LightningDataModule) -> None:
    """Train to the goal, or to a stop.

    Raises:
        UserError: DDP waits for the gradients of weights that the model does not use; or something of Lightning's was
            overridden that is never called.
        TrainingError: a loader process died; or what would be a mistake at the start went wrong: a disk is full.
    """
    refuse_unused_hooks(module, data)
    try:
        trainer.fit(module, data)
    except UserError as error:
        if isinstance(error, TrainingError) or trainer.global_step == 0:  # nothing was trained yet
            raise
        raise TrainingError(str(error)) from error
    except RuntimeError as error:
        if "find_unused_parameters" in str(error):
            raise UserError(
                "--distributed_strategy auto: the model has weights that a step does not use; give ddp_find_unused"
            ) from error
        if died := LOADER_PROCESS_DIED.match(str(error)):
            raise TrainingError(
                f"--num_workers: a loader process {died[1]}, mostly for want of memory; give fewer, or 0, or free some"
            ) from error
        raise


def refuse_different_starts(step: int, batches: str) -> None:
    """Refuse to train where processes found different checkpoints: on a slow network disk, or each on its own.

    So it is where the steps are not shared out alike, which `batches` says in words: devices may differ.

    Raises:
        UserError: they did; every process raises it, so that none waits for another.
    """
    if not (dist.is_available() and dist.is_initialized()):
        return
    starts = [(step, batches)] * dist.get_world_size()
    dist.all_gather_object(starts, (step, batches))
    steps, ways = [start for start, _ in starts], sorted({way for _, way in starts})
    if len(ways) > 1:
        raise UserError(
            f"--micro_batch_size auto: the devices differ, and their processes would take {' or '.join(ways)}: give "
            "the smallest of these sizes"
        )
    if len(set(steps)) > 1:
        raise UserError(
            f"--out_dir: the processes found checkpoints of different steps, {steps}: it has to be one folder that all "
            "nodes see alike; start again once they do"
        )
