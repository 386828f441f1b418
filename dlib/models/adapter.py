"""A plain `torch.nn.Module` as a model that is trained, saved, loaded and asked like any other.

What a network has to be, for a line `"my-lstm": "dlib.models.my_lstm:MyLSTM"` in `MODELS`:

    __init__(vocab_size, hidden_size=256, ...)         `vocab_size`, `pad_token_id` and its kin come from the tokenizer,
                                                       the rest from the defaults and `--model_overrides`
    forward(input_ids, attention_mask=None) -> logits  (B, T), (B, T) or None -> (B, T, V)

and what it may have:

    self.head = Linear(hidden_size, vocab_size)        computes logits at positions with a target alone
    max_position_embeddings                            an argument of this name is how long a row may be

transformers' own saving and loading make a network on no device and fill it in, which loses every tensor that is not in
the file; here it is built as its author wrote it.
"""

import inspect
import json
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, load_model
from torch import Tensor, nn
from transformers import GenerationMixin, PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutput
from transformers.utils import CONFIG_NAME, cached_file

from dlib.args.tables import MODELS, load
from dlib.models.weight_files import write_weights
from dlib.process.errors import UserError
from dlib.process.versions import dtype_option

MODEL_TYPE = "own-network"
WEIGHTS = "model.safetensors"
NOT_FOR_THE_NETWORK = ("return_dict", "use_cache", "output_attentions", "output_hidden_states")
"""What transformers says to its models in a forward pass."""


class OwnConfig(PretrainedConfig):
    """What a plain network is built with: its name in `MODELS`, and its arguments.

    Attributes:
        network: the name.
        vocab_size: number of tokens; None until the tokenizer is known.
    """

    model_type = MODEL_TYPE

    def __init__(self, network: str = "", vocab_size: int | None = None, **fields: Any) -> None:
        """Take the network's defaults where `fields` say nothing else; transformers asks for one without a network."""
        arguments = arguments_of(network) if network else {}
        values = {name: fields.pop(name, default) for name, default in arguments.items()}
        super().__init__(**fields)
        self.network = network
        for name, value in values.items():
            setattr(self, name, getattr(self, name, None) if value is inspect.Parameter.empty else value)
        self.vocab_size = vocab_size

    def to_diff_dict(self) -> dict[str, Any]:
        """What config.json holds: each argument, also where its value is transformers' default for the same word."""
        own = arguments_of(self.network) if self.network else {}
        return {**super().to_diff_dict(), **{name: getattr(self, name) for name in own}}


class OwnNetwork(PreTrainedModel, GenerationMixin):
    """A plain network, with what the rest of dlib and transformers' `generate` ask of a model.

    Attributes:
        network: the user's own.
    """

    config_class = OwnConfig
    base_model_prefix = "network"

    def __init__(self, config: OwnConfig) -> None:
        """Build the network.

        Raises:
            UserError: one of its arguments has no value.
        """
        super().__init__(config)
        arguments = arguments_of(config.network)
        for name, default in arguments.items():
            if default is inspect.Parameter.empty and getattr(config, name) is None and not name.endswith("_token_id"):
                raise UserError(f"{config.network}: its argument {name} has no value: give it a default")
        self.network = network_class(config.network)(**{name: getattr(config, name) for name in arguments})
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        """Leave the weights as the network drew them."""

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None, **options: Any) -> CausalLMOutput:
        """The logits (B, T, V) for tokens (B, T); the network gets whatever else an objective hands over."""
        further = {name: value for name, value in options.items() if name not in NOT_FOR_THE_NETWORK}
        logits = self.network(input_ids, attention_mask, **further)
        if not isinstance(logits, Tensor):
            raise TypeError(f"{type(self.network).__name__}.forward has to return the logits, a tensor")
        return CausalLMOutput(logits=logits)

    @property
    def output_layer(self) -> nn.Module | None:
        """The layer `head` that gives the logits; None where there is none, or it is compiled with the rest."""
        head = getattr(self.network, "head", None)
        is_projection = isinstance(head, nn.Linear) and head.out_features == self.config.vocab_size
        return head if is_projection and "forward" not in vars(self.network) else None

    def get_input_embeddings(self) -> nn.Module:
        """The table that has a row for each token.

        Raises:
            NotImplementedError: there is none.
        """
        for module in self.network.modules():
            if isinstance(module, nn.Embedding) and module.num_embeddings == self.config.vocab_size:
                return module
        raise NotImplementedError

    def resize_token_embeddings(self, *_: Any, **__: Any) -> nn.Embedding:
        """Nobody but its author knows which of its tables have a row for each token.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError

    def prepare_inputs_for_generation(  # type: ignore[override]
        self, input_ids: Tensor, attention_mask: Tensor | None = None, **_: Any
    ) -> dict[str, Any]:
        """All tokens so far, at each new one: there is no cache."""
        return {"input_ids": input_ids, "attention_mask": attention_mask}

    def save_pretrained(  # type: ignore[override]
        self, save_directory: str | Path, **_: Any
    ) -> None:
        """Write `config.json` and the weights as safetensors, those that are tied once."""
        folder = Path(save_directory)
        folder.mkdir(parents=True, exist_ok=True)
        self.config.architectures = [type(self).__name__]
        # Not by `save_pretrained`, which refuses arguments of a network with names such as `max_length`.
        self.config.to_json_file(folder / CONFIG_NAME)
        write_weights(self, folder / WEIGHTS)

    @classmethod
    def from_pretrained(  # type: ignore[override]  # dlib/models/pretrained.py alone calls it
        cls, name: str | Path, *, config: OwnConfig, **options: Any
    ) -> Any:
        """Build the network, then load its weights.

        Args:
            name: local folder or hub name.
            config: its configuration.
            options: of transformers, of which the type of the weights counts.

        Returns:
            The network, and what transformers would tell of its loading.
        """
        file = str(cached_file(name, WEIGHTS))
        dtype = options.get("dtype", options.get("torch_dtype"))
        if dtype == "auto":
            dtype = next((tensor.dtype for tensor in load_file(file).values() if tensor.is_floating_point()), None)
        model = cls._from_config(config, **dtype_option(dtype))
        missing, unexpected = load_model(model, file, strict=False)
        return model, {"missing_keys": missing, "unexpected_keys": unexpected, "mismatched_keys": []}


def network_class(name: str) -> Any:
    """The class of a name in `MODELS`.

    Raises:
        UserError: there is no such name or class, or it is no network.
    """
    if name not in MODELS:
        raise UserError(f"the model is a network of one's own, {name!r}, which is not in MODELS in dlib/args/tables.py")
    found = load(MODELS[name])
    if not (inspect.isclass(found) and issubclass(found, nn.Module)):
        raise UserError(f'dlib/args/tables.py: MODELS["{name}"]: {MODELS[name]} is no class of torch.nn.Module')
    return found


def arguments_of(name: str) -> dict[str, Any]:
    """The arguments of a network's constructor with their defaults; `inspect.Parameter.empty` where it has none.

    Raises:
        UserError: a default cannot be written into config.json.
    """
    network = network_class(name)
    kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    parameters = inspect.signature(network).parameters.values()
    defaults = {parameter.name: parameter.default for parameter in parameters if parameter.kind not in kinds}
    for argument, default in defaults.items():
        if default is not inspect.Parameter.empty and not is_json(default):
            raise UserError(
                f"{network.__module__}.{network.__name__}: the default of {argument} is no number, text, list or dict, "
                "which a checkpoint's config.json could hold"
            )
    return defaults


def is_json(value: Any) -> bool:
    """Whether a value comes back from JSON as it was."""
    try:
        return bool(json.loads(json.dumps(value)) == value)
    except (TypeError, ValueError):
        return False


def own_class(model_type: str) -> type[PreTrainedModel] | None:
    """The class of a network of one's own by the `model_type` in its config.json, None where it is transformers'.

    A network in `MODELS` that is a `PreTrainedModel` has its name there for its type.

    Raises:
        UserError: the table names no such class.
    """
    if model_type == MODEL_TYPE:
        return OwnNetwork
    if model_type not in MODELS:
        return None
    network: type[PreTrainedModel] = network_class(model_type)
    if not issubclass(network, PreTrainedModel):
        return None
    if network.config_class is None:
        raise UserError(f"{network.__module__}.{network.__name__} has no config_class")
    if network.config_class.model_type != model_type:  # it has transformers' own, whose checkpoints would be its
        changed = {"model_type": model_type, "__init__": network.config_class.__init__}
        network.config_class = type(f"{network.__name__}Config", (network.config_class,), changed)
    return network


def new_config(name: str) -> PretrainedConfig:
    """The configuration of a network in `MODELS` with its defaults.

    Raises:
        UserError: the table names no such class.
    """
    own: Any = own_class(name)
    return OwnConfig(name) if own is None else own.config_class()
