"""Which parts of a model its saved weights lack, told by the headers of their files: `--plan` loads no weights."""

from collections.abc import Iterable
from pathlib import Path

from huggingface_hub import try_to_load_from_cache
from safetensors import safe_open
from transformers import PreTrainedModel

from dlib.models.parts import trunk_parameters


def parts_drawn_anew(model: PreTrainedModel, source: str) -> list[str]:
    """The modules whose weights are going to be drawn, by name; none where no header tells, as of a pickle's.

    Libraries have renamed weights (`gamma`), heads and trunks. So of the trunk only whole branches count, such as a
    pooler, and what a model of the same class has saved is there, by whatever name, if not of another shape.

    Args:
        model: as it is going to be built; it needs no memory.
        source: a folder, or a name on the hub whose file was fetched before.
    """
    prefix, trunk = f"{model.base_model_prefix}.", set(trunk_parameters(model))
    saved = {name.removeprefix(prefix): shape for name, shape in saved_shapes(source).items()}
    modules, branches = {module_of(name) for name in saved}, {branch_of(name) for name in saved}
    wanted = [(full_name, full_name.removeprefix(prefix), weight) for full_name, weight in model.named_parameters()]
    if branches.isdisjoint(branch_of(name) for _, name, _ in wanted):  # the file has other names, or there is none
        return []
    is_same_class = type(model).__name__ in (model.config.architectures or ())
    new = set()
    for full_name, name, weight in wanted:
        of_head = weight not in trunk
        is_lacking = module_of(name) not in modules if of_head else branch_of(name) not in branches
        if (is_lacking and not is_same_class) or (of_head and saved.get(name, [*weight.shape]) != [*weight.shape]):
            new.add(module_of(full_name))
    return sorted(new)


def saved_shapes(source: str) -> dict[str, list[int]]:
    """The shape of each weight in the safetensors files of a folder, or of a name in the hub's cache."""
    shapes = {}
    for file in weight_files(source):
        with safe_open(file, framework="pt") as opened:
            shapes.update({name: opened.get_slice(name).get_shape() for name in opened.keys()})  # noqa: SIM118
    return shapes


def weight_files(source: str) -> Iterable[Path]:
    """The safetensors files of a model."""
    if Path(source).is_dir():
        return (file for file in Path(source).glob("*.safetensors") if file.name != "objective.safetensors")
    cached = try_to_load_from_cache(source, "model.safetensors")
    return [Path(cached)] if isinstance(cached, str) else []


def module_of(name: str) -> str:
    """The module that a weight belongs to."""
    return name.rpartition(".")[0]


def branch_of(name: str) -> str:
    """The first word of a weight's name."""
    return name.partition(".")[0]
