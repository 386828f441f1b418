"""Work with the runs that `train.py` left.

    python runs.py list --filter state=finished --sort loss         which runs are there, and how good?
    python runs.py list --columns learning_rate --mean              which rate is best, over seeds?
    python runs.py show first                                       what is this one?
    python runs.py compare first second                             in what do they differ, and what came of it?
    python runs.py diff first second                                ... line by line: arguments, code, packages
    python runs.py plot first second -o curves.pdf                  in the terminal without -o
    python runs.py report --filter state=finished -o report.html    a page with table, curves, effects of arguments
    python runs.py export first first-model                         a Hugging Face folder with a model card
    python runs.py export --filter state=finished models            ... of every finished run, a folder each
    python runs.py export first s3://bucket/first.tar --full        the whole run, for import on another machine
    python runs.py drop --filter state=failed --filter 'age>7d'     to the trash; --purge empties it
    python runs.py checkpoints first --keep_newest 2                the newest two, the best and the last stay
    python runs.py reproduce first --steps 100                      does it still give the same numbers?

RUN is a name in the workspace (`--out_dir`, by default `runs`) or a path. Exit status: 0 done; for reproduce 1 where a
number differs; 2 a mistake of the user, or a run that the command cannot be done with.
"""

import sys
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import dlib.process.installation  # noqa: F401 - first: it says what is missing
from dlib.browse.commands import make_parser
from dlib.config.script_parser import with_underscores
from dlib.process.errors import UserError, run_script

if TYPE_CHECKING:
    from dlib.runs.folder import RunFolder

# The functions below import what they need: a sub-command must not wait for what another one reads.


def main() -> int:
    """Runs the sub-command that the command line names."""
    args = make_parser().parse_args(with_underscores(sys.argv[1:]))
    return COMMANDS[args.command](args) or 0


def list_runs(args: Namespace) -> None:
    """Which runs are there?"""
    from dlib.browse.listing import Listing, print_list

    columns = [word for words in args.columns for word in words]
    asked = Listing(args.filter, args.sort, args.reverse, columns)
    if args.mean:
        from dlib.browse.seeds import print_means

        print_means(args.out_dir, asked, as_json=args.json)
    else:
        print_list(args.out_dir, asked, as_json=args.json)


def show(args: Namespace) -> None:
    """What is this run?"""
    from dlib.browse.showing import print_run

    print_run(find(args.run, args), as_json=args.json)


def compare(args: Namespace) -> None:
    """How do runs differ, and what are their results?"""
    from dlib.browse.ranking import are_points_of_a_sweep

    runs = choose(args)
    if args.mean or args.output or (not args.runs and are_points_of_a_sweep(runs)):
        from dlib.browse.sweep_results import compare_points

        compare_points(runs, args.output, as_json=args.json)
    else:
        from dlib.browse.side_by_side import print_comparison

        print_comparison(runs, as_json=args.json)


def diff(args: Namespace) -> None:
    """How do two runs differ, line by line?"""
    from dlib.reproduce.line_by_line import print_difference

    print_difference(find(args.old, args), find(args.new, args), Path(__file__).parent)


def plot(args: Namespace) -> None:
    """How did the numbers of runs go?"""
    from dlib.browse.curves import print_plot, read_curves

    curves = read_curves(choose(args), args.metric, args.x)
    if args.output is None:
        print_plot(curves, args.x, log=args.log)
    else:
        from dlib.browse.plotting import save_plot

        save_plot(curves, args.x, args.output, log=args.log)


def report(args: Namespace) -> None:
    """Show runs as one page."""
    from dlib.browse.selection import runs_to_read
    from dlib.report.gathering import ReportRequest
    from dlib.report.page import write_report

    runs = runs_to_read(args.command, args.out_dir, args.runs, args.filter, all_by_default=True)
    write_report(runs, ReportRequest(args.filter, args.metric, args.x, args.samples), args.output)


def export(args: Namespace) -> None:
    """Take models or whole runs elsewhere."""
    from dlib.transfer.bulk import export_each
    from dlib.transfer.exporting import export_model, export_run

    write = export_run if args.full else export_model
    if not args.filter:
        if args.destination is None:
            raise UserError("the following arguments are required: DESTINATION; see runs.py export --help")
        write(find(args.run, args), args.destination, args.checkpoint)
        return
    if args.destination is not None:
        raise UserError(
            f"export {args.run}: name a run, or choose some with --filter: with it DESTINATION stands alone"
        )
    args.runs = ()
    export_each(choose(args), args.run, lambda run, place: write(run, place, args.checkpoint))


def import_run(args: Namespace) -> None:
    """Put an exported run into the workspace."""
    from dlib.transfer import importing

    importing.import_run(args.source, args.out_dir, args.name)


def drop(args: Namespace) -> None:
    """Move runs to the trash, or empty it."""
    from dlib.browse.trash import drop_runs

    drop_runs(args.out_dir, args.runs, args.filter, purge=args.purge, yes=args.yes)


def checkpoints(args: Namespace) -> None:
    """List or remove the checkpoints of runs."""
    from dlib.browse.checkpoint_list import Choice, print_checkpoints, remove_checkpoints
    from dlib.browse.selection import runs_to_change

    choice = Choice(args.delete, args.keep, args.keep_newest)
    if choice == Choice():
        print_checkpoints(choose(args))
    else:
        runs = runs_to_change(args.command, args.out_dir, args.runs, args.filter)
        remove_checkpoints(runs, choice, yes=args.yes)


def reproduce(args: Namespace) -> int:
    """Does a run still give the same numbers?"""
    from dlib.reproduce.reproduction import Request, reproduce

    request = Request(
        find(args.run, args).root, args.steps, args.data_dir, args.present_code, args.keep, args.trust_remote_code
    )
    return reproduce(request, Path(__file__).parent)


def choose(args: Namespace) -> "list[RunFolder]":
    """The runs that the command line names, or that its filters choose; at least one."""
    from dlib.browse.selection import runs_to_read

    return runs_to_read(args.command, args.out_dir, args.runs, args.filter)


def find(word: str, args: Namespace) -> "RunFolder":
    """The run that a word of the command line means."""
    from dlib.runs.registry import find_run

    return find_run(word, args.out_dir)


COMMANDS: dict[str, Callable[[Namespace], int | None]] = {
    "list": list_runs,
    "show": show,
    "compare": compare,
    "diff": diff,
    "plot": plot,
    "report": report,
    "export": export,
    "import": import_run,
    "drop": drop,
    "checkpoints": checkpoints,
    "reproduce": reproduce,
}


if __name__ == "__main__":
    run_script(main)
