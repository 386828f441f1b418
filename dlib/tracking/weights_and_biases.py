"""Weights & Biases, which may be out of reach at any time."""

import os
import re
import threading
import uuid
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from dlib.args import TrackingArgs
from dlib.config.wandb_names import rewrite_project_variable, wandb_place
from dlib.process.durable import write_text_atomically
from dlib.process.ranks import logger, say
from dlib.process.versions import forget_wandb_service, has_wandb_login
from dlib.runs.folder import RunFolder
from dlib.runs.metrics_log import read_metrics
from dlib.tracking.packages import import_package

INIT_TIMEOUT_SECONDS = 20
FINISH_TIMEOUT_SECONDS = 60
_WANDB_RUN_ID = re.compile(r"[0-9a-z]{8}")


class WandbTracker:
    """Weights & Biases: online when logged in, else files under the run folder for `wandb sync`.

    W&B counts its records itself and drops those that go backwards (its issues 4482 and 9449). So the optimizer step is
    a value of each record and the x axis of every chart, and W&B gets each step once: a resumed session first sends
    what W&B lacks, and leaves out what it computes again, which is the same. Offline sessions replace each other when
    they are synchronised, so each begins with all records of the run.
    """

    def __init__(self, args: TrackingArgs, folder: RunFolder, config: Mapping[str, Any], from_step: int) -> None:
        self._wandb = import_wandb()
        self._name = folder.name
        self._warned = False
        self._newest_step = 0
        self._mode = self._choose_mode(args.offline)
        self._run = self._begin(args, folder, config)
        if self._run is not None:
            self._tell(folder)
            self._attempt("sending the first records", lambda: self._prepare(folder, from_step))

    def log(self, step: int, values: Mapping[str, Any]) -> None:
        """Passes on the values of an optimizer step; it does not wait for the network."""
        if self._run is not None and step > self._newest_step:
            self._newest_step = step
            self._attempt("logging", lambda: self._run.log({"step": step, **values}))

    def upload_checkpoint(self, folder: Path, aliases: Sequence[str]) -> None:
        """Uploads a checkpoint folder as the next version of the artifact `checkpoint-<W&B run id>`.

        W&B copies the files first, so the checkpoint may be removed meanwhile. Offline nothing is uploaded: the copies
        would only fill the disk.
        """
        if self._run is None:
            return
        if self._mode != "online":
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
            self._attempt("leaving", lambda: forget_wandb_service(self._wandb))
            self._warn(f"not everything was sent within {FINISH_TIMEOUT_SECONDS} s; `wandb sync` sends the rest later")

    def _begin(self, args: TrackingArgs, folder: RunFolder, config: Mapping[str, Any]) -> Any:
        """The W&B run; offline when W&B does not answer; None when even that fails."""
        place = wandb_place(args)
        options = {
            "project": place.project,
            "entity": place.entity,
            "group": args.wandb_group or os.environ.get("WANDB_RUN_GROUP") or folder.name,
            "tags": args.wandb_tags or None,
            **self._identity(folder),
            "dir": str(folder.root),
            "config": dict(config),
            "resume": "allow",
            "allow_val_change": True,
            "settings": self._settings(),
        }

        def begin() -> Any:
            with redirect_stdout(None):  # where wandb 0.16 prints that it failed
                return self._wandb.init(mode=self._mode, **options)

        run = self._attempt(f"starting {self._mode}", begin)
        if run is None and self._mode == "online":
            self._attempt("starting again", self._wandb.teardown)  # else its service takes the run's id for used
            self._mode = "offline"
            run = self._attempt("starting offline", begin)
        return run

    def _identity(self, folder: RunFolder) -> dict[str, Any]:
        """Name and id of the run on W&B."""
        return {"name": folder.name, "id": _wandb_run_id(folder)}

    def _choose_mode(self, offline: bool) -> str:
        if os.environ.get("WANDB_MODE") == "disabled":
            return "disabled"
        if offline or os.environ.get("WANDB_MODE") in ("offline", "dryrun"):
            return "offline"
        return "online" if self._attempt("looking for a login", lambda: has_wandb_login(self._wandb)) else "offline"

    def _settings(self) -> Any:
        """Our settings, as far as the installed W&B has them: no console, code or git, and a limit to each wait."""
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
        if self._run.resumed:
            self._newest_step = int(self._run.summary.get("step", 0))
        records: defaultdict[int, dict[str, Any]] = defaultdict(dict)
        for record in (*read_metrics(folder.metrics), *read_metrics(folder.performance)):
            records[record["step"]].update(record)
        for step in sorted(records):
            if step <= from_step:
                self.log(step, records[step])

    def _upload(self, folder: Path, aliases: Sequence[str]) -> None:
        artifact = self._wandb.Artifact(artifact_name(self._run.id), type="model", metadata={"run": self._name})
        artifact.add_dir(str(folder), skip_cache=True)
        self._run.log_artifact(artifact, aliases=["latest", *aliases])

    def _tell(self, folder: RunFolder) -> None:
        say(self._whereabouts(folder))

    def _whereabouts(self, folder: RunFolder) -> str:
        if self._mode == "online":
            return f"W&B: {self._run.url}"
        if self._mode == "offline":
            return f"W&B: offline, in {folder.wandb} (`wandb sync` uploads it)"
        return "W&B: disabled"

    def _attempt(self, doing: str, action: Callable[[], Any]) -> Any:
        """The result of the action; None, and one warning a run, if it fails."""
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


class WandbEvaluations(WandbTracker):
    """A session of evaluations: a W&B run of its own in the training run's group; several may be open at once.

    The training run's W&B run is not touched: it may be live elsewhere, and W&B drops what comes to it late.

    Attributes:
        run_root: folder of the training run.
        is_asked_for: whether the command line says something of W&B; the run says it by default.
    """

    def __init__(self, args: TrackingArgs, folder: RunFolder, config: Mapping[str, Any], *, is_asked_for: bool) -> None:
        self.run_root = folder.root
        self.is_asked_for = is_asked_for
        super().__init__(args, folder, config, from_step=0)

    def log(self, step: int, values: Mapping[str, Any]) -> None:
        """Passes on the metrics of a checkpoint; steps may come in any order, and repeatedly."""
        if self._run is not None:
            self._attempt("logging", lambda: self._run.log({"step": step, **values}))

    def _tell(self, folder: RunFolder) -> None:
        if self.is_asked_for or self._mode == "online":
            super()._tell(folder)

    def _identity(self, folder: RunFolder) -> dict[str, Any]:
        return {"name": f"{folder.name}-evaluation", "id": uuid.uuid4().hex[:8], "job_type": "evaluation"}

    def _prepare(self, folder: RunFolder, from_step: int) -> None:
        self._run.define_metric("step")
        self._run.define_metric("*", step_metric="step")


def artifact_name(run_id: str) -> str:
    return f"checkpoint-{run_id}"


def _wandb_run_id(folder: RunFolder) -> str:
    """The id in the run folder, made by the first session; in a sweep of W&B's own, that which its agent gave."""
    path = folder.wandb_run_id
    run_id = path.read_text(encoding="utf-8").strip() if path.exists() else ""
    if not _WANDB_RUN_ID.fullmatch(run_id):
        given = os.environ.get("WANDB_RUN_ID", "") if "WANDB_SWEEP_ID" in os.environ else ""
        run_id = given if _WANDB_RUN_ID.fullmatch(given) else uuid.uuid4().hex[:8]
        path.parent.mkdir(exist_ok=True)
        write_text_atomically(path, f"{run_id}\n")
    return run_id


def import_wandb() -> Any:
    """The package, silent and without its error reports, for which it would wait at exit."""
    os.environ.setdefault("WANDB_SILENT", "true")
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    rewrite_project_variable()
    return import_package("wandb", "wandb")


def _within(seconds: float, action: Callable[[], Any]) -> bool:
    """Runs an action and says whether it ended in time; if not, it is left alone and dies with the process."""
    thread = threading.Thread(target=action, daemon=True)
    thread.start()
    thread.join(seconds)
    return not thread.is_alive()
