"""What SLURM answers, told by stand-ins for its commands: each refusal is one line with the flag to change."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from dlib.launch import slurm
from dlib.launch.clusters import Cluster
from dlib.launch.job import Job
from dlib.launch.launchers import GONE, JobState, NoSchedulerError, shown_number
from dlib.launch.slurm import Slurm
from dlib.process.errors import UserError

JOB = Job(("train.py",), Path("runs/big/job"), Cluster(), "big")


class Commands:
    """Stand-ins for commands of SLURM, the only ones that are found."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def answer(self, name: str, stdout: str = "", stderr: str = "", status: int = 0) -> None:
        """Has a command answer, and note how it was called."""
        (self.folder / f"{name}.out").write_text(stdout)
        (self.folder / f"{name}.err").write_text(stderr)
        script = f'#!/bin/sh\necho "$@" >>{self.folder}/{name}.calls\ncat {self.folder}/{name}.out\n'
        (self.folder / name).write_text(script + f"cat {self.folder}/{name}.err >&2\nexit {status}\n")
        (self.folder / name).chmod(0o755)

    def calls(self, name: str) -> list[str]:
        """How a command was called."""
        path = self.folder / f"{name}.calls"
        return path.read_text().splitlines() if path.exists() else []


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Commands:
    found = Commands(tmp_path)
    for name in ("sbatch", "squeue", "scancel", "scontrol"):
        found.answer(name)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(slurm, "SECONDS_BETWEEN_LOOKS", 0.01)
    return found


def state() -> JobState:
    """Where the job 41 stands."""
    return Slurm().states(["41"])["41"]


def test_a_job_is_known_by_its_number(commands: Commands) -> None:
    commands.answer("sbatch", "41\n")
    commands.answer("squeue", "41|PENDING|Priority|2026-11-22T10:00:00|\n")
    assert Slurm().submit(JOB) == "41"
    assert commands.calls("sbatch") == ["--parsable runs/big/job/job.sh"]


def test_a_job_that_could_never_start_is_cancelled(commands: Commands) -> None:
    commands.answer("sbatch", "41\n")
    commands.answer("squeue", "41|PENDING|PartitionTimeLimit|N/A|\n")
    with pytest.raises(UserError, match=r"--time: .*job 41 would wait for ever, PartitionTimeLimit"):
        Slurm().submit(JOB)
    assert commands.calls("scancel") == ["41"]


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("Invalid partition name specified", "--partition: the cluster has no such one; `sinfo` lists them"),
        ("Invalid account or account/partition combination specified", "--account, --partition: they do not go"),
        ("Invalid qos specification", "--qos: there is no such one for you"),
        ("Requested node configuration is not available", "--nodes, --gpus_per_node, --tasks_per_node, --cpus_per"),
        ("Requested time limit is invalid (missing or exceeds some limit)", "--time: the partition has no nodes"),
        ("Invalid node name specified", "--options: --nodelist or --exclude names a node"),
        ("Job violates accounting/QOS policy (job submit limit, ...)", "--qos, --account: your limit of jobs"),
        ("Slurm temporarily unable to accept job, sleeping and retrying", "the queue is full; submit again later"),
        ("Unable to contact slurm controller (connect failure)", "its controller does not answer; try again"),
        ("Something nobody has thought of", "sbatch (SLURM: Something nobody has thought of)"),
    ],
)
def test_what_sbatch_refuses_names_the_flag(commands: Commands, said: str, told: str) -> None:
    commands.answer("sbatch", stderr=f"sbatch: error: Batch job submission failed: {said}\n", status=1)
    with pytest.raises(UserError) as caught:
        Slurm().submit(JOB)
    assert str(caught.value).startswith(told)
    assert f"(SLURM: {said})" in str(caught.value)


def test_no_slurm_at_all_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NoSchedulerError, match="sbatch: there is no SLURM on this machine; go to a login node"):
        Slurm().submit(JOB)


def test_a_slurm_that_hangs_is_not_waited_for_for_ever(commands: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    (commands.folder / "squeue").write_text("#!/bin/sh\nexec sleep 60\n")
    monkeypatch.setattr(slurm, "PATIENCE_SECONDS", 0.2)
    with pytest.raises(UserError, match=r"squeue: SLURM does not answer for 0.2 seconds"):
        state()


def test_of_an_array_all_tasks_are_counted_and_all_nodes_named(commands: Commands) -> None:
    waiting = "".join(f"41_{index}|PENDING|Priority|N/A|\n" for index in (3, 4))
    running = "41_1|RUNNING|None|2026|n2\n41_2|RUNNING|None|2026|n3\n"
    commands.answer("squeue", f"{waiting}41_0|COMPLETED|None|2026|n1\n{running}")
    assert state() == JobState("running", "None", "2026", "n2,n3", "2 running, 2 pending, 1 completed")


def test_tasks_of_an_array_that_are_asked_for_together_are_not_mixed_up(commands: Commands) -> None:
    commands.answer("squeue", "41_1|RUNNING|None|2026|n2\n41_3|PENDING|Priority|N/A|\n")
    states = Slurm().states(["41_1", "41_3", "41_4", "41"])
    assert [(states[number].word, states[number].tasks) for number in ("41_1", "41_3", "41_4")] == [
        *(("running", ""), ("pending", ""), (GONE, ""))
    ]
    assert states["41"].tasks == "1 running, 1 pending"


def test_one_question_is_enough_for_all_jobs(commands: Commands) -> None:
    commands.answer("squeue", "41|RUNNING|None|2026|n1\n43|COMPLETED|None|2026|n2\n")
    states = Slurm().states(["41", "42", "43"])
    assert {number: state.word for number, state in states.items()} == {"41": "running", "42": GONE, "43": "completed"}
    assert [call.split()[-1] for call in commands.calls("squeue")] == ["41,42,43"]


def test_a_task_of_an_array_is_asked_for_alone(commands: Commands) -> None:
    commands.answer("squeue", "41_3|RUNNING|None|2026|n1\n")
    assert Slurm().states(["41_3"])["41_3"].word == "running"
    assert commands.calls("squeue")[0].split()[-1] == "41_3"


def test_a_job_of_another_cluster_is_asked_for_there(commands: Commands) -> None:
    commands.answer("sbatch", "41;far\n")
    commands.answer("squeue", "CLUSTER: far\n41|RUNNING|None|2026|n1\n")
    number = Slurm().submit(JOB)
    Slurm().cancel(number)
    Slurm().requeue(number)
    assert (shown_number(number), commands.calls("scancel")) == ("41", ["--clusters=far 41"])
    assert commands.calls("scontrol") == ["--clusters=far requeue 41"]
    assert commands.calls("squeue")[0].endswith(" --clusters=far --jobs 41")
    assert {number: state.word for number, state in Slurm().states(["41:far_too", "41:far", "42"]).items()} == {
        **{"41:far": "running", "41:far_too": "running", "42": GONE}
    }
    assert len(commands.calls("squeue")) == 4


def test_a_job_that_slurm_has_forgotten_is_gone(commands: Commands) -> None:
    commands.answer("squeue", stderr="slurm_load_jobs error: Invalid job id specified\n", status=1)
    assert state() == JobState(GONE)


def test_cancel_and_requeue_are_slurms_own(commands: Commands) -> None:
    Slurm().cancel("41")
    Slurm().requeue("41")
    assert (commands.calls("scancel"), commands.calls("scontrol")) == (["41"], ["requeue 41"])


def test_a_job_inherits_nothing_of_the_job_that_submits_it(
    commands: Commands, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "7")
    monkeypatch.setenv("SLURM_CONF", "/etc/own.conf")
    commands.answer("squeue", "41|RUNNING|None||n1\n")
    (tmp_path / "sbatch").write_text(f"#!/bin/sh\nenv >{tmp_path}/env\necho 41\n")
    assert Slurm().submit(JOB) == "41"
    found = (tmp_path / "env").read_text().splitlines()
    assert [line for line in found if line.startswith("SLURM_")] == ["SLURM_CONF=/etc/own.conf"]


def test_the_script_is_that_of_the_job() -> None:
    assert "--array=0-3" in Slurm().script(replace(JOB, array="0-3"))


def test_a_job_that_is_taken_keeps_its_number_though_nobody_answers_afterwards(commands: Commands) -> None:
    commands.answer("sbatch", "41\n")
    commands.answer("squeue", stderr="slurm_load_jobs error: Unable to contact slurm controller\n", status=1)
    assert Slurm().submit(JOB) == "41"


@pytest.mark.parametrize("word", ["SIGNALING", "STOPPED", "SPECIAL_EXIT", "STAGE_OUT", "REQUEUE_HOLD"])
def test_a_job_between_two_states_is_not_over(commands: Commands, word: str) -> None:
    commands.answer("squeue", f"41|{word}|None|N/A|n1\n")
    assert not state().is_over


def test_an_array_of_which_a_task_failed_has_not_completed(commands: Commands) -> None:
    commands.answer("squeue", "41_0|COMPLETED|None|2026|n1\n41_1|FAILED|NonZeroExitCode|2026|n2\n")
    assert state().word == "failed"


def test_what_a_user_prefers_to_see_of_the_queue_hides_no_job(
    commands: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SQUEUE_PARTITION", "debug")
    (commands.folder / "squeue").write_text('#!/bin/sh\n[ "$SQUEUE_PARTITION" ] || echo "41|RUNNING|None||n1"\n')
    assert state().word == "running"


def test_a_full_queue_is_told_though_sbatch_tries_on_for_minutes(
    commands: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = "sbatch: error: Slurm temporarily unable to accept job, sleeping and retrying."
    (commands.folder / "sbatch").write_text(f"#!/bin/sh\necho '{said}' >&2\nexec sleep 60\n")
    monkeypatch.setattr(slurm, "PATIENCE_SECONDS", 0.5)
    with pytest.raises(UserError, match="the queue is full; submit again later"):
        Slurm().submit(JOB)


def test_what_a_script_says_wins_over_a_users_variables(
    commands: Commands, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("PARTITION", "ACCOUNT", "NO_REQUEUE"):
        monkeypatch.setenv(f"SBATCH_{name}", "mine")
    commands.answer("squeue", "41|RUNNING|None||n1\n")
    (tmp_path / "sbatch").write_text(f"#!/bin/sh\nenv >{tmp_path}/env\necho 41\n")
    Slurm().submit(replace(JOB, cluster=Cluster(partition="long")))
    found = (tmp_path / "env").read_text().splitlines()
    assert [line for line in found if line.startswith("SBATCH_")] == ["SBATCH_ACCOUNT=mine"]
