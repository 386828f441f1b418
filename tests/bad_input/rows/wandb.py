"""Names on W&B, by flag, key and variable."""

from tests.bad_input.calling import Row
from tests.bad_input.rows.runs import some_runs

NO_PROJECT = "is no project of W&B: write project or entity/project"

ROWS = [
    *(
        Row(f"train.py -n x --wandb_project '{name}'", f"error: --wandb_project: '{name}' {NO_PROJECT}")
        for name in ("a/b/c", "/a", "a/", "a:b", "a#b", "50%", "x" * 60 + "?")
    ),
    Row(f"train.py -n x --wandb_project {'x' * 129}", f"' {NO_PROJECT}"),
    Row("train.py -n x --wandb_project team/a --wandb_entity me", "belongs to team, and --wandb_entity says me"),
    Row("train.py -n x --wandb_entity a/b", "error: --wandb_entity: 'a/b' is no user or team of W&B"),
    Row(f"train.py -n x --wandb_tags good {'x' * 65}", "x' is no tag: W&B takes 1 to 64 characters"),
    Row(
        "train.py -n x",
        f"error: the variable WANDB_PROJECT: 'a/b/c' {NO_PROJECT}",
        variables={"WANDB_PROJECT": "a/b/c"},
    ),
    *(
        Row("train.py -n x --wandb_tags good", "error: the variable WANDB_TAGS: ", variables={"WANDB_TAGS": tags})
        for tags in ("good,", ",good", "x" * 65)
    ),
    Row(
        "train.py -n x --wandb_project ours",
        "error: the variable WANDB_PROJECT: 'a:b' is no project of W&B",
        variables={"WANDB_PROJECT": "a:b"},
    ),
    *(
        Row(
            f"{command} --trackers wandb",
            "error: the variable WANDB_PROJECT: 'a:b'",
            {},
            {"WANDB_PROJECT": "a:b"},
            prepare=some_runs,
        )
        for command in ("eval.py done", "train.py --resume done")
    ),
    Row(
        "train.py --plan --config_path a.yml",
        "a.yml: tracking.wandb_project: 'a:b'",
        {"a.yml": "tracking: {wandb_project: 'a:b'}"},
    ),
]
