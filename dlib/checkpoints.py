"""What a checkpoint holds: a `model/` folder that transformers loads as it is, and the rest of the state.

    step-00001000/
      model/        config, weights (safetensors), tokenizer
      state.ckpt    steps done, AdamW's two means, the loss scale where there is one

Lightning's own checkpoints hold loop counters that do not bring a run back to where it was in the
middle of an epoch (its issues 18098, 19764, 20550). Here the position is the step, so there is nothing
else to hold: the data, the masks, dropout and the learning rate follow from it.
"""

import hashlib
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import nn
from transformers import PreTrainedTokenizerBase

from dlib.errors import UserError
from dlib.runs.folder import CheckpointFolder
from dlib.training_module import TrainingModule


def write_checkpoint(folder: Path, module: TrainingModule, tokenizer: PreTrainedTokenizerBase) -> None:
    """Write a checkpoint into an empty folder; who calls publishes it whole (`RunFolder.publish_checkpoint`)."""
    checkpoint = CheckpointFolder(folder)
    module.model.save_pretrained(checkpoint.model)
    tokenizer.save_pretrained(checkpoint.model)
    state = {
        "steps_done": module.steps_done,
        "optimizer": module.optimizers().optimizer.state_dict(),  # type: ignore[union-attr]
        "precision": module.trainer.precision_plugin.state_dict(),
    }
    torch.save(state, checkpoint.state)


def refuse_torn_weights(folder: Path) -> None:
    """Refuse a checkpoint whose weights are no whole file, as a disk may leave them that loses what it was given.

    Raises:
        UserError: one is torn; the message says what to do.
    """
    for file in CheckpointFolder(folder).model.glob("*.safetensors"):
        try:
            with safe_open(file, framework="pt"):
                pass
        except (OSError, SafetensorError) as error:
            raise _damaged(file, error, folder) from error


def read_training_state(folder: Path) -> dict[str, Any]:
    """Read what stands beside the model. Nothing is unpickled but tensors and plain containers.

    Raises:
        UserError: the file is missing or damaged.
    """
    state = CheckpointFolder(folder).state
    try:
        return torch.load(state, map_location="cpu", weights_only=True)
    except Exception as error:
        raise _damaged(state, error, folder) from error


def _damaged(file: Path, error: Exception, folder: Path) -> UserError:
    reason = str(error).partition("\n")[0]
    return UserError(f"{file} is damaged ({reason}); remove {folder} to go on from the one before")


def hash_weights(model: nn.Module) -> str:
    """SHA-256 of all weights and buffers that a checkpoint would hold: names, types, shapes and bytes."""
    digest = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        # As bytes, because NumPy does not know every type of torch's.
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
