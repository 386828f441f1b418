"""Values that have the right type and still cannot be meant."""

import re
from typing import Any

import pytest

from dlib.args import ExperimentArgs
from dlib.config.validation import validate
from dlib.process.errors import UserError


def with_value(key: str, value: Any) -> ExperimentArgs:
    args = ExperimentArgs()
    section, name = key.split(".")
    setattr(getattr(args, section), name, value)
    return args


def test_defaults_are_valid() -> None:
    validate(ExperimentArgs())


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("batch.batch_size", 0),
        ("batch.batch_size", 2**63),
        ("batch.micro_batch_size", 0),
        ("batch.eval_batch_size", -1),
        ("data.max_length", 1),
        ("data.num_workers", -1),
        ("data.tokenizer_processes", 0),
        ("objective.mask_fraction", 0.0),
        ("objective.mask_fraction", 1.01),
        ("objective.mask_fraction", float("nan")),
        ("model.vocab_size", 299),
        ("optim.learning_rate", -1e-4),
        ("optim.learning_rate", float("inf")),
        ("optim.min_learning_rate_ratio", 1.5),
        ("optim.weight_decay", -0.1),
        ("optim.adam_beta1", 1.0),
        ("optim.adam_beta2", -0.1),
        ("optim.adam_epsilon", 0.0),
        ("optim.max_grad_norm", -1.0),
        ("optim.warmup", "soon"),
        ("optim.warmup", "-5%"),
        ("optim.decay", "120%"),
        ("optim.decay", "0"),
        ("durations.training_goal", "10%"),
        ("durations.training_goal", "0"),
        ("durations.eval_interval", "0%"),
        ("checkpoint.save_interval", "never"),
        ("durations.max_time", "45:00"),
        ("hardware.num_devices", 0),
        ("hardware.num_devices", -2),
        ("hardware.num_nodes", 0),
        ("hardware.cuda_device_ids", [0, -1]),
        ("checkpoint.max_checkpoints", 0),
        ("checkpoint.extra_steps", [10, 0]),
        ("tracking.log_interval", 0),
        ("tracking.trackers", ["wandb", "wandbb"]),
        ("tracking.trackers", ["none", "wandb"]),
        ("run.name", "a/b"),
        ("run.name", "a\\b"),
        ("run.name", ".."),
        ("run.name", ".hidden"),
        ("run.name", "-x"),
        ("run.name", " x"),
        ("run.name", "a\nb"),
        ("run.name", "x" * 201),
    ],
)
def test_value_out_of_range_is_refused_with_its_flag(key: str, value: Any) -> None:
    with pytest.raises(UserError, match=rf"^--{key.split('.')[1]}: .*"):
        validate(with_value(key, value))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("batch.micro_batch_size", None),
        ("objective.mask_fraction", 1.0),
        ("optim.learning_rate", 0.0),
        ("optim.warmup", "0"),
        ("optim.warmup", "0%"),
        ("optim.warmup", "2k steps"),
        ("optim.max_grad_norm", 0.0),
        ("data.num_workers", 0),
        ("tracking.trackers", []),
        ("tracking.trackers", ["none"]),
        ("tracking.trackers", ["wandb", "tensorboard"]),
        ("durations.max_time", "1-00:00:00"),
        ("checkpoint.max_checkpoints", -1),
        ("run.name", "roberta-tiny_lr1e-4.v2"),
        ("run.name", "проба 2"),
    ],
)
def test_value_at_the_edge_is_taken(key: str, value: Any) -> None:
    validate(with_value(key, value))


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("optim.learning_rate", -1e30, "is out of range: it must be at least 0"),
        ("optim.learning_rate", float("inf"), "inf is not a finite number: it must be at least 0"),
        ("optim.learning_rate", float("nan"), "nan is not a finite number"),
        ("optim.adam_epsilon", float("inf"), "inf is not a finite number: it must be more than 0"),
        ("batch.batch_size", 10**400, "it must be at most 9223372036854775807"),
        ("hardware.num_devices", 2**63, "it must be at most 9223372036854775807"),
        ("tracking.trackers", ["wandbb"], "'wandbb' is none of wandb, tensorboard, none: did you mean wandb?"),
        ("tracking.trackers", ["wandb", "none"], "none cannot be combined with wandb"),
    ],
)
def test_reason_is_the_right_one(key: str, value: Any, reason: str) -> None:
    with pytest.raises(UserError, match=re.escape(reason)):
        validate(with_value(key, value))


def test_place_of_a_value_is_named_in_place_of_its_flag() -> None:
    with pytest.raises(UserError, match=r"^a\.yml: optim\.warmup: "):
        validate(with_value("optim.warmup", "soon"), {"optim.warmup": "a.yml: optim.warmup"})
