"""Work with the runs that `train.py` left.

    python runs.py reproduce runs/first                             does it still give the same numbers?
    python runs.py reproduce runs/first --steps 100                 the first hundred optimizer steps alone
    python runs.py reproduce runs/first --steps 100 --present_code  did my change keep the numbers?

Exit status: 0 the same, 1 different, 2 a mistake of the user, or a run that cannot be repeated.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from dlib.errors import UserError, run_script


class Parser(argparse.ArgumentParser):
    """A parser that raises what the user did wrong, in place of printing its usage and exiting."""

    def error(self, message: str) -> NoReturn:
        """Raises the message."""
        raise UserError(f"{message}; see {self.prog} --help")


def main() -> int:
    """Runs the sub-command that the command line names."""
    args = make_parser().parse_args(with_underscores(sys.argv[1:]))
    status: int = args.command(args)
    return status


def make_parser() -> Parser:
    """The parser of all sub-commands."""
    parser = Parser(prog="runs.py", description="Work with the runs that train.py left.", allow_abbrev=False)
    commands = parser.add_subparsers(title="sub-commands", metavar="COMMAND", required=True)
    add_reproduce(commands)
    return parser


def with_underscores(words: Sequence[str]) -> list[str]:
    """The words with `_` for every `-` inside the name of a flag, as `train.py` takes them."""
    names = [word.partition("=")[0] for word in words]
    return [
        "--" + name[2:].replace("-", "_") + word[len(name) :] if name.startswith("--") else word
        for name, word in zip(names, words, strict=True)
    ]


def add_reproduce(commands: "argparse._SubParsersAction[Parser]") -> None:
    """Declares `reproduce`."""
    text = "Repeat a run from its record, and compare the numbers: identical, or the first that differs."
    parser = commands.add_parser("reproduce", help=text, description=text, allow_abbrev=False)
    parser.set_defaults(command=reproduce)
    parser.add_argument("run", metavar="RUN", type=Path, help="Folder of the run, such as runs/first.")
    parser.add_argument(
        "--steps", metavar="N", type=int, help="Compare up to the first recorded step from N on (default: all)."
    )
    parser.add_argument(
        "-d", "--data_dir", metavar="FOLDER", type=Path, help="Folder of the texts (default: as recorded)."
    )
    parser.add_argument(
        "--present_code",
        action="store_true",
        help="Run the code that stands here in place of the recorded: did my change keep the numbers?",
    )
    parser.add_argument("--keep", metavar="FOLDER", type=Path, help="Keep the repetition's run folder under this one.")


def reproduce(args: argparse.Namespace) -> int:
    """Runs `reproduce`."""
    from dlib.runs import reproduction  # here: it need not be read for the help

    order = reproduction.Order(args.run, args.steps, args.data_dir, args.present_code, args.keep)
    return reproduction.reproduce(order, Path(__file__).parent)


if __name__ == "__main__":
    run_script(main)
