"""Losses by chunks: those of whole logits and their gradients, in a part of the memory."""

import math
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import PreTrainedModel

from dlib.args import ObjectiveArgs
from dlib.data.samples import Sample
from dlib.models.projection import find_projection
from dlib.objectives.chunked_loss import chunked_losses
from dlib.objectives.encoder_decoder import NO_TARGET, inputs_of
from dlib.objectives.objective import Batch
from dlib.objectives.seq2seq import SequenceToSequence
from dlib.objectives.token_prediction import TokenPrediction
from dlib.process.errors import UserError
from tests.objectives.test_seq2seq import SHAPES, build_shape, samples
from tests.toys import (
    BERT_SIZES,
    CAUSAL_CONFIGS,
    MASKED_CONFIGS,
    VOCAB_SIZE,
    build_toy,
    token_prediction,
    toy_roles,
    toy_row,
)

CHUNK = 3
ARCHITECTURES = [*MASKED_CONFIGS, *CAUSAL_CONFIGS]


def objective_of(name: str, chunk: int) -> TokenPrediction:
    kind = "mlm" if name in MASKED_CONFIGS else "clm"
    return token_prediction(kind, loss_chunk=chunk, mask_fraction=0.5)


def batch_of(objective: TokenPrediction, *lengths: int) -> Batch:
    rows = [toy_row(length, seed) for seed, length in enumerate(lengths)]
    return objective.collate([Sample((row,), key=(1, 0, number)) for number, row in enumerate(rows)])


def ids_of(objective: TokenPrediction) -> dict[str, Tensor]:
    return {"input_ids": batch_of(objective, 9)["input_ids"]}


def gradients(model: PreTrainedModel, loss: Tensor) -> dict[str, Tensor]:
    model.zero_grad()
    loss.backward()
    return {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.grad is not None}


class Largest(TorchDispatchMode):
    """How many numbers the largest tensor has that anything computes within it."""

    numbers = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = function(*args, **(kwargs or {}))
        for each in output if isinstance(output, tuple | list) else [output]:
            if isinstance(each, Tensor):
                self.numbers = max(self.numbers, each.numel())
        return output


@pytest.mark.oldest
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_losses_and_gradients_are_those_of_whole_logits(name: str) -> None:
    model = build_toy(name, dtype=torch.float64)
    chunked, whole = objective_of(name, CHUNK), objective_of(name, 0)
    batch = batch_of(whole, 13, 4, 21)
    assert find_projection(model, {"input_ids": batch["input_ids"]}) is model.get_output_embeddings()
    torch.testing.assert_close(chunked.losses(model, batch), whole.losses(model, batch), rtol=1e-12, atol=1e-12)
    wanted = gradients(model, whole.loss_sum(model, batch) / 7)
    torch.testing.assert_close(gradients(model, chunked.loss_sum(model, batch) / 7), wanted, rtol=1e-10, atol=1e-12)
    own, others = chunked.predictions(model, batch), whole.predictions(model, batch)
    torch.testing.assert_close(own[0], others[0], rtol=1e-12, atol=1e-12)
    assert own[1].tolist() == others[1].tolist()


@pytest.mark.oldest
@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_of_an_encoder_decoder_too(name: str, smoothing: float) -> None:
    model = build_shape(name).double()
    found, of_weights = [], []
    for chunk in (CHUNK, 0):
        args = ObjectiveArgs(objective="seq2seq", loss_chunk=chunk, label_smoothing_factor=smoothing)
        objective = SequenceToSequence(args, toy_roles())
        batch = objective.collate(samples())
        assert find_projection(model, inputs_of(model, batch)) is model.get_output_embeddings()
        losses, (plain, likeliest) = objective.losses(model, batch), objective.predictions(model, batch)
        found.append([losses.detach(), plain, likeliest[batch["labels"] != NO_TARGET]])
        of_weights.append(gradients(model, objective.row_losses(model, batch).sum() / 7))
    torch.testing.assert_close(*found, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(*of_weights, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", SHAPES)
def test_rows_may_have_no_targets(name: str) -> None:
    model, objective = build_shape(name), SequenceToSequence(ObjectiveArgs(loss_chunk=CHUNK), toy_roles())
    batch = objective.collate(samples())
    batch["labels"] = torch.full_like(batch["labels"], NO_TARGET)
    assert not any(each.any() for each in gradients(model, objective.loss_sum(model, batch)).values())
    assert not objective.predictions(model, batch)[0].any()


def test_a_gradient_of_the_gradient_is_refused() -> None:
    hidden, layer = torch.randn(5, 4, requires_grad=True), torch.nn.Linear(4, 7)
    inputs = hidden * hidden  # of which alone there would be one
    losses = chunked_losses(inputs, layer, torch.arange(5), CHUNK)
    with pytest.raises(UserError, match="give --loss_chunk 0"):
        torch.autograd.grad(losses.sum(), hidden, create_graph=True)


def test_a_graph_may_be_gone_through_twice() -> None:
    hidden, layer = torch.randn(2 * CHUNK + 1, 4, requires_grad=True).double(), torch.nn.Linear(4, 7).double()
    targets, wanted = torch.arange(len(hidden)) % 7, [hidden, layer.weight, layer.bias]
    mean = chunked_losses(hidden, layer, targets, CHUNK).mean()
    whole = torch.nn.functional.cross_entropy(layer(hidden), targets)
    for _ in range(2):
        torch.testing.assert_close(
            torch.autograd.grad(mean, wanted, retain_graph=True), torch.autograd.grad(whole, wanted, retain_graph=True)
        )


@pytest.mark.parametrize("name", ["roberta", "llama"])
def test_targets_may_have_shares_of_their_own(name: str) -> None:
    model = build_toy(name, dtype=torch.float64)
    found = []
    for chunk in (CHUNK, 0):
        objective = objective_of(name, chunk)
        batch = batch_of(objective, 9, 14)
        shares = torch.linspace(0, 2, len(batch["targets"]), dtype=torch.float64)
        found.append(gradients(model, (objective.losses(model, batch) * shares).sum()))
        found.append(gradients(model, objective.row_losses(model, batch) @ torch.tensor([0.5, 2.0]).double()))
    for own, wanted in zip(found[:2], found[2:], strict=True):
        torch.testing.assert_close(own, wanted, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", ["roberta", "llama", "opt"])
def test_no_tensor_has_a_number_for_each_target_and_token(name: str) -> None:
    model = build_toy(name).train()
    largest = {}
    for chunk in (CHUNK, 0):
        objective = objective_of(name, chunk)
        batch = batch_of(objective, *[30] * 8)
        objective.losses(model, batch)  # what is tried once is not counted
        with Largest() as seen:
            objective.loss_sum(model, batch).backward()
            objective.predictions(model, batch)
        largest[chunk] = seen.numbers
    assert largest[0] >= len(batch["targets"]) * VOCAB_SIZE > largest[CHUNK]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_as_exact_as_with_whole_logits(dtype: torch.dtype) -> None:
    exact = build_toy("llama", dtype=torch.float64)
    objective = objective_of("llama", 0)
    batch = batch_of(objective, *[30] * 8)
    wanted = gradients(exact, objective.loss_sum(exact, batch))["lm_head.weight"]
    errors = {}
    for chunk in (CHUNK, 0):
        model = build_toy("llama")
        with torch.autocast("cpu", dtype=dtype):
            loss = objective_of("llama", chunk).loss_sum(model, batch)
        assert loss.dtype == torch.float32
        errors[chunk] = (gradients(model, loss)["lm_head.weight"] - wanted).norm().item()
    assert errors[CHUNK] < 1.5 * errors[0]


def test_scaled_logits_are_whole() -> None:
    config = transformers.CohereConfig(**BERT_SIZES, num_key_value_heads=1, logit_scale=0.25)
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    chunked, whole = objective_of("llama", CHUNK), objective_of("llama", 0)
    batch = batch_of(whole, 13, 4)
    assert find_projection(model, {"input_ids": batch["input_ids"]}) is None
    assert torch.equal(chunked.losses(model, batch), whole.losses(model, batch))


class Changed(transformers.LlamaForCausalLM):
    """Something is done to its logits."""

    def __init__(self, config: Any, change: str) -> None:
        super().__init__(config)
        self.change = change
        self.scale = torch.nn.Parameter(torch.ones(1))

    def forward(self, *args: Any, **options: Any) -> Any:
        output = super().forward(*args, **options)
        if self.change == "capped":
            output.logits = 30 * torch.tanh(output.logits / 30)
        elif self.change == "scaled":
            output.logits = output.logits * self.scale
        elif self.change == "scaled in place":
            output.logits *= 0.5
        return output


@pytest.mark.parametrize("change", ["none", "capped", "scaled", "scaled in place"])
@pytest.mark.parametrize("first_weight", [0.0, math.nan, None])
def test_weights_do_not_hide_what_is_done_to_logits(change: str, first_weight: float | None) -> None:
    model = Changed(CAUSAL_CONFIGS["llama"](), change)
    if first_weight is not None:
        torch.nn.init.constant_(model.lm_head.weight, first_weight)
    found = find_projection(model, ids_of(objective_of("llama", CHUNK)))
    assert found is (model.lm_head if change == "none" else None)
    assert not torch.is_grad_enabled() or not any(weight.grad is not None for weight in model.parameters())


def test_looking_for_the_projection_computes_no_logits_of_a_row() -> None:
    model, inputs = build_toy("llama"), batch_of(objective_of("llama", CHUNK), 30)["input_ids"]
    with Largest() as seen:
        assert find_projection(model, {"input_ids": inputs}) is not None
    assert seen.numbers < inputs.numel() * VOCAB_SIZE


def test_a_model_is_tried_with_all_that_it_is_told_of_a_row() -> None:
    model, objective, told = build_toy("gpt2"), objective_of("gpt2", CHUNK), list[set[str]]()
    model.register_forward_pre_hook(lambda model, args, options: told.append({*options}), with_kwargs=True)
    objective.predictions(model, batch_of(objective, 13, 4))
    assert "attention_mask" in told[0]


def test_what_is_compiled_is_compiled_for_batches_alone() -> None:
    model, objective, shapes = build_toy("gpt2").train(), objective_of("gpt2", CHUNK), list[Any]()

    def compile_nothing(graph: Any, inputs: Any) -> Any:
        shapes.append([tuple(each.shape) for each in inputs if getattr(each, "dtype", None) == torch.int64])
        return graph.forward

    model.base_model.forward = torch.compile(model.base_model.forward, backend=compile_nothing)
    objective.loss_sum(model, batch_of(objective, 13, 13)).backward()
    assert shapes == [[(2, 13)]]


def test_a_network_that_changes_its_weights_to_evaluate_is_left_alone() -> None:
    class Merging(torch.nn.Linear):
        def train(self, mode: bool = True) -> Any:
            self.weight.data += self.training - mode
            return super().train(mode)

    model: Any = build_toy("llama")
    model.model.layers[0].mlp.down_proj = Merging(model.config.intermediate_size, model.config.hidden_size, bias=False)
    before = model.train().model.layers[0].mlp.down_proj.weight.clone()
    assert find_projection(model, ids_of(objective_of("llama", 0))) is not None
    assert torch.equal(model.model.layers[0].mlp.down_proj.weight, before)


def test_looking_for_the_projection_draws_nothing_and_leaves_modes_alone() -> None:
    model, objective = build_toy("gpt2", dropout=True).train(), objective_of("gpt2", CHUNK)
    model.transformer.h[0].eval()
    modes, state = [module.training for module in model.modules()], torch.get_rng_state()
    assert find_projection(model, ids_of(objective)) is not None
    assert [module.training for module in model.modules()] == modes
    assert torch.equal(torch.get_rng_state(), state)


def test_a_lack_of_memory_says_nothing_about_a_model(monkeypatch: pytest.MonkeyPatch) -> None:
    def fill(*_: object, **__: object) -> None:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    model = build_toy("llama")
    with monkeypatch.context() as full:
        full.setattr(model, "forward", fill)
        with pytest.raises(torch.cuda.OutOfMemoryError):
            find_projection(model, ids_of(objective_of("llama", 0)))
    assert find_projection(model, ids_of(objective_of("llama", 0))) is not None


def test_a_layer_that_does_more_than_project_is_no_projection() -> None:
    class Doubled(torch.nn.Linear):
        def forward(self, hidden: Tensor) -> Tensor:
            return 2 * super().forward(hidden)

    model: Any = build_toy("llama")
    model.lm_head = Doubled(16, VOCAB_SIZE, bias=False)
    assert find_projection(model, ids_of(objective_of("llama", 0))) is None
