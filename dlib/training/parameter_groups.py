"""Which weights share a learning rate and a weight decay: by their shape, and by the layer they are in."""

from collections import defaultdict
from collections.abc import Container, Iterator
from typing import Any

from torch import Tensor, nn

from dlib.args import OptimArgs
from dlib.models.parts import embedding_tables
from dlib.process.errors import UserError

Group = dict[str, Any]
"""As torch's optimizers take it: `params`, `lr` (the peak of its schedule), `weight_decay`."""


def parameter_groups(model: nn.Module, args: OptimArgs, further: nn.Module | None = None) -> list[Group]:
    """Group the weights that learn: weight decay on matrices only, the rate of a layer by `--layer_decay`.

    With L layers, layer l learns at learning_rate x layer_decay^(L - l), the embeddings as layer 0, and what follows
    the layers at learning_rate (Howard and Ruder 2018, section 3.2; Clark et al. 2020, ELECTRA, appendix B). So do the
    weights of `further`, unless they are the model's, too.

    Raises:
        UserError: rates are to differ by layer, and the model has no numbered layers.
    """
    above = layers_above(model) if args.layer_decay != 1 else {}
    groups: dict[tuple[int, bool], list[nn.Parameter]] = defaultdict(list)
    parameters = dict.fromkeys([*model.parameters(), *(further.parameters() if further else ())])
    for parameter in parameters:
        if parameter.requires_grad:
            groups[above.get(parameter, 0), parameter.ndim < 2].append(parameter)
    return [
        {
            "params": groups[number, is_vector],
            "lr": args.learning_rate * args.layer_decay**number,
            "weight_decay": 0.0 if is_vector else args.weight_decay,
        }
        for number, is_vector in sorted(groups)
    ]


def layers_above(model: nn.Module) -> dict[nn.Parameter, int]:
    """How many layers a weight is below the last one; weights that follow the layers are not named.

    Raises:
        UserError: the model has no numbered layers.
    """
    trunk = trunk_of(model)
    lists = list(numbered_layers(trunk))
    if not lists:
        raise UserError(f"--layer_decay: {type(model).__name__} keeps no layers in a torch.nn.ModuleList; leave it out")
    above = {
        parameter: len(layers) - number
        for layers in lists
        for number, layer in enumerate(layers, start=1)
        for parameter in layer.parameters()
    }
    tables, lowest = embedding_tables(trunk), max(map(len, lists))
    for name, parameter in trunk.named_parameters():
        if parameter in tables or "embed" in name:  # their norms, projections and positions too
            above.setdefault(parameter, lowest)
    return above


def layer_matrices(model: nn.Module) -> set[nn.Parameter]:
    """The matrices of the numbered layers, without embeddings: empty where there are no such layers."""
    trunk = trunk_of(model)
    inside = {parameter for layers in numbered_layers(trunk) for parameter in layers.parameters()}
    return {parameter for parameter in inside if parameter.ndim == 2} - embedding_tables(trunk)


def split_groups(groups: list[Group], chosen: Container[Tensor]) -> tuple[list[Group], list[Group]]:
    """Cut each group into its weights that are `chosen` and the others; no group is left without weights."""
    inside = [{**group, "params": [p for p in group["params"] if p in chosen]} for group in groups]
    outside = [{**group, "params": [p for p in group["params"] if p not in chosen]} for group in groups]
    return [group for group in inside if group["params"]], [group for group in outside if group["params"]]


def trunk_of(model: nn.Module) -> nn.Module:
    """A model without its head, where it says what that is."""
    return getattr(model, "base_model", model)


def numbered_layers(module: nn.Module) -> Iterator[nn.ModuleList]:
    """The lists of layers; of lists in lists, such as a layer's experts, the outer ones."""
    for child in module.children():
        if isinstance(child, nn.ModuleList):
            yield child
        else:
            yield from numbered_layers(child)
