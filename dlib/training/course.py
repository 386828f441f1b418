"""Whether a run may have a new goal: only if its steps so far are those of a run that had it from the beginning."""

from typing import TYPE_CHECKING

from dlib.args import ExperimentArgs
from dlib.process.errors import UserError
from dlib.training.optimizers import learning_rate_at
from dlib.training.plan import TrainingPlan, make_plan

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
    branch = f"--branch {args.run.name} --name another goes on from there in a run of its own"
    flag = f"--training_goal {args.durations.training_goal}"
    samples = [each.batches.samples_before(steps_done) for each in (before, plan)]
    if samples[0] != samples[1]:
        raise UserError(
            f"{flag}: step {steps_done}, the last, took what was left of the samples, and with the new goal would have "
            f"taken {samples[1] - samples[0]} more; {branch}"
        )
    for step in range(steps_done):
        old, new = (learning_rate_at(step, 1.0, each.optim, of) for each, of in ((begun, before), (args, plan)))
        if old != new:
            raise UserError(
                f"{flag}: --schedule {args.optim.schedule} depends on the goal, and step {step + 1} would have had "
                f"another learning rate; {branch}"
            )
