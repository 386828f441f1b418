"""Networks of an objective's own: they learn, are saved and come back; a teacher does not learn and is not saved."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from dlib.args import ObjectiveArgs, OptimArgs
from dlib.callbacks.ema import EMA
from dlib.objectives.mlm import MaskedLanguageModeling
from dlib.objectives.objective import Batch
from dlib.process.errors import UserError
from dlib.runs.continuity import refuse_other_weights
from dlib.runs.folder import RunFolder
from dlib.runs.paths import CheckpointFolder
from dlib.training.checkpoints import (
    add_modules,
    checkpoint_bytes,
    estimate_checkpoint_bytes,
    frozen_modules,
    hash_weights,
    learning_modules,
    refuse_damage,
)
from dlib.training.parameter_groups import parameter_groups
from dlib.training.saving import gather, write_checkpoint
from dlib.training.training_module import TrainingModule
from tests.exactness.steps import Watching, make_plan, train
from tests.toys import build_toy, toy_roles, train_wordpiece


class Generating(MaskedLanguageModeling):
    """Masks are filled by the model and by a generator that shares its table of tokens, before a teacher's eyes."""

    def build_modules(self, model: PreTrainedModel) -> Mapping[str, nn.Module]:
        generator = build_toy("bert", dtype=torch.float64, seed=2)
        generator.set_input_embeddings(model.get_input_embeddings())
        generator.tie_weights()
        return {"generator": generator, "teacher": build_toy("bert", dropout=True).requires_grad_(False)}

    def loss_sum(self, model: PreTrainedModel, batch: Batch) -> Tensor:
        assert model.training
        assert self.modules["generator"].training
        assert not any(module.training for module in self.modules["teacher"].modules())
        return super().loss_sum(model, batch) + super().loss_sum(self.modules["generator"], batch)  # type: ignore[arg-type]


def generating() -> Generating:
    return Generating(ObjectiveArgs(), toy_roles())


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> tuple[TrainingModule, Path]:
    """A run that was saved after its last step."""
    folder = tmp_path_factory.mktemp("run") / "step-00000003"

    def save(module: TrainingModule) -> None:
        if module.steps_done == 3:
            folder.mkdir()
            write_checkpoint(folder, module, train_wordpiece(), gather(module))

    return train(make_plan(8), Watching(save), objective=generating()), folder


def test_what_learns_is_saved_and_comes_back_with_what_is_shared(checkpoint: tuple[TrainingModule, Path]) -> None:
    module, folder = checkpoint
    refuse_damage(folder)
    model, again = build_toy("bert", dtype=torch.float64), generating()
    add_modules(again, model, 1, None)
    learned = learning_modules(module.objective.modules)
    assert hash_weights(learned) != hash_weights(learning_modules(again.modules)), "it has learned"
    add_modules(again, model, 1, CheckpointFolder(folder).model)
    assert hash_weights(learned) == hash_weights(learning_modules(again.modules))
    assert again.modules["generator"].get_input_embeddings() is model.get_input_embeddings()  # type: ignore[operator]
    assert list(learned) == ["generator"]
    assert list(frozen_modules(module.objective.modules)) == ["teacher"]


def test_a_checkpoint_without_them_is_refused(checkpoint: tuple[TrainingModule, Path], tmp_path: Path) -> None:
    _, folder = checkpoint
    broken = folder.rename(tmp_path / folder.name)
    file = CheckpointFolder(broken).modules
    kept = file.rename(tmp_path / "kept")
    with pytest.raises(UserError, match=r"not what was saved with state\.ckpt"):
        refuse_damage(broken)
    with pytest.raises(UserError, match=r"objective\.safetensors is missing: the objective has networks"):
        add_modules(generating(), build_toy("bert"), 1, CheckpointFolder(broken).model)
    kept.rename(file)
    file.write_bytes(file.read_bytes()[:-8] + bytes(8))
    with pytest.raises(UserError, match=r"not what was saved with state\.ckpt"):
        refuse_damage(broken)
    broken.rename(folder)


def test_the_room_of_a_checkpoint_counts_what_learns() -> None:
    sizes: list[int] = []
    objective = generating()
    train(make_plan(8), Watching(lambda module: sizes.append(checkpoint_bytes(module))), objective=objective)
    with torch.device("meta"):
        model = build_toy("bert", dtype=torch.float64)
    modules = nn.ModuleDict(objective.build_modules(model))
    assert estimate_checkpoint_bytes(model, OptimArgs(), modules) == sizes[-1]
    assert estimate_checkpoint_bytes(model, OptimArgs()) < sizes[-1]
    assert estimate_checkpoint_bytes(model, OptimArgs(), frozen_modules(modules)) < sizes[-1]


def test_they_learn_at_the_learning_rate_whatever_the_layers_do() -> None:
    model, objective = build_toy("bert"), generating()
    own = objective.build_modules(model)["generator"]
    groups = parameter_groups(model, OptimArgs(layer_decay=0.5, learning_rate=1.0), own)
    rates = {weight: group["lr"] for group in groups for weight in group["params"]}
    assert {rates[weight] for weight in {*own.parameters()} - {*model.parameters()}} == {1.0}
    assert rates[model.get_input_embeddings().weight] == 0.5**2, "shared: the model's"


def test_an_average_of_the_weights_is_of_theirs_too() -> None:
    kept: list[float] = []

    def compare(module: TrainingModule) -> None:
        generator: Any = module.objective.modules["generator"]
        weight = generator.cls.predictions.bias
        learning = weight.detach().clone()
        with module.kept_weights():
            kept.append(float((weight.detach() - learning).abs().max()))
        assert torch.equal(weight, learning)

    train(make_plan(8), Watching(compare), objective=generating(), further=[EMA(0.999)])
    assert min(kept) > 0


def test_a_teacher_that_changed_is_refused(tmp_path: Path) -> None:
    folder, name = RunFolder(tmp_path), "weights of the teacher"
    folder.record.write_text('{"hashes": {}, "command": {}, "git": {}, "hardware": {}, "packages": {}, "sessions": []}')
    refuse_other_weights(folder, "abc", name)
    refuse_other_weights(folder, "abc", name)
    refuse_other_weights(folder, "of the model")
    with pytest.raises(UserError, match="began with other weights of the teacher"):
        refuse_other_weights(folder, "def", name)
