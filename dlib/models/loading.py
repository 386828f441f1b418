"""Which network a run trains: any Hugging Face model, loaded or drawn anew, checked against the run's needs."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from dlib.args import ExperimentArgs, ModelArgs
from dlib.data.token_roles import first_id, num_ids
from dlib.models.document_mask import keep_documents_apart
from dlib.models.fitting import attention_options, checkpoint_activations, fit_config, fit_embeddings, freeze
from dlib.models.head import Head
from dlib.models.hub import explain_loading
from dlib.models.limits import check_positions, max_positions, refuse_broken_weights, tell_many_layers
from dlib.models.overrides import override_config
from dlib.models.parts import trunk_parameters
from dlib.models.pretrained import config_fields, draw_model, read_config, read_model
from dlib.models.probes import computes_on_cpu, keep_attention_type, refuse_hidden_state, refuse_looking_ahead
from dlib.process.errors import UserError
from dlib.process.ranks import say
from dlib.process.seeding import seed_torch
from dlib.process.versions import dtype_option, refuse_unread_fields

MOST_LABELS_SHOWN = 5


def load_model_config(
    args: ModelArgs, source: str, tokenizer: PreTrainedTokenizerBase, flag: str = "--model"
) -> PretrainedConfig:
    """The model's configuration with `--model_overrides`, and the tokenizer's ids where it is from scratch.

    Raises:
        UserError: the configuration cannot be had, or an override does not fit it.
    """
    with explain_loading(flag, source):
        config = read_config(source, trust_remote_code=args.trust_remote_code)
        refuse_unread_fields(source, config_fields(source))
    if args.model_overrides:
        config = override_config(config, source, args.model_overrides)
    if args.from_scratch:
        config.vocab_size = num_ids(tokenizer)
        for role in ("bos", "eos", "pad", "sep", "cls"):
            token_id = getattr(tokenizer, f"{role}_token_id")
            if hasattr(config, f"{role}_token_id") and token_id is not None:
                setattr(config, f"{role}_token_id", token_id)
        if config.is_encoder_decoder:
            fit_decoder(config, tokenizer)
    return config


def fit_decoder(config: PretrainedConfig, tokenizer: PreTrainedTokenizerBase) -> None:
    """Set what a shape says of its decoder in ids of another vocabulary: it starts with BOS, without one with padding.

    T5 and Marian start with padding too; so no token of a target is one that every target begins with.
    """
    end_id = first_id(tokenizer.eos_token_id, tokenizer.sep_token_id)
    start_id = first_id(tokenizer.bos_token_id, tokenizer.pad_token_id, end_id)
    config.decoder_start_token_id = start_id
    others = {"forced_bos_token_id": None, "forced_eos_token_id": end_id, "decoder_vocab_size": config.vocab_size}
    for name, value in others.items():
        if getattr(config, name, None) is not None:
            setattr(config, name, value)


def build_model(
    args: ExperimentArgs,
    source: str,
    tokenizer: PreTrainedTokenizerBase,
    head: Head,
    precision: str,
    flag: str = "--model",
    *,
    is_checkpoint: bool = False,
    may_draw: bool = True,
) -> PreTrainedModel:
    """Build the network of a run: load or draw its weights, fit it to the tokenizer, set what learns.

    Args:
        args: the experiment.
        source: Hugging Face name or local folder of the model.
        tokenizer: the run's tokenizer; embeddings are enlarged where it has more tokens.
        head: what the objective needs of it.
        precision: Lightning's name of the arithmetic; weights are float64 for 64-true, else float32.
        flag: what named the source, for errors.
        is_checkpoint: whether the folder is a run's own checkpoint, which holds each weight of this very model.
        may_draw: whether weights that it lacks are drawn, to be learned; else it is refused.

    Raises:
        UserError: the weights cannot be had or are another model's, or an option does not fit the model.
    """
    config = load_model_config(args.model, source, tokenizer, flag)
    learned_labels: Mapping[Any, str] = config.id2label or {}
    fit_config(config, head)
    dtype = torch.float64 if precision == "64-true" else torch.float32
    options = {
        "trust_remote_code": args.model.trust_remote_code,
        **dtype_option(dtype),
        **attention_options(args.model, config),
    }
    seed_torch("weights", args.run.seed)
    with explain_loading(flag, source, args.model.model_overrides):
        if args.model.from_scratch:
            model = draw_model(head.auto_model_of(config), config, **options)
        else:
            model, new = load_weights(head, source, config, is_checkpoint=is_checkpoint, may_draw=may_draw, **options)
            if not new and "id2label" in head.config_changes:
                tell_other_labels(source, learned_labels, head.config_changes["id2label"])
        if args.model.gradient_checkpointing:
            checkpoint_activations(model)
    model.config.name_or_path = ""  # which transformers 4 saves: a run that went on would differ from one that did not
    fit_embeddings(model, tokenizer)
    tokenizer.model_max_length = min(tokenizer.model_max_length, max_positions(model) or tokenizer.model_max_length)
    keep_attention_type(model)
    if computes_on_cpu(model):
        if head.looks_back_only:
            refuse_looking_ahead(model, source, head.forward_options)
        refuse_hidden_state(model, args.data.max_length, source, head.forward_options)
    if args.data.document_mask:
        keep_documents_apart(model, source, args.data.max_length, head)
    freeze(model, args.model.freeze)
    if args.model.compile:  # the trunk alone: the number of targets, and so the head's input, changes its shape
        trunk = model.base_model
        trunk.forward = torch.compile(trunk.forward)
    return model


def build_meta_model(
    args: ExperimentArgs, source: str, tokenizer: PreTrainedTokenizerBase, head: Head, flag: str = "--model"
) -> PreTrainedModel:
    """The network without memory or weights: to count its parameters, and to refuse early what cannot work.

    Raises:
        UserError: as `build_model`, or the model has fewer positions than `--max_length`.
    """
    config = load_model_config(args.model, source, tokenizer, flag)
    fit_config(config, head)
    config.vocab_size = max(config.vocab_size, num_ids(tokenizer))  # weights that are not there cannot be resized
    options = {"trust_remote_code": args.model.trust_remote_code, **attention_options(args.model, config)}
    with torch.device("meta"), explain_loading(flag, source, args.model.model_overrides):
        tell_many_layers(config, source, partial(draw_model, head.auto_model_of(config), **options))
        model = draw_model(head.auto_model_of(config), config, **options)
        if args.model.gradient_checkpointing:
            checkpoint_activations(model)
    check_positions(model, args.data.max_length, source)
    freeze(model, args.model.freeze)
    return model


def load_model(
    head: Head, source: str, config: PretrainedConfig, device: torch.device, *, trust_remote_code: bool
) -> PreTrainedModel:
    """A trained model as it was saved, to be asked: in evaluation mode, on its device.

    A GPU computes in the type in which the weights are stored. So does a CPU, but for 16 bits, in which it is slow.

    Raises:
        UserError: it cannot be loaded, it lacks weights, or they are no numbers.
    """
    with explain_loading("the model", source):
        options = {"trust_remote_code": trust_remote_code, **dtype_option("auto")}
        model, _ = load_weights(head, source, config, may_draw=False, **options)
    refuse_broken_weights(model, source)
    keep_attention_type(model)
    if device.type == "cpu" and model.dtype in (torch.float16, torch.bfloat16):
        model = model.float()
    return model.to(device).eval()  # type: ignore[arg-type]


def load_weights(
    head: Head,
    source: str,
    config: PretrainedConfig,
    *,
    is_checkpoint: bool = False,
    may_draw: bool = True,
    **options: Any,
) -> tuple[PreTrainedModel, Collection[str]]:
    """A model with the weights of a folder or hub name, and the names of new ones; says where they had to be drawn.

    Raises:
        UserError: a run's own checkpoint holds another model's weights, they are a pickle that could run code, or some
            are lacking that may not be drawn.
        Exception: whatever transformers raises; who calls explains it (`explain_loading`).
    """
    options["ignore_mismatched_sizes"] = True  # which a head of other labels has
    model, loading = read_model(head.auto_model_of(config), source, config, **options)
    if is_checkpoint:
        refuse_other_model(loading, source)
    other = {name if isinstance(name, str) else name[0] for name in loading["mismatched_keys"]}
    refuse_other_trunk(model, other)
    if new := {*loading["missing_keys"], *other}:  # a head, mostly, which then has to be learned
        if not may_draw:
            refuse_lack(model, new, source)
        say(f"{source} does not hold {modules_of(new)}: new weights are drawn there")
    return model, new


def modules_of(names: Collection[str]) -> str:
    """The modules that weights belong to, in words."""
    return ", ".join(sorted({name.rpartition(".")[0] for name in names}))


def refuse_lack(model: PreTrainedModel, names: Collection[str], source: str) -> None:
    """Refuse to ask a model what it has not learned: weights drawn anew would answer."""
    if lacking := {*names} & dict(model.named_parameters()).keys():
        saved = ", ".join(model.config.architectures or ["model"])
        raise UserError(
            f"{source} has not learned what it is asked for: it is a {saved}, which does not hold "
            f"{modules_of(lacking)}; train it for that, or ask what it has learned"
        )


def tell_other_labels(source: str, learned: Mapping[Any, str], labels: Mapping[int, str]) -> None:
    """Say that a head goes on with other labels than those that it has learned, of which there are as many."""
    taken = [f'"{learned.get(number)}" as "{name}"' for number, name in labels.items() if learned.get(number) != name]
    if taken:
        shown = ", ".join(taken[:MOST_LABELS_SHOWN]) + ", ..." * (len(taken) > MOST_LABELS_SHOWN)
        say(f"{source} has learned other labels: its head goes on with {shown}")


def refuse_other_trunk(model: PreTrainedModel, names: Collection[str]) -> None:
    """Refuse weights below the head whose shapes are not those of the configuration.

    Raises:
        ValueError: there are some among these names; who calls explains it (`explain_loading`).
    """
    trunk = set(trunk_parameters(model))
    wrong = sorted({*names} - {name for name, weight in model.named_parameters() if weight not in trunk})
    if wrong:
        raise ValueError(f"its weights have other shapes than its configuration says: {len(wrong)}, {wrong[0]} for one")


def refuse_other_model(loading: Mapping[str, Collection[Any]], source: str) -> None:
    """Refuse a run's own checkpoint whose weights are not those of its configuration: new ones would be drawn."""
    names = [str(name) for kind in ("missing_keys", "unexpected_keys", "mismatched_keys") for name in loading[kind]]
    if names:
        raise UserError(
            f"{source} holds the weights of another model than its config.json says: {len(names)} do not fit, "
            f"{names[0]} for one; remove the checkpoint to go on from the one before it"
        )


def as_saved(args: ExperimentArgs) -> ExperimentArgs:
    """The arguments for a run's own checkpoint, which has its weights and the overrides of its configuration."""
    return replace(args, model=replace(args.model, from_scratch=False, model_overrides=[]))
