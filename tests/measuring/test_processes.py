"""The processes of an evaluation share work, and are seen to move where there is none."""

from dlib.measuring.processes import Processes
from dlib.process.standing import Standing
from dlib.training.devices import Devices


def test_each_look_for_work_is_a_movement() -> None:
    processes = Processes(Devices("cpu", (0,), 1, "32-true", ("CPU process",)))
    before = Standing.moves
    assert [*processes.share([None, "work", None])] == ["work"]
    assert Standing.moves - before == 4
