"""Measure what the machine does: speed, waiting for data, memory. Not part of what a run computes."""

import resource
import sys
import time
from fractions import Fraction
from typing import Any

import lightning.pytorch as pl
import torch
from transformers import PreTrainedModel

from dlib.callbacks.step_callback import Place, StepCallback
from dlib.models.parts import embedding_tables, trunk_parameters, word_embeddings
from dlib.tracking.run_log import RunLog
from dlib.training.devices import Devices
from dlib.training.training_module import TrainingModule

MEBIBYTE = 2**20
FLOPS_PER_WEIGHT = 6
"""Per token: a multiplication and an addition forward, twice that backward."""


class Performance(StepCallback):
    """Records means since the last logged step; evaluations and checkpoints do not count as training."""

    place = Place.NUMBERS

    def __init__(self, run_log: RunLog, devices: Devices) -> None:
        """Write to `run_log` how well `devices` are used."""
        self.run_log = run_log
        self.devices = devices
        self._idle_since: float | None = None
        self._clear()

    def _clear(self) -> None:
        self._computing_seconds = self._waiting_seconds = 0.0
        self._tokens, self._flops = 0, 0.0

    def before_training(self, trainer: pl.Trainer, module: TrainingModule) -> None:
        """Count the model's arithmetic, once."""
        per_token, per_target = training_flops(module.model, module.plan.tokens_per_sample)
        self._flops_per_token, self._flops_per_target = per_token, per_target

    def on_train_batch_start(self, *_: Any) -> None:
        """Data has come: what passed since the last step's end was waiting, unless something else was done."""
        self._started = time.perf_counter()
        if self._idle_since is not None:
            self._waiting_seconds += self._started - self._idle_since

    def after_step(self, trainer: pl.Trainer, module: TrainingModule) -> None:
        """Add the step up, and record the means where the plan logs."""
        step, plan = module.steps_done, module.plan
        if plan.logs_after(step) and module.device.type == "cuda":
            torch.cuda.synchronize(module.device)  # launches return early; a logged step waits for them
        now = time.perf_counter()
        self._computing_seconds += now - self._started
        self._tokens += module.step_tokens
        self._flops += module.step_tokens * self._flops_per_token + module.step_weight * self._flops_per_target
        self._idle_since = None if plan.evaluates_after(step) or plan.saves_after(step) else now
        if plan.logs_after(step):
            self.run_log.measure(step, self._means(module.device))
            self._clear()

    def _means(self, device: torch.device) -> dict[str, float]:
        seconds = self._computing_seconds + self._waiting_seconds
        means = {
            "performance/tokens_per_second": self._tokens / seconds,
            "performance/data_wait_share": self._waiting_seconds / seconds,
        }
        if self.devices.peak_flops is not None:
            means["performance/model_flops_utilization"] = (
                self._flops / seconds / (self.devices.peak_flops * self.devices.world_size)
            )
        return {**means, "performance/memory_mib": peak_memory_mib(device)}


def peak_memory_mib(device: torch.device) -> float:
    """The most memory that was in use so far: the GPU's own, else the process's, in MiB."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / MEBIBYTE
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / MEBIBYTE


def training_flops(model: PreTrainedModel, tokens_per_row: Fraction) -> tuple[float, float]:
    """Floating-point operations of a forward and a backward pass, for each token and for each target token.

    Chowdhery et al. 2022 (PaLM), appendix B: 6 N + 12 L H T a token, where N leaves the embeddings out and T is the
    length of a row; the vocabulary projection, 6 V H, counts for target tokens alone, as it is computed for no others.
    Recomputed activations do not count, nor what a network of one's own does not tell of itself.
    """
    words = word_embeddings(model)
    tables = embedding_tables(model)
    trunk = sum(weight.numel() for weight in trunk_parameters(model) if weight.ndim >= 2 and weight not in tables)
    layers, width = (getattr(model.config, name, None) or 0 for name in ("num_hidden_layers", "hidden_size"))
    attention = 12 * layers * width * float(tokens_per_row)
    return FLOPS_PER_WEIGHT * trunk + attention, FLOPS_PER_WEIGHT * (0 if words is None else words.weight.numel())
