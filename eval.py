"""Evaluate runs, checkpoints and Hugging Face models; results go to stdout and into the run's folder.

    python eval.py first                                             the best checkpoint, on the run's own dev text
    python eval.py runs/first --all -d other --split test            every checkpoint, on other/test.txt
    python eval.py runs/llama gpt2-folder -d data --stride 256       perplexity over whole documents
    python eval.py --watch runs/first                                each new checkpoint, as long as the run trains
    python eval.py --watch runs                                      ... of all runs, also those that begin later
    python eval.py runs/llama --harness my_task --harness_tasks tasks

A word that is no path is a run's name in `runs`, else a model's on the Hugging Face hub.
Exit status: 0 done, 1 failed in the middle (a process that died), 2 a mistake of the user, 130 interrupted; a watch:
143 after SIGTERM, 129 when its terminal closed.
"""

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import dlib.process.installation  # noqa: F401 - first: it says what is missing
from dlib.config.configuration import load_config
from dlib.measuring.flags import Order, parse_order, refuse_missing_lm_eval
from dlib.models.hub import choose_hub_mode
from dlib.process.early_contact import in_touch
from dlib.process.errors import USER_ERROR_STATUS, UserError, ended_by_signals, outlast_reader, run_script
from dlib.process.importing import without_collecting
from dlib.process.launching import launched, refuse_missing_launcher
from dlib.process.messages import quiet_libraries
from dlib.process.ranks import end_with_launcher, is_rank_zero, say
from dlib.process.threads import let_threads_sleep
from dlib.training.devices import find_devices

if TYPE_CHECKING:
    from dlib.measuring.processes import Processes
    from dlib.measuring.results import Result
    from dlib.measuring.subjects import Subject
    from dlib.runs.folder import RunFolder

HUB = "the hub"
"""Stands for the data of lm-eval's tasks, which may have to be fetched."""


def main() -> int:
    """Do what the command line asks for."""
    end_with_launcher()
    with in_touch():
        order = parse_order(sys.argv[1:])
        refuse_missing_launcher(load_config([], order.overrides).hardware.num_nodes)
        quiet_libraries()
        let_threads_sleep()
        return watch(order) if order.watch else evaluate_once(order)


def evaluate_once(order: Order) -> int:
    """Evaluate what is there now; a mistake in any target is told before anything is computed."""
    from dlib.measuring.subjects import find_subjects

    subjects = [subject for target in order.targets for subject in find_subjects(target, order)]
    with launch(order, [subject.model for subject in subjects]) as processes:
        work_through(pinned(subjects), order, processes)
    return 0


def pinned(subjects: Iterable["Subject"]) -> Iterator["Subject"]:
    """Each subject, protected from a live run's retention until the next is asked for."""
    from dlib.measuring.watching import pin

    for subject in subjects:
        if subject.run is None or subject.step is None:
            yield subject
            continue
        waiting = f"{subject.checkpoint} of run '{subject.name}': waiting for another process that evaluates it"
        with subject.run.ledger.claim(subject.checkpoint, before_waiting=partial(say, waiting)):
            model = pin(subject.run, subject.step)
            if model is None:
                raise UserError(f"{subject.model} has gone meanwhile; name another checkpoint")
            try:
                yield replace(subject, model=str(model))
            finally:
                subject.run.ledger.release(subject.checkpoint)


def watch(order: Order) -> int:
    """Evaluate each new checkpoint until the runs have ended.

    It goes on when nobody reads its stdout any longer: the results are in the runs' folders.
    """
    from dlib.measuring.watching import Watcher

    outlast_reader("stdout")
    watcher = Watcher(order)
    try:
        with ended_by_signals() if is_rank_zero() else nullcontext(lambda: None) as end_if_asked:
            if is_rank_zero():
                watcher.prepare()
            with launch(order, []) as processes:
                work_through(until_asked_to_end(end_if_asked, watcher.subjects()), order, processes, watcher.give_up)
    except (KeyboardInterrupt, SystemExit):
        if is_rank_zero():
            watcher.stop()
        raise
    if order.once and is_rank_zero():
        watcher.stop()
    return USER_ERROR_STATUS if watcher.failed else 0


def until_asked_to_end(
    end_if_asked: Callable[[], None], looks: Iterable["Subject | None"]
) -> Iterator["Subject | None"]:
    """What each look found, unless this process was asked to end meanwhile."""
    for found in looks:
        end_if_asked()
        yield found


@contextmanager
def launch(order: Order, models: Sequence[str]) -> "Iterator[Processes]":
    """The processes that evaluate, one a device, with the libraries imported."""
    args = load_config([], order.overrides)
    devices = find_devices(args.hardware)
    if order.harness:
        refuse_missing_lm_eval()
    choose_hub_mode([*models, *([HUB] if order.harness else [])], args.tracking.offline)
    # Here and not above: it takes seconds to import, and a mistake in the flags must not wait for it.
    with without_collecting():
        from dlib.measuring.processes import Processes
        from dlib.training.trainer import open_store

    with launched(len(devices.indices), devices.num_nodes, open_store=open_store):
        yield Processes(devices)


def work_through(
    work: Iterable["Subject | None"],
    order: Order,
    processes: "Processes",
    give_up: "Callable[[RunFolder, int, UserError], None] | None" = None,
) -> None:
    """Evaluate one subject after the other; a mistake ends it, unless `give_up` takes it."""
    from dlib.measuring.results import Results

    results = Results(as_json=order.json, output=order.output)
    try:
        for subject in processes.share(work):
            try:
                result = evaluate(subject, processes)
                if processes.rank == 0:
                    results.add(result)
            except UserError as error:
                if processes.rank > 0:
                    continue  # the first meets the same mistake, tells it, and decides
                if give_up is None or subject.run is None or subject.step is None:
                    raise
                give_up(subject.run, subject.step, error)
    finally:
        results.finish()
    processes.end()


def evaluate(subject: "Subject", processes: "Processes") -> "Result":
    """Load a subject and compute its metrics."""
    from dlib.measuring.checkpoint_evaluation import CheckpointEvaluation
    from dlib.measuring.harness import run_tasks
    from dlib.measuring.results import Result

    started = time.monotonic()
    evaluation = CheckpointEvaluation(subject, processes)
    harness = subject.evaluation.order.harness
    metrics = run_tasks(evaluation, harness) if harness else evaluation.metrics(subject.evaluation)
    return Result(
        subject,
        metrics,
        evaluation.describe_hardware(),
        time.monotonic() - started,
        {} if harness else evaluation.objective.signatures,
        evaluation.outputs,
    )


if __name__ == "__main__":
    run_script(main)
