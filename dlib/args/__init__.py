"""All that can be set, one dataclass a concern, composed by `ExperimentArgs`.

This package imports no torch: `--help`, `--plan`, a sweep and a job submission must answer at once.
One word serves as YAML key, command-line flag and field; the text under a field is its help.
"""

from dataclasses import dataclass, field

from dlib.args.data import DataArgs
from dlib.args.model import ModelArgs
from dlib.args.objective import ObjectiveArgs
from dlib.args.run import CheckpointArgs, HardwareArgs, RunArgs, TrackingArgs
from dlib.args.training import BatchArgs, DurationArgs, OptimArgs


@dataclass
class ExperimentArgs:
    """A whole experiment: the sections of `config.yml`, and the groups of `train.py --help`."""

    run: RunArgs = field(default_factory=RunArgs)
    data: DataArgs = field(default_factory=DataArgs)
    model: ModelArgs = field(default_factory=ModelArgs)
    objective: ObjectiveArgs = field(default_factory=ObjectiveArgs)
    optim: OptimArgs = field(default_factory=OptimArgs)
    batch: BatchArgs = field(default_factory=BatchArgs)
    durations: DurationArgs = field(default_factory=DurationArgs)
    hardware: HardwareArgs = field(default_factory=HardwareArgs)
    checkpoint: CheckpointArgs = field(default_factory=CheckpointArgs)
    tracking: TrackingArgs = field(default_factory=TrackingArgs)
