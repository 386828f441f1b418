"""How the weights are changed: the optimizer, the batch, and for how long."""

from dataclasses import dataclass

from dlib.args.fields import setting
from dlib.args.tables import OPTIMIZERS, arguments_of

ENDLESS_SCHEDULES = ("constant", "inverse_sqrt")
"""Those whose learning rates do not depend on the training goal."""


@dataclass
class OptimizerChoice:
    """What all optimizers have in common."""

    learning_rate: float = setting(1e-4, at_least=0)
    """Peak learning rate."""
    schedule: str = setting("linear", choices=("linear", "cosine", "constant", "wsd", "inverse_sqrt"))
    """Shape of the learning rate after the warm-up; `wsd`: constant, then linear to the minimum at the end."""
    warmup: str = setting("6%", duration="share", at_least=0)
    """Length of the linear warm-up, a duration or a share of the training goal."""
    decay: str = setting("20%", duration="share")
    """wsd: length of the decay at the end, a duration or a share of the training goal."""
    min_learning_rate_ratio: float = setting(0.0, at_least=0, at_most=1)
    """Learning rate at the end of linear, cosine and wsd, as a fraction of the peak."""
    weight_decay: float = setting(0.01, at_least=0)
    """Weight decay, on matrices only, embeddings among them: not on biases and the weights of norms."""
    layer_decay: float = setting(1.0, more_than=0, at_most=1)
    """Learning rate of a layer, as a fraction of that of the layer above it; the embeddings are the lowest."""
    optimizer: str = setting("adamw", choices=tuple(OPTIMIZERS))
    """How weights change; `adafactor` needs little memory and a rate of about 0.01; `muon` moves layers' matrices."""


@dataclass
class OptimArgs(*arguments_of(OPTIMIZERS), OptimizerChoice):  # type: ignore[misc] # bases from a table
    """The optimizer, its own arguments, and the schedule of its learning rate."""

    max_grad_norm: float = setting(1.0, at_least=0)
    """Gradients are scaled down to this 2-norm; 0: never."""
    ema_decay: float = setting(0.0, at_least=0, less_than=1)
    """Decay of an average of the weights (EMA) that is evaluated and kept in their place, 0.999 or so; 0: none."""
    on_nan: str = setting("stop", choices=("stop", "skip", "ignore"))
    """What to do in a step whose gradient is not finite: stop the run, leave the step's update out, or go on."""


@dataclass
class BatchArgs:
    """One truth: batch_size = micro_batch_size x devices x nodes x accumulation; or a step by its tokens."""

    batch_size: int = setting(32, alias="-b", at_least=1)
    """Number of sequences in an optimizer step, over all devices and nodes."""
    max_tokens_per_batch: int | None = setting(None, at_least=1)
    """In place of `batch_size`: number of tokens, padding included, in a step of rows of like length (none packed)."""
    micro_batch_size: int | None = setting(None, at_least=1, none="auto")
    """Number of sequences in a forward pass of one device; auto: as many as make it faster, fit into memory and divide
    the step, found once when the run begins."""
    eval_batch_size: int | None = setting(None, at_least=1, free=True)
    """Number of sequences in a forward pass of an evaluation; none: as many as in training."""


@dataclass
class DurationArgs:
    """Durations are `2000`, "10k steps", "2B tokens", "50k samples" or "3 epochs"; intervals also "5%"."""

    training_goal: str = setting("1 epoch", duration="length")
    """How long to train: `2000` (steps), "10k steps", "2B tokens", "50k samples", "3 epochs". A run may be given a
    longer one, or a shorter, where its steps so far stay what they were."""
    earlier_goals: list[int] = setting([], at_least=1)
    """Optimizer steps that the goal was before, as the run itself notes them: shares such as "5%" are of the first,
    and at each of them the model is evaluated and saved for good."""
    eval_interval: str = setting("10%", duration="share")
    """How often to evaluate on the development text, a duration or a share of the training goal."""
    early_stopping: str | None = setting(None, duration="evaluations")
    """Stop once the best metric has not got better for so long: "5 evaluations"; none: train to the goal."""
    max_time: str | None = setting(None, duration="clock", free=True)
    """Stop by the clock with everything saved, as HH:MM:SS or D-HH:MM:SS; the same command goes on."""
