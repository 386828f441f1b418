"""Optimizer steps as items: the same samples for any number of ranks and workers, partial and empty ones included."""

import hashlib
import multiprocessing
import pickle
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from torch.utils.data import DataLoader

from dlib.args import DataArgs, ExperimentArgs, ObjectiveArgs
from dlib.data.batching import BatchPlan
from dlib.data.data_module import DataModule
from dlib.data.finding import find_text
from dlib.data.packing import LineRows, PackedRows
from dlib.data.steps import EvaluationBatches, TrainingSteps
from dlib.data.text_data import TextData, build_text_data
from dlib.data.token_roles import token_roles
from dlib.objectives import build_objective
from dlib.process.errors import UserError
from dlib.training.beginning import build_data_module
from dlib.training.devices import Devices
from tests.launching import PRELOADED
from tests.toys import SENTENCES, ListRows, toy_roles, train_wordpiece, unequal_rows

ROWS = unequal_rows(13)
CLM = build_objective(ObjectiveArgs(objective="clm"), toy_roles())
MLM = build_objective(ObjectiveArgs(), toy_roles())
# Two and a half epochs in five steps, the last of 1 sample.
PLAN = BatchPlan(num_samples=13, batch_size=8, micro_batch_size=2, total_samples=33, seed=3)


def steps(rank: int = 0, world_size: int = 1, objective: Any = MLM) -> TrainingSteps:
    return TrainingSteps(ROWS, PLAN, objective, rank, world_size)


def rows_of(item: dict[str, Any]) -> list[tuple[int, ...]]:
    """What the collated micro-batches that count say, row by row, sorted: padding and places do not count."""
    found = []
    for micro_batch in item["micro_batches"]:
        batch = micro_batch["batch"]
        width = batch["input_ids"].shape[1]
        mask = batch.get("attention_mask", torch.ones_like(batch["input_ids"]))
        for row in range(len(batch["input_ids"])) if micro_batch["counts"] else []:
            own = batch["target_positions"] // width == row
            seen = batch["input_ids"][row][mask[row].bool()].tolist()
            places = (batch["target_positions"][own] % width).tolist()
            found.append((*seen, -1, *places, -1, *batch["targets"][own].tolist()))
    return sorted(found)


def assert_equal_items(first: dict[str, Any], second: dict[str, Any]) -> None:
    assert [m["index"] for m in first["micro_batches"]] == [m["index"] for m in second["micro_batches"]]
    for one, other in zip(first["micro_batches"], second["micro_batches"], strict=True):
        assert one["batch"].keys() == other["batch"].keys()
        assert all(one["batch"][name].equal(other["batch"][name]) for name in one["batch"])
    names = ("step", "num_samples", "num_tokens", "weight")
    assert [first[name] for name in names] == [second[name] for name in names]


@pytest.mark.parametrize("objective", [MLM, CLM], ids=["mlm", "clm"])
@pytest.mark.parametrize("world_size", [1, 2, 4])
def test_ranks_share_the_same_samples_masks_and_sums(world_size: int, objective: Any) -> None:
    for step in range(PLAN.total_steps):
        alone = steps(objective=objective)[step]
        shares = [steps(rank, world_size, objective)[step] for rank in range(world_size)]
        assert sorted(row for share in shares for row in rows_of(share)) == rows_of(alone)
        assert len({len(share["micro_batches"]) for share in shares}) == 1
        indices = [item["index"] for share in shares for item in share["micro_batches"]]
        assert indices == list(range(4))
        items = [item for share in shares for item in share["micro_batches"]]
        collated = sum(len(item["batch"]["targets"]) for item in items if item["counts"])
        for share in shares:
            assert share["weight"] == collated == alone["weight"]
            assert share["num_tokens"] == alone["num_tokens"]
            assert share["num_samples"] == alone["num_samples"]


def test_step_tells_the_size_of_its_rows_alone() -> None:
    sizes = [(item["num_samples"], item["num_tokens"]) for item in (steps()[step] for step in range(5))]
    assert [samples for samples, _ in sizes] == [8, 8, 8, 8, 1]
    expected = [sum(len(ROWS.sample(i).ids) for i in PLAN.step_samples(step)[1]) for step in range(5)]
    assert [tokens for _, tokens in sizes] == expected


def test_rank_without_samples_gets_a_micro_batch_that_does_not_count() -> None:
    item = steps(3, 4)[4]
    (micro_batch,) = item["micro_batches"]
    assert micro_batch["batch"]["input_ids"].numel() > 0
    assert not micro_batch["counts"]
    assert item["weight"] == steps(0, 4)[4]["weight"] > 0


def test_step_that_spans_epochs_masks_a_sample_anew_in_each() -> None:
    plan = BatchPlan(num_samples=2, batch_size=8, micro_batch_size=8, total_samples=8, seed=3)
    item = TrainingSteps(ListRows([ROWS.sample(0).ids, ROWS.sample(1).ids]), plan, MLM, 0, 1)[0]
    assert item["num_samples"] == 8
    assert len(set(rows_of(item))) > 2


def test_item_is_a_pure_function_and_survives_pickling() -> None:
    dataset = steps()
    assert_equal_items(dataset[2], dataset[2])
    assert_equal_items(pickle.loads(pickle.dumps(dataset))[2], dataset[2])
    with pytest.raises(ValueError, match="step 5"):
        dataset[5]


def test_evaluation_masks_do_not_depend_on_the_seed_or_the_batch() -> None:
    whole = EvaluationBatches(ROWS, MLM, 13, 0, 1)[0][0]
    for index in range(5):
        batch = EvaluationBatches(ROWS, MLM, 3, 0, 1)[index][0]
        for row, tokens in enumerate(batch["input_ids"]):
            length = len(ROWS.sample(index * 3 + row).ids)
            assert tokens[:length].equal(whole["input_ids"][index * 3 + row, :length])


def test_an_evaluation_can_be_limited_to_the_first_rows_on_any_number_of_processes() -> None:
    parts = [EvaluationBatches(ROWS, MLM, 3, rank, 2, limit=5) for rank in range(2)]
    assert sorted(row for part in parts for batch in part.batches for row in batch.tolist()) == [0, 1, 2, 3, 4]
    assert len(EvaluationBatches(ROWS, MLM, len(ROWS), 0, 1, limit=10**6).batches[0]) == len(ROWS)


def make_module(
    data: TextData, num_workers: int, first_step: int = 0, rank: int = 0, world_size: int = 1
) -> DataModule:
    plan = BatchPlan(len(data.train), 4, 2, 2 * len(data.train), seed=1)
    module = DataModule(data, plan, MLM, first_step=first_step, eval_batch_size=3, num_workers=num_workers)
    module.trainer = cast(Any, SimpleNamespace(global_rank=rank, world_size=world_size))
    return module


@pytest.fixture(scope="module")
def text_data(tmp_path_factory: pytest.TempPathFactory) -> TextData:
    folder = tmp_path_factory.mktemp("data")
    for name in ("train.txt", "dev.txt"):
        (folder / name).write_text("\n".join(SENTENCES * 2), encoding="utf-8")
    args = DataArgs(str(folder), max_length=16, cache_dir=str(folder / "cache"), tokenizer_processes=1)
    tokenizer = train_wordpiece()
    data = build_text_data(args, find_text(args), tokenizer, token_roles(tokenizer))
    small = [data.train.sample(i).ids % 60 for i in range(len(data.train))]
    return TextData(data.train_store, data.dev_store, ListRows(small), data.dev)


def test_batches_are_the_same_for_any_number_of_workers(text_data: TextData) -> None:
    reference = list(make_module(text_data, 0).train_dataloader())
    assert [item["step"] for item in reference] == list(range(len(reference)))
    for num_workers in (1, 2):
        items = list(make_module(text_data, num_workers).train_dataloader())
        for item, expected in zip(items, reference, strict=True):
            assert_equal_items(item, expected)
    resumed = list(make_module(text_data, 1, first_step=3).train_dataloader())
    for item, expected in zip(resumed, reference[3:], strict=True):
        assert_equal_items(item, expected)


def test_workers_that_are_not_forked_from_here_give_the_same_batches() -> None:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    loader: DataLoader[Any] = DataLoader(steps(), batch_size=None, num_workers=1, multiprocessing_context=context)
    for step, item in enumerate(loader):
        assert_equal_items(item, steps()[step])


def test_dev_loaders_of_all_ranks_have_each_row_once(text_data: TextData) -> None:
    data = TextData(text_data.train_store, text_data.dev_store, ROWS, ROWS)
    for world_size in (1, 2, 7):
        modules = [make_module(data, 0, rank=rank, world_size=world_size) for rank in range(world_size)]
        assert sum(len(b["input_ids"]) for module in modules for b, _ in module.dev_dataloader(data.dev)) == len(ROWS)


@pytest.mark.parametrize("accelerator", ["cpu", "cuda"])
def test_memory_is_pinned_for_the_accelerator_that_was_chosen(
    text_data: TextData, monkeypatch: pytest.MonkeyPatch, accelerator: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    args, devices = ExperimentArgs(), Devices(accelerator, (0,), 1, "32-true", ("a device",))
    args.batch.micro_batch_size = 2
    run = SimpleNamespace(args=args, devices=devices, data=text_data, plan=SimpleNamespace(batches=PLAN), objective=MLM)
    module = build_data_module(cast(Any, run), 0)
    module.trainer = cast(Any, SimpleNamespace(global_rank=0, world_size=1))
    assert module.dev_dataloader(ROWS).pin_memory == (accelerator == "cuda")


def test_text_becomes_packed_rows_or_lines(tmp_path: Path) -> None:
    for name in ("train.txt", "val.txt"):
        (tmp_path / name).write_text("\n".join(SENTENCES), encoding="utf-8")
    tokenizer = train_wordpiece()
    roles = token_roles(tokenizer)
    options = {"max_length": 12, "cache_dir": str(tmp_path / "cache"), "tokenizer_processes": 1}
    for line_by_line, kind in ((False, PackedRows), (True, LineRows)):
        args = DataArgs(str(tmp_path), line_by_line=line_by_line, **options)  # type: ignore[arg-type]
        assert find_text(args).dev.name == "val.txt"
        data = build_text_data(args, find_text(args), tokenizer, roles)
        assert type(data.train) is kind
        assert {int(data.train.sample(i).ids[0]) for i in range(len(data.train))} == {roles.lead_id}
        assert max(len(data.train.sample(i).ids) for i in range(len(data.train))) == 12
    assert len(data.train) == len(SENTENCES)
    num_bytes = (tmp_path / "val.txt").stat().st_size + 1  # the last line end, which the file lacks
    assert data.dev_sets[0].tokens_per_byte == data.dev_store.num_tokens / num_bytes
    found = data.fingerprints(roles)
    assert found == {
        "training text": hashlib.sha256((tmp_path / "train.txt").read_bytes()).hexdigest(),
        "development text": hashlib.sha256((tmp_path / "val.txt").read_bytes()).hexdigest(),
        "tokenizer": found["tokenizer"],
    }
    assert data.fingerprints(replace(roles, mask_id=roles.lead_id))["tokenizer"] != found["tokenizer"]
    other = replace(data.train_store.recipe, tokenizer_sha256="another")
    assert replace(data, train_store=replace(data.train_store, recipe=other)).fingerprints(roles) != found


def test_missing_texts_are_told_with_the_flag_that_names_them(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--data_dir .*no such folder"):
        find_text(DataArgs(str(tmp_path / "none")))
    with pytest.raises(UserError, match="--train_file"):
        find_text(DataArgs(str(tmp_path)))
    (tmp_path / "train.txt").write_text("a\n")
    with pytest.raises(UserError, match=r"no dev or val or validation \(\.txt, .*--dev_file"):
        find_text(DataArgs(str(tmp_path)))
    (tmp_path / "dev.txt").write_text("\r\n\n")
    with pytest.raises(UserError, match=r"dev\.txt is empty; .*--dev_file"):
        find_text(DataArgs(str(tmp_path)))
    (tmp_path / "other.txt").write_text("a\n")
    assert find_text(DataArgs(str(tmp_path), dev_file="other.txt")).dev == tmp_path / "other.txt"
