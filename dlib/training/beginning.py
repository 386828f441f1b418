"""A session of a run, up to its first step: the networks, fresh or as the newest checkpoint holds them.

Which of the two it is, is decided here and nowhere else.
"""

from pathlib import Path
from typing import Any

from dlib.data.data_module import DataModule
from dlib.data.mixture import MixedRows
from dlib.models.limits import refuse_broken_weights, refuse_too_large
from dlib.models.loading import as_saved, build_model
from dlib.models.names import has_learned
from dlib.process.durable import tell_little_room
from dlib.process.ranks import is_rank_zero, say
from dlib.runs.continuity import refuse_other_weights
from dlib.runs.folder import RunFolder
from dlib.runs.paths import CheckpointFolder
from dlib.runs.session import Start
from dlib.training.checkpoints import add_modules, frozen_modules, hash_weights, read_training_state
from dlib.training.evaluation import max_tokens_of_batch
from dlib.training.plan import kept_checkpoints
from dlib.training.preparation import Preparation
from dlib.training.training_module import TrainingModule


def begin(run: Preparation, folder: RunFolder, start: Start) -> tuple[TrainingModule, dict[str, Any]]:
    """Build the networks of a session, and put them where it starts.

    Args:
        run: what it computes.
        folder: where it is kept.
        start: the step that it starts after, and the checkpoint of that step.

    Returns:
        What trains, and what callbacks kept in the checkpoint, by their names.

    Raises:
        UserError: the weights cannot be had, or are not those that the run began with.
    """
    return _begin_anew(run, folder) if start.checkpoint is None else _go_on(run, folder, start)


def refuse_too_large_run(run: Preparation) -> None:
    """Refuse weights that the memory does not hold, before anything is written."""
    refuse_too_large(run.parameters[0], run.source)


def _begin_anew(run: Preparation, folder: RunFolder) -> tuple[TrainingModule, dict[str, Any]]:
    if is_rank_zero():
        tell_little_room(folder.root, kept_checkpoints(run.args, run.plan) * run.checkpoint_bytes)
    model = build_model(run.args, run.source, run.tokenizer, run.objective.head, run.devices.precision, run.flag)
    learned = not run.args.model.from_scratch and has_learned(run.source, run.args.objective.objective)
    add_modules(run.objective, model, run.args.run.seed, Path(run.source) if learned else None)
    if run.args.optim.on_nan != "ignore":
        refuse_broken_weights(model, f"{run.flag} {run.source}")
    if is_rank_zero():
        refuse_other_weights(folder, hash_weights(model, run.objective.modules))
    return _training_module(run, folder, model), {}


def _go_on(run: Preparation, folder: RunFolder, start: Start) -> tuple[TrainingModule, dict[str, Any]]:
    assert start.checkpoint is not None
    say(f"run '{folder.name}' goes on after step {start.step}")
    saved, precision = CheckpointFolder(start.checkpoint).model, run.devices.precision
    args = as_saved(run.args)
    model = build_model(
        args, str(saved), run.tokenizer, run.objective.head, precision, "the checkpoint", is_checkpoint=True
    )
    add_modules(run.objective, model, args.run.seed, saved)
    state = read_training_state(start.checkpoint)
    module = _training_module(run, folder, model)
    module.resume(state)
    return module, state["callbacks"]


def _training_module(run: Preparation, folder: RunFolder, model: Any) -> TrainingModule:
    if (frozen := frozen_modules(run.objective.modules)) and is_rank_zero():
        refuse_other_weights(folder, hash_weights(frozen), f"weights of the {', '.join(frozen)}")
    exact = run.args.hardware.exact_reduce
    rows = run.data.train
    texts = rows.names if isinstance(rows, MixedRows) and run.objective.has_row_losses else ()
    plan, precision = run.plan, run.devices.precision
    return TrainingModule(model, run.objective, run.args.optim, plan, precision, exact_reduce=exact, texts=texts)


def build_data_module(run: Preparation, first_step: int) -> DataModule:
    """The loaders of a session that begins after `first_step` optimizer steps."""
    args = run.args
    assert args.batch.micro_batch_size is not None
    eval_batch_size = args.batch.eval_batch_size or args.batch.micro_batch_size
    return DataModule(
        run.data,
        run.plan.batches,
        run.objective,
        first_step=first_step,
        eval_batch_size=eval_batch_size,
        eval_max_tokens=max_tokens_of_batch(args, eval_batch_size),
        num_workers=args.data.num_workers,
        limit_dev_rows=args.data.limit_dev_rows,
        pin_memory=run.devices.accelerator == "cuda",
    )
