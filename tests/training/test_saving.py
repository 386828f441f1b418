"""A copy of what a checkpoint holds: it writes the same bytes, whatever becomes of the networks meanwhile."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from dlib.callbacks.ema import EMA
from dlib.process.errors import UserError
from dlib.training.saving import Contents, Copies, gather, write_checkpoint, write_contents
from dlib.training.training_module import TrainingModule
from tests.exactness.comparing import contents
from tests.exactness.steps import Watching, make_plan, train
from tests.toys import train_wordpiece
from tests.training.test_own_modules import generating


def train_watched(action: Callable[[TrainingModule], object]) -> None:
    """Three steps of a model whose average is kept, with a network of the objective's that shares a table with it."""
    train(make_plan(8), Watching(action), objective=generating(), further=[EMA(0.9)])


def test_a_copy_writes_the_same_bytes_after_the_weights_have_changed(tmp_path: Path) -> None:
    tokenizer = train_wordpiece()
    copies = Copies(tokenizer)

    def save(module: TrainingModule) -> None:
        folders = [tmp_path / f"{way}-{module.steps_done}" for way in ("direct", "copied")]
        for folder in folders:
            folder.mkdir()
        write_checkpoint(folders[0], module, tokenizer, gather(module))
        copied = copies.take(module, gather(module))
        kept = {name: weight.detach().clone() for name, weight in module.named_parameters()}
        with torch.no_grad():
            for weight in module.parameters():
                weight.zero_()
            write_contents(folders[1], copied)
            for name, weight in module.named_parameters():
                weight.copy_(kept[name])
        assert contents(folders[0]) == contents(folders[1])

    train_watched(save)
    assert len(list(tmp_path.iterdir())) == 6


def test_a_copy_takes_the_memory_of_the_one_before() -> None:
    copies, places = Copies(train_wordpiece()), []

    def places_of(copied: Contents) -> list[int]:
        moments = [kept["exp_avg"] for kept in copied.state["optimizer"]["state"].values()]
        return [tensor.data_ptr() for tensor in [*copied.model.parameters(), *moments]]

    train_watched(lambda module: places.append(places_of(copies.take(module, gather(module)))))
    assert places[0] == places[1] == places[2]


def test_a_network_that_cannot_be_copied_is_refused_by_the_name_of_the_flag() -> None:
    def hold_a_generator(module: TrainingModule) -> None:
        module.model.numbers = (number for number in range(3))  # type: ignore[assignment]
        with pytest.raises(UserError, match=r"--save_in_background: the model cannot be copied \(.+\); leave it out"):
            Copies(train_wordpiece()).take(module, gather(module))

    train_watched(hold_a_generator)
