"""`--micro_batch_size auto`: what is gained, what fits, and what is left alone."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch._dynamo.utils
import transformers
from torch import nn
from transformers import PreTrainedModel

from dlib.args import BatchArgs, DataArgs, ExperimentArgs, ObjectiveArgs
from dlib.data.samples import Sample, SampleKey
from dlib.objectives.objective import Objective
from dlib.objectives.seq2seq import SequenceToSequence
from dlib.process.errors import UserError
from dlib.training import micro_batch, trainer
from dlib.training.devices import Devices
from dlib.training.micro_batch import allowed_bytes, choose_micro_batch_size, kept_bytes_per_token
from tests.objectives.test_seq2seq import build_shape
from tests.toys import BERT_SIZES, CAUSAL_CONFIGS, VOCAB_SIZE, ListRows, build_toy, token_prediction, toy_roles, toy_row
from tests.training.test_own_modules import generating

CPU = Devices("cpu", (0,), 1, "32-true", ("CPU process",))
ROWS = ListRows([toy_row(32, seed) for seed in range(20)])
ARGS = ExperimentArgs(batch=BatchArgs(batch_size=1024), data=DataArgs(max_length=32))
NONE = nn.ModuleDict()


@dataclass(frozen=True)
class PairRows:
    """Pairs in a list."""

    samples: list[Sample]

    @property
    def num_tokens(self) -> int:
        return sum(sample.num_tokens for sample in self.samples)

    def __len__(self) -> int:
        return len(self.samples)

    def sample(self, index: int, key: SampleKey = ()) -> Sample:
        return self.samples[index]


def toy_without_memory(name: str = "bert") -> Any:
    with torch.device("meta"):
        return build_toy(name, dropout=True)


def chosen(args: ExperimentArgs = ARGS, devices: Devices = CPU, rows: ListRows = ROWS) -> int:
    return choose_micro_batch_size(args, devices, toy_without_memory(), token_prediction("mlm"), NONE, rows)


@pytest.mark.parametrize("name", ["bert", "roberta", "gpt2", "llama"])
def test_what_a_pass_keeps_is_counted_without_memory(name: str) -> None:
    kind = "clm" if name in CAUSAL_CONFIGS else "mlm"
    kept = kept_bytes_per_token(toy_without_memory(name), token_prediction(kind), NONE, ROWS)
    layers, width, bytes_a_number = 2, 16, 4
    assert kept is not None
    assert 10 * layers * width * bytes_a_number < kept < 100 * layers * width * bytes_a_number


def test_what_a_pass_keeps_does_not_grow_with_the_vocabulary() -> None:
    kept = []
    for vocab_size in (VOCAB_SIZE, 50 * VOCAB_SIZE):
        config = CAUSAL_CONFIGS["gpt2"]()
        config.vocab_size = vocab_size
        with torch.device("meta"):
            model = transformers.AutoModelForCausalLM.from_config(config)
        kept.append(kept_bytes_per_token(model, token_prediction("clm"), NONE, ROWS))
    assert kept[0] is not None
    assert kept[1] == pytest.approx(kept[0], rel=0.05)


def test_logits_that_are_whole_are_counted() -> None:
    kept = []
    for vocab_size in (VOCAB_SIZE, 50 * VOCAB_SIZE):
        config = transformers.CohereConfig(**{**BERT_SIZES, "vocab_size": vocab_size}, logit_scale=0.25)
        with torch.device("meta"):
            model = transformers.AutoModelForCausalLM.from_config(config)
        kept.append(kept_bytes_per_token(model, token_prediction("clm"), NONE, ROWS) or 0)
    assert kept[1] - kept[0] > 45 * VOCAB_SIZE * 4


def test_it_has_as_many_rows_as_make_a_step_faster_where_memory_is_no_matter() -> None:
    assert chosen() == 128  # 4096 tokens
    assert chosen(replace(ARGS, batch=BatchArgs(batch_size=64))) == 32  # two processes can share it


def test_rows_are_counted_by_their_length_and_not_by_the_longest_that_is_allowed() -> None:
    short = ListRows([toy_row(8, seed) for seed in range(20)])
    assert chosen(rows=short) == 256


def test_sources_and_targets_are_counted_apart() -> None:
    with torch.device("meta"):
        model = build_shape("t5")
    objective = SequenceToSequence(ObjectiveArgs(objective="seq2seq"), toy_roles())
    pairs = PairRows([Sample((toy_row(32), toy_row(16)))] * 20)
    assert choose_micro_batch_size(ARGS, CPU, model, objective, NONE, pairs) == 128


def test_rows_of_unlike_lengths_are_counted_with_their_padding() -> None:
    assert chosen(rows=ListRows([toy_row(32 if seed == 3 else 4, seed) for seed in range(20)])) == 128


def test_a_step_of_tokens_has_micro_batches_of_the_longest_rows() -> None:
    short = ListRows([toy_row(8, seed) for seed in range(20)])
    assert chosen(replace(ARGS, batch=BatchArgs(max_tokens_per_batch=32 * 1024)), rows=short) == 128


def test_it_shrinks_to_what_the_memory_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = kept_bytes_per_token(toy_without_memory(), token_prediction("mlm"), NONE, ROWS)
    assert kept is not None
    weights = 16 * sum(weight.numel() for weight in build_toy("bert").parameters())
    for rows, expected in ((17, 16), (1, 1), (0, 1)):
        monkeypatch.setattr(micro_batch, "memory_bytes", lambda devices, n=rows: 2 * (weights + 2 * n * 32 * kept + 1))
        assert chosen() == expected


@pytest.mark.parametrize(("gibibytes", "passes"), [(64, 1), (0.002, 2)])
def test_where_all_fits_one_pass_is_enough(monkeypatch: pytest.MonkeyPatch, gibibytes: float, passes: int) -> None:
    counted: list[int] = []
    count = micro_batch.kept_bytes

    def counting(model: PreTrainedModel, objective: Objective, samples: Sequence[Sample]) -> int:
        counted.append(len(samples))
        return count(model, objective, samples)

    monkeypatch.setattr(micro_batch, "kept_bytes", counting)
    monkeypatch.setattr(micro_batch, "memory_bytes", lambda devices: gibibytes * 2**30)
    chosen()
    assert counted == [*range(1, passes + 1)]


@pytest.mark.parametrize(
    ("groups", "limited", "said", "limit"),
    [
        ("0::/job/step", "sys/fs/cgroup/job/memory.max", "4096", 4096),
        ("0::/", "sys/fs/cgroup/memory.max", "4096", 4096),
        ("0::/job", "sys/fs/cgroup/job/memory.max", "max", math.inf),
        ("3:cpu:/\n2:memory:/not/seen/here", "sys/fs/cgroup/memory/memory.limit_in_bytes", "4096", 4096),
    ],
)
def test_a_job_or_container_has_the_memory_that_it_was_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, groups: str, limited: str, said: str, limit: float
) -> None:
    for name, text in (("proc/self/cgroup", groups), (limited, said)):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"{text}\n")
    assert allowed_bytes(tmp_path) == limit
    monkeypatch.setattr(micro_batch, "allowed_bytes", lambda: 4096.0)
    assert micro_batch.memory_bytes(replace(CPU, indices=(0, 1))) == 2048


@pytest.mark.parametrize("here", [0, 1])
def test_gpus_of_a_job_that_are_not_here_have_memory_enough(monkeypatch: pytest.MonkeyPatch, here: int) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: here)
    assert chosen(devices=Devices("cuda", (0, 1), 1, "bf16-mixed", ("GPU", "GPU"))) == 256


def test_a_network_that_asks_for_values_takes_no_more_than_a_small_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(micro_batch, "kept_bytes_per_token", lambda *_, **__: None)
    gpu = Devices("cuda", (0,), 1, "bf16-mixed", ("GPU",))
    assert chosen(devices=gpu) == 128
    model = toy_without_memory()
    model.base_model.register_forward_hook(lambda module, args, output: print(output[0].sum().item()))
    assert kept_bytes_per_token(model, token_prediction("mlm"), NONE, ROWS) is None


def test_networks_of_the_objective_are_counted_in_the_mode_of_a_training() -> None:
    """They are drawn, or loaded, wherever they are, and share weights with the model without memory."""
    with torch.device("meta"):
        model = build_toy("bert", dtype=torch.float64)
    modules = nn.ModuleDict(generating().build_modules(model))
    before = {name: (id(weight), weight.device) for name, weight in modules.named_parameters()}
    kept = kept_bytes_per_token(model, generating(), modules, ROWS)
    alone = kept_bytes_per_token(model, token_prediction("mlm"), NONE, ROWS)
    assert kept is not None
    assert alone is not None
    assert kept > 1.5 * alone
    assert before == {name: (id(weight), weight.device) for name, weight in modules.named_parameters()}


def test_nothing_is_compiled_for_it() -> None:
    model, before = toy_without_memory("llama"), frames_seen()
    model.config._attn_implementation = "flex_attention"
    assert kept_bytes_per_token(model, token_prediction("clm"), NONE, ROWS) is None
    assert frames_seen() == before


def frames_seen() -> dict[str, int]:
    """What torch.compile has looked at so far in this process."""
    return dict(torch._dynamo.utils.counters["frames"])


def test_processes_that_chose_differently_all_refuse_to_begin(monkeypatch: pytest.MonkeyPatch) -> None:
    def gather(found: list[Any], own: Any) -> None:
        found[:] = [own, (own[0], "8 sequences a step = 2 micro_batch_size")]

    monkeypatch.setattr(trainer.dist, "is_initialized", lambda: True)
    monkeypatch.setattr(trainer.dist, "get_world_size", lambda: 2)
    monkeypatch.setattr(trainer.dist, "all_gather_object", gather)
    with pytest.raises(UserError, match=r"^--micro_batch_size auto: the devices differ, .* = 2 .* or .* = 4 "):
        trainer.refuse_different_starts(3, "8 sequences a step = 4 micro_batch_size")
    trainer.refuse_different_starts(3, "8 sequences a step = 2 micro_batch_size")


def test_nothing_is_drawn_for_it() -> None:
    model, before = toy_without_memory(), torch.get_rng_state()
    choose_micro_batch_size(ARGS, CPU, model, token_prediction("mlm"), NONE, ROWS)
    assert torch.equal(torch.get_rng_state(), before)
