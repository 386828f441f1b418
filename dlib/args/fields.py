"""How a field of an argument group is declared: its default, choices, short flag, and meaning for a resume.

`free=True` marks a field that does not enter the function that a run computes (where it runs, what
it prints, how often it saves): such a field may change when a run is resumed, every other may not.
"""

from collections.abc import Callable, Sequence
from dataclasses import MISSING
from typing import Any

from simple_parsing import field as parsed_field


def setting(
    default: Any = MISSING,
    *,
    default_factory: Callable[[], Any] | Any = MISSING,
    alias: str | None = None,
    choices: Sequence[str] = (),
    free: bool = False,
) -> Any:
    """Declare one field. `alias` is a short flag (`"-n"`); `choices` are the only values taken."""
    options: dict[str, Any] = {"choices": list(choices)} if choices else {}
    return parsed_field(
        default=default,
        default_factory=default_factory,
        alias=alias,
        metadata={"choices": tuple(choices), "free": free} if choices else {"free": free},
        **options,
    )
