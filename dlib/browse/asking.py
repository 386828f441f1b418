"""Asking before something is moved or removed."""

import sys

from dlib.process.errors import UserError


def agrees(question: str, *, yes: bool) -> bool:
    """Whether the user agrees; asked on stderr, because stdout is for results. With `yes` nobody is asked."""
    if yes:
        return True
    sys.stdout.flush()  # what the question is about comes first
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    answer = sys.stdin.readline()
    if not answer:
        print(file=sys.stderr)
        raise UserError("nobody answers: give --yes to do it without asking")
    if answer.strip().lower() in ("y", "yes"):
        return True
    print("nothing was done", file=sys.stderr)
    return False
