"""Have DDP arrange its buckets of gradients before the first step of a session; keep one set of buffers for all."""

import lightning.pytorch as pl
import torch
import torch.distributed as dist
from torch import Tensor

from dlib.callbacks.step_callback import Place, StepCallback
from dlib.data.data_module import DataModule
from dlib.training.deepspeed import Engine
from dlib.training.sharding import refuse_unused_weights
from dlib.training.training_module import TrainingModule


class SettlingBuckets(StepCallback):
    """Runs a backward pass of a loss that is zero, and so are its gradients.

    After its first backward pass DDP sorts gradients into other buckets, in the order in which they came. From three
    processes on, the place of a gradient in its bucket decides in which order it is added up: the first step of a
    session that goes on would differ in its last bits from the same step of a run that never stopped.

    Of weights in shards the pass shows which are not used, and of all networks which buffers change as they train, such
    as the means of `BatchNorm`. Each process would have its own, and a checkpoint those of the first: so all take the
    first one's after each step.
    """

    place = Place.WEIGHTS

    def __init__(self, data: DataModule) -> None:
        """Take a sample from `data`."""
        self.data = data
        self.changing: list[Tensor] = []

    def before_training(self, trainer: pl.Trainer, module: TrainingModule) -> None:
        """Compute the gradients; DDP sorts them at the next forward pass, which is that of the first step."""
        if trainer.world_size == 1:
            return
        kept = [(buffer, buffer.clone()) for buffer in module.buffers()]
        module.model.train()
        batch = self.data.transfer_batch_to_device(self.data.first_batch(), module.device, 0)
        with trainer.precision_plugin.train_step_context():
            loss = trainer.strategy.model(batch) * 0  # type: ignore[misc]
        if not isinstance(trainer.strategy, Engine):  # DeepSpeed has no such buckets, and a way of its own
            loss.backward()
        refuse_unused_weights(module)
        module.zero_grad()
        self.changing = [buffer for buffer, before in kept if not torch.equal(buffer, before)]
        for buffer, before in kept:
            buffer.copy_(before)

    def after_step(self, trainer: pl.Trainer, module: TrainingModule) -> None:
        """Send the first process's buffers to the others, where some change."""
        for buffer in self.changing:
            dist.broadcast(buffer, src=0)
