"""Train a language model on `train.txt` and `dev.txt`, and leave a run folder that can be loaded and repeated.

    python train.py -n first -d data --model roberta-base
    python train.py -n tiny -d data --model configs/models/roberta-tiny --from_scratch --training_goal "2 epochs"
    python train.py --config_path configs/demo.yml -n demo --plan
    python train.py --resume first                     go on with a run, as the same command again does

Exit status: 0 finished, 1 failed in the middle (numbers that are not finite, a full disk, a process that died, a folder
that was moved), 2 a mistake of the user, 75 stopped by a signal or the clock with everything saved.
"""

import time
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import dlib.process.installation  # noqa: F401 - first: it says what is missing
from dlib.args import ExperimentArgs
from dlib.config.configuration import parse_args
from dlib.process.durable import tell_little_room
from dlib.process.errors import outlast_reader, run_script
from dlib.process.launching import launched, refuse_missing_launcher
from dlib.process.messages import keep_messages, quiet_libraries
from dlib.process.ranks import end_with_launcher, is_rank_zero, say
from dlib.process.threads import let_threads_sleep, take_one_thread
from dlib.process.versions import refuse_attention_on
from dlib.runs import session
from dlib.runs.continuity import refuse_other_weights
from dlib.runs.fast_dev_run import removed, shorten
from dlib.runs.folder import RunFolder
from dlib.runs.paths import CheckpointFolder
from dlib.runs.resuming import with_recorded_run

DESCRIPTION = "Train a language model on train.txt and dev.txt; the same command again goes on where a run stopped."
PREEMPTED_STATUS = 75


def main() -> int:
    """Answer at once what needs no libraries, then train."""
    started = time.monotonic()
    end_with_launcher()
    parsed = with_recorded_run(parse_args(description=DESCRIPTION))
    args = shorten(parsed.args) if parsed.flags.fast_dev_run else parsed.args
    folder = RunFolder(Path(args.run.out_dir, args.run.name))
    if not parsed.plan:
        refuse_missing_launcher(args.hardware.num_nodes)
        args = session.check(folder, args)
        if session.is_finished(folder):
            session.tell_finished(folder)
            return 0
    with removed(folder) if parsed.flags.fast_dev_run else nullcontext():
        return train(args, folder, started, plan_only=parsed.plan)


def train(args: ExperimentArgs, folder: RunFolder, started: float, *, plan_only: bool) -> int:
    """The story of a run, from its arguments to its exit status; with `plan_only` to the summary alone.

    The program started at `started`, a reading of `time.monotonic()`.
    """
    quiet_libraries()
    let_threads_sleep()
    if args.hardware.exact_reduce:
        take_one_thread()
    # Here and not above: `--help` must not wait for these, nor a mistake in a path for those that take seconds.
    from dlib.data.batching import check_batch_arithmetic
    from dlib.training.devices import find_devices
    from dlib.training.preflight import find_inputs

    inputs = find_inputs(args, folder, plan_only=plan_only)
    devices = find_devices(args.hardware)
    refuse_attention_on(devices.accelerator, args.model.attn_implementation)
    micro_batch_size = check_batch_arithmetic(
        args.batch.batch_size, args.batch.micro_batch_size, len(devices.indices), devices.num_nodes
    )
    from dlib.callbacks.anomalies import Anomalies
    from dlib.callbacks.checkpointing import Checkpointing
    from dlib.callbacks.early_stopping import stop_early
    from dlib.callbacks.ema import EMA
    from dlib.callbacks.evaluation import Evaluating
    from dlib.callbacks.order import in_order
    from dlib.callbacks.performance import Performance
    from dlib.callbacks.progress import ProgressBar
    from dlib.callbacks.recording import Recording
    from dlib.callbacks.settling import SettlingBuckets
    from dlib.callbacks.stopping import SIGNALS, Stopping
    from dlib.data.data_module import DataModule
    from dlib.models.limits import refuse_broken_weights, refuse_too_large
    from dlib.models.loading import as_saved, build_model
    from dlib.tracking.lightning_loggers import RunLogger
    from dlib.tracking.run_log import open_run_log
    from dlib.training.callback_states import load_callback_states
    from dlib.training.checkpoints import add_modules, hash_weights, read_training_state
    from dlib.training.non_finite import NonFiniteError
    from dlib.training.plan import kept_checkpoints
    from dlib.training.preparation import prepare
    from dlib.training.trainer import build_trainer, fit
    from dlib.training.training_module import TrainingModule

    run = prepare(args, inputs, devices, micro_batch_size)
    args, source, flag, tokenizer, objective = run.args, run.source, run.flag, run.tokenizer, run.objective
    data, plan = run.data, run.plan
    if plan_only:
        if is_rank_zero():
            print(run.summary)
        return 0
    refuse_too_large(run.parameters[0], source)

    outlast_reader("stdout")  # libraries print there
    hashes, repository = data.fingerprints(objective.roles), Path(__file__).parent
    computes_on = devices.describe(args.hardware.distributed_strategy)
    with session.opened(folder, args, plan.total_steps, hashes, computes_on, repository, objective.describe()) as start:
        stopping = Stopping(plan.max_seconds, started)
        stopping.listen()
        keep_messages(folder.log)
        say(run.summary)
        if start.checkpoint is None and is_rank_zero():
            tell_little_room(folder.root, kept_checkpoints(args, plan) * run.checkpoint_bytes)
        run_log = open_run_log(folder, args, start.step)
        if start.checkpoint is not None:
            say(f"run '{folder.name}' goes on after step {start.step}")
            source = str(CheckpointFolder(start.checkpoint).model)
        model = build_model(
            args if start.checkpoint is None else as_saved(args),
            source,
            tokenizer,
            objective.head,
            devices.precision,
            flag,
            is_checkpoint=start.checkpoint is not None,
        )
        saved = None if start.checkpoint is None else Path(source)
        add_modules(objective, model, args.run.seed, saved)
        if start.step == 0 and args.optim.on_nan != "ignore":
            refuse_broken_weights(model, f"{flag} {source}")
        if start.step == 0 and is_rank_zero():
            refuse_other_weights(folder, hash_weights(model, objective.modules))
        exact = args.hardware.exact_reduce
        module = TrainingModule(model, objective, args.optim, plan, devices.precision, exact_reduce=exact)
        data_module = DataModule(
            data,
            plan.batches,
            objective,
            first_step=start.step,
            eval_batch_size=args.batch.eval_batch_size or micro_batch_size,
            num_workers=args.data.num_workers,
            limit_dev_rows=args.data.limit_dev_rows,
        )
        anomalies = Anomalies(folder, data.train, tokenizer, run_log)
        # Your own callbacks and loggers, or Lightning's, can stand anywhere in this list: docs/extending.md.
        listed = [
            *([EMA(args.optim.ema_decay)] if args.optim.ema_decay else []),
            Performance(run_log, devices),
            Recording(run_log),
            Evaluating(data_module, run_log, data.dev_tokens_per_byte),
            *stop_early(args.durations.early_stopping, objective.best),
            stopping,
            anomalies,
            SettlingBuckets(data_module),
            Checkpointing(folder, tokenizer, run_log, args),
            *([ProgressBar(run_log)] if args.tracking.progress else []),
        ]
        callbacks = in_order(listed, run_log)
        if start.checkpoint is not None:
            state = read_training_state(start.checkpoint)
            module.resume(state)
            load_callback_states(callbacks, state["callbacks"])
        if start.step < plan.total_steps and stopping.reason is None:
            on_loss = partial(session.fail, folder, plan.total_steps)
            with launched(len(devices.indices), devices.num_nodes, on_loss, held_back=SIGNALS):
                logger = RunLogger(run_log, module.logged_step)
                strategy = args.hardware.distributed_strategy
                trainer = build_trainer(devices, strategy, callbacks, logger=logger, exact_reduce=exact)
                try:
                    fit(trainer, module, data_module)
                except NonFiniteError as error:
                    raise anomalies.explain(error, module) from error
        ending = "preempted" if stopping.stopped else "finished"
        run_log.finish(ending)
        session.close(folder, ending, module.steps_done, plan.total_steps, stopping.reason)
    # The other processes end with 0: whoever launched them would take anything else for a crash.
    return PREEMPTED_STATUS if ending == "preempted" and is_rank_zero() else 0


if __name__ == "__main__":
    run_script(main)
