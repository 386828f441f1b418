"""Where a run goes on W&B: flags win over W&B's variables, and a project may name its owner."""

import os

import pytest

from dlib.args import TrackingArgs
from dlib.config.wandb_names import rewrite_project_variable, wandb_place
from dlib.process.errors import UserError


@pytest.mark.parametrize(
    ("flags", "variables", "place"),
    [
        ({}, {}, ("dlib", None)),
        ({}, {"WANDB_PROJECT": "theirs", "WANDB_ENTITY": "team"}, ("theirs", "team")),
        ({}, {"WANDB_PROJECT": "", "WANDB_ENTITY": ""}, ("dlib", None)),
        ({}, {"WANDB_PROJECT": "team/theirs"}, ("theirs", "team")),
        ({"wandb_project": "ours"}, {"WANDB_PROJECT": "theirs", "WANDB_ENTITY": "team"}, ("ours", "team")),
        ({"wandb_project": "we/ours"}, {"WANDB_PROJECT": "theirs", "WANDB_ENTITY": "team"}, ("ours", "we")),
        ({"wandb_project": "we/ours", "wandb_entity": "we"}, {}, ("ours", "we")),
        ({"wandb_entity": "we"}, {"WANDB_PROJECT": "team/theirs", "WANDB_ENTITY": "team"}, ("theirs", "we")),
        ({"wandb_project": "ours"}, {"WANDB_PROJECT": "team/theirs", "WANDB_ENTITY": "me"}, ("ours", "team")),
    ],
)
def test_flags_win_over_variables(
    monkeypatch: pytest.MonkeyPatch, flags: dict[str, str], variables: dict[str, str], place: tuple[str, str | None]
) -> None:
    for name in ("WANDB_PROJECT", "WANDB_ENTITY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    args = TrackingArgs(**flags)  # type: ignore[arg-type]
    assert wandb_place(args) == place
    rewrite_project_variable()  # as the import of W&B does: a run that asks before and after goes to one place
    assert "/" not in os.environ.get("WANDB_PROJECT", "")
    assert wandb_place(args) == place


def test_a_variable_that_names_no_project_is_told_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_PROJECT", "a:b")
    for args in (TrackingArgs(), TrackingArgs(wandb_project="ours")):  # W&B refuses it beside a flag as well
        with pytest.raises(UserError, match=r"^the variable WANDB_PROJECT: 'a:b' is no project of W&B"):
            wandb_place(args)
