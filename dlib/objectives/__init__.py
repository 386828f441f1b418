"""What a model can be trained to do: one file an objective, one line in this table.

An objective knows rows of tokens and a model; it knows nothing of Lightning, files or devices.
"""

from dlib.args import ObjectiveArgs
from dlib.data.token_roles import TokenRoles
from dlib.objectives.clm import CausalLanguageModeling
from dlib.objectives.mlm import MaskedLanguageModeling
from dlib.objectives.token_prediction import TokenPrediction

OBJECTIVES: dict[str, type[TokenPrediction]] = {
    "mlm": MaskedLanguageModeling,
    "clm": CausalLanguageModeling,
}


def build_objective(args: ObjectiveArgs, roles: TokenRoles) -> TokenPrediction:
    """The objective that `args` name, for a tokenizer whose special tokens are `roles`."""
    return OBJECTIVES[args.objective](args, roles)
