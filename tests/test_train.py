"""A run from the command line to its folder: what stands there, what can be loaded, and what a second command does."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dlib.config.configuration import dump_config, load_config, parse_args
from dlib.runs.folder import RunFolder
from dlib.runs.metrics_log import BestMetric, best, read_metrics
from dlib.runs.paths import CheckpointFolder
from tests.launching import ROOT, Place, Result, environment, start_warm, train

pytestmark = pytest.mark.oldest

GOAL = ("--training_goal", "318 samples", "--eval_interval", "10", "--save_interval", "5", "--extra_steps", "3,7")
TOTAL_STEPS = 40


@pytest.fixture(scope="module")
def place(session_place: Place) -> Place:
    """Shared by this file's tests, so that one run serves many."""
    return session_place


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """For what processes print."""
    return tmp_path_factory.mktemp("output")


@pytest.fixture(scope="module")
def finished(place: Place, scratch: Path) -> tuple[RunFolder, Result]:
    """A whole run in a new interpreter, with a loader process, and what it printed."""
    result = train(place.arguments("whole", *GOAL, "--num_workers", "1"), scratch, warm=False)
    assert result.status == 0, result.stderr
    return place.folder("whole"), result


def tree(folder: Path) -> dict[str, bytes | str]:
    """All below a folder: the bytes of each file, the target of each link."""
    return {
        str(path.relative_to(folder)): str(path.readlink()) if path.is_symlink() else path.read_bytes()
        for path in folder.rglob("*")
        if path.is_symlink() or path.is_file()
    }


def test_the_run_folder_holds_what_the_design_draws_and_nothing_half_written(
    finished: tuple[RunFolder, Result],
) -> None:
    folder = finished[0]
    names = {path.name for path in folder.root.iterdir()} - {"code"}  # there when the working tree has changes
    assert names == {
        *("config.yml", "record.json", "status.json", "metrics.jsonl", "performance.jsonl", "train.log"),
        *("checkpoints", ".lock"),
    }
    names = {path.name for path in folder.checkpoints.iterdir()}
    kept = {"step-00000003", "step-00000007", "step-00000030", "step-00000035", "step-00000040"}
    assert names == {*kept, "last", "best"}
    for step, checkpoint in folder.whole_checkpoints():
        assert {path.name for path in checkpoint.iterdir()} == {"model", "state.ckpt"}, step
        model = {path.name for path in (checkpoint / "model").iterdir()}
        model.discard("special_tokens_map.json")  # which transformers 4 writes
        assert model == {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}, step
    status = folder.read_status()
    assert status is not None
    assert (status.state, status.step, status.total_steps) == ("finished", TOTAL_STEPS, TOTAL_STEPS)


def test_every_step_is_recorded_once_and_evaluations_stand_where_the_plan_says(
    finished: tuple[RunFolder, Result],
) -> None:
    records = read_metrics(finished[0].metrics)
    assert [record["step"] for record in records] == list(range(1, TOTAL_STEPS + 1))
    assert [record["step"] for record in records if "dev/loss" in record] == [3, 7, 10, 20, 30, 40]
    names = {"step", "train/loss", "train/learning_rate", "train/gradient_norm", "train/samples", "train/tokens"}
    assert set(records[0]) == names
    evaluated = {"dev/loss", "dev/perplexity", "dev/bits_per_byte", "dev/accuracy"}
    assert set(records[-1]) == names | evaluated
    assert records[-1]["train/samples"] == 318
    measured = read_metrics(finished[0].performance)
    assert all(record["performance/tokens_per_second"] > 0 for record in measured)


def test_the_model_learns(finished: tuple[RunFolder, Result]) -> None:
    losses = [record["dev/loss"] for record in read_metrics(finished[0].metrics) if "dev/loss" in record]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < losses[0] - 1


def test_the_links_point_to_the_last_checkpoint_and_to_that_of_the_lowest_dev_loss(
    finished: tuple[RunFolder, Result],
) -> None:
    folder = finished[0]
    lowest = best(folder.metrics, BestMetric(), among=range(TOTAL_STEPS + 1))
    assert lowest is not None
    assert folder.pointed_step("best") == lowest["step"]
    assert folder.pointed_step("last") == TOTAL_STEPS
    assert not folder.last.readlink().is_absolute()


def test_a_bare_script_loads_model_and_tokenizer_from_the_last_checkpoint(finished: tuple[RunFolder, Result]) -> None:
    script = """
import sys, torch
from transformers import AutoModelForMaskedLM, AutoTokenizer
model = AutoModelForMaskedLM.from_pretrained(sys.argv[1])
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
batch = tokenizer("The old keeper opened the<mask> bridge.", return_tensors="pt")
place = int((batch["input_ids"][0] == tokenizer.mask_token_id).nonzero())
print(model(**batch).logits.shape[-1], len(tokenizer), int(batch["input_ids"][0, 0]) == tokenizer.cls_token_id)
"""
    command = [sys.executable, "-c", script, str(finished[0].last / "model")]
    result = subprocess.run(
        command, cwd=finished[0].root, env=environment(), capture_output=True, text=True, timeout=120
    )
    assert result.stdout == "400 400 True\n", result.stderr


def test_a_run_prints_its_own_lines_and_nothing_of_the_libraries(finished: tuple[RunFolder, Result]) -> None:
    own = (
        r"Training a tokenizer of 400 tokens on .*/train\.txt",
        r"Tokenizing .*/(train|dev)\.txt \(0\.0 MB\) into .*",
        r"(model|objective|documents|devices|batch|training|optimizer|evaluation|checkpoints) {2,}.+",
        r"step \d+/40  loss [\d.]+(  dev loss [\d.]+)?  tokens/s [\d,.]+",
        r"run 'whole' is finished at step 40",
        r"  (best checkpoint)?( and )?(last evaluation)?, step \d+: "
        r"dev loss [\d.]+, perplexity [\d.]+, bits_per_byte [\d.]+, accuracy .+",
        r"model: .*/runs/whole/checkpoints/best/model",
    )
    stdout, stderr = finished[1].stdout, finished[1].stderr
    foreign = [line for line in stderr.splitlines() if not any(re.fullmatch(pattern, line) for pattern in own)]
    assert foreign == []
    assert stdout == ""


def test_the_recorded_configuration_is_a_rerun(finished: tuple[RunFolder, Result]) -> None:
    args = load_config([finished[0].config])
    assert (args.run.name, args.batch.micro_batch_size, args.checkpoint.extra_steps) == ("whole", 2, [3, 7])
    record = json.loads(finished[0].record.read_text())
    assert set(record["hashes"]) == {"training text", "development text", "tokenizer", "starting weights"}
    hardware = record["hardware"]
    assert (hardware["processes"], hardware["threads"], hardware["precision"]) == (1, 1, "32-true")


def test_a_micro_batch_size_is_chosen_once_and_kept_where_the_run_goes_on(place: Place, scratch: Path) -> None:
    told = place.arguments("told", "--micro_batch_size", "1", "--training_goal", "1")
    assert train(told, scratch).status == 0
    for name, goal, expected in (("chosen", "1", 4), ("told", "2", 1)):
        arguments = place.arguments(name, "--micro_batch_size", "auto", "--training_goal", goal)
        result = train(arguments, scratch)
        assert result.status == 0, result.stderr
        assert f"8 sequences a step = {expected} micro_batch_size x 1 devices" in result.stderr
        assert load_config([place.folder(name).config]).batch.micro_batch_size == expected


def test_the_same_command_says_that_it_is_finished_at_once_and_changes_nothing(
    place: Place, finished: tuple[RunFolder, Result], scratch: Path
) -> None:
    before = tree(finished[0].root)
    result = train(place.arguments("whole", *GOAL), scratch, warm=False)
    assert result.status == 0
    assert (
        result.stderr
        == f"run 'whole' is finished: {finished[0].root}; --branch whole --name another goes on from its last step\n"
    )
    assert tree(finished[0].root) == before


def test_changed_arguments_are_refused_by_name(place: Place, finished: tuple[RunFolder, Result], scratch: Path) -> None:
    before = tree(finished[0].root)
    result = train(place.arguments("whole", *GOAL, "--learning_rate", "1", "--seed", "2"), scratch)
    assert result.status == 2
    assert "run.seed was 1, now 2" in result.stderr
    assert "optim.learning_rate was 0.01, now 1.0" in result.stderr
    assert result.stderr.count("\n") == 1
    assert tree(finished[0].root) == before


def test_a_name_that_is_taken_can_be_refused(place: Place, finished: tuple[RunFolder, Result], scratch: Path) -> None:
    result = train(place.arguments("whole", *GOAL, "--resume", "never"), scratch)
    assert result.status == 2
    assert "--resume is never" in result.stderr


@pytest.fixture(scope="module")
def stopped(place: Place, scratch: Path) -> RunFolder:
    """A run that its clock stopped after the first step or a few more."""
    result = train(place.arguments("short", "--training_goal", "2000", "--max_time", "00:00:01"), scratch)
    assert result.status == 75, result.stderr
    assert re.search(r"run 'short' is saved at step \d+ of 2000; the same command goes on$", result.last_line)
    return place.folder("short")


def test_changed_data_are_refused(place: Place, stopped: RunFolder, scratch: Path, tmp_path: Path) -> None:
    before = tree(stopped.checkpoints)
    shutil.copytree(place.data, tmp_path / "changed")
    with (tmp_path / "changed" / "dev.txt").open("a") as file:
        file.write("One more line.\n")
    arguments = place.arguments("short", "--training_goal", "2000", "-d", str(tmp_path / "changed"))
    result = train(arguments, scratch)
    assert result.status == 2
    assert (
        result.last_line
        == "error: run 'short' began with another development text; give the same again, or choose another --name"
    )
    assert tree(stopped.checkpoints) == before


def test_a_run_that_a_live_process_holds_is_refused_until_it_ends_and_its_path_goes_on(
    place: Place, scratch: Path
) -> None:
    arguments = place.arguments("held", "--training_goal", "5000")
    with start_warm(arguments, scratch) as holder:
        holder.wait_for_steps(place.folder("held"), 1)
        refused = train(arguments, scratch)
        assert refused.status == 2
        assert f"run 'held' is in use by process {holder.pid} on host" in refused.last_line
        holder.wait_for_steps(place.folder("held"), 2)
    result = train(["--resume", str(place.folder("held").root), "--max_time", "00:00:01"], scratch)
    assert (result.status, "of 5000; the same command goes on" in result.last_line) == (75, True), result.stderr


@pytest.fixture(scope="module")
def planned(place: Place, scratch: Path) -> Result:
    """What `--plan` prints for the run of `finished`."""
    return train(place.arguments("planned", *GOAL, "--plan"), scratch)


def test_a_plan_tells_what_a_run_would_do_and_makes_no_folder(place: Place, planned: Result) -> None:
    assert planned.status == 0
    printed = planned.stdout + planned.stderr
    for told in (
        r"40 optimizer steps, 318 samples, 10,176 tokens, 0\.\d\d epochs of \d+ rows",
        r"8 sequences a step = 2 micro_batch_size x 1 devices x 4 accumulation",
        r"[\d,]+ parameters, [\d,]+ of them learn; drawn anew: all",
        r"every 5 steps and at each best, \d+ MB each, up to \d+ at a time: \d+ MB",
    ):
        assert re.search(told, printed), told
    assert not place.folder("planned").root.exists()


def test_a_plan_of_a_run_that_is_there_has_what_the_run_chose(place: Place, scratch: Path) -> None:
    arguments, folder = place.arguments("begun", *GOAL), place.folder("begun")
    folder.root.mkdir(parents=True)
    chosen = parse_args([*arguments, "--micro_batch_size", "1"], description="").args
    folder.config.write_text(dump_config(chosen))
    result = train([*arguments, "--micro_batch_size", "auto", "--plan"], scratch)
    shutil.rmtree(folder.root)
    assert "8 sequences a step = 1 micro_batch_size x 1 devices x 8 accumulation" in result.stdout, result.stderr


def test_a_plan_from_another_run_names_the_head_that_is_drawn_anew(
    place: Place, finished: tuple[RunFolder, Result], scratch: Path
) -> None:
    arguments = place.arguments("child", *GOAL, "--plan", "--checkpoint", str(finished[0].root))
    same, other = (
        train([*arguments, *further], scratch) for further in ((), ("--objective", "replaced_token_detection"))
    )
    assert "of them learn\n" in same.stdout, same.stderr
    assert "of them learn; drawn anew: classifier\n" in other.stdout, other.stderr
    shutil.copytree(CheckpointFolder(finished[0].best).model, scratch / "damaged")
    (scratch / "damaged" / "model.safetensors").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    damaged = train([*arguments[:-1], str(scratch / "damaged")], scratch)
    assert (damaged.status, damaged.stdout) == (2, "")
    assert damaged.last_line.startswith(f"error: --checkpoint {scratch / 'damaged'} cannot be loaded: ")


@pytest.mark.parametrize("num_devices", ["1", "2"])
def test_a_fast_dev_run_shows_its_numbers_and_leaves_nothing(place: Place, scratch: Path, num_devices: str) -> None:
    further = ("--fast_dev_run", "--num_devices", num_devices, "--schedule", "wsd", "--warmup", "30")
    before = {path.name for path in place.runs.iterdir()} if place.runs.exists() else set()
    result = train(place.arguments("tried", *GOAL, *further), scratch)
    assert result.status == 0, result.stderr
    assert "2 optimizer steps" in result.stderr
    assert "is finished at step 2\n  best checkpoint and last evaluation, step 2: dev loss" in result.stderr
    assert result.last_line.startswith("--fast_dev_run: all went well")
    assert {path.name for path in place.runs.iterdir()} == before


def test_a_plan_without_a_name_is_told_as_well(place: Place, scratch: Path) -> None:
    arguments = place.arguments("planned", *GOAL, "--plan")
    result = train(arguments[2:], scratch)
    assert result.status == 0, result.stderr
    assert not place.folder("").checkpoints.exists()


def test_a_new_run_starts_from_the_weights_of_another(
    place: Place, finished: tuple[RunFolder, Result], scratch: Path
) -> None:
    arguments = place.arguments("child", "--training_goal", "3", "--checkpoint", str(finished[0].root))
    result = train([word for word in arguments if word != "--from_scratch"], scratch)
    assert result.status == 0, result.stderr
    first = read_metrics(place.folder("child").metrics)[0]
    end = read_metrics(finished[0].metrics)[-1]
    assert first["step"] == 1
    assert abs(first["train/loss"] - end["dev/loss"]) < 0.7
    assert first["train/loss"] < read_metrics(finished[0].metrics)[0]["train/loss"] - 1


def test_all_checkpoints_stay_where_that_is_asked(place: Place, scratch: Path) -> None:
    arguments = place.arguments("all", "--training_goal", "10", "--save_interval", "2", "--max_checkpoints", "-1")
    assert train(arguments, scratch).status == 0
    assert [step for step, _ in place.folder("all").whole_checkpoints()] == list(range(1, 11))


def test_trackers_write_files_and_a_resumed_run_keeps_its_id(place: Place, scratch: Path) -> None:
    pytest.importorskip("wandb")
    pytest.importorskip("tensorboard")
    arguments = place.arguments("tracked", "--trackers", "wandb,tensorboard", "--training_goal", "150")
    folder = place.folder("tracked")
    ids = []
    for further, status in ((["--max_time", "00:00:01"], 75), ([], 0)):
        result = train([*arguments, *further], scratch)
        assert result.status == status, result.stderr
        assert "Traceback" not in result.stderr
        ids.append(folder.wandb_run_id.read_text())
    assert ids[0] == ids[1]
    sessions = [path.name for path in folder.wandb.glob("offline-run-*")]
    assert len(sessions) == 2
    assert all(name.endswith(ids[0].strip()) for name in sessions)
    assert list(folder.tensorboard.glob("events.out.tfevents.*"))
    assert not (ROOT / "wandb").exists()
