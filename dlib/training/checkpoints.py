"""What a checkpoint holds: a `model/` folder that transformers loads as it is, and the rest of the state.

    step-00001000/
      model/        config, weights (safetensors), tokenizer; objective.safetensors where the objective has networks
      state.ckpt    steps done and left out, the optimizer's state, any loss scale, checksums of the weights' files,
                    and what callbacks keep

Lightning's own checkpoints hold loop counters that do not bring a run back to where it was in the
middle of an epoch (its issues 18098, 19764, 20550). Here the position is the step, so there is nothing
else to hold: the data, the masks, dropout and the learning rate follow from it.
"""

import hashlib
import json
import sys
import zlib
from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_model
from torch import nn
from torch.optim import Optimizer
from transformers import PreTrainedModel

from dlib.args import OptimArgs
from dlib.models.pretrained import refuse_unsafe_pickle
from dlib.models.sources import has_tokenizer
from dlib.objectives.objective import Objective, learns
from dlib.process.errors import UserError, one_line
from dlib.process.seeding import seed_torch
from dlib.runs.paths import CheckpointFolder, checkpoint_step
from dlib.training.optimizers import build_optimizer
from dlib.training.shards import CONTAINERS

if TYPE_CHECKING:  # it is Lightning's, whose import a plan and prepare.py do without
    from dlib.training.training_module import TrainingModule

BLOCK_BYTES = 2**20
STATE = {"steps_done": int, "optimizer": dict, "precision": dict}
"""What every state.ckpt holds."""


def learning_modules(modules: nn.ModuleDict) -> nn.ModuleDict:
    """Those of an objective's networks that learn; the others come from elsewhere whenever they are needed."""
    return nn.ModuleDict({name: module for name, module in modules.items() if learns(module)})


def frozen_modules(modules: nn.ModuleDict) -> nn.ModuleDict:
    """Those of an objective's networks that learn nothing, and no checkpoint holds."""
    return nn.ModuleDict({name: module for name, module in modules.items() if not learns(module)})


def add_modules(objective: Objective, model: PreTrainedModel, seed: int, saved: Path | None) -> None:
    """Give an objective its own networks.

    Args:
        objective: what a model is trained to do.
        model: that model.
        seed: of the run, for weights that are drawn.
        saved: the model's folder of a checkpoint that holds what they learned; None: nothing did.

    Raises:
        UserError: the folder does not hold it.
    """
    seed_torch("modules", seed)
    objective.modules.update(objective.build_modules(model))
    if saved is None or not (own := learning_modules(objective.modules)):
        return
    file = saved / CheckpointFolder(saved.parent).modules.name
    if not file.is_file():
        raise UserError(f"{file} is missing: the objective has networks of its own; give a checkpoint of a run")
    try:
        load_model(own, file)
    except (OSError, RuntimeError, SafetensorError) as error:
        raise UserError(f"{file} does not hold the networks of the objective: {one_line(str(error))}") from error


def checkpoint_bytes(module: "TrainingModule") -> int:
    """About how much room a checkpoint needs."""
    networks = nn.ModuleList([module.model, learning_modules(module.objective.modules)])
    return kept_bytes(networks, module.optimizers().optimizer)  # type: ignore[union-attr]


def estimate_checkpoint_bytes(model: nn.Module, optim: OptimArgs, modules: nn.ModuleDict | None = None) -> int:
    """About how much room a checkpoint is going to need: an optimizer is tried out on a model without memory.

    It takes a step for one weight of each kind.

    Args:
        model: of a run, on the device `meta`.
        optim: its optimizer.
        modules: the objective's own networks, whose weights are lost.

    Raises:
        UserError: the optimizer is not for such a model.
    """
    own = learning_modules(modules or nn.ModuleDict())
    networks, optimizer = nn.ModuleList([model, own]), build_optimizer(model, optim, fused=False, further=own)
    untried_bytes = 0
    for first, *others in _weights_by_kind(optimizer):
        before = state_bytes(optimizer)
        first.grad = torch.empty_like(first)
        with suppress(RuntimeError):  # Adafactor looks at numbers, and finds none; its state is there by then
            optimizer.step()
        first.grad = None
        untried = [other for other in others if not optimizer.state.get(other)]  # Adagrad begins with the state of all
        untried_bytes += len(untried) * (state_bytes(optimizer) - before)
    averaged = [parameter for parameter in networks.parameters() if parameter.requires_grad and optim.ema_decay]
    return kept_bytes(networks, optimizer) + untried_bytes + tensor_bytes(averaged)


def _weights_by_kind(optimizer: Optimizer) -> list[list[nn.Parameter]]:
    """The weights by group, shape and type: an optimizer is taken to keep as much of each of a kind.

    A large model has a dozen kinds, and hundreds of weights.
    """
    kinds: dict[Any, list[nn.Parameter]] = defaultdict(list)
    for number, group in enumerate(optimizer.param_groups):
        for parameter in group["params"]:
            kinds[number, parameter.shape, parameter.dtype].append(parameter)
    return list(kinds.values())


def kept_bytes(networks: nn.Module, optimizer: Optimizer) -> int:
    """Size of the weights, and of what the optimizer keeps of them."""
    return tensor_bytes(networks.parameters()) + state_bytes(optimizer)


def state_bytes(optimizer: Optimizer) -> int:
    """Size of what an optimizer keeps."""
    return sum(tensor_bytes(state.values()) for state in optimizer.state.values())


def tensor_bytes(values: Iterable[Any]) -> int:
    """Size of those values that are tensors."""
    return sum(value.numel() * value.element_size() for value in values if isinstance(value, torch.Tensor))


def weight_files(checkpoint: CheckpointFolder) -> list[Path]:
    """The files that hold a checkpoint's weights; the usual one where there is none."""
    return sorted(checkpoint.model.glob("*.safetensors")) or [checkpoint.model / "model.safetensors"]


def refuse_damage(folder: Path) -> None:
    """Refuse a checkpoint of which something is missing, torn or from elsewhere, before anything is built on it.

    Raises:
        UserError: it is so; the message says what to do.
    """
    checkpoint = CheckpointFolder(folder)
    weights = weight_files(checkpoint)
    for file in (checkpoint.model / "config.json", *weights, checkpoint.state):
        if not file.is_file():
            raise _damaged(file, folder, "missing")
    if not has_tokenizer(checkpoint.model):
        raise _damaged(checkpoint.model / "tokenizer.json", folder, "missing")
    for file in weights:
        try:
            with safe_open(file, framework="pt"):
                pass
        except (OSError, SafetensorError) as error:
            raise _damaged(file, folder) from error
    for file in sorted(checkpoint.model.glob("*.json")):
        try:
            json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise _damaged(file, folder) from error
    state = read_training_state(folder)
    if state["steps_done"] != checkpoint_step(folder.name):
        raise _damaged(checkpoint.state, folder, f"of step {state['steps_done']}")
    recorded = state.get("weights_crc32")  # older versions wrote none
    if recorded is not None and recorded != {file.name: crc32_of(file) for file in weights}:
        raise _damaged(checkpoint.model, folder, "not what was saved with state.ckpt")


def read_training_state(folder: Path) -> dict[str, Any]:
    """Read what stands beside the model. Nothing is unpickled but tensors and plain containers.

    Raises:
        UserError: the file is missing or damaged.
    """
    file = CheckpointFolder(folder).state
    try:
        refuse_unsafe_pickle(file)
        state = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:
        raise _damaged(file, folder) from error
    if not isinstance(state, dict) or any(type(state.get(name)) is not kind for name, kind in STATE.items()):
        raise _damaged(file, folder, "no training state")
    return {"callbacks": {}, **intern_texts(state, {})}  # callbacks are there where one keeps something


def intern_texts(value: Any, done: dict[int, Any]) -> Any:
    """A loaded state with the running program's own text objects, as they were before it was saved.

    A pickle writes a text once for each object. Loaded texts are objects of their own, so that a key which an optimizer
    and a callback both have would stand once in the files of a run that never stopped, and twice in those of one that
    went on.

    Args:
        value: the state, or a part of it.
        done: what was made of containers, by id: what was one object stays one.
    """
    if isinstance(value, str):
        return sys.intern(value)
    if type(value) not in CONTAINERS:
        return value
    if id(value) not in done:
        if isinstance(value, dict):
            parts = [(intern_texts(key, done), intern_texts(part, done)) for key, part in value.items()]
        else:
            parts = [intern_texts(part, done) for part in value]
        done[id(value)] = type(value)(parts)
    return done[id(value)]


def _damaged(file: Path, folder: Path, how: str = "damaged") -> UserError:
    return UserError(f"{file} is {how}; remove {folder} to go on from the checkpoint before it")


def crc32_of(file: Path) -> int:
    """CRC-32 of a file's bytes: what is guarded against is a mistake, and this takes a third of SHA-256's time."""
    checksum = 0
    with file.open("rb") as opened:
        while block := opened.read(BLOCK_BYTES):
            checksum = zlib.crc32(block, checksum)
    return checksum


def hash_weights(*networks: nn.Module) -> str:
    """SHA-256 of all weights and buffers that a checkpoint would hold: names, types, shapes and bytes."""
    digest = hashlib.sha256()
    for name, tensor in chain.from_iterable(network.state_dict().items() for network in networks):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        # As bytes, because NumPy does not know every type of torch's.
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
