"""Whether a run may have a new goal: only if its steps so far are those of a run that had it from the beginning."""

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from dlib.args import ExperimentArgs
from dlib.config.durations import Scale, parse_duration, to_steps
from dlib.process.errors import UserError
from dlib.training.plan import TrainingPlan, make_plan, told_steps
from dlib.training.schedules import ScheduleLengths, learning_rate_at

if TYPE_CHECKING:
    from dlib.data.packing import RowSource


def refuse_other_course(
    args: ExperimentArgs, begun: ExperimentArgs, plan: TrainingPlan, rows: "RowSource", steps_done: int
) -> None:
    """Refuse a goal with which the steps that are done would have been others, in their samples or learning rates.

    Args:
        args: the experiment, with its new goal.
        begun: as it was recorded.
        plan: the steps of `args`.
        rows: of the training text.
        steps_done: optimizer steps up to the run's newest checkpoint.

    Raises:
        UserError: one would have been.
    """
    before = make_plan(begun, rows)
    samples = [each.batches.samples_before(steps_done) for each in (before, plan)]
    if samples[0] != samples[1]:
        raise UserError(
            f"{_flag(args)}: step {steps_done}, the last, took what was left of the samples, and with the new goal "
            f"would have taken {samples[1] - samples[0]} more; {_advice(args)}"
        )
    _refuse_other_rates(args, begun, before, plan, steps_done)


def refuse_told_course(args: ExperimentArgs, begun: ExperimentArgs, total_steps: int, steps_done: int) -> None:
    """Refuse what `refuse_other_course` would for its learning rates, as far as flags tell: no text is read.

    Args:
        args: the experiment, with its new goal.
        begun: as it was recorded.
        total_steps: optimizer steps up to the goal that it had.
        steps_done: optimizer steps up to the run's newest checkpoint.

    Raises:
        UserError: one would have been another.
    """
    before, plan = _told_lengths(begun, total_steps), _told_lengths(args, _told_goal(args, begun, total_steps))
    if before is not None and plan is not None:
        _refuse_other_rates(args, begun, before, plan, steps_done)


@dataclass(frozen=True)
class _ToldLengths:
    """The lengths of a schedule in optimizer steps."""

    total_steps: int
    warmup_steps: int
    decay_steps: int


def _told_goal(args: ExperimentArgs, begun: ExperimentArgs, total_steps: int) -> int | None:
    """Optimizer steps up to a new goal: exact in steps, else in proportion to the old; None for another unit."""
    new, old = (parse_duration(each.durations.training_goal, "--training_goal") for each in (args, begun))
    return told_steps(args) or (round(total_steps * new.value / old.value) if new.unit == old.unit else None)


def _told_lengths(args: ExperimentArgs, total_steps: int | None) -> _ToldLengths | None:
    """The lengths of a run of so many steps; None where they are not told, or depend on its text."""
    warmup = parse_duration(args.optim.warmup, "--warmup", interval=True, allow_zero=True)
    decay = parse_duration(args.optim.decay, "--decay", interval=True)
    if total_steps is None or not {warmup.unit, decay.unit} <= {"steps", "percent"}:
        return None
    first_goal, a_step = next(iter(args.durations.earlier_goals), total_steps), Scale(1, Fraction(1), 1)
    return _ToldLengths(total_steps, to_steps(warmup, a_step, first_goal), to_steps(decay, a_step, total_steps))


def _refuse_other_rates(
    args: ExperimentArgs, begun: ExperimentArgs, before: ScheduleLengths, plan: ScheduleLengths, steps_done: int
) -> None:
    for step in range(steps_done):
        old, new = (learning_rate_at(step, 1.0, each.optim, of) for each, of in ((begun, before), (args, plan)))
        if old != new:
            raise UserError(
                f"{_flag(args)}: --schedule {args.optim.schedule} depends on the goal, and step {step + 1} would have "
                f"had another learning rate; {_advice(args)}"
            )


def _flag(args: ExperimentArgs) -> str:
    return f"--training_goal {args.durations.training_goal}"


def _advice(args: ExperimentArgs) -> str:
    return f"--branch {args.run.name} --name another goes on from there in a run of its own"
