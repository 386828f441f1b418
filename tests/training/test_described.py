"""A training is checked for the devices that a job gets, and not for those of this machine."""

from dataclasses import replace

import pytest

from dlib.args import HardwareArgs
from dlib.config.configuration import dump_config, parse_args
from dlib.process.errors import UserError
from dlib.training.described import Described, check_training, settle_described
from tests.launching import Place
from tests.runs.folders import write_run

EIGHT = Described(nodes=2, gpus=8, tasks=8)
CPUS = Described(nodes=2, gpus=0, tasks=2)


def words(place: Place, *further: str) -> list[str]:
    """A training on whatever devices there are."""
    return place.arguments("big", "--accelerator", "auto", "-b", "64", "--micro_batch_size", "2", *further)


@pytest.mark.parametrize(
    ("described", "devices"),
    [
        (Described(1, 0, 1), ("cpu", 1, 1)),
        (Described(1, 8, 8), ("cuda", 8, 1)),
        (Described(1, 8, 1), ("cuda", 8, 1)),  # one task starts the others of its node
        (EIGHT, ("cuda", 8, 2)),
        (CPUS, ("cpu", 2, 2)),
    ],
)
def test_a_training_takes_the_devices_of_the_job(
    place: Place, described: Described, devices: tuple[str, int, int]
) -> None:
    training = check_training(words(place), described)
    hardware = training.args.hardware
    assert (hardware.accelerator, hardware.num_devices, hardware.num_nodes) == devices
    assert training.folder.root == place.runs / "big"
    assert not place.runs.exists()


@pytest.mark.parametrize(
    ("described", "given", "error"),
    [
        (
            Described(1, 0, 1),
            ["--accelerator", "cuda"],
            "--accelerator cuda: the job gets no GPU; give --gpus_per_node",
        ),
        (EIGHT, ["--num_devices", "9"], "--num_devices 9: the job gets 8 GPUs a node"),
        (EIGHT, ["--cuda_device_ids", "0", "8"], "--cuda_device_ids: the job gets GPUs 0 to 7"),
        (EIGHT, ["--num_nodes", "4"], "--num_nodes 4: the job gets 2 (--nodes); leave it out"),
        (EIGHT, ["--num_nodes", "1"], "--num_nodes 1: the job gets 2 (--nodes); leave it out"),
        (CPUS, ["--num_devices", "1"], "--tasks_per_node 2: srun would start as many processes"),
        (EIGHT, ["-b", "24"], "--batch_size 24 is not a multiple"),
        (Described(1, 0, 1), ["--precision", "16-mixed"], "--precision 16-mixed: a CPU does not have it"),
        (Described(3, 0, 1), ["--exact_reduce", "-b", "48"], "--exact_reduce: 3 devices are no power of two"),
        (CPUS, ["--attn_implementation", "flex_attention"], "computes no gradients on a CPU"),
        (CPUS, ["--learning_rat", "1"], "unknown flag --learning_rat"),
        (CPUS, ["-d", "nowhere"], "nowhere"),
        (CPUS, ["--plan"], "--plan leaves no run: start it without a job"),
        (CPUS, ["--fast_dev_run"], "--fast_dev_run leaves no run: start it without a job"),
    ],
)
def test_what_would_fail_there_is_told_here(place: Place, described: Described, given: list[str], error: str) -> None:
    with pytest.raises(UserError) as caught:
        check_training(words(place, *given), described)
    assert error in str(caught.value)


def test_texts_in_a_container_are_looked_for_there(place: Place) -> None:
    in_container = replace(EIGHT, same_files=False)
    assert check_training(words(place, "-d", "/only/in/the/image"), in_container).folder.name == "big"


def test_a_finished_run_needs_no_job(place: Place) -> None:
    folder = check_training(words(place), CPUS).folder
    folder.root.mkdir(parents=True)
    folder.config.write_text(dump_config(parse_args(words(place), description="").args))
    folder.write_status("finished", 6, 6, reason="good enough")
    with pytest.raises(UserError, match="run 'big' is finished; --branch big --name another goes on"):
        check_training(words(place), CPUS)


@pytest.mark.parametrize(
    ("flags", "goals", "told"),
    [
        ((), ("6 steps", "12"), "--training_goal 12: --schedule linear depends on the goal, and step 3 would have had"),
        (("--schedule", "cosine"), ("1k tokens", "2k tokens"), "cosine depends on the goal, and step 3 would"),
        (("--schedule", "wsd", "--decay", "50%"), ("6", "12"), "wsd depends on the goal, and step 5 would"),
        (("--schedule", "constant"), ("6", "12"), None),
        ((), ("6 steps", "48 samples"), None),  # the same goal in other words
        ((), ("6", "2 epochs"), None),  # what an epoch is, no flag tells
    ],
)
@pytest.mark.parametrize("same_files", [True, False])
def test_a_goal_with_which_the_steps_would_have_been_others_is_refused(
    place: Place, flags: tuple[str, ...], goals: tuple[str, str], told: str | None, same_files: bool
) -> None:
    command = words(place, "-b", "8", *flags)
    begun = parse_args([*command, "--training_goal", goals[0]], description="").args
    folder = write_run(place.runs, "big", args=begun, losses={2: 3.0, 6: 2.0})
    described = Described(1, 0, 1, same_files=same_files)
    if told is None:
        assert check_training([*command, "--training_goal", goals[1]], described).folder.root == folder.root
        return
    with pytest.raises(UserError, match="--branch big --name another goes on from there") as caught:
        check_training([*command, "--training_goal", goals[1]], described)
    assert told in str(caught.value)


def test_a_run_that_a_process_holds_is_left_to_it(place: Place) -> None:
    folder = check_training(words(place), CPUS).folder
    folder.root.mkdir(parents=True)
    with folder.locked(), pytest.raises(UserError, match="run 'big' is in use by another process"):
        check_training(words(place), CPUS)


def test_the_whole_plan_is_that_of_the_described_devices(place: Place) -> None:
    plan = check_training(words(place, "--training_goal", "3"), EIGHT).plan()
    assert "devices      8 x GPU on each of 2 nodes, bf16-mixed" in plan
    assert "batch        64 sequences a step = 2 micro_batch_size x 16 devices x 2 accumulation" in plan
    assert not place.runs.exists()
    with pytest.raises(UserError, match="do not fit into the run's 3 steps"):
        check_training(
            words(place, "--training_goal", "3", "--schedule", "wsd", "--warmup", "2 steps", "--decay", "3 steps"),
            EIGHT,
        ).plan()


def test_gpus_are_expected_where_the_job_gets_some() -> None:
    settled = settle_described(HardwareArgs(), EIGHT)
    assert (settled.accelerator, settled.num_devices, settled.num_nodes) == ("cuda", 8, 2)
    assert settle_described(HardwareArgs(accelerator="cpu"), replace(EIGHT, tasks=3)).num_devices == 3
