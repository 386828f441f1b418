"""Train a language model on `train.txt` and `dev.txt`, and leave a run folder that can be loaded and repeated.

    python train.py -n first -d data --model roberta-base
    python train.py -n tiny -d data --model configs/models/roberta-tiny --from_scratch --training_goal "2 epochs"
    python train.py --config_path configs/demo.yml -n demo --plan
    python train.py --resume first                     go on with a run, as the same command again does
    python train.py --branch first@800 -n second --training_goal 1000     a new run that begins at a step of another

Exit status: 0 finished, 1 failed in the middle (numbers that are not finite, a full disk, a process that died, a folder
that was moved), 2 a mistake of the user, 75 stopped by a signal or the clock with everything saved.
"""

from dlib.process.stop_signals import STOP_SIGNALS, STOPPED_STATUS, stop_unsaved_when_asked

if __name__ == "__main__":
    stop_unsaved_when_asked()

import time
from contextlib import nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dlib.process.installation  # noqa: F401 - first: it says what is missing
from dlib.args import ExperimentArgs
from dlib.config.configuration import parse_args
from dlib.process.early_contact import in_touch, tell_loss
from dlib.process.errors import UserError, outlast_reader, run_script
from dlib.process.importing import without_collecting
from dlib.process.launching import launched, refuse_missing_launcher
from dlib.process.messages import quiet_libraries
from dlib.process.placement import refuse_idle_nodes
from dlib.process.ranks import end_with_launcher, is_rank_zero, say
from dlib.process.threads import let_threads_sleep, take_one_thread
from dlib.runs import session
from dlib.runs.branching import with_trunk
from dlib.runs.ending import tell_finished
from dlib.runs.fast_dev_run import removed, shorten
from dlib.runs.folder import RunFolder
from dlib.runs.liveness import refuse_held
from dlib.runs.resuming import with_recorded_run

if TYPE_CHECKING:
    from dlib.callbacks.stopping import Stopping
    from dlib.data.data_module import DataModule
    from dlib.tracking.run_log import RunLog
    from dlib.training.preparation import Preparation

DESCRIPTION = "Train a language model on train.txt and dev.txt; the same command again goes on where a run stopped."


def main() -> int:
    """Train, in touch with the other processes if a launcher has started several."""
    started = time.monotonic()
    end_with_launcher()
    with in_touch():
        return begin_or_go_on(started)


def begin_or_go_on(started: float) -> int:
    """Answer at once what needs no libraries, then train."""
    parsed = with_trunk(with_recorded_run(parse_args(description=DESCRIPTION)))
    args = shorten(parsed.args) if parsed.flags.fast_dev_run else parsed.args
    folder = RunFolder(Path(args.run.out_dir, args.run.name))
    if parsed.flags.plan:
        with suppress(UserError):  # a plan may be of anything; that of a run which is there has what the run chose
            args = session.check(folder, args)
    else:
        refuse_idle_nodes(args.hardware.num_nodes)
        refuse_missing_launcher(args.hardware.num_nodes)
        args = session.check(folder, args)
        if session.is_finished(folder, args):
            tell_finished(folder, args)
            return 0
        if is_rank_zero():  # the others of a run come when the first one may hold it
            refuse_held(folder)
    with removed(folder) if parsed.flags.fast_dev_run else nullcontext():
        return train(args, folder, started, plan_only=parsed.flags.plan)


def train(args: ExperimentArgs, folder: RunFolder, started: float, *, plan_only: bool) -> int:
    """The story of a run, from its arguments to its exit status; with `plan_only` to the summary alone.

    The program started at `started`, a reading of `time.monotonic()`.
    """
    prepare_process(args)
    # Imported here and below, not above: `--help` must not wait for it, nor a mistake in a path for what takes seconds.
    from dlib.training.preflight import find_inputs, settle_hardware

    inputs = find_inputs(args, folder, plan_only=plan_only)
    args, devices = settle_hardware(args)

    with without_collecting():
        from dlib.training.preparation import prepare

    run = prepare(args, inputs, devices)
    if plan_only:
        if is_rank_zero():
            print(run.summary)
        return 0

    with without_collecting():
        from dlib.callbacks.stopping import Stopping
        from dlib.tracking.run_log import open_run_log
        from dlib.training.beginning import begin, build_data_module, refuse_too_large_run
        from dlib.training.callback_states import load_callback_states

    refuse_too_large_run(run)
    outlast_reader("stdout")  # libraries print there
    with session.opened(folder, run.args, run.plan.total_steps, run.describe(), Path(__file__).parent) as start:
        stopping = Stopping(run.plan.max_seconds, started)
        stopping.listen()
        tell_loss(partial(session.fail, folder, run.plan.total_steps), stopping.was_asked)
        say(run.summary)
        run_log = open_run_log(folder, run.args, start.step)
        module, states = begin(run, folder, start)
        data = build_data_module(run, start.step)
        callbacks = build_callbacks(run, folder, run_log, data, stopping)
        load_callback_states(callbacks, states)
        if start.step < run.plan.total_steps and stopping.reason is None:
            fit(run, folder, run_log, callbacks, module, data, stopping)
        ending = "preempted" if stopping.stopped else "finished"
        run_log.finish(ending)
        session.close(folder, ending, module.steps_done, run.plan.total_steps, stopping.reason)
    # The other processes end with 0: whoever launched them would take anything else for a crash.
    return STOPPED_STATUS if ending == "preempted" and is_rank_zero() else 0


def prepare_process(args: ExperimentArgs) -> None:
    """Set what has to be set before torch is imported."""
    quiet_libraries()
    let_threads_sleep()
    if args.hardware.exact_reduce:
        take_one_thread()


def build_callbacks(
    run: "Preparation", folder: RunFolder, run_log: "RunLog", data: "DataModule", stopping: Any
) -> list[Any]:
    """What happens around the optimizer steps. Your own callbacks and loggers, or Lightning's, go into this list."""
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

    args = run.args
    listed: list[Any] = [
        *([EMA(args.optim.ema_decay)] if args.optim.ema_decay else []),
        Performance(run_log, run.devices),
        Recording(run_log),
        Evaluating(data, run_log),
        *stop_early(args.durations.early_stopping, run.objective.best),
        stopping,
        Anomalies(folder, run.data.train, run.tokenizer, run_log),
        SettlingBuckets(data),
        Checkpointing(folder, run.tokenizer, run_log, args),
        *([ProgressBar(run_log)] if args.tracking.progress else []),
    ]
    return in_order(listed, run_log)


def fit(
    run: "Preparation",
    folder: RunFolder,
    run_log: "RunLog",
    callbacks: list[Any],
    module: Any,
    data: "DataModule",
    stopping: "Stopping",
) -> None:
    """Train to the goal, or to a stop, with as many processes as there are devices."""
    from dlib.callbacks.anomalies import Anomalies
    from dlib.tracking.lightning_loggers import RunLogger
    from dlib.training import trainer
    from dlib.training.non_finite import NonFiniteError

    devices, hardware = run.devices, run.args.hardware
    on_loss = partial(session.fail, folder, run.plan.total_steps)
    told = partial(session.cause_of_others, folder)
    here, nodes, asked = len(devices.indices), devices.num_nodes, stopping.was_asked
    with launched(here, nodes, on_loss, STOP_SIGNALS, told, asked, trainer.open_store):
        logger = RunLogger(run_log, module.logged_step)
        strategy, exact = hardware.distributed_strategy, hardware.exact_reduce
        built = trainer.build_trainer(devices, strategy, callbacks, logger=logger, exact_reduce=exact)
        try:
            trainer.fit(built, module, data)
        except NonFiniteError as error:
            anomalies = next(callback for callback in callbacks if isinstance(callback, Anomalies))
            raise anomalies.explain(error, module) from error


if __name__ == "__main__":
    run_script(main)
