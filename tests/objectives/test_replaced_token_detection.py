"""Replaced token detection: the losses of the paper, tokens drawn by key, a generator of the right size."""

import json
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from transformers import PretrainedConfig, PreTrainedModel

from dlib.args import ObjectiveArgs
from dlib.data.samples import Sample
from dlib.objectives import build_objective
from dlib.objectives.recognition import recognize
from dlib.objectives.replaced_token_detection import ReplacedTokenDetection, draw_tokens
from dlib.process.errors import UserError
from dlib.runs.folder import RunFolder
from dlib.runs.metrics_log import read_metrics
from tests.asking import generate
from tests.exactness.comparing import differences
from tests.exactness.faults import Fault
from tests.launching import Place, train
from tests.objectives.dealing import evaluated_by
from tests.toys import (
    BERT_SIZES,
    CAUSAL_CONFIGS,
    LEAD,
    MASK,
    MASKED_CONFIGS,
    ListRows,
    remove_dropout,
    toy_roles,
    toy_row,
    unequal_rows,
)

NAME = "replaced_token_detection"


def built(name: str, **args: Any) -> tuple[ReplacedTokenDetection, PreTrainedModel]:
    """The objective with its generator, and the model."""
    objective = build_objective(ObjectiveArgs(objective=NAME, **args), toy_roles())
    assert isinstance(objective, ReplacedTokenDetection)
    config = {**MASKED_CONFIGS, **CAUSAL_CONFIGS}[name]()
    remove_dropout(config)
    config.update(dict(objective.config_changes))
    torch.manual_seed(1)
    model = getattr(transformers, objective.head.auto_model_of(config)).from_config(config).eval()
    objective.modules.update(objective.build_modules(model))
    return objective, model


def samples(*lengths: int) -> list[Sample]:
    """Rows of these lengths, each with its key."""
    return [Sample((toy_row(length, seed),), key=(1, 0, seed)) for seed, length in enumerate(lengths)]


@pytest.mark.parametrize("lengths", [(20, 20, 20), (20, 9, 13)], ids=["full", "padded"])
@torch.no_grad()
def test_the_losses_are_those_of_the_plain_models(lengths: tuple[int, ...]) -> None:
    objective, model = built("electra")
    batch = objective.collate(samples(*lengths))
    ids, mask, places = batch["input_ids"], batch.get("attention_mask"), batch["target_positions"]
    plain: Any = objective.modules["generator"]
    labels = torch.full_like(ids, -100).flatten().scatter(0, places, batch["targets"]).view_as(ids)
    told = plain(input_ids=ids, attention_mask=mask, labels=labels)
    drawn = draw_tokens(told.logits.flatten(0, 1)[places], batch["draws"])
    seen = ids.flatten().scatter(0, places, drawn).view_as(ids)
    is_replaced = torch.zeros_like(ids).flatten().scatter(0, places, (drawn != batch["targets"]).long()).view_as(ids)
    found: Any = model(input_ids=seen, attention_mask=mask, labels=is_replaced)
    assert type(model).__name__ == "ElectraForPreTraining"
    assert 0 < is_replaced.sum() <= len(places)

    count = len(batch["targets"])
    parts = objective.parts(model, batch)
    assert float(parts["generator"]) / count == pytest.approx(float(told.loss), rel=1e-5)
    if len(set(lengths)) == 1:
        assert float(parts["discriminator"]) / count == pytest.approx(float(found.loss), rel=1e-5)
        wanted = float(told.loss) + 50 * float(found.loss)
        assert float(objective.loss_sum(model, batch)) / count == pytest.approx(wanted, rel=1e-5)
    rows = [float(objective.parts(model, objective.collate([sample]))["discriminator"]) for sample in samples(*lengths)]
    assert float(parts["discriminator"]) == pytest.approx(sum(rows), rel=1e-5)


def test_all_targets_are_masked_and_what_is_drawn_depends_on_the_sample_alone() -> None:
    objective, _ = built("electra", mask_fraction=0.5)
    together = objective.collate(samples(24, 24))
    alone = [objective.collate([sample]) for sample in samples(24, 24)]
    assert (together["input_ids"].flatten()[together["target_positions"]] == MASK).all()
    assert int((together["input_ids"] == MASK).sum()) == len(together["targets"]) == 24
    assert torch.equal(together["draws"], torch.cat([batch["draws"] for batch in alone]))
    assert not torch.equal(alone[0]["draws"], alone[1]["draws"])


def test_tokens_are_drawn_as_often_as_they_are_likely() -> None:
    probabilities = torch.tensor([0.1, 0.0, 0.6, 0.3])
    draws = torch.from_numpy(np.random.default_rng(1).random(20_000)).float()
    drawn = draw_tokens(probabilities.log().expand(len(draws), 4), draws)
    assert (drawn.bincount(minlength=4) / len(draws)).tolist() == pytest.approx(probabilities.tolist(), abs=0.01)
    edges = draw_tokens(probabilities.log().expand(2, 4), torch.tensor([0.0, 1.0]))
    assert edges.tolist() == [0, 3]
    assert draw_tokens(torch.full((1, 4), torch.nan), torch.tensor([0.5])).item() < 4


@pytest.mark.parametrize(
    ("name", "args", "sizes"),
    [
        ("electra", {}, (8, 1, 12, 2)),
        ("electra", {"generator_width": 1.0}, (16, 2, 24, 1)),
        ("roberta", {}, (16, 2, 24, 1)),
        ("roberta", {"generator_depth": 1.0}, (16, 2, 24, 2)),
    ],
)
def test_the_generator_has_the_asked_share_of_the_model_and_its_embeddings(
    name: str, args: Mapping[str, float], sizes: tuple[int, ...]
) -> None:
    objective, model = built(name, **args)
    generator: Any = objective.modules["generator"]
    config = generator.config
    found = (config.hidden_size, config.num_attention_heads, config.intermediate_size, config.num_hidden_layers)
    assert found == sizes
    assert generator.base_model.embeddings is model.base_model.embeddings
    assert generator.get_output_embeddings().weight is model.get_input_embeddings().weight


@pytest.mark.parametrize("name", MASKED_CONFIGS)
def test_every_weight_of_both_networks_gets_a_gradient(name: str) -> None:
    objective, model = built(name)
    objective.loss_sum(model, objective.collate(samples(20, 9))).backward()
    networks = (*model.named_parameters(), *objective.modules.named_parameters())
    assert [name for name, weight in networks if weight.grad is None] == []


def test_a_model_that_fills_no_masks_and_a_generator_that_cannot_be_narrow_are_refused() -> None:
    with pytest.raises(UserError, match="its generator fills masks, and transformers has no gpt2"):
        built("gpt2")
    with pytest.raises(UserError, match=r"--generator_width 0\.5: the word embeddings of roberta"):
        built("roberta", generator_width=0.5)


@pytest.mark.oldest
def test_one_and_two_processes_evaluate_alike() -> None:
    objective, model = built("electra")
    alone, both = (evaluated_by(world_size, objective, model, unequal_rows(19)) for world_size in (1, 2))
    assert alone == both
    assert alone["loss"] == pytest.approx(alone["generator_loss"] + 50 * alone["discriminator_loss"])
    assert all(0 <= alone[name] <= 1 for name in ("generator_accuracy", "accuracy", "precision", "recall"))


def rows_of_pairs(count: int, seed: int) -> list[Sample]:
    """Rows of eight pairs of tokens, 16 different ones: what a pair begins with says how it ends."""
    firsts = 5 + 2 * np.random.default_rng(seed).integers(0, 16, (count, 8))
    rows = (np.array([LEAD, *np.stack([row, row + 1], axis=1).ravel()]) for row in firsts)
    return [Sample((row,), key=(1, seed, number)) for number, row in enumerate(rows)]


@pytest.mark.slow
def test_it_learns_to_tell_tokens_that_do_not_belong_to_their_neighbours() -> None:
    objective = build_objective(ObjectiveArgs(objective=NAME, generator_width=1.0, mask_fraction=0.3), toy_roles())
    sizes = {**BERT_SIZES, "hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 4}
    config = transformers.ElectraConfig(**sizes, embedding_size=32, initializer_range=0.1)
    remove_dropout(config)
    torch.manual_seed(1)
    model = transformers.ElectraForPreTraining(config)
    objective.modules.update(objective.build_modules(model))
    weights = [*dict.fromkeys((*model.parameters(), *objective.modules.parameters()))]  # they share embeddings
    optimizer = torch.optim.AdamW(weights, lr=5e-3)
    for step in range(400):
        batch = objective.collate(rows_of_pairs(48, step))
        optimizer.zero_grad()
        (objective.loss_sum(model, batch) / len(batch["targets"])).backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
    found = evaluated_by(1, objective, model.eval(), ListRows([sample.ids for sample in rows_of_pairs(200, 1000)]))
    # Of a pair both of whose tokens were masked nobody knows which one it was; all others the generator can fill.
    assert 0.6 < found["generator_accuracy"] < 0.75
    assert found["accuracy"] > 0.93, "nine of ten are not replaced"
    assert found["precision"] > 0.6
    assert found["recall"] > 0.3


@pytest.mark.parametrize(
    ("config", "objective"),
    [
        (transformers.ElectraConfig(architectures=["ElectraForPreTraining"]), NAME),
        (transformers.ElectraConfig(architectures=["ElectraForMaskedLM"]), "mlm"),
        (transformers.BertConfig(architectures=["BertForPreTraining"]), "mlm"),
        (transformers.BertConfig(architectures=["BertForTokenClassification"]), "token_classification"),
    ],
)
def test_a_saved_model_is_recognized(config: PretrainedConfig, objective: str) -> None:
    assert recognize(config, "model") == objective


ELECTRA = (
    *("--objective", NAME, "--model", "configs/models/electra-tiny", "--model_overrides", "num_hidden_layers=2"),
    *("--training_goal", "8", "--eval_interval", "4", "--save_interval", "4", "--max_checkpoints", "-1"),
)


@pytest.mark.slow
def test_a_killed_run_goes_on_bitwise_and_its_model_is_asked_and_fine_tuned(place: Place, tmp_path: Path) -> None:
    def run(name: str, *further: str, fault: Fault | None = None) -> RunFolder:
        words = place.arguments(name, *ELECTRA, *further)
        if "--checkpoint" in further:
            words.remove("--from_scratch")
        result = train(words, tmp_path, fault=fault)
        assert result.status == (-signal.SIGKILL if fault else 0), result.stderr
        return place.folder(name)

    undisturbed = run("undisturbed")
    run("killed", fault=Fault("inside weights", 2, str(place.runs)))
    assert differences(run("killed"), undisturbed) == []
    model = undisturbed.root / "checkpoints" / "last" / "model"
    assert json.loads((model / "config.json").read_text())["architectures"] == ["ElectraForPreTraining"]
    asked = generate([str(undisturbed.root), "--accelerator", "cpu"], b"The old keeper\n\n", tmp_path)
    assert [line.replace("[", "").replace("]", "") for line in asked.stdout.split("\n")] == ["The old keeper", "", ""]
    tuned = run("tuned", "--objective", "mlm", "--checkpoint", str(undisturbed.root), "--training_goal", "1")
    assert len(read_metrics(tuned.metrics)) == 1
