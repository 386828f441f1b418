"""Have DDP arrange its buckets of gradients before the first step of a session, and not after it."""

import lightning.pytorch as pl
from torch.nn.parallel import DistributedDataParallel

from dlib.callbacks.step_callback import StepCallback
from dlib.data.data_module import DataModule
from dlib.training.training_module import TrainingModule


class SettlingBuckets(StepCallback):
    """Runs a backward pass of a loss that is zero, and so are its gradients.

    After its first backward pass DDP sorts gradients into other buckets, in the order in which they came. From three
    processes on, the place of a gradient in its bucket decides in which order it is added up: the first step of a
    session that goes on would differ in its last bits from the same step of a run that never stopped.
    """

    def __init__(self, data: DataModule) -> None:
        """Take a sample from `data`."""
        self.data = data

    def before_training(self, trainer: pl.Trainer, module: TrainingModule) -> None:
        """Compute the gradients; DDP sorts them at the next forward pass, which is that of the first step."""
        model = trainer.strategy.model
        if isinstance(model, DistributedDataParallel):
            module.model.train()
            batch = self.data.transfer_batch_to_device(self.data.first_batch(), module.device, 0)
            with trainer.precision_plugin.train_step_context():
                loss = model(batch) * 0
            loss.backward()
            module.zero_grad()
