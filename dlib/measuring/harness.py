"""EleutherAI's lm-eval on a checkpoint, where that package is installed (an optional extra)."""

import importlib
import os
from typing import Any

import torch

from dlib.measuring.checkpoint_evaluation import DEFAULT_BATCH_SIZE, CheckpointEvaluation
from dlib.measuring.flags import NEEDS_LM_EVAL, Harness
from dlib.models.hub import reason_of
from dlib.process.errors import UserError


def run_tasks(evaluation: CheckpointEvaluation, harness: Harness) -> dict[str, float]:
    """The tasks' metrics: `<task>/<metric>`, without the name of lm-eval's filter where that is "none".

    Raises:
        UserError: lm-eval is not installed, a task is unknown, or its data cannot be had.
    """
    lm_eval = import_lm_eval("lm_eval")
    tasks = import_lm_eval("lm_eval.tasks")
    model_class = import_lm_eval("lm_eval.models.huggingface").HFLM
    manager = tasks.TaskManager(include_path=str(harness.folder) if harness.folder else None)
    refuse_unknown_tasks(harness, manager)
    batch = evaluation.args.batch
    size = batch.eval_batch_size or batch.micro_batch_size or DEFAULT_BATCH_SIZE
    with evaluation.plugin.forward_context(), torch.no_grad():
        model = model_class(
            pretrained=evaluation.model,
            tokenizer=evaluation.tokenizer,
            backend="causal",
            batch_size=size,
            max_length=evaluation.args.data.max_length,
        )
        try:
            found = lm_eval.simple_evaluate(
                model=model, tasks=list(harness.tasks), task_manager=manager, log_samples=False, bootstrap_iters=0
            )
        except Exception as error:  # a task's own code and the loading of its data raise whatever they raise
            raise UserError(f"--harness {','.join(harness.tasks)}: lm-eval failed: {reason_of(error)}") from error
    return flatten(found["results"])


def import_lm_eval(module: str) -> Any:
    """A module of lm-eval, which may be missing."""
    os.environ.setdefault("HF_DATASETS_TRUST_REMOTE_CODE", "0")  # else it asks on stdin whether to run such code
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UserError(f"{NEEDS_LM_EVAL} ({reason_of(error)})") from error


def refuse_unknown_tasks(harness: Harness, manager: Any) -> None:
    """Refuse a task that lm-eval does not know."""
    unknown = [task for task in harness.tasks if not manager.match_tasks([task])]
    if unknown:
        raise UserError(f"--harness {unknown[0]}: lm-eval has no such task; --harness_tasks FOLDER adds your own")


def flatten(results: dict[str, dict[str, Any]]) -> dict[str, float]:
    """lm-eval's table of results as one list; it writes a metric as `acc,none`, its error as `acc_stderr,none`."""
    return {
        f"{task}/{name.removesuffix(',none').replace(',', '/')}": float(value)
        for task, values in results.items()
        for name, value in values.items()
        if isinstance(value, int | float) and "_stderr" not in name and name != "sample_len"
    }
