"""What a model can be trained to do: one file an objective, one line in `dlib/args/tables.py`.

An objective knows samples and a model; it knows nothing of Lightning, files or devices. The arguments of an
objective stand in this room too, and `--help` reads them: so nothing heavy is imported here.
"""

from typing import TYPE_CHECKING

from dlib.args.tables import OBJECTIVES, load

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from dlib.args import ObjectiveArgs
    from dlib.data.token_roles import TokenRoles
    from dlib.objectives.objective import Objective


def objective_class(name: str) -> "type[Objective]":
    """The class of an objective of the table."""
    found: type[Objective] = load(OBJECTIVES[name].implementation)
    return found


def build_objective(
    args: "ObjectiveArgs", roles: "TokenRoles", tokenizer: "PreTrainedTokenizerBase | None" = None
) -> "Objective":
    """The objective that `args` name, for a tokenizer whose special tokens are `roles`."""
    return objective_class(args.objective)(args, roles, tokenizer)
