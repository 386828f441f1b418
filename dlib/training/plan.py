"""What a run is going to do, worked out before it does anything: steps, intervals, and their summary.

It stands apart so that `--plan` can print it without a device, and so that the schedule, the callbacks
and the data all read the same numbers.
"""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from fractions import Fraction
from types import MappingProxyType
from typing import TYPE_CHECKING

from dlib.args import ExperimentArgs
from dlib.args.training import OptimArgs
from dlib.config.durations import Duration, Scale, parse_clock, parse_duration, to_samples, to_steps, to_total_steps
from dlib.data.batching import BatchPlan, StepPlan
from dlib.data.mixture import MixedRows
from dlib.process.errors import UserError, printable
from dlib.training.devices import Devices

if TYPE_CHECKING:
    from dlib.data.packing import RowSource


@dataclass(frozen=True)
class TrainingPlan:
    """The steps of a run."""

    batches: StepPlan  # which samples each optimizer step takes
    tokens_per_sample: Fraction  # mean length of a row, special tokens included
    warmup_steps: int  # optimizer steps until the learning rate is at its peak
    decay_steps: int  # optimizer steps of the WSD schedule's decay, at the end
    eval_interval_steps: int  # optimizer steps from one evaluation to the next
    save_interval_steps: int  # optimizer steps from one checkpoint to the next
    log_interval_steps: int  # optimizer steps from one record to the next
    extra_steps: frozenset[int]  # further optimizer steps that are evaluated and saved for good
    max_seconds: int | None  # stop by the clock after this long; None: never

    @property
    def total_steps(self) -> int:
        """Optimizer steps of the whole run."""
        return self.batches.total_steps

    def evaluates_after(self, step: int) -> bool:
        """Whether the model is evaluated after `step` optimizer steps."""
        return self._is_due(step, self.eval_interval_steps) or step in self.extra_steps

    def saves_after(self, step: int) -> bool:
        """Whether a checkpoint is saved after `step` optimizer steps, be the model good or bad."""
        return self._is_due(step, self.save_interval_steps) or step in self.extra_steps

    def logs_after(self, step: int) -> bool:
        """Whether a step's own numbers are recorded; those of the first, the last and the evaluated always are."""
        return step == 1 or self._is_due(step, self.log_interval_steps) or self.evaluates_after(step)

    def _is_due(self, step: int, interval: int) -> bool:
        return step % interval == 0 or step == self.total_steps

    @property
    def num_evaluations(self) -> int:
        """Number of evaluations in the whole run."""
        regular = -(-self.total_steps // self.eval_interval_steps)
        return regular + sum(not self._is_due(step, self.eval_interval_steps) for step in self.extra_steps)

    @property
    def most_checkpoints(self) -> int:
        """Number of steps at which a checkpoint may be saved, if each evaluation finds a new best."""
        first, second = self.eval_interval_steps, self.save_interval_steps
        both = self.total_steps // math.lcm(first, second)
        regular = self.total_steps // first + self.total_steps // second - both
        irregular = {step for step in {*self.extra_steps, self.total_steps} if step % first and step % second}
        return regular + len(irregular)


def make_plan(args: ExperimentArgs, rows: "RowSource") -> TrainingPlan:
    """Work out the steps of a run, whose micro_batch_size is settled.

    Raises:
        UserError: a duration cannot be read, an extra step lies outside the run, or warm-up and decay overlap.
    """
    goal = parse_duration(args.durations.training_goal, "--training_goal")
    plan_batches = plan_equal_steps if args.batch.max_tokens_per_batch is None else plan_buckets
    batches, scale = plan_batches(args, rows, goal)

    total_steps, earlier_goals = batches.total_steps, args.durations.earlier_goals
    first_goal = earlier_goals[0] if earlier_goals else total_steps

    def steps(text: str, flag: str, *, allow_zero: bool = False, whole: int = first_goal) -> int:
        duration = parse_duration(text, flag, interval=True, allow_zero=allow_zero)
        return to_steps(duration, scale, whole)

    clock = args.durations.max_time
    plan = TrainingPlan(
        batches=batches,
        tokens_per_sample=scale.tokens_per_sample,
        warmup_steps=steps(args.optim.warmup, "--warmup", allow_zero=True),
        decay_steps=steps(args.optim.decay, "--decay", whole=total_steps),
        eval_interval_steps=steps(args.durations.eval_interval, "--eval_interval"),
        save_interval_steps=steps(args.checkpoint.save_interval, "--save_interval"),
        log_interval_steps=args.tracking.log_interval,
        extra_steps=frozenset([*args.checkpoint.extra_steps, *(goal for goal in earlier_goals if goal < total_steps)]),
        max_seconds=None if clock is None else parse_clock(clock, "--max_time"),
    )
    refuse_steps_outside(args.checkpoint.extra_steps, plan.total_steps)
    refuse_overlap(args.optim.schedule, plan)
    return plan


def plan_equal_steps(args: ExperimentArgs, rows: "RowSource", goal: Duration) -> tuple[StepPlan, Scale]:
    """Steps of `batch_size` rows, and how large they and an epoch are."""
    assert args.batch.micro_batch_size is not None
    scale = Scale(args.batch.batch_size, tokens_per_sample(rows), len(rows))
    mixture = rows.mixture if isinstance(rows, MixedRows) else None
    sizes = args.batch.batch_size, args.batch.micro_batch_size
    return BatchPlan(len(rows), *sizes, to_samples(goal, scale), args.run.seed, mixture), scale


def plan_buckets(args: ExperimentArgs, rows: "RowSource", goal: Duration) -> tuple[StepPlan, Scale]:
    """Steps of rows of like length, and how large they are on average.

    Raises:
        UserError: the rows are packed, or a row is too long.
    """
    from dlib.data.buckets import BucketPlan, cut_batches  # here, as flags are checked without what reads texts

    budget, micro_batch_size = args.batch.max_tokens_per_batch, args.batch.micro_batch_size
    assert budget is not None
    assert micro_batch_size is not None
    parts = budget // args.data.max_length // micro_batch_size
    order, edges = cut_batches(rows, budget, parts)
    scale = Scale(Fraction(len(order), len(edges) - 1), tokens_per_sample(rows), len(rows))
    return BucketPlan(order, edges, budget, parts, to_total_steps(goal, scale), args.run.seed), scale


def tokens_per_sample(rows: "RowSource") -> Fraction:
    """Mean length of what is drawn of the rows."""
    return rows.tokens_per_sample if isinstance(rows, MixedRows) else Fraction(rows.num_tokens, len(rows))


def told_steps(args: ExperimentArgs) -> int | None:
    """Optimizer steps of the whole run, where its goal tells them; None where they depend on the text.

    Raises:
        UserError: the goal cannot be read.
    """
    goal = parse_duration(args.durations.training_goal, "--training_goal")
    if goal.unit == "steps" or (goal.unit == "samples" and args.batch.max_tokens_per_batch is None):
        return to_total_steps(goal, Scale(args.batch.batch_size, Fraction(1), 1))
    return None


def refuse_steps_outside(extra_steps: Collection[int], total_steps: int) -> None:
    """Refuse extra steps that the run does not have."""
    outside = [step for step in sorted(extra_steps) if not 1 <= step <= total_steps]
    if outside:
        raise UserError(f"--extra_steps {outside[0]}: the run has steps 1 to {total_steps}")


def refuse_overlap(schedule: str, plan: TrainingPlan) -> None:
    """Refuse a warm-up and a decay that do not fit into the run; a step over is rounding."""
    if schedule == "wsd" and plan.warmup_steps + plan.decay_steps > plan.total_steps + 1:
        raise UserError(
            f"--warmup of {plan.warmup_steps:,} steps and --decay of {plan.decay_steps:,} do not fit into the run's "
            f"{plan.total_steps:,} steps: shorten one"
        )


def summarize(
    args: ExperimentArgs,
    plan: TrainingPlan,
    devices: Devices,
    source: str,
    parameters: tuple[int, int],
    checkpoint_bytes: int,
    own_parameters: Mapping[str, tuple[int, int]] = MappingProxyType({}),
    documents: str = "",
    texts: Mapping[str, str] = MappingProxyType({}),
    drawn: str = "",
) -> str:
    """What a run is going to do, for a person; one line a subject.

    Args:
        args: the experiment.
        plan: its steps.
        devices: its devices.
        source: name or folder of the model it starts from.
        parameters: number of all weights and of those that learn.
        checkpoint_bytes: size of a checkpoint.
        own_parameters: the same numbers of the objective's own networks, by name.
        texts: what is read of each text, where there is more to say of it.
        drawn: which weights of the model are drawn anew, in words.
    """
    batches = plan.batches
    kept, early_stopping = kept_checkpoints(args, plan), args.durations.early_stopping
    tokens = batches.total_samples * plan.tokens_per_sample
    lines = {
        "model": f"{source}, {counted(parameters)}{drawn and f'; drawn anew: {drawn}'}",
        **{f"+ {name}": counted(numbers) for name, numbers in own_parameters.items()},
        "objective": f"{args.objective.objective}, rows of up to {args.data.max_length} tokens",
        **({"documents": documents} if documents else {}),
        "devices": str(devices),
        "batch": batches.describe(devices.world_size),
        "training": f"{plan.total_steps:,} optimizer steps, {batches.total_samples:,} samples, {float(tokens):,.0f} "
        f"tokens, {batches.total_samples / batches.num_samples:.2f} epochs of {batches.num_samples:,} rows",
        **texts,
        "optimizer": f"{args.optim.optimizer}, {args.optim.schedule} from {args.optim.learning_rate:g}, "
        f"{plan.warmup_steps:,} warm-up steps"
        + ", more than the run has: the peak is never reached" * (plan.warmup_steps > plan.total_steps)
        + f"; --decay {args.optim.decay} is for --schedule wsd alone" * is_decay_unused(args.optim),
        "evaluation": f"every {plan.eval_interval_steps:,} steps, {plan.num_evaluations:,} in all"
        + ": at the run's end, which comes first" * (plan.eval_interval_steps > plan.total_steps)
        + (f"; ends early after {early_stopping} without a new best" if early_stopping else ""),
        "checkpoints": f"every {plan.save_interval_steps:,} steps and at each best, "
        f"{checkpoint_bytes / 1e6:,.0f} MB each, up to {kept} at a time: {kept * checkpoint_bytes / 1e6:,.0f} MB",
    }
    width = max(map(len, lines)) + 2
    return printable("\n".join(f"{subject:<{width}}{what}" for subject, what in lines.items()))


def shares(rows: "RowSource", plan: TrainingPlan) -> dict[str, str]:
    """What each of several texts has of the samples, by the name of its line."""
    if not isinstance(rows, MixedRows):
        return {}
    told = {}
    for name, part, share in zip(rows.names, rows.parts, rows.shares, strict=True):
        epochs = float(plan.batches.total_samples * share / len(part))
        told[f"+ {name}"] = f"{float(share):.1%} of the samples, {epochs:.2f} epochs of {len(part):,} rows"
    return told


def counted(parameters: tuple[int, int]) -> str:
    """Numbers of weights in words."""
    return "{:,} parameters, {:,} of them learn".format(*parameters)


def is_decay_unused(optim: OptimArgs) -> bool:
    """Whether a decay was asked for that the schedule does not have."""
    return optim.schedule != "wsd" and optim.decay != OptimArgs().decay


def kept_checkpoints(args: ExperimentArgs, plan: TrainingPlan) -> int:
    """The largest number of checkpoints that stand beside each other in a run that is never stopped.

    They are the ordinary ones, the extra ones, the best, and the newest, which is whole before an old one goes.
    """
    if args.checkpoint.max_checkpoints < 0:
        return plan.most_checkpoints
    return min(plan.most_checkpoints, args.checkpoint.max_checkpoints + len(plan.extra_steps) + 2)
