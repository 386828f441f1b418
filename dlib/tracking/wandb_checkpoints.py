"""Checkpoints that another run stored on W&B, fetched by name."""

import shutil
import tempfile
from pathlib import Path
from typing import Any

from dlib.process.errors import UserError
from dlib.process.versions import has_wandb_login
from dlib.tracking.weights_and_biases import INIT_TIMEOUT_SECONDS, artifact_name, import_wandb


def fetch_checkpoint(
    reference: str, cache_dir: Path, offline: bool = False, project: str = "dlib", entity: str | None = None
) -> Path:
    """Downloads a checkpoint that `upload_checkpoint` stored on W&B, once for each version.

    Args:
        reference: `wandb:RUN[:alias]`; RUN is the name or id of a run, or `[entity/]project/run`. Without an alias: the
            best, else the newest.
        cache_dir: where downloads are kept.
        offline: refuse to use the network.
        project: W&B project, where RUN does not say.
        entity: W&B user or team, where RUN does not say; None: the default of whoever is logged in.

    Returns:
        The checkpoint folder.

    Raises:
        UserError: offline, not logged in, or no such checkpoint.
    """
    run, _, alias = reference.removeprefix("wandb:").partition(":")
    *place, name = run.split("/")
    if not name or len(place) > 2:
        raise UserError(
            f"--checkpoint {reference}: write wandb:RUN or wandb:RUN:alias, RUN a name or entity/project/name"
        )
    if offline:
        raise UserError(f"--checkpoint {reference} needs the network; leave out --offline, or give a local folder")
    wandb = import_wandb()
    try:
        if not has_wandb_login(wandb):
            raise UserError(f"--checkpoint {reference}: not logged in to W&B; run `wandb login` or set WANDB_API_KEY")
        path = "/".join(place if len(place) == 2 else [*([entity] if entity else []), *(place or [project])])
        artifact = _find_artifact(wandb.Api(timeout=INIT_TIMEOUT_SECONDS), path, name, alias)
        return _download(artifact, cache_dir / "wandb" / artifact.name.replace(":", "-"))
    except UserError:
        raise
    except Exception as error:  # W&B raises whatever its dependencies raise
        raise UserError(f"--checkpoint {reference}: W&B says: {error}") from error


def _find_artifact(api: Any, project: str, run: str, alias: str) -> Any:
    """The checkpoint of the newest run whose name or id is `run`."""
    # In W&B's queries `name` is the id and `display_name` the name.
    filters = {"$or": [{"name": run}, {"display_name": run}]}
    found = next(iter(api.runs(project, filters=filters, order="-created_at")), None)
    if found is None:
        raise UserError(f"W&B has no run '{run}' in the project '{project}'")
    artifact = f"{found.entity}/{found.project}/{artifact_name(found.id)}"
    for candidate in [alias] if alias else ["best", "latest"]:
        if api.artifact_exists(f"{artifact}:{candidate}"):
            return api.artifact(f"{artifact}:{candidate}", type="model")
    raise UserError(
        f"the run '{run}' on W&B has no checkpoint '{alias or 'latest'}'; was it trained with --upload_checkpoints?"
    )


def _download(artifact: Any, folder: Path) -> Path:
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".writing-", dir=folder.parent) as temporary:
            artifact.download(root=str(Path(temporary, "checkpoint")))
            shutil.move(Path(temporary, "checkpoint"), folder)
    return folder
