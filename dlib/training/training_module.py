"""One optimizer step: gradients of its micro-batches, and the weights' change. Lightning runs it everywhere.

Lightning's own accumulation averages the means of micro-batches, which is not the mean over tokens when
rows differ in length (its issue 20350), so the step is written out: a Lightning batch is a whole
optimizer step, and the loss is a sum over samples divided by their weight in the whole step, over
all micro-batches and processes. That weight is known beforehand.
"""

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, cast

from lightning.pytorch.core.optimizer import LightningOptimizer
from torch import Tensor
from torch.nn.utils import clip_grad_norm_
from torch.optim import Optimizer
from transformers import PreTrainedModel

from dlib.args import OptimArgs
from dlib.models.fitting import own_memory
from dlib.objectives.objective import Batch, Objective, learns
from dlib.training.gradient_sums import GradientSums
from dlib.training.non_finite import (
    MOST_STEPS_LEFT_OUT,
    RATE_ADVICE,
    NonFiniteError,
    name_cause,
    refuse_non_finite_weights,
)
from dlib.training.optimizers import build_optimizer, has_fused_kernel
from dlib.training.plan import TrainingPlan
from dlib.training.schedules import learning_rate_at
from dlib.training.shards import shard_optimizer_state, whole
from dlib.training.trainer import refuse_different_starts


class TrainingModule(GradientSums):
    """A model, what it is trained to do, and how its weights change.

    Attributes:
        steps_done: optimizer steps done since the run began, over all its sessions.
        samples_done: samples seen in these steps, by all processes.
        step_loss_sums: sum of the losses of the newest step's samples, and of those of each text where there are
            several, (1 + texts,); those of this process, or with `exact_reduce` of all.
        step_weight: what the loss of the newest step is divided by, of all processes: target tokens, or rows.
        step_tokens: tokens of the newest step, of all processes.
        gradient_norm: 2-norm of the newest step's gradient before clipping, a scalar.
        learning_rate: learning rate of the newest step, of a group whose peak is `--learning_rate`.
        left_out: why `--on_nan skip` left out the newest step's update; None where it did not.
        steps_left_out: optimizer steps since the run began that changed no weight.
        kept_weights: within it the model holds the weights that are evaluated and saved: those that learn, unless a
            callback puts others there.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        objective: Objective,
        optim: OptimArgs,
        plan: TrainingPlan,
        precision: str,
        *,
        exact_reduce: bool = False,
        texts: Sequence[str] = (),
    ) -> None:
        """Take a built model; with `exact_reduce`, gradients are added up in a tree (`dlib/training/tree_sum.py`).

        Each of `texts`, where their names are given, has a loss of its own.
        """
        super().__init__()
        own_memory(model)
        own_memory(objective.modules)
        self.automatic_optimization = False
        self.model = model
        self.modules_of_objective = objective.modules  # so that Lightning moves and DDP synchronises them, too
        self.objective = objective
        self.optim = optim
        self.plan = plan
        self.precision = precision
        self.exact_reduce = exact_reduce
        self.texts = texts
        self.steps_done = 0
        self.samples_done = 0
        self.left_out: str | None = None
        self.steps_left_out = 0
        self.kept_weights: Callable[[], AbstractContextManager[None]] = nullcontext
        self._left_out_in_a_row = 0  # in this session: it decides when to stop, and changes no number
        self.resumed_state: dict[str, Any] | None = None

    def resume(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint's state (`read_training_state`); the model holds its weights already."""
        self.steps_done = state["steps_done"]
        self.samples_done = self.plan.batches.samples_before(self.steps_done)
        self.steps_left_out = recorded_steps_left_out(state)
        self.resumed_state = state

    def configure_optimizers(self) -> Optimizer:
        """The optimizer, as it stood at the checkpoint where the run goes on from one."""
        fused = has_fused_kernel(self.device, self.precision)
        optimizer = build_optimizer(self.model, self.optim, fused=fused, further=self.objective.modules)
        # By the arguments: a checkpoint's groups hold the rates of its step.
        self._peaks = [group["lr"] for group in optimizer.param_groups]
        if self.resumed_state is not None:
            parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
            optimizer.load_state_dict(shard_optimizer_state(self.resumed_state["optimizer"], parameters))
            self.trainer.precision_plugin.load_state_dict(self.resumed_state["precision"])
            self.resumed_state = None
        return optimizer

    def on_fit_start(self) -> None:
        """Leave evaluation mode, in which transformers hands out loaded models, before Lightning warns of it."""
        self.train()

    def train(self, mode: bool = True) -> "TrainingModule":
        """Change the mode of all networks but those that do not learn: what a teacher says is not to be dropped out."""
        super().train(mode)
        for module in self.objective.modules.values():
            module.train(mode and learns(module))
        return self

    def on_train_start(self) -> None:
        """Refuse a start that is not the same everywhere.

        Raises:
            UserError: the processes begin after different steps, or share them out in different ways.
        """
        refuse_different_starts(self.steps_done, self.plan.batches.describe(self.trainer.world_size))

    def begin_step(self, step: int) -> None:
        """Set the rates of a step, counted from 0. A callback may do so before, for others to see them."""
        self.step = step + 1
        self.learning_rate = self._rate_at(step, self.optim.learning_rate)
        groups = cast(LightningOptimizer, self.optimizers()).param_groups
        for group, peak in zip(groups, self._peaks, strict=True):
            group["lr"] = self._rate_at(step, peak)

    def forward(self, batch: Batch) -> Tensor:
        """Sum of the losses of a micro-batch's samples, a scalar; of several texts one for each row, (B,)."""
        losses = self.objective.row_losses if self.texts else self.objective.loss_sum
        return losses(self.model, batch)

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """Do one optimizer step of `TrainingSteps`.

        Raises:
            NonFiniteError: its gradient is not finite, in every process alike.
        """
        self.step_weight, self.step_tokens = batch["weight"], batch["num_tokens"]
        self.text_weights = batch["text_weights"] if self.texts else ()
        self.left_out = None
        self.begin_step(batch["step"])
        optimizer = cast(LightningOptimizer, self.optimizers())
        self.step_loss_sums = self.accumulate(batch)
        optimizer.step()
        optimizer.zero_grad()
        self._left_out_in_a_row = 0 if self.left_out is None else self._left_out_in_a_row + 1
        self.steps_done = batch["step"] + 1
        self.samples_done += batch["num_samples"]

    def _rate_at(self, step: int, peak: float) -> float:
        return learning_rate_at(step, peak, self.optim, self.plan)

    def mean_loss(self) -> float:
        """Mean loss of the newest step over all processes; each of them has to ask."""
        return self.mean_losses()[""]

    def mean_losses(self) -> dict[str, float]:
        """The same under an empty name, and by name for each text that has samples in the step."""
        own = self.step_loss_sums
        sums = own if self.exact_reduce else self.trainer.strategy.reduce(own, reduce_op="sum")
        weights = {"": self.step_weight or 1, **dict(zip(self.texts, self.text_weights, strict=True))}
        pairs = zip(weights.items(), cast(Tensor, sums).tolist(), strict=True)
        return {name: loss_sum / weight for (name, weight), loss_sum in pairs if weight}

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Clip the gradient, once it is whole and without a loss scale; leave it out where it is not finite."""
        limit = self.optim.max_grad_norm or float("inf")
        parameters = [parameter for parameter in self.parameters() if parameter.grad is not None]
        self.gradient_norm = whole(clip_grad_norm_(parameters, limit))
        self.judge_gradient(optimizer)

    def judge_gradient(self, optimizer: Optimizer) -> None:
        """Leave a step out whose gradient is not finite, or end the run.

        Raises:
            NonFiniteError: the run is to stop, in every process alike.
        """
        # Asking waits for the accelerator; all processes get the same answer, as they have the same gradient.
        if self.optim.on_nan != "ignore" and not math.isfinite(self.gradient_norm):
            self._leave_out(optimizer)
            self.steps_left_out += 1

    def _leave_out(self, optimizer: Optimizer) -> None:
        """Take the gradients away, so that neither weights nor the optimizer's means change; or stop.

        Raises:
            NonFiniteError: the run is to stop, or no later step can be better, as the weights are not finite.
        """
        loss, step = self.mean_loss(), self.steps_done + 1
        scaler = getattr(self.trainer.precision_plugin, "scaler", None)
        if scaler is not None and math.isfinite(loss) and scaler.get_scale() >= 1:
            return  # 16-mixed: the scaled gradient overflowed, as it does now and then; the scaler leaves the step out
        self.refuse_non_finite_weights(step)
        cause = name_cause(loss, float(self.gradient_norm))
        if self.optim.on_nan == "stop":
            raise NonFiniteError(step, cause, f"{RATE_ADVICE}, or leave such steps out with --on_nan skip")
        if self._left_out_in_a_row == MOST_STEPS_LEFT_OUT:
            raise NonFiniteError(step, f"{cause}, after {MOST_STEPS_LEFT_OUT} left out in a row", RATE_ADVICE)
        optimizer.zero_grad()
        self.left_out = cause

    def refuse_non_finite_weights(self, step: int) -> None:
        """Refuse weights that are not finite, see `refuse_non_finite_weights`."""
        for network in (self.model, self.objective.modules):
            refuse_non_finite_weights(network, step)


def recorded_steps_left_out(state: dict[str, Any]) -> int:
    """Optimizer steps up to a checkpoint that changed no weight; of older checkpoints AdamW's own count tells it."""
    if "steps_left_out" in state:
        return int(state["steps_left_out"])
    return state["steps_done"] - max((int(kept["step"]) for kept in state["optimizer"]["state"].values()), default=0)
