"""`--distributed_strategy fsdp`: DDP's losses to 1e-5, and checkpoints that any strategy goes on from."""

from dataclasses import replace
from pathlib import Path

import pytest
from safetensors.torch import load_file
from transformers import AlbertConfig

from dlib.process.versions import STRATEGIES, has
from dlib.runs.folder import RunFolder
from dlib.runs.paths import CheckpointFolder
from tests.exactness.comparing import assert_same_end
from tests.exactness.ranks import assert_equal_within_float_tolerance, start_ranks, train_ranks
from tests.exactness.test_elastic import GOAL, KINDS, STEPS_OF_A_SESSION
from tests.exactness.test_own_networks import NETWORK
from tests.exactness.test_processes_of_objectives import flags_of, with_documents
from tests.launching import Place, recorded_steps
from tests.own_networks import NETWORKS
from tests.toys import OPTIMIZERS_THERE, SIZES

pytestmark = pytest.mark.skipif(not has(STRATEGIES["fsdp"]), reason="torch has no such FSDP")

FSDP, DDP = ("--distributed_strategy", "fsdp"), ("--distributed_strategy", "ddp")
EMA = ("--ema_decay", "0.9")
SHORT = ("--training_goal", "8", "--eval_interval", "4", "--save_interval", "4", *EMA)
# Strategy and number of processes of each session.
CHAIN = ((DDP, 1), (FSDP, 2), (FSDP, 4), (DDP, 2), (FSDP, 1))
slow = pytest.mark.slow
ONLY_SLOW = {
    "lines": KINDS["lines"],
    "buckets": KINDS["buckets"],
    "clm": KINDS["clm"],
    "accumulated in shards, recomputed": ("-b", "16", "--gradient_checkpointing"),
    "double": ("--precision", "64-true"),
    "layers at rates of their own": ("--layer_decay", "0.8"),
    **{
        f"optimizer {name}": ("--optimizer", name, "--learning_rate", "1e-3")
        for name in OPTIMIZERS_THERE
        if name != "adafactor"
    },
}


def whole(place: Place, scratch: Path, world_size: int, *further: str) -> RunFolder:
    """The run in one session of `world_size` processes."""
    alone = replace(place, runs=place.runs / "-".join(["whole", str(world_size), *further[-2:]]).replace("/", ""))
    results = train_ranks(alone.arguments("run", *further), world_size, scratch)
    assert [result.status for result in results] == [0] * world_size, results[0].stderr
    return alone.folder("run")


def assert_same_weights(folder: RunFolder, other: RunFolder) -> None:
    """The last models of both have the same names of weights, and values to 5e-4; Muon computes in bfloat16."""
    ours, theirs = (load_file(CheckpointFolder(run.last).model / "model.safetensors") for run in (folder, other))
    assert ours.keys() == theirs.keys()
    for name, weight in ours.items():
        assert weight.numpy() == pytest.approx(theirs[name].numpy(), rel=1e-3, abs=5e-4), name


@pytest.mark.parametrize(
    "further", [(), *(pytest.param(flags, marks=slow, id=name) for name, flags in ONLY_SLOW.items())]
)
def test_two_processes_have_the_losses_of_ddp_and_save_the_same_model(
    place: Place, tmp_path: Path, further: tuple[str, ...]
) -> None:
    ours, theirs = (whole(place, tmp_path, 2, *SHORT, *further, *strategy) for strategy in (FSDP, DDP))
    assert_equal_within_float_tolerance(ours, theirs)
    assert_same_weights(ours, theirs)


@slow
@pytest.mark.parametrize("kind", ["replaced_token_detection", "question_answering", "seq2seq", "span_corruption"])
def test_objectives_with_networks_and_texts_of_their_own_have_the_losses_of_ddp(
    place: Place, tmp_path: Path, kind: str
) -> None:
    # In double precision, as a token that replaces another is drawn: a rounding error may draw its neighbour.
    place, further = with_documents(place, kind, tmp_path), (*flags_of(kind), "--precision", "64-true")
    ours, theirs = (whole(place, tmp_path, 2, *further, *SHORT, *strategy) for strategy in (FSDP, DDP))
    assert_equal_within_float_tolerance(ours, theirs)


def test_a_run_that_moves_between_strategies_and_numbers_of_processes_has_the_losses_of_the_undisturbed_one(
    place: Place, tmp_path: Path
) -> None:
    folder = place.folder("run")
    for strategy, world_size in CHAIN:
        begun = recorded_steps(folder)
        arguments = place.arguments("run", *GOAL, *EMA, *strategy)
        with start_ranks(arguments, world_size, tmp_path) as ranks:
            is_last = (strategy, world_size) == CHAIN[-1]
            results = ranks.results() if is_last else ranks.stop_after_steps(folder, STEPS_OF_A_SESSION)
        assert [result.status for result in results] == [0 if is_last else 75] + [0] * (world_size - 1), ranks.stderr
        assert begun == 0 or "goes on after step" in results[0].stderr
    assert_equal_within_float_tolerance(folder, whole(place, tmp_path, 1, *GOAL, *EMA))


@pytest.mark.parametrize("world_size", [2, pytest.param(3, marks=slow)])
def test_a_run_that_was_stopped_ends_with_the_same_bytes(place: Place, tmp_path: Path, world_size: int) -> None:
    further = ("-b", "12", "--training_goal", "12", "--eval_interval", "4", *EMA, *FSDP)
    with start_ranks(place.arguments("run", *further), world_size, tmp_path) as ranks:
        assert ranks.stop_after_steps(place.folder("run"), STEPS_OF_A_SESSION)[0].status == 75, ranks.stderr
    results = train_ranks(place.arguments("run", *further), world_size, tmp_path)
    assert [result.status for result in results] == [0] * world_size, results[0].stderr
    assert_same_end(place.folder("run"), whole(place, tmp_path, world_size, *further))


@slow
def test_a_layer_that_comes_many_times_is_shared_too(place: Place, tmp_path: Path) -> None:
    sizes = {**SIZES, "embedding_size": 8, "num_hidden_layers": 3, "max_position_embeddings": 40}
    AlbertConfig(**sizes).save_pretrained(tmp_path / "albert")
    further = ("--model", str(tmp_path / "albert"), "--model_overrides", "hidden_size=16", *SHORT)
    ours, theirs = (whole(place, tmp_path, 2, *further, *strategy) for strategy in (FSDP, DDP))
    assert_equal_within_float_tolerance(ours, theirs)


@slow
def test_a_plain_network_is_shared_too(place: Place, tmp_path: Path) -> None:
    runs = []
    for strategy in (FSDP, DDP):
        arguments = place.arguments(strategy[1], *NETWORK, *SHORT, *strategy)
        with start_ranks(arguments, 2, tmp_path, networks=NETWORKS) as ranks:
            assert [result.status for result in ranks.results()] == [0, 0], ranks.stderr
        runs.append(place.folder(strategy[1]))
    assert_equal_within_float_tolerance(*runs)
    assert_same_weights(*runs)
