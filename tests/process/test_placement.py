"""How many machines and processes there are, by what srun and torchrun say of it."""

import pytest

from dlib.args import HardwareArgs
from dlib.process.errors import UserError
from dlib.process.placement import count_nodes, refuse_idle_nodes, starts_rest_of_node
from dlib.training.devices import find_devices, told_devices
from tests.process.test_ranks import VARIABLES, set_environment

TORCHRUN = {"RANK": "5", "LOCAL_RANK": "1", "WORLD_SIZE": "8", "LOCAL_WORLD_SIZE": "4"}
BATCH_SCRIPT = {"SLURM_JOB_ID": "7", "SLURM_JOB_NUM_NODES": "2", "SLURM_PROCID": "0", "SLURM_LOCALID": "0"}
SHELL_STEP = BATCH_SCRIPT | {"SLURM_STEP_ID": "4294967290", "SLURM_STEP_NUM_TASKS": "1", "SLURM_STEP_NUM_NODES": "1"}
MORE_VARIABLES = ("SLURM_JOB_ID", "SLURM_JOB_NUM_NODES", "SLURM_STEP_ID", "SLURM_STEP_NUM_NODES")


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*VARIABLES, *MORE_VARIABLES):
        monkeypatch.delenv(name, raising=False)


def step(tasks: int, nodes: int, tasks_per_node: str) -> dict[str, str]:
    """The variables of a step's first task."""
    numbers = {"STEP_NUM_TASKS": tasks, "STEP_NUM_NODES": nodes, "JOB_NUM_NODES": nodes, "STEP_ID": 0}
    texts = {"STEP_TASKS_PER_NODE": tasks_per_node, "TASKS_PER_NODE": tasks_per_node, "PROCID": "0", "LOCALID": "0"}
    return {f"SLURM_{name}": str(value) for name, value in {**numbers, **texts}.items()}


@pytest.mark.parametrize(
    ("variables", "nodes", "each"),
    [
        ({}, 1, 1),
        (TORCHRUN, 2, 4),
        ({"LOCAL_RANK": "0", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}, 1, 2),
        (step(4, 2, "2(x2)"), 2, 2),
        (step(2, 2, "1(x2)"), 2, 1),
        (step(3, 1, "3"), 1, 3),
        (step(1, 1, "1"), 1, 1),
        (BATCH_SCRIPT, 1, 1),
        (step(2, 2, "1(x2)") | TORCHRUN, 2, 4),
    ],
    ids=["alone", "torchrun", "one-agent", "two-by-two", "one-each", "one-node", "one-task", "script", "srun-torchrun"],
)
def test_nodes_and_processes_are_those_that_were_started(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], nodes: int, each: int
) -> None:
    set_environment(monkeypatch, variables)
    args = HardwareArgs("cpu")
    devices = find_devices(args)
    assert (devices.num_nodes, len(devices.indices), told_devices(args)) == (nodes, each, each)


def test_one_task_a_node_starts_the_others_of_its_node(monkeypatch: pytest.MonkeyPatch) -> None:
    set_environment(monkeypatch, step(2, 2, "1(x2)"))
    assert starts_rest_of_node()
    assert find_devices(HardwareArgs("cpu", num_devices=3)).world_size == 6


def test_other_nodes_and_other_devices_than_were_started_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    set_environment(monkeypatch, step(4, 2, "2(x2)"))
    with pytest.raises(UserError, match=r"^--num_nodes 3: the processes of this run were started on 2: leave "):
        count_nodes(3)
    with pytest.raises(UserError, match=r"2 tasks on each node, for 4 devices there: give --ntasks-per-node 4, or 1 "):
        find_devices(HardwareArgs("cpu", num_devices=4))
    set_environment(monkeypatch, step(3, 2, "2,1"))
    with pytest.raises(UserError, match="started 2,1 tasks on the nodes, for 2 devices on each: add --ntasks-per-node"):
        find_devices(HardwareArgs("cpu", num_devices=2))


@pytest.mark.parametrize("variables", [BATCH_SCRIPT, SHELL_STEP], ids=["script", "shell"])
def test_a_forgotten_srun_is_told_and_one_node_may_be_asked_for(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]
) -> None:
    set_environment(monkeypatch, variables)
    for wanted in (-1, 2):
        with pytest.raises(UserError, match=r"^this SLURM job has 2 nodes.* launch with srun, .* --num_nodes 1 to"):
            refuse_idle_nodes(wanted)
    refuse_idle_nodes(1)


@pytest.mark.parametrize("variables", [step(2, 2, "1(x2)"), step(1, 1, "1"), TORCHRUN | BATCH_SCRIPT, {}])
def test_processes_that_were_launched_idle_no_node(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
    set_environment(monkeypatch, variables)
    refuse_idle_nodes(-1)
