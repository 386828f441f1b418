"""How a model is fitted to its run: to the objective, the tokenizer, the attention kernel, and what is to learn."""

import re
from typing import Any

from torch import nn
from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from dlib.args import ModelArgs
from dlib.data.token_roles import num_ids
from dlib.models.adapter import own_class
from dlib.models.head import Head
from dlib.models.parts import embedding_tables, trunk_parameters, word_embeddings
from dlib.process.errors import UserError
from dlib.process.versions import refuse_missing_attention

ATTENTION_DROPOUT = re.compile(r"att\w*_(dropout|pdrop)|attention_probs_dropout_prob")


def fit_config(config: PretrainedConfig, head: Head) -> None:
    """Set what the objective needs; BERT and its kin look back only where they are told to, others do or do not."""
    if head.looks_back_only and hasattr(config, "is_decoder"):
        config.is_decoder = True
    if own_class(config.model_type) is not None:
        config.auto_model = head.auto_model  # its class's name need not tell
    for name, value in head.config_changes.items():
        setattr(config, name, value)


def attention_options(args: ModelArgs, config: PretrainedConfig) -> dict[str, Any]:
    """What `--attn_implementation` asks of transformers.

    Raises:
        UserError: the installed version does not have it for such a model, or it has no dropout and the model does.
    """
    if args.attn_implementation is None:
        return {}
    refuse_missing_attention(args.attn_implementation, config.model_type)
    dropouts = [name for name, value in config.to_dict().items() if ATTENTION_DROPOUT.match(name) and value]
    if args.attn_implementation == "flex_attention" and dropouts:
        raise UserError(f"--attn_implementation flex_attention has no dropout: add --model_overrides {dropouts[0]}=0.0")
    return {"attn_implementation": args.attn_implementation}


def checkpoint_activations(model: PreTrainedModel) -> None:
    """Have a model compute activations again in the backward pass.

    Raises:
        UserError: its class cannot.
    """
    if not model.supports_gradient_checkpointing:
        raise UserError(f"--gradient_checkpointing: {type(model).__name__} cannot; leave it out")
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})


def fit_embeddings(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Enlarge the embeddings where the tokenizer has more tokens; they are never cut.

    Raises:
        UserError: that cannot be done for a network of one's own.
    """
    table = word_embeddings(model)
    if num_ids(tokenizer) <= (model.config.vocab_size if table is None else table.num_embeddings):
        return
    try:
        model.resize_token_embeddings(num_ids(tokenizer))
    except NotImplementedError as error:
        raise UserError(
            f"--tokenizer: it has {num_ids(tokenizer)} tokens, and {type(model).__name__}, made for "
            f"{model.config.vocab_size}, cannot be enlarged; give the tokenizer that it was trained with"
        ) from error


def freeze(model: PreTrainedModel, what: str) -> None:
    """Switch off the gradients of the weights that `--freeze` names.

    Raises:
        UserError: no weight is left to learn.
    """
    tables, trunk = embedding_tables(model), set(trunk_parameters(model))
    for name, parameter in model.named_parameters():
        is_embedding = parameter in tables or "embeddings" in name.split(".")  # with their norms, as in BERT
        frozen = {
            "none": False,
            "embeddings": is_embedding,
            "all_but_embeddings": not is_embedding,
            "all_but_head": parameter in trunk,
        }
        parameter.requires_grad_(not frozen[what])
    if not any(parameter.requires_grad for parameter in model.parameters()):
        if what == "none":
            raise UserError(f"--model: {type(model).__name__} has no weight that could learn; choose another")
        raise UserError(f"--freeze {what} leaves {type(model).__name__} no weight to learn; use --freeze none")


def own_memory(model: nn.Module) -> None:
    """Copy weights into memory of torch's own, whose alignment is always the same.

    Loaded weights are a view of their file, where they start at any byte. Kernels sum in another order there, so that
    a run that goes on from a file would differ in the last bits from one that never stopped.
    """
    for tensor in (*model.parameters(), *model.buffers()):
        tensor.data = tensor.data.clone()
