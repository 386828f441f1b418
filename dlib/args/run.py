"""What a run is called, where it computes, what it keeps and what it reports."""

from dataclasses import dataclass

from dlib.args.fields import setting
from dlib.args.tables import STRATEGIES

RESUME_WORDS = ("auto", "never")
MOST_NODES = 100_000
"""As many as the largest machines have; each is named in a run's record."""


@dataclass
class RunArgs:
    """The run: its name, its folder, its seed."""

    name: str = setting("", alias="-n", free=True)
    """Name of the run, and of its folder under `out_dir`. Required."""
    out_dir: str = setting("runs", path=True, free=True)
    """Folder that holds the run folders."""
    seed: int = setting(1)
    """Seed of everything random: weights, order, masks, dropout."""
    resume: str = setting("auto", free=True)
    """`auto` goes on where a run of this name stopped; `never` refuses a name that is taken; another word is the run
    to go on with, its name or folder, whose config.yml then says everything else."""
    branch: str | None = setting(None, path=True, free=True)
    """Begin where another run was, `RUN@STEP`, `RUN@best` or `RUN` (its last): with its arguments, weights, optimizer,
    place in the text and numbers. Learning rate, schedule and durations may be others."""

    sweep: str | None = setting(None, free=True)
    """Name of the sweep that the run is a point of; `sweep.py` says it."""


@dataclass
class HardwareArgs:
    """The devices. But for `precision` and `exact_reduce`, nothing here changes more than the last bits of a run."""

    accelerator: str = setting("auto", choices=("auto", "cpu", "cuda", "gpu", "mps"), free=True)
    """Kind of device; `auto` takes CUDA, else MPS, else the CPU."""
    num_devices: int = setting(-1, at_least=1, or_all=True, free=True)
    """Number of devices a node; -1: all that are found (on a CPU one process, or those that srun or torchrun has
    started)."""
    cuda_device_ids: list[int] = setting([], at_least=0, free=True)
    """CUDA devices to use, by index, in place of `num_devices`."""
    num_nodes: int = setting(-1, at_least=1, at_most=MOST_NODES, or_all=True, free=True)
    """Number of machines; -1: all those on which srun or torchrun has started processes, else one."""
    distributed_strategy: str = setting("auto", choices=tuple(STRATEGIES), free=True)
    """How several devices share the work; `auto`: DDP when there are several; `ddp_find_unused`: for models with
    weights that a step does not use; `fsdp`: each holds a part of weights, gradients and optimizer; DeepSpeed
    needs CUDA and its package."""
    precision: str = setting(
        "auto", choices=("auto", "32-true", "16-mixed", "bf16-mixed", "bf16-true", "64-true"), changes_evaluation=True
    )
    """Arithmetic; `auto`: bf16-mixed where the CUDA device has it, else 32-true."""
    exact_reduce: bool = setting(False)
    """Add gradients up in a fixed tree: 1, 2, 4, 8... like devices end with the same bits. On a CPU each process then
    computes with one thread, or with as many as OMP_NUM_THREADS says; on CUDA with deterministic kernels only."""


@dataclass
class CheckpointArgs:
    """What is kept under `checkpoints/`. The last and the best always stay."""

    save_interval: str = setting("10%", duration="share", free=True)
    """How often a checkpoint is saved, a duration or a share of the training goal."""
    max_checkpoints: int = setting(2, at_least=1, or_all=True, free=True)
    """Number of ordinary checkpoints that stay beside the best and the extra ones, at least 1; -1: all."""
    extra_steps: list[int] = setting([], at_least=1)
    """More optimizer steps at which the model is evaluated and saved for good: `--extra_steps 10 100`."""
    save_in_background: bool = setting(False, free=True)
    """Write checkpoints while the training goes on, from a copy in memory that is as large as they are; not where
    weights are in shards. A kill meanwhile costs the steps since the checkpoint before."""


@dataclass
class TrackingArgs:
    """Where the numbers go besides `metrics.jsonl`."""

    offline: bool = setting(False, free=True)
    """Use no network: W&B logs to the run folder, models come from local folders and caches."""
    trackers: list[str] = setting(["wandb"], free=True)
    """Sinks beside metrics.jsonl: any of `wandb`, `tensorboard`, one of your own, or `none`."""
    log_interval: int = setting(10, at_least=1)
    """Number of optimizer steps from one record of metrics.jsonl to the next."""
    wandb_project: str | None = setting(None, free=True)
    """Project on W&B, `project` or `entity/project`; none: WANDB_PROJECT, else `dlib`."""
    wandb_entity: str | None = setting(None, free=True)
    """User or team on W&B; none: WANDB_ENTITY, else your default."""
    wandb_group: str | None = setting(None, free=True)
    """Group on W&B; none: WANDB_RUN_GROUP, else the run's name."""
    wandb_tags: list[str] = setting([], free=True)
    """Tags on W&B; none: those of WANDB_TAGS."""
    upload_checkpoints: bool = setting(False, free=True)
    """Upload each new last and best checkpoint to W&B as an artifact."""
    progress: bool = setting(True, free=True)
    """Show a progress bar when the output is a terminal, else a line now and then; `--progress false`: neither."""
