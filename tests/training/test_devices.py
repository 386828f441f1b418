"""Devices, chosen on a machine that may have none but its CPU."""

import gc

import pytest
import torch

from dlib.args import HardwareArgs
from dlib.process.errors import UserError
from dlib.process.threads import usable_cores
from dlib.training.devices import Devices, choose_precision, find_devices

needs_no_cuda = pytest.mark.skipif(torch.cuda.is_available(), reason="CUDA devices are there")


@pytest.mark.parametrize(("num_devices", "processes"), [(-1, 1), (1, 1), (3, 3)])
def test_cpu_has_as_many_processes_as_are_asked_for(num_devices: int, processes: int) -> None:
    devices = find_devices(HardwareArgs(accelerator="cpu", num_devices=num_devices, num_nodes=2))
    assert devices.indices == (0,) * processes
    assert devices.world_size == 2 * processes
    assert devices.precision == "32-true"
    assert devices.gpus == ()
    assert str(devices) == f"{processes} x CPU process on each of 2 nodes, 32-true"


def test_what_a_program_has_made_is_not_hidden_from_the_collector_by_a_look_for_devices() -> None:
    before = gc.get_freeze_count()
    find_devices(HardwareArgs())
    assert gc.get_freeze_count() == before


needs_cuda = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")]


@needs_no_cuda
@pytest.mark.parametrize("accelerator", ["cuda", "gpu", "mps"])
def test_accelerator_that_is_not_there_is_refused(accelerator: str) -> None:
    if torch.backends.mps.is_available():
        pytest.skip("an Apple GPU is there")
    with pytest.raises(UserError, match=f"--accelerator {accelerator}"):
        find_devices(HardwareArgs(accelerator=accelerator))


@needs_no_cuda
def test_a_job_that_was_given_gpus_does_not_compute_on_the_cpu_unasked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setenv("SLURM_GPUS_ON_NODE", "2")
    with pytest.raises(
        UserError, match=r"--accelerator auto: this SLURM job has GPUs \(SLURM_GPUS_ON_NODE=2\), and torch"
    ):
        find_devices(HardwareArgs())
    assert find_devices(HardwareArgs("cpu")).accelerator == "cpu"
    monkeypatch.setenv("SLURM_GPUS_ON_NODE", "0")
    assert find_devices(HardwareArgs()).accelerator == "cpu"


def test_an_exact_reduce_over_no_power_of_two_is_refused() -> None:
    for num_devices, num_nodes in ((3, 1), (2, 3)):
        with pytest.raises(UserError, match=r"--exact_reduce.*power of two"):
            find_devices(HardwareArgs("cpu", num_devices=num_devices, num_nodes=num_nodes, exact_reduce=True))
    assert find_devices(HardwareArgs("cpu", num_devices=2, num_nodes=2, exact_reduce=True)).world_size == 4


def test_cuda_device_ids_without_cuda_are_refused() -> None:
    with pytest.raises(UserError, match="--cuda_device_ids: the accelerator is cpu"):
        find_devices(HardwareArgs(accelerator="cpu", cuda_device_ids=[0]))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_cuda_devices_that_are_not_there_are_refused() -> None:
    count = torch.cuda.device_count()
    for args in (HardwareArgs(cuda_device_ids=[count]), HardwareArgs(num_devices=count + 1)):
        with pytest.raises(UserError, match="devices are found"):
            find_devices(args)
    assert find_devices(HardwareArgs(cuda_device_ids=[count - 1])).indices == (count - 1,)


def test_wanted_precision_is_kept() -> None:
    assert choose_precision("64-true", "cpu", (0,)) == "64-true"
    assert choose_precision("auto", "cpu", (0,)) == "32-true"
    assert choose_precision("auto", "mps", (0,)) == "32-true"


@pytest.mark.parametrize(
    ("name", "precision", "peak"),
    [
        ("NVIDIA A100-SXM4-80GB", "bf16-mixed", 312e12),
        ("NVIDIA H200", "bf16-true", 989e12),
        ("NVIDIA H100 80GB HBM3", "bf16-mixed", 989e12),
        ("NVIDIA H100 PCIe", "bf16-mixed", 756e12),
        ("Tesla V100-SXM2-32GB", "16-mixed", 125e12),
        ("NVIDIA GeForce RTX 4090", "bf16-mixed", 165e12),
        ("NVIDIA H200", "32-true", None),
        ("NVIDIA A10G", "bf16-mixed", None),
    ],
)
def test_peak_is_told_where_it_is_known_and_used(name: str, precision: str, peak: float | None) -> None:
    devices = Devices("cuda", (0, 1), 2, precision, (name, name))
    assert devices.peak_flops == peak
    assert devices.gpus == (name,) * 4


@pytest.mark.parametrize(
    "args",
    [
        HardwareArgs("cpu", num_devices=2**31),
        HardwareArgs("cpu", num_devices=2**62),
        pytest.param(HardwareArgs("cuda", num_devices=2**31), marks=needs_cuda),
    ],
)
def test_more_devices_than_anybody_has_are_refused_before_they_are_counted(args: HardwareArgs) -> None:
    with pytest.raises(UserError, match=f"--num_devices {args.num_devices}"):
        find_devices(args)


def test_a_step_with_other_numbers_of_tasks_on_its_nodes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("PROCID", "0"), ("STEP_NUM_TASKS", "4"), ("STEP_TASKS_PER_NODE", "3,1")):
        monkeypatch.setenv(f"SLURM_{name}", value)
    with pytest.raises(UserError, match="3,1 tasks on the nodes, for 2 devices on each: add --ntasks-per-node"):
        find_devices(HardwareArgs("cpu", num_devices=2, num_nodes=2))
    monkeypatch.setenv("SLURM_STEP_TASKS_PER_NODE", "2(x2)")
    assert find_devices(HardwareArgs("cpu", num_devices=2, num_nodes=2)).world_size == 4


def test_one_process_that_a_launcher_started_does_not_stand_for_two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "1")
    with pytest.raises(UserError, match="1 processes were launched, for 2 devices"):
        find_devices(HardwareArgs(accelerator="cpu", num_devices=2))


def test_processes_that_were_launched_otherwise_than_the_devices_say_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UserError, match="2 processes were launched, for 1 devices; give --num_devices"):
        find_devices(HardwareArgs(accelerator="cpu"))
    assert find_devices(HardwareArgs(accelerator="cpu", num_devices=2)).world_size == 2


@pytest.mark.parametrize(
    ("processes", "strategy", "omp_num_threads", "threads"),
    [
        (1, "auto", None, None),
        (1, "ddp", None, usable_cores()),
        (2, "auto", None, max(1, usable_cores() // 2)),
        (16, "auto", None, max(1, usable_cores() // 16)),
        (2, "auto", "7", None),
    ],
)
def test_the_record_tells_the_threads_that_a_process_is_going_to_compute_with(
    processes: int, strategy: str, omp_num_threads: str | None, threads: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if omp_num_threads is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", omp_num_threads)
    told = find_devices(HardwareArgs(accelerator="cpu", num_devices=processes)).describe(strategy)
    assert (told["processes"], told["threads"]) == (processes, threads or torch.get_num_threads())
    assert (told["accelerator"], told["gpus"], told["precision"]) == ("cpu", [], "32-true")
