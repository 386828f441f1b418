"""What a model can be trained to do: one file an objective, one line in `dlib/args/tables.py`.

An objective knows samples and a model; it knows nothing of Lightning, files or devices. The arguments of an
objective stand in this room too, and `--help` reads them: so nothing heavy is imported here.
"""

from dataclasses import replace
from typing import TYPE_CHECKING

from dlib.args.tables import OBJECTIVES, load
from dlib.process.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from dlib.args import ExperimentArgs, ObjectiveArgs
    from dlib.data.samples import Columns
    from dlib.data.token_roles import TokenRoles
    from dlib.objectives.objective import Objective


def objective_class(name: str) -> "type[Objective]":
    """The class of an objective of the table."""
    found: type[Objective] = load(OBJECTIVES[name].implementation)
    return found


def columns_read(args: "ExperimentArgs") -> "Columns":
    """What the objective reads of each document, with what `--keys` says that is called in the texts.

    Raises:
        UserError: it names a key that is not read.
    """
    columns = objective_class(args.objective.objective).columns_of(args.objective)
    if unread := next((name for name in args.data.keys if name not in columns.names), None):
        names = ", ".join(columns.names)
        raise UserError(f"--keys {unread}=...: --objective {args.objective.objective} reads {names}, and no {unread}")
    return replace(columns, keys=args.data.keys)


def build_objective(
    args: "ObjectiveArgs", roles: "TokenRoles", tokenizer: "PreTrainedTokenizerBase | None" = None
) -> "Objective":
    """The objective that `args` name, for a tokenizer whose special tokens are `roles`."""
    return objective_class(args.objective)(args, roles, tokenizer)
