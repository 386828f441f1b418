"""Where the numbers of a run go besides metrics.jsonl: W&B and TensorBoard.

metrics.jsonl is the truth; the sinks here are copies that are nicer to look at. So nothing that happens to a sink may
stop or delay a run: what fails is told once, and the run goes on. Packages are imported when a sink is built. Only the
first process of a run builds sinks.
"""

import atexit
import difflib
import importlib.util
import inspect
import os
import re
import shutil
import tempfile
import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from dlib.args import TrackingArgs
from dlib.errors import UserError
from dlib.ranks import logger, say
from dlib.runs.folder import RunFolder, write_text_atomically
from dlib.runs.metrics_log import read_metrics

INIT_TIMEOUT_SECONDS = 20
FINISH_TIMEOUT_SECONDS = 60
_WANDB_RUN_ID = re.compile(r"[0-9a-z]{8}")


class Tracker(Protocol):
    """A sink for numbers."""

    def log(self, step: int, values: Mapping[str, Any]) -> None:
        """Passes on the values of an optimizer step."""

    def upload_checkpoint(self, folder: Path, aliases: Sequence[str]) -> None:
        """Stores a checkpoint folder under names like `best`, where the sink has room for files."""

    def finish(self, state: str) -> None:
        """Ends the session; `state` is the run's: finished, preempted or failed."""


class WandbTracker:
    """Weights & Biases: online when logged in, else files under the run folder for `wandb sync`.

    W&B counts its records itself and drops those that go backwards (its issues 4482 and 9449). So its count is left
    alone, and the optimizer step is a value of each record and the x axis of every chart: a resumed run that computes
    some steps again shows them twice, at the same place and with the same values, and loses none.

    A session that W&B does not know as the continuation of what it has begins with all records so far. Offline sessions
    replace each other when they are synchronised, so the newest must hold the whole run.
    """

    def __init__(self, args: TrackingArgs, folder: RunFolder, config: Mapping[str, Any], from_step: int) -> None:
        self._wandb = _import_wandb()
        self._name = folder.name
        self._warned = False
        self._run = self._begin(args, folder, config)
        if self._run is not None:
            say(self._whereabouts(folder))
            self._attempt("sending the first records", lambda: self._prepare(folder, from_step))

    def log(self, step: int, values: Mapping[str, Any]) -> None:
        """Passes on the values of an optimizer step; it does not wait for the network."""
        if self._run is not None:
            self._attempt("logging", lambda: self._run.log({"step": step, **values}))

    def upload_checkpoint(self, folder: Path, aliases: Sequence[str]) -> None:
        """Uploads a checkpoint folder as the next version of the artifact `checkpoint-<W&B run id>`.

        The files are copied to W&B's staging folder, so that the checkpoint may be removed meanwhile. Offline nothing
        is done: the copies would fill a disk that nobody looks at.
        """
        if self._run is None:
            return
        if self._run.settings.mode != "online":
            self._warn("checkpoints are not uploaded, as it is not online; they are in the run folder")
            return
        self._attempt("uploading a checkpoint", lambda: self._upload(folder, aliases))

    def finish(self, state: str) -> None:
        """Ends the session within `FINISH_TIMEOUT_SECONDS`; what was not sent by then stays on the disk."""
        if self._run is None:
            return
        run, self._run = self._run, None

        def end() -> None:
            if state == "preempted":
                run.mark_preempting()
            run.finish(exit_code=0 if state == "finished" else 1)

        in_time = _within(FINISH_TIMEOUT_SECONDS + 5, lambda: self._attempt("finishing", end))
        if not in_time:
            self._attempt("leaving", lambda: _forget_service(self._wandb))
            self._warn(f"not everything was sent within {FINISH_TIMEOUT_SECONDS} s; `wandb sync` sends the rest later")

    def _begin(self, args: TrackingArgs, folder: RunFolder, config: Mapping[str, Any]) -> Any:
        """The W&B run; offline when W&B does not answer; None when it cannot even do that."""
        mode = self._mode(args.offline)
        options = {
            "project": args.wandb_project,
            "entity": args.wandb_entity,
            "group": args.wandb_group or folder.name,
            "name": folder.name,
            "id": _wandb_run_id(folder),
            "dir": str(folder.root),
            "config": dict(config),
            "resume": "allow",
            "allow_val_change": True,
            "settings": self._settings(),
        }
        run = self._attempt(f"starting {mode}", lambda: self._wandb.init(mode=mode, **options))
        if run is None and mode == "online":
            self._attempt("starting again", self._wandb.teardown)  # else its service takes the run's id for used
            run = self._attempt("starting offline", lambda: self._wandb.init(mode="offline", **options))
        return run

    def _mode(self, offline: bool) -> str:
        if os.environ.get("WANDB_MODE") == "disabled":
            return "disabled"
        if offline or os.environ.get("WANDB_MODE") in ("offline", "dryrun"):
            return "offline"
        return "online" if self._attempt("looking for a login", lambda: _logged_in(self._wandb)) else "offline"

    def _settings(self) -> Any:
        """Those of our settings that the installed W&B has: no console, no code, no git, and a limit to each wait."""
        wanted = {
            "silent": True,
            "console": "off",
            "save_code": False,
            "disable_code": True,
            "disable_git": True,
            "disable_job_creation": True,
            "init_timeout": INIT_TIMEOUT_SECONDS,
            "finish_timeout": FINISH_TIMEOUT_SECONDS,
        }
        known = self._wandb.Settings()
        return self._wandb.Settings(**{name: value for name, value in wanted.items() if hasattr(known, name)})

    def _prepare(self, folder: RunFolder, from_step: int) -> None:
        self._run.define_metric("step")
        self._run.define_metric("*", step_metric="step")
        if not self._run.resumed:
            for path in (folder.metrics, folder.performance):
                for record in read_metrics(path):
                    if record["step"] <= from_step:
                        self._run.log(record)

    def _upload(self, folder: Path, aliases: Sequence[str]) -> None:
        artifact = self._wandb.Artifact(_artifact_name(self._run.id), type="model", metadata={"run": self._name})
        artifact.add_dir(str(folder), skip_cache=True)
        self._run.log_artifact(artifact, aliases=["latest", *aliases])

    def _whereabouts(self, folder: RunFolder) -> str:
        mode = self._run.settings.mode
        if mode == "online":
            return f"W&B: {self._run.url}"
        return f"W&B: offline, in {folder.wandb} (`wandb sync` uploads it)" if mode == "offline" else "W&B: disabled"

    def _attempt(self, doing: str, action: Callable[[], Any]) -> Any:
        """What the action returns; None, and one warning in a run's life, when it fails for whatever reason."""
        try:
            return action()
        except Exception as error:  # W&B raises whatever its dependencies raise; none of it may reach the run
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            self._warn(f"{doing} failed ({reason}); the run goes on, and metrics.jsonl has all")
            return None

    def _warn(self, message: str) -> None:
        if not self._warned:
            logger().warning("W&B: %s", message)
        self._warned = True


class TensorBoardTracker:
    """TensorBoard event files under the run folder."""

    def __init__(self, args: TrackingArgs, folder: RunFolder, config: Mapping[str, Any], from_step: int) -> None:
        _import("tensorboard", "tensorboard")
        from torch.utils.tensorboard import SummaryWriter

        # What a killed session wrote beyond the checkpoint is hidden, so that every step is shown once.
        self._writer = SummaryWriter(str(folder.tensorboard), purge_step=from_step + 1)
        say(f"TensorBoard: tensorboard --logdir {folder.tensorboard}")

    def log(self, step: int, values: Mapping[str, Any]) -> None:
        """Passes on the numbers of an optimizer step."""
        for key, value in values.items():
            if not isinstance(value, str):
                self._writer.add_scalar(key, value, step)

    def upload_checkpoint(self, folder: Path, aliases: Sequence[str]) -> None:
        """TensorBoard has no room for checkpoints."""

    def finish(self, state: str) -> None:
        """Writes what is still buffered."""
        self._writer.close()


TRACKERS: dict[str, Callable[[TrackingArgs, RunFolder, Mapping[str, Any], int], Tracker]] = {
    "wandb": WandbTracker,
    "tensorboard": TensorBoardTracker,
}


def build_trackers(
    args: TrackingArgs, folder: RunFolder, *, config: Mapping[str, Any], from_step: int
) -> list[Tracker]:
    """The sinks that `args.trackers` names.

    Args:
        args: the names, and where W&B puts the run.
        folder: the run; this process holds it, and has cut its metrics back to `from_step`.
        config: the run's arguments, for the sinks to show.
        from_step: optimizer steps done when this session begins.

    Raises:
        UserError: a name that is no tracker, or a package that is missing.
    """
    names = [name for name in args.trackers if name != "none"]
    if len(names) < len(args.trackers) and names:
        raise UserError(f"--trackers none cannot be combined with {', '.join(names)}")
    for name in names:
        if name not in TRACKERS:
            guess = difflib.get_close_matches(name, TRACKERS, n=1)
            hint = f"did you mean {guess[0]}?" if guess else f"there are {', '.join(TRACKERS)} and none"
            raise UserError(f"--trackers: unknown tracker '{name}'; {hint}")
        if importlib.util.find_spec(name) is None:
            raise UserError(_missing(name, name))
    return [TRACKERS[name](args, folder, config, from_step) for name in dict.fromkeys(names)]


def fetch_checkpoint(
    reference: str, cache_dir: Path, offline: bool = False, project: str = "dlib", entity: str | None = None
) -> Path:
    """Downloads a checkpoint that `upload_checkpoint` stored on W&B, once for each version.

    Args:
        reference: `wandb:RUN[:alias]`; RUN is the name or W&B id of a run, or `[entity/]project/run`. Without an alias
            the best is taken, else the newest.
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
    wandb = _import_wandb()
    try:
        if not _logged_in(wandb):
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
    artifact = f"{found.entity}/{found.project}/{_artifact_name(found.id)}"
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


def _artifact_name(run_id: str) -> str:
    return f"checkpoint-{run_id}"


def _wandb_run_id(folder: RunFolder) -> str:
    """The id kept in the run folder, made at the first session."""
    path = folder.wandb_run_id
    run_id = path.read_text(encoding="utf-8").strip() if path.exists() else ""
    if not _WANDB_RUN_ID.fullmatch(run_id):
        run_id = uuid.uuid4().hex[:8]
        write_text_atomically(path, f"{run_id}\n")
    return run_id


def _logged_in(wandb: Any) -> bool:
    """Whether W&B finds a key in the environment, netrc or its settings. It uses no network and asks no question."""
    if "prompt" in inspect.signature(wandb.login).parameters:
        return bool(wandb.login(prompt=False, verify=False))
    return bool(wandb.api.api_key)  # the way of older versions; newer ones deprecate it


def _forget_service(wandb: Any) -> None:
    """Takes back the exit hook of old versions (0.16), which waits without limit; newer ones keep to our limit."""
    hook = getattr(getattr(wandb.setup(), "_manager", None), "_atexit_lambda", None)
    if hook is not None:
        atexit.unregister(hook)


def _import_wandb() -> Any:
    """The package, told to be silent, and not to report its own errors: at exit it waits for the network to do so."""
    os.environ.setdefault("WANDB_SILENT", "true")
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    return _import("wandb", "wandb")


def _import(module: str, flag_value: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UserError(_missing(module, flag_value)) from error


def _missing(package: str, flag_value: str) -> str:
    return f"--trackers {flag_value} needs the package {package}; install it (`pip install {package}`) or leave it out"


def _within(seconds: float, action: Callable[[], Any]) -> bool:
    """Runs an action and says whether it ended in time; what did not is left alone and dies with the process."""
    thread = threading.Thread(target=action, daemon=True)
    thread.start()
    thread.join(seconds)
    return not thread.is_alive()
