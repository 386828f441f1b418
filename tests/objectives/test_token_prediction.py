"""The vocabulary projection at target positions alone: equal to the full one, for every architecture."""

import math

import pytest
import torch
from torch.nn import functional as F
from transformers import PreTrainedModel

from dlib.data.samples import Sample
from dlib.objectives.objective import Batch, Evaluated
from dlib.objectives.token_prediction import TokenPrediction, predict_targets
from dlib.process.versions import has
from tests.toys import CAUSAL_CONFIGS, MASKED_CONFIGS, VOCAB_SIZE, build_toy, token_prediction, toy_row

pytestmark = pytest.mark.oldest

ARCHITECTURES = [*MASKED_CONFIGS, *CAUSAL_CONFIGS]
LENGTHS = {"padded": (13, 4, 21), "unpadded": (16, 16, 16), "odd": (11, 11)}


def objective_of(name: str) -> TokenPrediction:
    return token_prediction("mlm" if name in MASKED_CONFIGS else "clm")


def batch_of(name: str, lengths: tuple[int, ...]) -> Batch:
    rows = [toy_row(length, seed) for seed, length in enumerate(lengths)]
    return objective_of(name).collate([Sample((row,), key=(1, 0, number)) for number, row in enumerate(rows)])


def without_targets(batch: Batch) -> Batch:
    return {**batch, "targets": batch["targets"][:0], "target_positions": batch["target_positions"][:0]}


def plain_logits(model: PreTrainedModel, batch: Batch) -> torch.Tensor:
    output = model(input_ids=batch["input_ids"], attention_mask=batch.get("attention_mask"))
    return output.logits.flatten(0, 1)[batch["target_positions"]]


@pytest.mark.parametrize("rows", LENGTHS)
@pytest.mark.parametrize("name", ARCHITECTURES)
@torch.no_grad()
def test_logits_are_those_of_the_plain_model_at_the_target_positions(name: str, rows: str) -> None:
    if name == "opt" and not has({"transformers": "5.0"}):
        pytest.skip("its attention mask has no float64 there")
    model, batch = build_toy(name, dtype=torch.float64), batch_of(name, LENGTHS[rows])
    assert ("attention_mask" in batch) == (rows == "padded")
    torch.testing.assert_close(predict_targets(model, batch), plain_logits(model, batch), rtol=1e-12, atol=1e-12)
    losses = objective_of(name).losses(model, batch)
    expected = F.cross_entropy(plain_logits(model, batch), batch["targets"], reduction="none")
    torch.testing.assert_close(losses, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", [name for name in ARCHITECTURES if name != "opt"])  # its trunk is never called whole
@torch.no_grad()
def test_projection_sees_the_target_positions_alone(name: str) -> None:
    model, batch = build_toy(name), batch_of(name, LENGTHS["padded"])
    seen: list[int] = []
    head = model.get_output_embeddings()
    head.register_forward_hook(lambda _, args, output: seen.append(output.numel() // output.shape[-1]))
    logits = predict_targets(model, batch)
    assert seen == [len(batch["targets"])]
    assert logits.shape == (len(batch["targets"]), VOCAB_SIZE)
    full = model(input_ids=batch["input_ids"]).logits
    assert full.shape[:2] == batch["input_ids"].shape, "the hook must not outlive the call"


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_weight_gets_a_gradient_and_without_targets_a_zero_one(name: str) -> None:
    model, batch = build_toy(name).train(), batch_of(name, LENGTHS["padded"])
    objective_of(name).loss_sum(model, batch).backward()
    assert [n for n, p in model.named_parameters() if p.grad is None] == []
    model.zero_grad()
    loss = objective_of(name).loss_sum(model, without_targets(batch))
    loss.backward()
    assert loss.item() == 0
    for parameter in model.parameters():
        assert parameter.grad is not None, "DDP waits for each gradient"
        assert parameter.grad.count_nonzero() == 0


def test_hook_is_removed_when_the_model_fails() -> None:
    model, batch = build_toy("bert"), batch_of("bert", (9, 9))
    with pytest.raises(IndexError):
        predict_targets(model, {**batch, "input_ids": batch["input_ids"] + VOCAB_SIZE})
    assert not model.base_model._forward_hooks


def test_trunk_of_another_shape_is_refused() -> None:
    model, batch = build_toy("bert"), batch_of("bert", (9, 9))

    def drop_a_position(trunk: torch.nn.Module, args: object, output: dict[str, torch.Tensor]) -> object:
        output["last_hidden_state"] = output["last_hidden_state"][:, 1:]
        return output

    model.base_model.register_forward_hook(drop_a_position)
    with pytest.raises(RuntimeError, match="are not"):
        predict_targets(model, batch)


def test_rows_are_padded_to_a_multiple_of_eight_only_where_their_lengths_differ() -> None:
    assert batch_of("gpt2", (11, 11))["input_ids"].shape == (2, 11)
    padded = batch_of("gpt2", (11, 3))
    assert padded["input_ids"].shape == (2, 16)
    assert padded["attention_mask"].sum(1).tolist() == [11, 3]
    assert {str(tensor.dtype) for tensor in padded.values()} == {"torch.int64"}


@torch.no_grad()
def test_half_precision_logits_are_compared_in_single_precision() -> None:
    model = build_toy("gpt2", dtype=torch.bfloat16)
    objective, batch = objective_of("gpt2"), batch_of("gpt2", (9, 5))
    assert objective.losses(model, batch).dtype == objective.predictions(model, batch)[0].dtype == torch.float32


def test_metrics_by_hand() -> None:
    metrics = objective_of("bert").metrics(
        Evaluated({"loss": 30.0, "targets": 10.0, "correct": 4.0}), tokens_per_byte=0.25
    )
    assert metrics == pytest.approx(
        {"loss": 3.0, "perplexity": math.e**3, "bits_per_byte": 3 * math.log2(math.e) / 4, "accuracy": 0.4}
    )


def test_metrics_of_nothing_and_of_the_hopeless_are_numbers() -> None:
    assert objective_of("bert").metrics(Evaluated({"loss": 0.0, "targets": 0.0, "correct": 0.0}), 0.5)["loss"] == 0
    assert (
        objective_of("bert").metrics(Evaluated({"loss": 1e5, "targets": 1.0, "correct": 0.0}), 0.5)["perplexity"]
        == math.inf
    )


@pytest.mark.parametrize("name", ["bert", "gpt2"])
def test_losses_of_rows_are_those_of_each_row_alone(name: str) -> None:
    model, batch, width = build_toy(name, dtype=torch.float64), batch_of(name, LENGTHS["padded"]), 24
    found = objective_of(name).row_losses(model, batch)
    torch.testing.assert_close(found.sum(), objective_of(name).loss_sum(model, batch), rtol=1e-12, atol=0)
    for row, loss in enumerate(found):
        own = batch["target_positions"] // width == row
        alone = {**batch, "targets": batch["targets"][own], "target_positions": batch["target_positions"][own]}
        torch.testing.assert_close(loss, objective_of(name).loss_sum(model, alone), rtol=1e-12, atol=0)
    found = objective_of(name).row_losses(model, without_targets(batch))
    found.sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters()), "DDP waits for each gradient"


def test_losses_of_rows_are_not_those_of_a_loss_that_a_class_changed() -> None:
    class Doubled(type(objective_of("gpt2"))):  # type: ignore[misc]
        def loss_sum(self, model: PreTrainedModel, batch: Batch) -> torch.Tensor:
            return 2 * super().loss_sum(model, batch)

    class Named(Doubled):
        """Changes nothing."""

    assert objective_of("gpt2").has_row_losses
    for kind in (Doubled, Named):
        changed = object.__new__(kind)
        assert not changed.has_row_losses
