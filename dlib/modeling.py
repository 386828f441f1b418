"""Which network a run trains: any Hugging Face model, loaded or drawn anew, checked against the run's needs."""

import difflib
from pathlib import Path
from typing import Any, cast

import torch
import transformers
import yaml
from torch import nn
from transformers import AutoConfig, PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from dlib.args import ExperimentArgs, ModelArgs
from dlib.errors import UserError
from dlib.hub import explain_loading
from dlib.runs.folder import resolve_model_folder
from dlib.seeding import seed_torch

WEIGHT_FILES = ("*.safetensors", "*.bin", "*.safetensors.index.json", "*.bin.index.json")
EMBEDDING_NAMES = ("embeddings", "embed_tokens", "embed_positions", "wte", "wpe")
"""What the modules that hold embeddings are called in Hugging Face models."""


def load_model_config(args: ModelArgs, source: str, tokenizer: PreTrainedTokenizerBase) -> PretrainedConfig:
    """The model's configuration with `--model_overrides`, and the tokenizer's ids where it is from scratch.

    Args:
        args: the model's arguments.
        source: Hugging Face name or local folder of the model.
        tokenizer: the run's tokenizer.

    Raises:
        UserError: the configuration cannot be had, or an override names no field of it.
    """
    if Path(source).is_dir() and not (Path(source) / "config.json").is_file():
        raise UserError(f"--model {source}: the folder has no config.json")
    with explain_loading("--model", source):
        config = AutoConfig.from_pretrained(source)
    if args.from_scratch:
        config.vocab_size = len(tokenizer)
        for role in ("bos", "eos", "pad", "sep", "cls"):
            if hasattr(config, f"{role}_token_id"):
                setattr(config, f"{role}_token_id", getattr(tokenizer, f"{role}_token_id"))
    for override in args.model_overrides:
        name, value = parse_override(override, config)
        setattr(config, name, value)
    return config


def parse_override(text: str, config: PretrainedConfig) -> tuple[str, Any]:
    """Split `hidden_size=256` into a field of the configuration and its value, read as YAML.

    Raises:
        UserError: it is not of that form, or the configuration has no such field.
    """
    name, equals, value = text.partition("=")
    if not equals:
        raise UserError(f"--model_overrides {text}: write field=value, as in hidden_size=256")
    fields = sorted(config.to_dict())
    if name not in fields:
        nearest = difflib.get_close_matches(name, fields, n=1)
        hint = f"; did you mean {nearest[0]}?" if nearest else ""
        raise UserError(f"--model_overrides {text}: {type(config).__name__} has no field {name}{hint}")
    return name, yaml.safe_load(value)


def build_model(
    args: ExperimentArgs, source: str, tokenizer: PreTrainedTokenizerBase, auto_model: str, precision: str
) -> PreTrainedModel:
    """Build the network of a run: load or draw its weights, fit it to the tokenizer, set what learns.

    Args:
        args: the experiment.
        source: Hugging Face name or local folder of the model.
        tokenizer: the run's tokenizer; embeddings are enlarged where it has more tokens.
        auto_model: name of the transformers class, `AutoModelForMaskedLM` for one.
        precision: Lightning's name of the arithmetic; weights are float64 for 64-true, else float32.

    Raises:
        UserError: the folder has no weights, the name cannot be had, or an option does not fit the model.
    """
    config = load_model_config(args.model, source, tokenizer)
    options: dict[str, Any] = {"dtype": torch.float64 if precision == "64-true" else torch.float32}
    if args.model.attn_implementation is not None:
        options["attn_implementation"] = args.model.attn_implementation
    model_class = getattr(transformers, auto_model)
    seed_torch("weights", args.run.seed)
    with explain_loading("--model", source):
        if args.model.from_scratch:
            model = model_class.from_config(config, **options)
        else:
            model = model_class.from_pretrained(source, config=config, **options)
    fit_embeddings(model, tokenizer)
    freeze(model, args.model.freeze)
    if args.model.gradient_checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    if args.model.compile:  # the trunk alone: the number of targets, and so the head's input, changes its shape
        trunk = model.base_model
        trunk.forward = torch.compile(trunk.forward)
    return model


def build_meta_model(
    args: ExperimentArgs, source: str, tokenizer: PreTrainedTokenizerBase, auto_model: str
) -> PreTrainedModel:
    """The network without memory or weights: to count its parameters, and to refuse early what cannot work.

    Raises:
        UserError: as `build_model`, or the model has fewer positions than `--max_length`.
    """
    config = load_model_config(args.model, source, tokenizer)
    if not args.model.from_scratch:
        refuse_missing_weights(source)
    with torch.device("meta"), explain_loading("--model", source):
        model = getattr(transformers, auto_model).from_config(config)
    check_positions(model, args.data.max_length, source)
    fit_embeddings(model, tokenizer)
    freeze(model, args.model.freeze)
    return model


def fit_embeddings(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Enlarge the embeddings where the tokenizer has more tokens; they are never cut."""
    if len(tokenizer) > cast(nn.Embedding, model.get_input_embeddings()).num_embeddings:
        model.resize_token_embeddings(len(tokenizer))


def find_source(args: ExperimentArgs) -> str:
    """Name or folder of the model that a run starts from: `--checkpoint` before `--model`.

    Raises:
        UserError: the checkpoint cannot be had, or `--from_scratch` would throw its weights away.
    """
    checkpoint = args.model.checkpoint
    if checkpoint is None:
        return args.model.model
    if args.model.from_scratch:
        raise UserError("--checkpoint and --from_scratch exclude each other: leave one out")
    if checkpoint.startswith("wandb:"):
        from dlib.tracking import fetch_checkpoint  # only here: most runs start from elsewhere

        tracking = args.tracking
        folder = fetch_checkpoint(
            checkpoint, Path(args.data.cache_dir), tracking.offline, tracking.wandb_project, tracking.wandb_entity
        )
        return str(resolve_model_folder(folder))
    return str(resolve_model_folder(Path(checkpoint)))


def refuse_missing_weights(source: str) -> None:
    """Refuse a local folder that has a configuration and no weights.

    Raises:
        UserError: there are none.
    """
    folder = Path(source)
    if folder.is_dir() and not any(any(folder.glob(pattern)) for pattern in WEIGHT_FILES):
        raise UserError(f"--model {source}: the folder has no weights; add --from_scratch to draw new ones")


def max_positions(model: PreTrainedModel) -> int | None:
    """Number of tokens that the model has positions for, None where there is no limit.

    RoBERTa and its kin number positions from the padding id + 1, so some of their table is never used.
    """
    for name, module in model.named_modules():
        if name.endswith("position_embeddings") and isinstance(module, nn.Embedding):
            first = 0 if module.padding_idx is None else module.padding_idx + 1
            return module.num_embeddings - first
    return getattr(model.config, "max_position_embeddings", None)


def check_positions(model: PreTrainedModel, max_length: int, source: str) -> None:
    """Refuse rows that are longer than the model's positions.

    Raises:
        UserError: they are.
    """
    limit = max_positions(model)
    if limit is not None and max_length > limit:
        raise UserError(f"--max_length {max_length}: {source} has {limit} positions; use --max_length {limit} or less")


def freeze(model: PreTrainedModel, what: str) -> None:
    """Switch off the gradients of the weights that `--freeze` names."""
    trunk = {id(parameter) for parameter in model.base_model.parameters()}
    for name, parameter in model.named_parameters():
        is_embedding = any(part in EMBEDDING_NAMES for part in name.split("."))
        frozen = {
            "none": False,
            "embeddings": is_embedding,
            "all_but_embeddings": not is_embedding,
            "all_but_head": id(parameter) in trunk,
        }
        parameter.requires_grad_(not frozen[what])


def count_parameters(model: PreTrainedModel) -> tuple[int, int]:
    """Number of all weights and of those that learn."""
    parameters = list(model.parameters())
    return sum(p.numel() for p in parameters), sum(p.numel() for p in parameters if p.requires_grad)
