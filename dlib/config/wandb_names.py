"""Where a run goes on W&B: by the flags, else by W&B's own variables, in W&B's rules for names.

W&B would refuse a wrong name only once the run has begun, which then had to go on without it.
"""

import os
import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from dlib.args import TrackingArgs
from dlib.process.errors import UserError, quoted

DEFAULT_PROJECT = "dlib"
NAME = re.compile(r"[^/\\#?%:]{1,128}")
LONGEST_TAG = 64


class WandbPlace(NamedTuple):
    """A project, and the user or team it belongs to; None: the default of whoever is logged in."""

    project: str
    entity: str | None


def wandb_place(args: TrackingArgs) -> WandbPlace:
    """The project and its owner, from the flags, else from WANDB_PROJECT and WANDB_ENTITY.

    An owner that WANDB_PROJECT names counts before WANDB_ENTITY.

    Raises:
        UserError: a name that W&B does not take, or two owners.
    """
    check_wandb(args, {})
    if variable_tags := os.environ.get("WANDB_TAGS"):  # which W&B reads, and refuses, whatever the flags say
        refuse_wrong_tags(variable_tags.split(","), "the variable WANDB_TAGS")
    variable_owner, project = split_project_variable()
    owner = None
    if args.wandb_project is not None:
        owner, project = split_project(args.wandb_project, "--wandb_project")
    return WandbPlace(project, args.wandb_entity or owner or variable_owner or os.environ.get("WANDB_ENTITY") or None)


def split_project_variable() -> tuple[str | None, str]:
    """The owner and the project in WANDB_PROJECT, which W&B reads whatever the flags say."""
    return split_project(os.environ.get("WANDB_PROJECT") or DEFAULT_PROJECT, "the variable WANDB_PROJECT")


def rewrite_project_variable() -> None:
    """Split an `entity/project` in WANDB_PROJECT into the two variables that W&B reads: it refuses the slash."""
    owner, name = split_project_variable()
    if owner is not None:
        os.environ.update(WANDB_PROJECT=name, WANDB_ENTITY=owner)


def check_wandb(args: TrackingArgs, places: Mapping[str, str]) -> None:
    """Refuse names that W&B does not take; `places` tells where each full key was said."""
    project_place, entity_place, tags_place = (
        places.get(f"tracking.{name}", f"--{name}") for name in ("wandb_project", "wandb_entity", "wandb_tags")
    )
    owner = None if args.wandb_project is None else split_project(args.wandb_project, project_place)[0]
    if args.wandb_entity is not None and not NAME.fullmatch(args.wandb_entity):
        raise UserError(f"{entity_place}: {quoted(args.wandb_entity)} is no user or team of W&B")
    if owner and args.wandb_entity and owner != args.wandb_entity:
        raise UserError(
            f"{project_place}: {quoted(args.wandb_project)} belongs to {owner}, and --wandb_entity says "
            f"{args.wandb_entity}: leave one out"
        )
    refuse_wrong_tags(args.wandb_tags, tags_place)


def refuse_wrong_tags(tags: Iterable[str], place: str) -> None:
    """Refuse tags that W&B does not take."""
    for tag in tags:
        if not 0 < len(tag) <= LONGEST_TAG:
            raise UserError(f"{place}: {quoted(tag)} is no tag: W&B takes 1 to {LONGEST_TAG} characters")


def split_project(text: str, place: str) -> tuple[str | None, str]:
    """The owner, None where none is named, and the project of `[entity/]project`."""
    owner, slash, project = text.rpartition("/")
    if not NAME.fullmatch(project) or (slash and not NAME.fullmatch(owner)):
        raise UserError(
            f"{place}: {quoted(text)} is no project of W&B: write project or entity/project, of at most 128 "
            "characters and without \\ # ? % :"
        )
    return owner or None, project
