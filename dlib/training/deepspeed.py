"""`--distributed_strategy deepspeed_...`: DeepSpeed's engine, told batch, accumulation and clipping by our own plan.

Rajbhandari et al. 2020, "ZeRO": stage 2 has gradients and the optimizer's state in parts, stage 3 the weights, too. The
engine does what it is for, the exchange of gradients and the step; data, schedule and checkpoints are as in every run.
Lightning's DeepSpeedStrategy would compute accumulation anew, and write checkpoints of its own.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from dlib.data.batching import StepPlan
from dlib.process.packages import import_optional
from dlib.training.devices import Devices
from dlib.training.strategies import COLLECTIVE_TIMEOUT, Parted

MEANS = ("exp_avg", "exp_avg_sq")
"""What AdamW keeps of each weight, besides the step."""
OFFLOADED = {"device": "cpu", "pin_memory": True}
ZERO: dict[str, dict[str, Any]] = {
    "deepspeed_stage_2": {"stage": 2},
    "deepspeed_stage_3_offload": {"stage": 3, "offload_optimizer": OFFLOADED, "offload_param": OFFLOADED},
}
"""What is shared out, in DeepSpeed's words."""


def engine_config(
    strategy: str, batches: StepPlan, micro_batch_size: int, world_size: int, max_grad_norm: float
) -> dict[str, Any]:
    """DeepSpeed's configuration of a run: the one place where its words stand, and all of it follows from the plan.

    Args:
        strategy: an entry of `ZERO`.
        batches: the steps of the run.
        micro_batch_size: sequences in a forward pass of one device.
        world_size: number of processes.
        max_grad_norm: 2-norm that gradients are scaled down to; 0: never.
    """
    accumulation = len(batches.micro_batches(0, 0, world_size))
    return {
        "train_batch_size": micro_batch_size * accumulation * world_size,
        "train_micro_batch_size_per_gpu": micro_batch_size,
        "gradient_accumulation_steps": accumulation,
        "gradient_clipping": max_grad_norm,
        "zero_optimization": dict(ZERO[strategy]),
        "zero_allow_untested_optimizer": True,  # torch's own AdamW
        "zero_force_ds_cpu_optimizer": False,
        "steps_per_print": None,
    }


def build_stage_2(devices: Devices, *, exact_reduce: bool) -> "Engine":
    """Gradients and optimizer in parts; `--exact_reduce` is refused before (`check_strategy`)."""
    return Engine("deepspeed_stage_2", timeout=COLLECTIVE_TIMEOUT)


def build_stage_3_offload(devices: Devices, *, exact_reduce: bool) -> "Engine":
    """Weights in parts besides, and all parts in the host's memory."""
    return Engine("deepspeed_stage_3_offload", timeout=COLLECTIVE_TIMEOUT)


class Engine(Parted):
    """Processes whose step DeepSpeed does."""

    def __init__(self, name: str, **options: Any) -> None:
        """Take the name of the strategy."""
        super().__init__(**options)
        self.name = name
        self.engine: Any = None

    def setup_optimizers(self, trainer: Any) -> None:
        """Build the optimizer as ever, and give it to the engine with what it was loaded with."""
        super().setup_optimizers(trainer)
        module = cast(Any, self.lightning_module)
        batches, limit = module.plan.batches, module.optim.max_grad_norm
        size = max(len(part.sample_ids) for part in batches.micro_batches(0, 0, trainer.world_size))
        config = engine_config(self.name, batches, size, trainer.world_size, limit)
        shared = SharedAdamW(module, self.optimizers[0], config)
        self.engine, self.optimizers = shared.engine, [shared]

    def backward(self, closure_loss: Tensor, *_: Any, **__: Any) -> Tensor:
        """The loss is divided by its weight in the step already, and not by the number of micro-batches."""
        self.engine.backward(closure_loss, scale_wrt_gas=False)
        return closure_loss

    @contextmanager
    def block_backward_sync(self) -> Iterator[None]:
        """Tell the engine that another micro-batch follows."""
        self.engine.set_gradient_accumulation_boundary(False)
        yield
        self.engine.set_gradient_accumulation_boundary(True)

    def optimizer_step(self, optimizer: Optimizer, closure: Callable[[], Any], model: Any = None, **_: Any) -> Any:
        """Clip and do the step; the engine has left it out where its gradient is not finite."""
        module = cast(Any, self.lightning_module)
        closure()
        optimizer.step()
        module.gradient_norm = torch.as_tensor(self.engine.get_global_grad_norm())
        module.judge_gradient(optimizer)


class SharedAdamW(Optimizer):
    """AdamW of which each process does a part, with the groups, rates and state of one that is whole.

    Attributes:
        engine: DeepSpeed's.
    """

    def __init__(self, module: nn.Module, adamw: Optimizer, config: Mapping[str, Any]) -> None:
        """Hand a module and its optimizer over to a new engine."""
        super().__init__([{**group, "params": [*group["params"]]} for group in adamw.param_groups], adamw.defaults)
        loaded = adamw.state_dict()["state"]
        adamw.state.clear()
        deepspeed = import_optional("deepspeed", "--distributed_strategy deepspeed")
        self.engine, *_ = deepspeed.initialize(model=module, optimizer=adamw, config=dict(config))
        self.adamw = adamw
        if loaded:
            self._share_out(loaded)

    @property
    def weights(self) -> list[nn.Parameter]:
        """Those that learn, in the order of the groups."""
        return [weight for group in self.param_groups for weight in group["params"]]

    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        """Do the step at the rates of the groups."""
        for own, shared in zip(self.param_groups, self.adamw.param_groups, strict=True):
            shared["lr"] = own["lr"]
        self.engine.step()

    def zero_grad(self, set_to_none: bool = True) -> None:
        """The engine does so at the end of its step."""

    def state_dict(self) -> dict[str, Any]:
        """The state of a whole AdamW, on the CPU; all processes have to ask."""
        if not self.adamw.state:
            return super().state_dict()
        link_states(self.engine.optimizer)
        utilities = import_optional("deepspeed.utils", "--distributed_strategy deepspeed")
        step = next(iter(self.adamw.state.values()))["step"]
        state = {
            number: {
                "step": step.detach().cpu().clone(),
                **{name: utilities.safe_get_full_optimizer_state(weight, name).cpu() for name in MEANS},
            }
            for number, weight in enumerate(self.weights)
        }
        return {**super().state_dict(), "state": state}

    def _share_out(self, state: Mapping[int, Mapping[str, Tensor]]) -> None:
        """Put each process's part of a whole state where the engine keeps it, which it makes in its first step only."""
        utilities = import_optional("deepspeed.utils", "--distributed_strategy deepspeed")
        for part in parts_of(self.engine.optimizer):
            self.adamw.state[part] = {
                "step": state[0]["step"].to(part.device, copy=True),  # each counts for itself
                **{name: torch.zeros_like(part) for name in MEANS},
            }
        link_states(self.engine.optimizer)
        for number, weight in enumerate(self.weights):
            for name in MEANS:
                utilities.safe_set_full_optimizer_state(weight, state[number][name].to(weight.device), name)


def parts_of(optimizer: Any) -> Sequence[Tensor]:
    """The flat parts that one process's step changes: of stage 3, else of stage 2."""
    return getattr(optimizer, "fp32_partitioned_groups_flat", None) or optimizer.single_partition_of_fp32_groups


def link_states(optimizer: Any) -> None:
    """Have stage 2 find the state of each weight; it looks once, when the first of the groups has done its step."""
    if hasattr(optimizer, "_lazy_init_hp_params_optimizer_state"):
        optimizer._hp_optimizer_states_linked = False
        optimizer._lazy_init_hp_params_optimizer_state()


@contextmanager
def gathered(module: nn.Module) -> Iterator[None]:
    """Within it every process has all weights that stage 3 has cut, and keeps them after a layer's forward pass."""
    weights = [weight for weight in module.parameters() if hasattr(weight, "ds_id")]
    if not weights:
        yield
        return
    deepspeed = import_optional("deepspeed", "--distributed_strategy deepspeed")
    kept = [weight.ds_persist for weight in weights]  # type: ignore[attr-defined]
    with deepspeed.zero.GatheredParameters(weights):
        for weight in weights:
            weight.ds_persist = True  # type: ignore[attr-defined]
        try:
            yield
        finally:
            for weight, before in zip(weights, kept, strict=True):
                weight.ds_persist = before  # type: ignore[attr-defined]
