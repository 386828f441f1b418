"""The sinks beside metrics.jsonl: they write what they should, ask nothing, and never stop a run."""

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from dlib.args import TrackingArgs
from dlib.process.errors import UserError
from dlib.runs.folder import RunFolder
from dlib.runs.metrics_log import MetricsLog
from dlib.tracking import build_trackers
from dlib.tracking.packages import refuse_missing_packages
from dlib.tracking.wandb_checkpoints import fetch_checkpoint
from dlib.tracking.weights_and_biases import WandbEvaluations, WandbTracker

ROOT = Path(__file__).parents[2]
TRAIN = """
import sys
from pathlib import Path
import dlib.tracking.weights_and_biases
from dlib.args import TrackingArgs
from dlib.process.messages import quiet_libraries
from dlib.runs.folder import RunFolder

quiet_libraries()
dlib.tracking.weights_and_biases.INIT_TIMEOUT_SECONDS = 2
folder, offline, first, last = RunFolder(Path(sys.argv[1])), sys.argv[2] == "offline", *map(int, sys.argv[3:])
args = TrackingArgs(offline=offline, wandb_tags=["from-a-flag"])
(tracker,) = dlib.tracking.build_trackers(args, folder, config={"seed": 1}, from_step=first)
for step in range(first + 1, last + 1):
    tracker.log(step, {"train/loss": 1 / step, f"marker-{step}": 1.0})
tracker.upload_checkpoint(folder.root, ["best"])
tracker.finish("finished")
print("end of the run")
"""


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    (tmp_path / "wiki").mkdir()
    return RunFolder(tmp_path / "wiki")


@pytest.fixture
def nobody(tmp_path: Path) -> dict[str, str]:
    """The environment of a user who never logged in to W&B and sets nothing."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("WANDB")}
    home = str(tmp_path / "home")
    return {**ours, "HOME": home, "XDG_CONFIG_HOME": home, "NETRC": f"{home}/netrc"}


@pytest.fixture
def silent_server() -> Iterator[str]:
    """A server that takes every connection and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def train(
    folder: RunFolder, environment: Mapping[str, str], mode: str = "offline", first: int = 0, last: int = 3
) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", TRAIN, str(folder.root), mode, str(first), str(last)]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "end of the run\n"
    return done


def sessions(folder: RunFolder) -> list[bytes]:
    """The records of each W&B session that has any, as they stand on the disk, oldest first."""
    return [path.read_bytes() for path in sorted(folder.wandb.glob("offline-run-*/*.wandb"))]


@pytest.mark.oldest
def test_offline_wandb_writes_the_numbers_into_the_run_folder_and_one_line(
    folder: RunFolder, nobody: dict[str, str]
) -> None:
    done = train(folder, {**nobody, "WANDB_PROJECT": "a-team/a-project", "WANDB_RUN_GROUP": "a-group"})
    (session,) = sessions(folder)
    for name in (b"a-team", b"a-project", b"a-group", b"from-a-flag"):
        assert name in session
    assert b"a-team/a-project" not in session
    assert b"train/loss" in session
    assert b"marker-3" in session
    lines = done.stderr.splitlines()
    assert lines[0] == f"W&B: offline, in {folder.wandb} (`wandb sync` uploads it)"
    assert lines[1].startswith("warning: W&B: checkpoints are not uploaded")
    assert len(lines) == 2


def test_whoever_is_not_logged_in_logs_offline_without_a_question(folder: RunFolder, nobody: dict[str, str]) -> None:
    done = train(folder, nobody, mode="online")
    assert "W&B: offline" in done.stderr
    assert len(sessions(folder)) == 1


def test_a_run_that_an_agent_of_wandb_began_stays_the_agent_s_when_it_goes_on_by_hand(
    folder: RunFolder, nobody: dict[str, str]
) -> None:
    train(folder, {**nobody, "WANDB_SWEEP_ID": "abcdefgh", "WANDB_RUN_ID": "12345678"})
    time.sleep(1)  # W&B names its sessions by the second
    train(folder, nobody, first=2, last=4)
    assert [path.name[-8:] for path in folder.wandb.glob("offline-run-*")] == ["12345678"] * 2


def test_a_resumed_run_keeps_its_id_and_its_newest_session_holds_all_steps(
    folder: RunFolder, nobody: dict[str, str]
) -> None:
    train(folder, nobody)
    run_id = folder.wandb_run_id.read_text()
    log = MetricsLog(folder.metrics)
    for step in (1, 2, 3):
        log.add(step, {f"marker-{step}": 1.0})
    log.flush()
    time.sleep(1)  # W&B names its sessions by the second
    train(folder, nobody, first=2, last=4)
    newest = sessions(folder)[-1]
    assert folder.wandb_run_id.read_text() == run_id
    assert all(f"marker-{step}".encode() in newest for step in (1, 2, 3, 4))
    assert {path.name[-8:] for path in folder.wandb.glob("offline-run-*")} == {run_id.strip()}
    places = [newest.index(f"marker-{step}".encode()) for step in (1, 2, 3, 4)]
    assert places == sorted(places)


class KnownRun:
    """What `wandb.init` returns for a run of which the server has some steps; there is no server to ask here."""

    resumed = True

    def __init__(self, summary: dict[str, int]) -> None:
        self.summary = summary
        self.sent: list[dict[str, Any]] = []

    def define_metric(self, *_: str, **__: str) -> None: ...

    def log(self, values: dict[str, Any]) -> None:
        self.sent.append(values)


@pytest.mark.parametrize(("summary", "sent"), [({"step": 3}, [4, 5, 6]), ({"step": 5}, [6]), ({}, [1, 2, 3, 4, 5, 6])])
def test_wandb_gets_each_step_once_whatever_it_had_received_when_the_run_was_killed(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch, summary: dict[str, int], sent: list[int]
) -> None:
    for path in (folder.metrics, folder.performance):
        log = MetricsLog(path)
        for step in (1, 2, 3, 4):
            log.add(step, {path.stem: step})
        log.flush()
    known = KnownRun(summary)
    monkeypatch.setattr(WandbTracker, "_begin", lambda *_: known)
    monkeypatch.setattr(WandbTracker, "_whereabouts", lambda *_: "")
    tracker = WandbTracker(TrackingArgs(), folder, {}, from_step=4)
    for step in (5, 6):
        tracker.log(step, {"metrics": step})
    assert [values["step"] for values in known.sent] == sent
    assert all(values["metrics"] == values["step"] for values in known.sent)


def test_a_server_that_never_answers_delays_the_start_a_little_and_stops_nothing(
    folder: RunFolder, nobody: dict[str, str], silent_server: str
) -> None:
    environment = {**nobody, "WANDB_API_KEY": "a" * 40, "WANDB_BASE_URL": silent_server}
    start = time.monotonic()
    done = train(folder, environment, mode="online")
    assert time.monotonic() - start < 20
    assert done.stderr.count("warning") == 1
    assert "starting online failed" in done.stderr
    assert b"marker-3" in sessions(folder)[-1]


def test_a_malformed_key_is_told_and_the_run_logs_offline(folder: RunFolder, nobody: dict[str, str]) -> None:
    done = train(folder, {**nobody, "WANDB_API_KEY": "short"}, mode="online")
    assert re.match("warning: W&B: (looking for a login|starting online) failed", done.stderr)
    assert len(sessions(folder)) == 1


@pytest.mark.parametrize("is_asked_for", [True, False])
def test_where_evaluations_go_offline_is_told_whom_asked_for_it(
    folder: RunFolder, capsys: pytest.CaptureFixture[str], is_asked_for: bool
) -> None:
    evaluations = WandbEvaluations(TrackingArgs(offline=True), folder, {}, is_asked_for=is_asked_for)
    evaluations.log(3, {"dev/loss": 1.0})
    evaluations.finish("finished")
    assert ("W&B: offline, in" in capsys.readouterr().err) is is_asked_for
    assert len(sessions(folder)) == 1


@pytest.mark.oldest
def test_wandb_can_be_disabled_by_its_own_variable(folder: RunFolder, nobody: dict[str, str]) -> None:
    done = train(folder, {**nobody, "WANDB_MODE": "disabled"})
    assert done.stderr.startswith("W&B: disabled")
    assert sessions(folder) == []


@pytest.mark.oldest
def test_tensorboard_shows_every_step_once_after_a_resume(folder: RunFolder) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    args = TrackingArgs(trackers=["tensorboard"])
    for first, last in ((0, 4), (2, 5)):
        (tracker,) = build_trackers(args, folder, config={}, from_step=first)
        for step in range(first + 1, last + 1):
            tracker.log(step, {"train/loss": 1 / step, "note": "text"})
        tracker.finish("finished")
    events = accumulator.EventAccumulator(str(folder.tensorboard)).Reload()
    assert [event.step for event in events.Scalars("train/loss")] == [1, 2, 3, 4, 5]
    assert events.Tags()["scalars"] == ["train/loss"]


def test_none_builds_nothing(folder: RunFolder) -> None:
    assert build_trackers(TrackingArgs(trackers=["none"]), folder, config={}, from_step=0) == []


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["wandbb"], "'wandbb' is none of wandb, tensorboard, none: did you mean wandb\\?"),
        (["none", "wandb"], "none cannot be combined"),
    ],
)
def test_wrong_names_are_refused_before_anything_is_written(folder: RunFolder, names: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        build_trackers(TrackingArgs(trackers=names), folder, config={}, from_step=0)
    assert list(folder.root.iterdir()) == []


def test_a_missing_package_is_named_with_its_flag(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [])
    for name in [name for name in sys.modules if name.split(".")[0] == "tensorboard"]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(UserError, match="--trackers tensorboard needs the package tensorboard"):
        refuse_missing_packages(["none", "tensorboard"])
    with pytest.raises(UserError, match="--trackers tensorboard needs the package tensorboard"):
        build_trackers(TrackingArgs(trackers=["tensorboard"]), folder, config={}, from_step=0)


def test_a_checkpoint_is_not_fetched_offline(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="leave out --offline"):
        fetch_checkpoint("wandb:wiki:best", tmp_path, offline=True)


@pytest.mark.parametrize("reference", ["wandb:", "wandb::best", "wandb:a/b/c/d", "wandb:a/"])
def test_a_malformed_reference_shows_the_right_form(tmp_path: Path, reference: str) -> None:
    with pytest.raises(UserError, match="write wandb:RUN"):
        fetch_checkpoint(reference, tmp_path)


def test_a_checkpoint_is_not_fetched_by_whoever_is_not_logged_in(tmp_path: Path, nobody: dict[str, str]) -> None:
    program = "import sys; from pathlib import Path; from dlib.process.errors import run_script; "
    program += "from dlib.tracking.wandb_checkpoints import fetch_checkpoint as fetch; "
    program += "run_script(lambda: fetch('wandb:wiki', Path(sys.argv[1])) and 0)"
    command = [sys.executable, "-c", program, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, env=nobody, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("error: --checkpoint wandb:wiki: not logged in to W&B; run `wandb login`")
