"""Which objective a saved model has learned, told by its configuration: a Hugging Face folder says no more."""

import transformers
from transformers import PretrainedConfig

from dlib.args.tables import OBJECTIVES
from dlib.objectives import objective_class
from dlib.objectives.objective import Objective
from dlib.process.errors import UserError


def recognize(config: PretrainedConfig, name: str) -> str:
    """The objective of the table whose transformers class loads a model: by its own class, else by its type.

    Args:
        config: the model's configuration.
        name: of the model, for the error.

    Raises:
        UserError: it is that of none.
    """
    objectives = {key: objective_class(key) for key in OBJECTIVES}
    if config.is_encoder_decoder:  # BART is in the table of masked models, too, and is none to be asked
        objectives = {key: kind for key, kind in objectives.items() if "Seq2Seq" in kind.auto_model}
    own = told_heads(config)
    for key, kind in objectives.items():
        if (own & heads_of(kind) and kind.may_have_trained(config)) or is_of_its_type(config, kind):
            return key
    foreign = set(getattr(config, "auto_map", None) or {})  # what code of the model's own can do
    can = [key for key, kind in objectives.items() if kind.auto_model in foreign or has_head(config, kind.auto_model)]
    if not can:
        raise UserError(f"{name}: a {config.model_type} model has learned none of {', '.join(OBJECTIVES)}")
    looking_back = [key for key in can if objectives[key].looks_back_only and getattr(config, "is_decoder", False)]
    return (looking_back or can)[0]


def refuse_other_head(config: PretrainedConfig, name: str, objective: str) -> None:
    """Refuse a model whose class says that it has learned something else, though its head may have the same weights.

    Raises:
        UserError: it says so; a class that no objective trains says nothing.
    """
    own, kinds = told_heads(config), {key: objective_class(key) for key in OBJECTIVES}
    able = [key for key, kind in kinds.items() if own & heads_of(kind) or is_of_its_type(config, kind)]
    if able and objective not in able:
        saved = ", ".join(sorted(own))
        raise UserError(f"{name} has not learned {objective}: as a {saved} it has learned {able[0]}; ask it for that")


def told_heads(config: PretrainedConfig) -> set[str]:
    """What a configuration says of the model's head: its class, or the auto class of a network of one's own."""
    return {*filter(None, [getattr(config, "auto_model", None)]), *(config.architectures or ())}


def heads_of(kind: type[Objective]) -> set[str]:
    """The classes that an objective trains whatever their type, and the auto class that loads them."""
    return {kind.auto_model, *class_names(kind.auto_model)}


def is_of_its_type(config: PretrainedConfig, kind: type[Objective]) -> bool:
    """Whether a model's class is the one that an objective has for its type alone."""
    auto_model = kind.auto_models.get(config.model_type)
    heads = getattr(transformers, auto_model)._model_mapping._model_mapping if auto_model else {}
    return heads.get(config.model_type) in (config.architectures or ())


def has_head(config: PretrainedConfig, auto_model: str) -> bool:
    """Whether transformers has a model of this type with the head."""
    return type(config) in getattr(transformers, auto_model)._model_mapping


def class_names(auto_model: str) -> set[str]:
    """The classes that one of transformers' auto classes loads; its table has names, or several of them."""
    heads = getattr(transformers, auto_model)._model_mapping._model_mapping
    return {name for names in heads.values() for name in ([names] if isinstance(names, str) else names)}
