"""What a model can be trained to do: one file an objective, one line in this table.

An objective knows rows of tokens and a model; it knows nothing of Lightning, files or devices.
"""

from dlib.args import ObjectiveArgs
from dlib.data.token_roles import TokenRoles
from dlib.objectives.clm import CausalLanguageModeling
from dlib.objectives.mlm import MaskedLanguageModeling
from dlib.objectives.objective import Objective

OBJECTIVES: dict[str, type[Objective]] = {
    "mlm": MaskedLanguageModeling,
    "clm": CausalLanguageModeling,
}


def objective_class(args: ObjectiveArgs) -> type[Objective]:
    """The class of the objective that `args` name."""
    return OBJECTIVES[args.objective]


def build_objective(args: ObjectiveArgs, roles: TokenRoles) -> Objective:
    """The objective that `args` name, for a tokenizer whose special tokens are `roles`."""
    return objective_class(args)(args, roles)
