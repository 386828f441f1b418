"""Send runs to a cluster, and see to them.

    python jobs.py submit -- train.py -n big -d /shared/data           by configs/clusters/slurm.yml
    python jobs.py submit --partition long --nodes 2 --gpus_per_node 8 --time 24:00:00 -- train.py -n big ...
    python jobs.py submit --cluster slurm-pyxis --dry_run -- train.py -n big ...     what would be queued, as it stands
    python jobs.py submit -- eval.py runs/big --watch                  any other script of this folder
    python jobs.py status                                              all runs and jobs
    python jobs.py logs -f big                                         what it prints
    python jobs.py cancel big                                          for good; the run saves
    python jobs.py requeue big                                         once more, from its last checkpoint

A job is a folder, `runs/<name>/job/`: its script, its log, a copy of the code. Nothing else is kept anywhere.
Exit status: 0 done; submit and logs -f: 1 the job failed; 2 a mistake of the user, or what the cluster refused.
"""

import sys
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import dlib.process.installation  # noqa: F401 - first: it says what is missing
from dlib.launch.commands import cluster_overrides, parse_words
from dlib.process.errors import UserError, run_script

if TYPE_CHECKING:
    from dlib.launch.clusters import Cluster
    from dlib.launch.job import Job

PROJECT = Path(__file__).parent


def main() -> None:
    """Runs the sub-command that the command line names."""
    args, command = parse_words(sys.argv[1:])
    if args.command == "submit":
        submit(args, command)
    else:
        COMMANDS[args.command](args)


def submit(args: Namespace, command: list[str]) -> None:
    """Check a job, write it, queue it, follow it."""
    from dlib.launch.clusters import load_cluster
    from dlib.launch.following import follow
    from dlib.launch.launchers import make_launcher, shown_number
    from dlib.launch.submission import submit_job
    from dlib.process.ranks import say

    job = make_job(args, command, load_cluster(args.cluster, cluster_overrides(vars(args))))
    launcher = make_launcher(job.cluster.launcher)
    if args.dry_run:
        print(launcher.script(job), end="")
        return
    log = job.log()
    place = log.stat().st_size if log.exists() else 0
    number = submit_job(job, PROJECT)
    say(f"job {shown_number(number)}: {job.script}")
    if not args.no_follow:
        follow(launcher, number, job.handle, log, place)


def make_job(args: Namespace, command: list[str], cluster: "Cluster") -> "Job":
    """The job of a command, after all has been checked that can be checked here."""
    script = command[0]
    if not (PROJECT / script).is_file() or Path(script).name != script:
        names = ", ".join(sorted(path.name for path in PROJECT.glob("*.py")))
        raise UserError(f"{script}: it is no script of {PROJECT}: after -- comes one of {names}")
    return (training_job if script == "train.py" else other_job)(args, command, cluster)


def training_job(args: Namespace, command: list[str], cluster: "Cluster") -> "Job":
    """The job of a training, in the folder of its run."""
    from dlib.config.validation import check_name
    from dlib.launch.container_paths import refuse_hidden
    from dlib.launch.job import Job
    from dlib.process.ranks import say
    from dlib.training.described import Described, check_training

    check_name(args.job_name or "", "--job_name")
    described = Described(cluster.nodes, cluster.gpus_per_node, cluster.tasks, same_files=not cluster.container.image)
    training = check_training(command[1:], described)
    run, flags = training.folder, training.flags(cluster.clock)
    if args.out_dir is not None and args.out_dir.resolve() != run.root.parent.resolve():
        raise UserError(
            f"--out_dir {args.out_dir}: train.py writes into {run.root.parent}; give its --out_dir after the --, and "
            "none before it"
        )
    if args.plan:
        say(training.plan())
    job = Job((*command, *flags), run.job, cluster, args.job_name or run.name, run=run.root)
    refuse_hidden(job, training.args)
    return job


def other_job(args: Namespace, command: list[str], cluster: "Cluster") -> "Job":
    """The job of any other script, in a folder of its own."""
    from dlib.config.validation import check_name
    from dlib.launch.job import OTHER_JOBS, Job

    script, *words = command
    if args.plan:
        raise UserError(f"--plan: {script} has none; only train.py has")
    name = args.job_name or "-".join([Path(script).stem, *(Path(word).name for word in words[:1])])
    check_name(name, "--job_name")
    workspace = args.out_dir or Path("runs")
    return Job(tuple(command), workspace.absolute() / OTHER_JOBS / name, cluster, name)


def status(args: Namespace) -> None:
    """Which runs and jobs are there, and how are they?"""
    from dlib.launch.job_list import print_status

    print_status(args.out_dir, args.jobs)


def logs(args: Namespace) -> None:
    """What has a job printed?"""
    from dlib.launch.following import Log, follow
    from dlib.launch.job import log_of
    from dlib.launch.job_list import find_job, refuse_other_index
    from dlib.launch.launchers import make_launcher, task_number
    from dlib.launch.submission import read_id

    folder = find_job(args.job, args.out_dir)
    refuse_other_index(folder, args.job, args.index)
    log, found = log_of(folder, args.index), read_id(folder)
    if args.follow and found is not None:
        follow(make_launcher(found[0]), task_number(found[1], args.index), args.job, log, 0, args.index)
    elif log.exists():
        Log(log, 0).show()
    else:
        raise UserError(f"{log}: nothing has been printed yet; see jobs.py status {args.job}")


def cancel(args: Namespace) -> None:
    """End jobs for good."""
    from dlib.launch.submission import cancel_job

    for_each(args, cancel_job)


def requeue(args: Namespace) -> None:
    """Have jobs start again."""
    from dlib.launch.submission import requeue_job

    for_each(args, requeue_job)


def for_each(args: Namespace, action: Callable[[Path], None]) -> None:
    """Do something with each of the named jobs, once all of them are found."""
    from dlib.launch.job_list import find_job

    refused = []
    try:
        folders = [find_job(word, args.out_dir) for word in args.jobs]
    except UserError as error:
        raise UserError(f"{error}{'; nothing is done to the others' * (len(args.jobs) > 1)}") from error
    for folder in folders:
        try:
            action(folder)
        except UserError as error:  # the others are to hear of it all the same
            refused.append(str(error))
    if refused:
        raise UserError("; ".join(refused))


COMMANDS: dict[str, Callable[[Namespace], None]] = {
    "status": status,
    "logs": logs,
    "cancel": cancel,
    "requeue": requeue,
}


if __name__ == "__main__":
    run_script(main)
