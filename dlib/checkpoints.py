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
from dlib.model_sources import has_tokenizer
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


def refuse_damage(folder: Path) -> None:
    """Refuse a checkpoint of which something is missing or torn, before anything is built on it.

    Raises:
        UserError: it is so; the message says what to do.
    """
    checkpoint = CheckpointFolder(folder)
    weights = sorted(checkpoint.model.glob("*.safetensors")) or [checkpoint.model / "model.safetensors"]
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


def read_training_state(folder: Path) -> dict[str, Any]:
    """Read what stands beside the model. Nothing is unpickled but tensors and plain containers.

    Raises:
        UserError: the file is missing or damaged.
    """
    state = CheckpointFolder(folder).state
    try:
        return torch.load(state, map_location="cpu", weights_only=True)
    except Exception as error:
        raise _damaged(state, folder) from error


def _damaged(file: Path, folder: Path, how: str = "damaged") -> UserError:
    return UserError(f"{file} is {how}; remove {folder} to go on from the checkpoint before it")


def hash_weights(model: nn.Module) -> str:
    """SHA-256 of all weights and buffers that a checkpoint would hold: names, types, shapes and bytes."""
    digest = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        # As bytes, because NumPy does not know every type of torch's.
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
