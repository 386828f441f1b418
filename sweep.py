"""Train many runs: the points of a sweep, each with arguments of its own.

    python sweep.py configs/sweeps/rates.yml --list                     which points are there?
    python sweep.py configs/sweeps/rates.yml --local 2                  on this machine, two at a time, a device each
    python sweep.py configs/sweeps/rates.yml --local 2 -- -d mine       ... with flags of train.py for all of them
    python sweep.py configs/sweeps/rates.yml --submit slurm --limit 4   as an array of SLURM, at most four at a time
    python sweep.py configs/sweeps/rates.yml --index 3                  one point, as the array of any scheduler does
    python sweep.py status configs/sweeps/rates.yml                     where does each stand?
    python runs.py compare --filter sweep=rates                         what came of it, the best first?

The same command again goes on: what is finished or under way is left alone, what was stopped or killed goes on.
Exit status: 0 done, with all points finished; 1 some failed, or are under way elsewhere; 2 a mistake of the user;
75 stopped by a signal with everything saved. With --index it is that of train.py.
"""

from dlib.process.stop_signals import stop_unsaved_when_asked

if __name__ == "__main__":
    stop_unsaved_when_asked()

import os
import sys
from argparse import Namespace
from pathlib import Path

import dlib.process.installation  # noqa: F401 - first: it says what is missing
from dlib.launch.sweep_commands import parse_order
from dlib.launch.sweep_points import SweepOrder, counted, ledger, listed, refuse_other_arguments, state_of, states
from dlib.process.errors import TRAINING_ERROR_STATUS, UserError, run_script
from dlib.process.ranks import is_rank_zero, say
from dlib.runs.folder import RunFolder
from dlib.runs.liveness import LIVE_STATES, UNKNOWN, is_held

REPOSITORY = Path(__file__).parent


def main() -> int:
    """Do what the command line asks for."""
    asked, order = parse_order(sys.argv[1:])
    if asked.status:
        print("\n".join(ledger(states(order), as_json=asked.json)))
    elif asked.list:
        print("\n".join(listed(order, as_json=asked.json)))
    elif asked.local:
        return train_here(order, asked.local)
    elif asked.submit:
        submit(asked, order)
    else:
        return train_point(order, asked.index)
    return 0


def train_here(order: SweepOrder, number: int) -> int:
    """Check all points that are due, and train them, `number` at a time."""
    from dlib.launch.sweep_locally import environments, run_locally
    from dlib.training.described import Described, check_training

    places = environments(order.args.hardware, number)
    refuse_other_arguments(order, states(order))
    has_gpu = "CUDA_VISIBLE_DEVICES" in places[0] or order.args.hardware.accelerator == "mps"
    device = Described(nodes=1, gpus=int(has_gpu), tasks=1)
    for point in order.points:  # each looked at in its turn: the same command elsewhere may begin some meanwhile
        if is_held(RunFolder(order.workspace / point.name)):
            continue  # it goes on there, though its status may not say so yet
        if state_of(order, point).is_due(retry_failed=order.retry_failed):
            check_training(order.command(point)[1:], device)
    return run_locally(order, places, REPOSITORY)


def submit(asked: Namespace, order: SweepOrder) -> None:
    """Check all points that are due for the devices that they get, and queue them as one array."""
    from dlib.launch.clusters import load_cluster
    from dlib.launch.commands import cluster_overrides
    from dlib.launch.container_paths import refuse_hidden
    from dlib.launch.launchers import make_launcher, shown_number
    from dlib.launch.submission import refuse_live_job
    from dlib.launch.sweep_submission import array_job, submit_sweep
    from dlib.training.described import Described, check_training

    cluster = load_cluster(asked.submit, cluster_overrides(vars(asked)))
    if not asked.dry_run:
        refuse_live_job(order.folder.absolute(), order.sweep.name)
    found = states(order)
    refuse_other_arguments(order, found)
    say(counted(found))
    # Where the state is unknown and no job of the sweep is left, a node has died with it.
    due = [each for each in found if each.state == UNKNOWN or each.is_due(retry_failed=order.retry_failed)]
    if not due:
        return
    described = Described(cluster.nodes, cluster.gpus_per_node, cluster.tasks, same_files=not cluster.container.image)
    trainings = [check_training(order.command(each.point)[1:], described) for each in due]
    flags = [training.flags(cluster.clock) for training in trainings]
    # One script for all: where some points have a clock of their own, it cannot say one.
    clock = flags[0] if all(each == flags[0] for each in flags) else []
    job = array_job(order, due, cluster, asked.limit, clock)
    for training in trainings:
        refuse_hidden(job, training.args)
    if asked.dry_run:
        print(make_launcher(cluster.launcher).script(job), end="")
        return
    number = shown_number(submit_sweep(order, job, REPOSITORY))
    say(f"job {number}: {len(due)} points, {job.script}; see jobs.py status {job.name}")


def train_point(order: SweepOrder, index: int) -> int:
    """Become the `train.py` of a point; 0 where it is finished, 1 where it failed and is not to be retried."""
    points = order.points
    if not 0 <= index < len(points):
        raise UserError(f"--index {index}: the sweep has points from 0 to {len(points) - 1}")
    # A task that a scheduler has brought back goes on, whatever its run says: a node that died may have made it fail.
    retry_failed = order.retry_failed or os.environ.get("SLURM_RESTART_COUNT", "0") != "0"
    found = state_of(order, points[index])
    if is_rank_zero():  # the others of the same point come when the first one may have begun it
        if found.state in LIVE_STATES:
            raise UserError(f"--index {index}: run '{found.point.name}' is {found.state}: another process holds it")
        if not found.is_live and not found.is_due(retry_failed=retry_failed):
            refuse_other_arguments(order, [found])
            advice = "; --retry_failed tries it again" if found.state == "failed" else ""
            say(f"run '{found.point.name}' is {found.state}{advice}")
            return TRAINING_ERROR_STATUS if found.state == "failed" else 0
    script, *words = order.command(found.point)
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, str(REPOSITORY / script), *words])


if __name__ == "__main__":
    run_script(main)
