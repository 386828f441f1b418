"""What flags and files can tell is told before torch is imported, by every script."""

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dlib.args import DataArgs, ExperimentArgs
from dlib.process.errors import UserError
from dlib.runs.folder import RunFolder
from dlib.training.preflight import refuse_unwritable_cache, refuse_unwritable_run
from tests.launching import ROOT, Place, environment
from tests.runs.folders import write_run

CPU = ("--accelerator", "cpu")
TRAIN: dict[str, tuple[str, str]] = {
    "data folder": ("-d /nowhere", "--data_dir /nowhere: there is no such folder"),
    "empty train": ("--train_file empty.txt", "empty.txt is empty; name the training text with --train_file"),
    "empty dev": ("--dev_file empty.txt", "empty.txt is empty; name the dev text with --dev_file"),
    "model": ("--model ./nope", "--model ./nope: there is no such folder"),
    "model without config.json": ("--model docs", "--model docs: the folder has no config.json"),
    "model without weights": ("--from_scratch false", "the folder has no weights; add --from_scratch"),
    "model that is a run": ("--model SCRATCH/run", "is a run or a checkpoint: give it with --checkpoint"),
    "checkpoint": ("--from_scratch false --checkpoint /nope", "--checkpoint /nope: there is no such folder"),
    "tokenizer": ("--tokenizer ./nope", "--tokenizer ./nope: there is no such folder"),
    "tokenizer without files": ("--tokenizer docs", "--tokenizer docs: the folder has no tokenizer.json"),
    "batch on any devices": (
        "--accelerator auto -b 5 --micro_batch_size 2",
        "--batch_size 5 is not a multiple of --micro_batch_size 2; give --batch_size 4 or 6",
    ),
    "batch on told devices": ("--accelerator auto --num_devices 3", "--micro_batch_size 2 x 3 devices x 1 node = 6"),
    "batch on a CPU": ("-b 5", "--micro_batch_size 2 x 1 device x 1 node = 2"),
    "precision": ("--precision 16-mixed", "--precision 16-mixed: a CPU does not have it"),
    "device ids": ("--cuda_device_ids 1", "--cuda_device_ids: the accelerator is cpu"),
    "exact reduce": ("-b 6 --num_devices 3 --exact_reduce", "3 devices are no power of two"),
    "extra step": ("--training_goal 5 --extra_steps 6", "--extra_steps 6: the run has steps 1 to 5"),
    "extra step beyond samples": (
        '--training_goal "33 samples" --extra_steps 6',
        "--extra_steps 6: the run has steps 1 to 5",
    ),
    "runs": (
        "--out_dir /dev/null/runs",
        "--out_dir /dev/null/runs: no run can be written there: /dev/null is no folder",
    ),
    "cache": ("--cache_dir /dev/null/cache", "cannot write to --cache_dir /dev/null/cache: /dev/null is no folder"),
    "excluded file": ("--exclude more.txt", "it has no more.txt; name it with --exclude"),
    "name that is taken": (
        "--out_dir SCRATCH/others -n done --seed 2",
        "run 'done' began with other arguments: ",
    ),
    "name of a live run": ("--out_dir SCRATCH/others -n live", "run 'live' is in use by another process"),
}
EVALUATE: dict[str, tuple[str, str]] = {
    "run": ("SCRATCH/nope", "nope': give a run, a checkpoint"),
    "path": ("./nope", "no folder 'nope'"),
    "data folder": ("SCRATCH/model -d /nowhere", "--data_dir /nowhere: there is no such folder"),
    "empty text": ("SCRATCH/model --split empty", "empty.txt is empty"),
    "model without weights": ("configs/models/roberta-tiny --objective mlm", "the folder has no weights"),
    "cache": ("SCRATCH/model --cache_dir /dev/null/cache", "/dev/null is no folder"),
    "precision": ("SCRATCH/model --precision 16-mixed", "--precision 16-mixed: a CPU does not have it"),
    "devices": ("SCRATCH/model --num_devices 0", "--num_devices"),
    "watched checkpoint": ("--watch SCRATCH/model", "is a checkpoint or a model"),
}
GENERATE: dict[str, tuple[str, str]] = {
    "run": ("SCRATCH/nope", "nope': give a run, a checkpoint"),
    "nothing to load": ("docs", "nothing to load in 'docs'"),
    "no weights": ("configs/models/roberta-tiny", "the folder has no weights"),
    "no tokenizer": ("SCRATCH/bare", "bare has no tokenizer"),
    "flag": ("SCRATCH/model --top_p 2", "--top_p 2.0"),
}
PREPARE: dict[str, tuple[str, str]] = {
    "data folder": ("tokens -d /nowhere", "--data_dir /nowhere: there is no such folder"),
    "empty text": ("tokens -d SCRATCH/data --train_file empty.txt", "empty.txt is empty"),
    "tokenizer": ("report -d SCRATCH/data --tokenizer ./nope", "--tokenizer ./nope: there is no such folder"),
    "excluded file": ("tokens -d SCRATCH/data --exclude more.txt", "it has no more.txt; name it with --exclude"),
    "figure": ("report -d SCRATCH/data --png no/report.png", "there is no folder no; make it first"),
    "folder of a tokenizer": ("tokenizer -d SCRATCH/data --out docs", "--out docs: it is there already"),
}
SWEEP: dict[str, tuple[str, str]] = {
    "file": ("nope.yml --list", "nope.yml: "),
    "value": ("SCRATCH/sweep.yml --list", "'many' is not a whole number"),
}
SUBMIT: dict[str, tuple[str, str]] = {
    "data folder": ("-d /nowhere", "--data_dir /nowhere: there is no such folder"),
    "checkpoint": ("-d SCRATCH/data --checkpoint /nope", "--checkpoint /nope: there is no such folder"),
}
TINY_MODEL = ("--model", "configs/models/roberta-tiny", "--offline")
TABLES = {
    **{"train.py": TRAIN, "eval.py": EVALUATE, "generate.py": GENERATE},
    **{"prepare.py": PREPARE, "sweep.py": SWEEP, "jobs.py": SUBMIT},
}
"""Words after a script, by what is wrong with them, and a part of what is told."""
CASES = [(script, name) for script, table in TABLES.items() for name in table]


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory, session_place: Place) -> Path:
    """Texts, one of them empty; a model by the names of its files, one without a tokenizer, and a run that has one."""
    scratch = tmp_path_factory.mktemp("scratch")
    shutil.copytree(session_place.data, scratch / "data")
    (scratch / "data" / "empty.txt").write_text("\n")
    for folder in (scratch / "model", scratch / "bare", scratch / "run" / "checkpoints" / "step-00000001" / "model"):
        folder.mkdir(parents=True)
        (folder / "config.json").write_text('{"architectures": ["RobertaForMaskedLM"]}')
        for name in ("model.safetensors", "tokenizer.json"):
            (folder / name).touch()
    (scratch / "bare" / "tokenizer.json").unlink()
    (scratch / "sweep.yml").write_text("grid: {batch_size: [8, many]}")
    return scratch


@pytest.fixture(scope="module")
def answers(scratch: Path, session_place: Place) -> dict[tuple[str, str], str]:
    """What each case is answered by a process that has no torch; and `fine`, by one in which nothing is wrong."""
    place = Place(data=scratch / "data", cache=session_place.cache, runs=scratch / "runs")
    base = {
        "train.py": place.arguments("x"),
        "eval.py": ["-d", str(scratch / "data"), "--cache_dir", str(place.cache), *CPU],
        "generate.py": list(CPU),
        "prepare.py": [],
        "sweep.py": [],
        "jobs.py": ["submit", "--dry_run", "--", "train.py", "-n", "x"],
    }
    words = {case: shlex.split(TABLES[case[0]][case[1]][0].replace("SCRATCH", str(scratch))) for case in CASES}
    lines = {(script, name): [script, *base[script], *further] for (script, name), further in words.items()}
    lines |= {(script, "fine"): [script, *base[script], *more] for script, more in fine(scratch).items()}
    live = RunFolder(scratch / "others" / "live")
    live.root.mkdir(parents=True)
    write_run(scratch / "others", "done", args=ExperimentArgs())
    with live.locked():
        result = subprocess.run(
            [sys.executable, "-m", "tests.without_torch"],
            input=json.dumps(list(lines.values())),
            cwd=ROOT,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )
    assert not (scratch / "runs").exists()
    return dict(zip(lines, json.loads(result.stdout), strict=True))


def fine(scratch: Path) -> dict[str, list[str]]:
    """The words after each script that make it go on to torch."""
    model, prepare = str(scratch / "model"), ["tokens", "-d", str(scratch / "data"), *TINY_MODEL]
    return {"train.py": [], "eval.py": [model], "generate.py": [model], "prepare.py": prepare}


@pytest.mark.parametrize(("script", "name"), CASES)
def test_a_mistake_is_told_without_torch(answers: dict[tuple[str, str], str], script: str, name: str) -> None:
    assert TABLES[script][name][1] in answers[script, name]


@pytest.mark.parametrize("script", ["train.py", "eval.py", "generate.py", "prepare.py"])
def test_what_is_right_goes_on_to_torch(answers: dict[tuple[str, str], str], script: str) -> None:
    assert answers[script, "fine"] == "imports torch"


def test_a_cache_that_cannot_be_written_serves_what_it_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)  # which it never is for root, who runs the tests in an image
    args = DataArgs(cache_dir=str(tmp_path))
    with pytest.raises(UserError, match=f"--cache_dir {tmp_path}: {tmp_path} is not writable"):
        refuse_unwritable_cache(args)
    (tmp_path / "tokenizers").mkdir()
    refuse_unwritable_cache(args)


def test_only_the_first_process_needs_the_runs_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = RunFolder(Path("/dev/null/runs/x"))
    with pytest.raises(UserError, match="no run can be written"):
        refuse_unwritable_run(folder)
    monkeypatch.setenv("LOCAL_RANK", "1")
    refuse_unwritable_run(folder)
