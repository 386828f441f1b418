"""Which head a saved model has, told by its configuration: whoever asks a model has to know what it was trained for."""

from typing import Any

from transformers import PretrainedConfig
from transformers.models.auto import modeling_auto

from dlib.process.errors import UserError

MASKED, CAUSAL = "AutoModelForMaskedLM", "AutoModelForCausalLM"
HEADS: dict[str, Any] = {
    MASKED: modeling_auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES,
    CAUSAL: modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
}
"""For each name that `Head.auto_model` may have here, transformers' classes by model type: a name, or several."""


def find_saved_head(config: PretrainedConfig, name: str) -> str:
    """The transformers class that loads a model with its head: by the model's own class, else by what its type can do.

    Args:
        config: the model's configuration.
        name: of the model, for the error.

    Raises:
        UserError: it has none of `HEADS`, or it is an encoder-decoder.
    """
    if config.is_encoder_decoder:
        raise UserError(f"{name} is an encoder-decoder ({config.model_type}): only models of one stack can be asked")
    own = set(config.architectures or ())
    for head, classes in HEADS.items():
        if own & class_names(classes):
            return head
    foreign = set(getattr(config, "auto_map", None) or {})  # what code of the model's own can do
    can = [head for head, classes in HEADS.items() if config.model_type in classes or head in foreign]
    if not can:
        raise UserError(f"{name}: a {config.model_type} model neither fills masks nor continues text")
    return can[-1] if getattr(config, "is_decoder", False) else can[0]


def class_names(heads: Any) -> set[str]:
    """The classes in one of transformers' tables, whose entries are names or several of them."""
    return {name for names in heads.values() for name in ([names] if isinstance(names, str) else names)}
