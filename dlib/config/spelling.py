"""The right word for a wrong one: another program's name for it, else the nearest in letters. Its imports are light."""

import difflib
from collections.abc import Collection, Iterable

from dlib.config.familiar_names import FAMILIAR, FAMILIAR_ELSEWHERE, Ours

NEAR, VERY_NEAR = 0.6, 0.75
"""Shares of like letters. Less makes `--eval_strategy` of `--distributed_strategy`, and `--deepspeed` of `--seed`."""


def did_you_mean(word: str, names: Iterable[str], prefix: str = "", likeness: float = NEAR) -> str:
    """The end of an error message, `: did you mean X?`, or nothing where no name is near."""
    nearest = difflib.get_close_matches(word, list(names), n=1, cutoff=likeness)
    return f": did you mean {prefix}{nearest[0]}?" if nearest else ""


def explain_unknown_flag(flag: str, known: Collection[str]) -> str:
    """The message for a flag, as it was typed, with `_`, that is not among the script's `known` ones."""
    word = flag.lstrip("-").lower()
    ours = familiar(word, known)
    if ours is not None:
        return f"unknown flag {flag}: {as_typed(ours)}"
    names = [name.removeprefix("--") for name in known if name.startswith("--")]
    return f"unknown flag {flag}{did_you_mean(word, names, '--', VERY_NEAR) or ': see --help'}"


def familiar(name: str, known: Collection[str]) -> Ours | None:
    """What another program's name means here, if `known` has it."""
    candidates = (table.get(name) for table in (FAMILIAR, FAMILIAR_ELSEWHERE))
    return next((ours for ours in candidates if ours is not None and (not ours.flag or ours.flag in known)), None)


def as_typed(ours: Ours) -> str:
    """What to write on the command line."""
    if not ours.flag:
        return ours.note
    return f"write {ours.flag}{' ' * bool(ours.example)}{ours.example}" + (f" ({ours.note})" if ours.note else "")
