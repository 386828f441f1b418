"""Training on one GPU: its precisions, and the same bits, where they are promised, whatever prepares, saves and kills.

Every program here is a new interpreter: CUDA cannot be begun again in a process forked from one that may have begun it.
"""

import json
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from dlib.runs.folder import RunFolder
from dlib.runs.metrics_log import read_metrics
from dlib.training.checkpoints import read_training_state
from dlib.training.devices import known_peak
from tests.exactness.comparing import assert_same_end, differences
from tests.exactness.faults import Fault
from tests.launching import ROOT, SMALL_MODEL, TIMEOUT_SECONDS, Place, environment, train

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.slow,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA"),
]

ON_GPU = ("--accelerator", "cuda", "--num_devices", "1")
SHORT = "--training_goal 12 --eval_interval 4 --save_interval 3 --max_checkpoints -1".split()
EXACT = (*ON_GPU, *SHORT, "--exact_reduce")
WITHOUT_DROPOUT = ("--model_overrides", *SMALL_MODEL, "hidden_dropout_prob=0")
CLM = ("--objective", "clm", "--model", "configs/models/gpt2-tiny", "--model_overrides", "n_embd=32", "n_layer=2")
BF16, FP16 = ("--precision", "bf16-mixed"), ("--precision", "16-mixed")


SEED_TWICE = """
import torch
from dlib.process.seeding import seed_torch
torch.cuda.init()
states = []
for begun_only in (False, True):
    seed_torch("dropout", 1, 2, begun_only=begun_only)
    states.append(torch.stack(torch.cuda.get_rng_state_all()))
    torch.rand(4, device="cuda")
assert torch.equal(*states)
"""


def run(place: Place, name: str, scratch: Path, *further: str) -> RunFolder:
    """A run of `train.py` that ends well."""
    result = train(place.arguments(name, *further), scratch, warm=False)
    assert result.status == 0, result.stderr
    return place.folder(name)


def losses(folder: RunFolder) -> list[float]:
    """The training loss of each optimizer step."""
    return [record["train/loss"] for record in read_metrics(folder.metrics)]


def test_a_gpu_has_the_same_generator_where_devices_that_have_not_begun_are_left_out() -> None:
    subprocess.run([sys.executable, "-c", SEED_TWICE], cwd=ROOT, timeout=TIMEOUT_SECONDS, check=True)


@pytest.fixture(scope="module")
def on_cpu(session_place: Place, tmp_path_factory: pytest.TempPathFactory) -> list[float]:
    """The losses of the run on a CPU in float32."""
    return losses(run(session_place, "on-cpu", tmp_path_factory.mktemp("cpu"), *SHORT, *WITHOUT_DROPOUT))


@pytest.mark.parametrize(
    ("precision", "tolerance"), [("32-true", 1e-3), ("bf16-mixed", 0.02), ("16-mixed", 0.02), ("bf16-true", 0.05)]
)
def test_a_gpu_learns_in_each_precision_what_a_cpu_does(
    place: Place, tmp_path: Path, on_cpu: Sequence[float], precision: str, tolerance: float
) -> None:
    folder = run(place, "run", tmp_path, *SHORT, *WITHOUT_DROPOUT, *ON_GPU, "--precision", precision)
    found = losses(folder)
    assert found[0] == pytest.approx(on_cpu[0], rel=tolerance)
    if precision == "32-true":
        assert found == pytest.approx(on_cpu, rel=tolerance)
    assert min(found[-3:]) < 0.95 * found[0]
    performance = read_metrics(folder.performance)[-1]
    assert performance["performance/memory_mib"] > 0
    is_known = known_peak(torch.cuda.get_device_name()) is not None and precision != "32-true"
    assert is_known == ("performance/model_flops_utilization" in performance)
    assert 0 <= performance.get("performance/model_flops_utilization", 0) < 1


@pytest.mark.parametrize(
    "further",
    [
        pytest.param(BF16, id="bf16"),
        pytest.param(FP16, id="fp16"),
        pytest.param((*BF16, *CLM), id="bf16-clm"),
        pytest.param(("--precision", "32-true"), id="fp32"),
    ],
)
def test_a_run_that_is_killed_ends_with_the_bits_of_one_that_is_not(
    place: Place, tmp_path: Path, further: Sequence[str]
) -> None:
    undisturbed = run(place, "undisturbed", tmp_path, *EXACT, *further)
    for fault in (Fault("inside state", 2, str(place.runs)), Fault("inside metrics", 3, str(place.runs))):
        killed = train(place.arguments("killed", *EXACT, *further), tmp_path, warm=False, fault=fault)
        assert killed.status == -signal.SIGKILL, killed.stderr
    assert differences(run(place, "killed", tmp_path, *EXACT, *further), undisturbed) == []


def test_the_loss_scale_of_fp16_is_kept(place: Place, tmp_path: Path) -> None:
    folder = run(place, "run", tmp_path, *EXACT, *FP16)
    kept = {step: read_training_state(path)["precision"] for step, path in folder.whole_checkpoints()}
    assert list(kept) == [3, 6, 9, 12]
    assert all(state["scale"] >= 1 for state in kept.values())
    # It counts the steps since the scale last changed, which it does at a step that overflows.
    assert len({state["_growth_tracker"] for state in kept.values()}) > 1


def test_two_loader_processes_and_a_thread_that_saves_change_no_bit(place: Place, tmp_path: Path) -> None:
    alone = run(place, "alone", tmp_path, *EXACT, *BF16)
    assert differences(run(place, "loaders", tmp_path, *EXACT, *BF16, "--num_workers", "2"), alone) == []
    assert differences(run(place, "thread", tmp_path, *EXACT, *BF16, "--save_in_background"), alone) == []


def test_checkpoints_name_no_gpu(place: Place, tmp_path: Path) -> None:
    folder = run(place, "run", tmp_path, *ON_GPU, *SHORT, *BF16)
    state = torch.load(folder.last / "state.ckpt", weights_only=True)  # each tensor where it was saved
    assert {value.device.type for kept in state["optimizer"]["state"].values() for value in kept.values()} == {"cpu"}
    assert all(group["fused"] for group in state["optimizer"]["param_groups"])


@pytest.mark.parametrize("precision", [BF16, FP16])
def test_an_evaluation_of_a_checkpoint_has_the_bits_of_training(
    place: Place, tmp_path: Path, precision: Sequence[str]
) -> None:
    folder = run(place, "run", tmp_path, *EXACT, *precision)
    words = [str(folder.root), "--json", "--cache_dir", str(place.cache), *ON_GPU]
    done = subprocess.run(
        [sys.executable, "eval.py", *words],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
    )
    assert done.returncode == 0, done.stderr
    trained = {name: value for name, value in read_metrics(folder.metrics)[-1].items() if name.startswith("dev/")}
    assert {f"dev/{name}": value for name, value in json.loads(done.stdout)["metrics"].items()} == trained


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices")
def test_with_exact_reduce_two_gpus_have_the_bits_of_one(place: Place, tmp_path: Path) -> None:
    one = run(place, "one", tmp_path, *EXACT, *BF16)
    assert_same_end(run(place, "two", tmp_path, *EXACT, *BF16, "--num_devices", "2"), one)
