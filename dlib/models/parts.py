"""What stands where in a network: its trunk, its word embeddings, the layer that turns hidden states into logits.

Networks of one's own may lack any of them; whoever asks goes on without.
"""

import inspect
from typing import cast

from torch import Tensor, nn
from transformers import PreTrainedModel

from dlib.models.adapter import own_class


def output_layer(model: PreTrainedModel) -> nn.Module | None:
    """The layer that turns a plain network's hidden states (B, T, H) into logits; None for other models."""
    return cast("nn.Module | None", getattr(model, "output_layer", None))


def trunk_parameters(model: PreTrainedModel) -> list[nn.Parameter]:
    """The weights below the head; all of them where nothing tells the two apart."""
    layer = output_layer(model)
    head = set() if layer is None else {*layer.parameters()} - embedding_tables(model)  # one may be tied to it
    return [weight for weight in model.base_model.parameters() if weight not in head]


def embedding_tables(network: nn.Module) -> set[Tensor]:
    """The weights of all embeddings."""
    return {module.weight for module in network.modules() if isinstance(module, nn.Embedding)}


def word_embeddings(model: PreTrainedModel) -> nn.Embedding | None:
    """The table with a row for each token; None where the model does not tell."""
    try:
        found = model.get_input_embeddings()
    except (NotImplementedError, AttributeError):
        return None
    return found if isinstance(found, nn.Embedding) else None


def keeps_cache(model: PreTrainedModel) -> bool:
    """Whether a model goes on from what it kept of the tokens before; one of one's own has to ask for it by name."""
    is_own = own_class(model.config.model_type) is not None
    return not is_own or "past_key_values" in inspect.signature(model.forward).parameters
