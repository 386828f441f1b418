"""What a checkpoint is written from, and how: at once, or from a copy in the host's memory while training goes on.

    networks, optimizer, callbacks --gather--> Gathered --write_checkpoint--> files
                                                        --Copies.take--> Contents --write_contents--> files

It stands apart from `checkpoints.py`, which says what the files are and reads them.
"""

from collections.abc import Iterable
from copy import deepcopy
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from dlib.models.weight_files import write_weights
from dlib.process.errors import UserError, one_line
from dlib.runs.paths import CheckpointFolder
from dlib.training.callback_states import callback_states
from dlib.training.checkpoints import crc32_of, learning_modules, weight_files
from dlib.training.shards import replaced, whole_state, whole_weights, with_tensors
from dlib.training.training_module import TrainingModule

Copied = TypeVar("Copied")


@dataclass(frozen=True)
class Gathered:
    """What a checkpoint holds, as far as it is not in the networks of the first process, which writes it."""

    state: dict[str, Any]  # of state.ckpt, but for what is known of the files
    weights: dict[str, nn.Parameter]  # the whole of the weights that are in shards, as `model/` is to hold them


@dataclass(frozen=True)
class Contents:
    """All that a checkpoint holds, none of which is computed with any more."""

    model: PreTrainedModel
    modules: nn.ModuleDict  # networks of the objective's own that learn
    tokenizer: PreTrainedTokenizerBase
    state: dict[str, Any]  # of state.ckpt, but for what is known of the files


def gather(module: TrainingModule) -> Gathered:
    """Gather a checkpoint; where weights are in shards every process has to call, else the first alone does.

    Raises:
        UserError: a callback's state cannot be read back.
    """
    callbacks = callback_states(module.trainer.callbacks)  # type: ignore[attr-defined]
    state = {
        "steps_done": module.steps_done,
        "steps_left_out": module.steps_left_out,
        "optimizer": whole_state(module.optimizers().optimizer.state_dict()),  # type: ignore[union-attr]
        "precision": module.trainer.precision_plugin.state_dict(),
        **({"callbacks": callbacks} if callbacks else {}),
    }
    with module.kept_weights():
        return Gathered(state, whole_weights(module))


def write_checkpoint(
    folder: Path, module: TrainingModule, tokenizer: PreTrainedTokenizerBase, gathered: Gathered
) -> None:
    """Write a checkpoint into an empty folder; who calls publishes it whole (`RunFolder.publish_checkpoint`)."""
    with module.kept_weights(), replaced(module, gathered.weights):
        _write_networks(folder, module.model, learning_modules(module.objective.modules), tokenizer)
    _write_state(folder, gathered.state)


def write_contents(folder: Path, contents: Contents) -> None:
    """The same, of a copy; from any thread."""
    _write_networks(folder, contents.model, contents.modules, contents.tokenizer)
    _write_state(folder, contents.state)


def _write_networks(
    folder: Path, model: PreTrainedModel, own: nn.ModuleDict, tokenizer: PreTrainedTokenizerBase
) -> None:
    checkpoint = CheckpointFolder(folder)
    model.save_pretrained(checkpoint.model)
    tokenizer.save_pretrained(checkpoint.model)
    if own:
        write_weights(own, checkpoint.modules)


def _write_state(folder: Path, state: dict[str, Any]) -> None:
    checkpoint = CheckpointFolder(folder)
    checksums = {file.name: crc32_of(file) for file in weight_files(checkpoint)}
    with checkpoint.state.open("wb") as file:  # by a file of Python's, whose errors say what the disk refused
        torch.save({**_on_host(state), "weights_crc32": checksums}, file)


def _on_host(state: dict[str, Any]) -> dict[str, Any]:
    """The state without the names of GPUs, which torch would write into the file beside each tensor."""
    copies: dict[int, Tensor] = {}
    on_host: dict[str, Any] = with_tensors(state, lambda tensor: copies.setdefault(id(tensor), tensor.cpu()))
    return on_host


def _deep_copy(value: Copied, name: str, done: dict[int, Any]) -> Copied:
    """A copy of an object that may hold anything; `done` has what is copied already, by id."""
    try:
        return deepcopy(value, done)
    except Exception as error:
        raise UserError(
            f"--save_in_background: {name} cannot be copied ({one_line(str(error))}); leave it out"
        ) from error


class Copies:
    """Copies checkpoints into the host's memory, one after the other: each takes the places of the one before.

    Memory that is kept is several times as fast as memory that the system hands out page by page; pinned, where it is
    for a GPU.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        """Copy the tokenizer, which learns nothing, once: an evaluation may use it while a checkpoint is written.

        Raises:
            UserError: it cannot be copied.
        """
        self._tokenizer = _deep_copy(tokenizer, "the tokenizer", {})
        self._places: list[Tensor] = []
        self._used = 0

    @torch.no_grad()
    def take(self, module: TrainingModule, gathered: Gathered) -> Contents:
        """Copy a checkpoint; what was copied before is no longer valid. Weights must not be in shards.

        Raises:
            UserError: a network cannot be copied.
        """
        self._used = 0
        with module.kept_weights():
            model, own = self._copy_networks(module.model, learning_modules(module.objective.modules))
        # Outside: there a callback's state may be of the weights that learn, in the places of those that are kept.
        places: dict[int, Tensor] = {}
        state = with_tensors(gathered.state, lambda tensor: self._copy(tensor, places))
        if module.device.type == "cuda":
            torch.cuda.synchronize(module.device)
        return Contents(model, own, self._tokenizer, state)

    def _copy_networks(self, model: PreTrainedModel, own: nn.ModuleDict) -> tuple[PreTrainedModel, nn.ModuleDict]:
        """Networks like these whose weights and buffers are copies; what is tied is tied."""
        done: dict[int, Any] = {}
        tensors: Iterable[Tensor] = chain.from_iterable((*part.parameters(), *part.buffers()) for part in (model, own))
        for tensor in tensors:
            self._copy(tensor, done)
        return _deep_copy((model, own), "the model", done)

    def _copy(self, tensor: Tensor, done: dict[int, Any]) -> Tensor:
        """A copy; of what was copied already, by its id, the same one."""
        if id(tensor) not in done:
            place = self._next_place(tensor).copy_(tensor, non_blocking=tensor.is_cuda)
            is_parameter = isinstance(tensor, nn.Parameter)
            done[id(tensor)] = nn.Parameter(place, tensor.requires_grad) if is_parameter else place
        copied: Tensor = done[id(tensor)]
        return copied

    def _next_place(self, tensor: Tensor) -> Tensor:
        """Memory for a tensor: that of the one which was copied here before, if it was like it."""
        if self._used == len(self._places) or not _is_like(self._places[self._used], tensor):
            place = torch.empty_like(tensor, device="cpu", pin_memory=tensor.is_cuda, requires_grad=False)
            self._places[self._used : self._used + 1] = [place]
        self._used += 1
        return self._places[self._used - 1]


def _is_like(place: Tensor, tensor: Tensor) -> bool:
    return (place.shape, place.dtype, place.stride()) == (tensor.shape, tensor.dtype, tensor.stride())
