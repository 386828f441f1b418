"""Which weights learn at which rate, with which decay, and by which part of Muon."""

import re

import pytest
import torch
from torch import nn

from dlib.args import OptimArgs
from dlib.models.loading import freeze
from dlib.process.errors import UserError
from dlib.process.versions import OPTIMIZERS, has
from dlib.training.optimizers import build_optimizer
from dlib.training.parameter_groups import parameter_groups
from tests.toys import CAUSAL_CONFIGS, MASKED_CONFIGS, build_toy

pytestmark = pytest.mark.oldest

NUM_LAYERS = 2
EMBEDDINGS = re.compile(r"embeddings|embed_(tokens|positions|in)\b|\bw[tp]e\b")
needs_muon = pytest.mark.skipif(not has(OPTIMIZERS["muon"]), reason="torch has no Muon")


def rates_of(model: nn.Module, layer_decay: float) -> dict[str, float]:
    names = {parameter: name for name, parameter in model.named_parameters()}
    groups = parameter_groups(model, OptimArgs(learning_rate=2.0, layer_decay=layer_decay))
    return {names[parameter]: group["lr"] for group in groups for parameter in group["params"]}


@pytest.mark.parametrize("name", [*MASKED_CONFIGS, *CAUSAL_CONFIGS])
def test_rates_fall_from_the_head_through_the_layers_to_the_embeddings(name: str) -> None:
    model = build_toy(name)
    rates = rates_of(model, 0.5)
    assert rates.keys() == {name for name, _ in model.named_parameters()}, "each weight once, tied ones too"
    for weight, rate in rates.items():
        number = re.search(r"\.(\d+)\.", weight)
        below = NUM_LAYERS if EMBEDDINGS.search(weight) else 0
        assert rate == 2.0 * 0.5 ** (NUM_LAYERS - 1 - int(number[1]) if number else below), weight
    assert set(rates.values()) == {2.0, 1.0, 0.5}


def test_layers_in_layers_count_once_and_rates_do_not_touch_the_decay() -> None:
    experts = [nn.ModuleDict({"experts": nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2)])}) for _ in range(3)]
    model = nn.ModuleDict({"layers": nn.ModuleList(experts), "top": nn.Linear(2, 2)})
    assert set(rates_of(model, 0.5).values()) == {2.0, 1.0, 0.5}
    groups = parameter_groups(model, OptimArgs(layer_decay=0.5, weight_decay=0.1))
    for group in groups:
        assert {p.ndim >= 2 for p in group["params"]} == {group["weight_decay"] == 0.1}


def test_without_layer_decay_a_model_needs_no_layers() -> None:
    model = nn.Sequential(nn.Linear(2, 2))
    assert set(rates_of(model, 1.0).values()) == {2.0}
    with pytest.raises(UserError, match="--layer_decay: Sequential keeps no layers in a"):
        rates_of(model, 0.5)


@needs_muon
def test_muon_does_the_matrices_of_layers_and_adamw_the_rest() -> None:
    together, apart = build_toy("gpt2"), build_toy("gpt2")
    args = OptimArgs(optimizer="muon", learning_rate=1e-2, weight_decay=0.1)
    named = dict(apart.named_parameters())
    matrices = [p for name, p in named.items() if ".h." in name and p.ndim == 2]
    tables = [named["transformer.wte.weight"], named["transformer.wpe.weight"]]
    vectors = [p for p in named.values() if p.ndim == 1]
    adamw_groups = [{"params": tables, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}]
    parts: list[torch.optim.Optimizer] = [
        torch.optim.Muon(matrices, lr=1e-2, weight_decay=0.1, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(adamw_groups, lr=1e-2, betas=(args.adam_beta1, args.adam_beta2), eps=args.adam_epsilon),
    ]
    for model, optimizers in ((together, [build_optimizer(together, args, fused=False)]), (apart, parts)):
        for step in range(3):
            torch.manual_seed(step)
            for parameter in model.parameters():
                parameter.grad = torch.randn_like(parameter)
            for optimizer in optimizers:
                optimizer.step()
    assert all(one.equal(other) for one, other in zip(together.parameters(), apart.parameters(), strict=True))


@needs_muon
def test_muon_is_refused_where_no_matrix_is_for_it() -> None:
    model = build_toy("bert")
    freeze(model, "all_but_head")
    with pytest.raises(UserError, match="--optimizer muon: in BertForMaskedLM no matrix of a numbered layer learns"):
        build_optimizer(model, OptimArgs(optimizer="muon"), fused=False)


def test_nesterov_without_momentum_is_refused() -> None:
    with pytest.raises(UserError, match="--sgd_nesterov"):
        build_optimizer(build_toy("bert"), OptimArgs(optimizer="sgd", sgd_nesterov=True, sgd_momentum=0.0), fused=False)
