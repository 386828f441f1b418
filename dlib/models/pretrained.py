"""The one door through which configurations, tokenizers and weights are loaded from a Hugging Face folder or name.

Such a folder may bring Python code of its own (`auto_map` in its JSON files). transformers asks on stdin whether to run
it, unless it is told; for generate.py stdin is data. So nothing but this file calls `from_pretrained` or `from_config`,
which tests/test_security.py checks, and each function here has to be told. Networks in `MODELS` are this clone's code.
"""

import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import AutoConfig, AutoTokenizer, PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from dlib.args.tables import MODELS
from dlib.models.adapter import new_config, own_class
from dlib.process.errors import UserError

ZIP_START = b"PK\x03\x04"


def read_config(name: str, *, trust_remote_code: bool) -> PretrainedConfig:
    """A model's configuration, by Hugging Face name or local folder.

    Raises:
        UserError: it wants a kernel from the hub, which is code too, and may not run any.
        Exception: whatever transformers raises; who calls explains it (`explain_loading`).
    """
    if name in MODELS:
        return new_config(name)
    own: Any = own_class(config_fields(name).get("model_type", ""))
    loader = AutoConfig if own is None else own.config_class
    config: PretrainedConfig = loader.from_pretrained(name, trust_remote_code=trust_remote_code)
    if not trust_remote_code:  # transformers has a class of its own: no checkpoint is to name code that it lacks
        vars(config).pop("auto_map", None)
    kernels = [str(getattr(part, "_attn_implementation", None)) for part in parts_of(config)]
    hub_kernel = next((kernel for kernel in kernels if "/" in kernel), None)  # owner/name: transformers 5 loads it
    if hub_kernel is not None and not trust_remote_code:
        raise UserError(
            f"{name}: its config.json asks for the attention kernel {hub_kernel}, which is code from the hub; read "
            "it, then give --trust_remote_code"
        )
    return config


def config_fields(name: str) -> dict[str, Any]:
    """What stands in a model's config.json, or differs from its class's defaults for a name in `MODELS`."""
    return new_config(name).to_diff_dict() if name in MODELS else PretrainedConfig.get_config_dict(name)[0]


def parts_of(config: PretrainedConfig) -> Iterator[PretrainedConfig]:
    """A configuration, and those of the model's parts in it, such as the text's in a model that also sees."""
    yield config
    for part in vars(config).values():
        if isinstance(part, PretrainedConfig):
            yield from parts_of(part)


def read_tokenizer(name: str, *, trust_remote_code: bool) -> PreTrainedTokenizerBase:
    """A tokenizer, as `read_config` reads a configuration."""
    return AutoTokenizer.from_pretrained(name, trust_remote_code=trust_remote_code)


def draw_model(
    auto_model: str, config: PretrainedConfig, *, trust_remote_code: bool, **options: Any
) -> PreTrainedModel:
    """A network with new weights, by the name of the transformers class: `AutoModelForMaskedLM` for one."""
    own = own_class(config.model_type)
    if own is not None:
        return own._from_config(config, **options)
    return getattr(transformers, auto_model).from_config(config, trust_remote_code=trust_remote_code, **options)


def read_model(
    auto_model: str, name: str, config: PretrainedConfig, *, trust_remote_code: bool, **options: Any
) -> tuple[PreTrainedModel, dict[str, Any]]:
    """A network with its weights, and what transformers tells of their loading: `missing_keys` and the like.

    Raises:
        UserError: its weights are a pickle of a kind that could run code.
    """
    for file in sorted(pickles_in(Path(name))):
        refuse_unsafe_pickle(file)
    loader: Any = own_class(config.model_type) or getattr(transformers, auto_model)
    return loader.from_pretrained(
        name, config=config, trust_remote_code=trust_remote_code, output_loading_info=True, **options
    )


def pickles_in(folder: Path) -> set[Path]:
    """The pickled weights in a local folder: by their usual names, and by those that an index gives them."""
    indices = [*folder.glob("*.bin.index.json"), *folder.glob("*.safetensors.index.json")]
    maps = [json.loads(index.read_text(encoding="utf-8"))["weight_map"] for index in indices]
    named = {folder / file for files in maps for file in files.values()}
    return {*folder.glob("*.bin"), *(file for file in named if file.suffix != ".safetensors" and file.is_file())}


def refuse_unsafe_pickle(file: Path) -> None:
    """Refuse containers from which torch before 2.6 runs code even with `weights_only=True` (CVE-2025-32434).

    Raises:
        UserError: the file is a TorchScript archive, or a tar file.
    """
    with file.open("rb") as opened:
        start = opened.read(tarfile.BLOCKSIZE)
    # A block of zeros, with which other weights may begin, is an archive of no file.
    is_tar = start.strip(b"\0") != b"" and tarfile.is_tarfile(file)
    if is_torchscript(file) if start.startswith(ZIP_START) else is_tar:
        raise UserError(f"{file} is no file of weights alone: it could run code; save the weights as safetensors")


def is_torchscript(file: Path) -> bool:
    """Whether a zip file is a TorchScript archive, read as torch reads it."""
    try:
        return "constants.pkl" in torch._C.PyTorchFileReader(str(file)).get_all_records()
    except RuntimeError:  # it is damaged, which torch says later
        return False
