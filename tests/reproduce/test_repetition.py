"""The flags and variables of a repetition bring the recorded paths, processes and threads to where it runs."""

from pathlib import Path
from typing import Any

import pytest

from dlib.process.errors import UserError
from dlib.reproduce.repetition import command_flags, device_flags, numeric_environment, read_records, runs_in
from dlib.runs.folder import RunFolder


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """A run whose configuration names a model of the code, one beside it, and a text."""
    folder = RunFolder(tmp_path / "top" / "runs" / "wiki")
    folder.root.mkdir(parents=True)
    folder.config.write_text(
        "data: {data_dir: data, cache_dir: cache}\nmodel: {model: configs/tiny, tokenizer: words, checkpoint: null}\n"
    )
    return folder


def fill(folder: Path, *names: str) -> None:
    """Empty files."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def record_from(cwd: str) -> dict[str, Any]:
    """A record of a command that was typed in `cwd`, and names no devices."""
    return {"command": {"cwd": cwd}, "hardware": {}}


def test_what_the_copy_of_the_code_lacks_is_taken_from_where_the_run_was_started(
    run: RunFolder, tmp_path: Path
) -> None:
    top, copy = tmp_path / "top", tmp_path / "copy"
    fill(top, "data/train.txt", "configs/tiny/config.json", "words/tokenizer.json", "words/vocab.bin")
    fill(copy, "configs/tiny/config.json", "words/tokenizer.json")  # vocab.bin is ignored by git, and in no copy
    assert command_flags(run, record_from("."), copy, top, None) == [
        *("--data_dir", str(top / "data")),
        *("--tokenizer", str(top / "words")),
    ]
    assert command_flags(run, record_from("."), top, top, None) == []


def test_paths_count_from_the_folder_where_the_command_was_typed(run: RunFolder, tmp_path: Path) -> None:
    outside, copy = tmp_path / "outside", tmp_path / "copy"
    fill(outside, "data/train.txt", "cache/store")
    record = record_from(str(outside))
    assert runs_in(record, copy) == outside
    flags = command_flags(run, record, copy, tmp_path / "top", None)
    assert flags == ["--data_dir", str(outside / "data"), "--cache_dir", str(outside / "cache")]
    (copy / "scripts").mkdir(parents=True)
    assert runs_in(record_from("scripts"), copy) == copy / "scripts"
    assert runs_in(record_from("gone"), copy) == copy


def test_a_missing_text_is_told_and_another_place_taken(
    run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match=r"the run's data folder is not here: .*/top/data; give it with -d"):
        command_flags(run, record_from("."), tmp_path, tmp_path / "top", None)
    with pytest.raises(UserError, match="-d elsewhere: there is no such folder"):
        command_flags(run, record_from("."), tmp_path, tmp_path / "top", Path("elsewhere"))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    flags = command_flags(run, record_from("."), tmp_path, tmp_path / "top", Path("elsewhere"))
    assert flags == ["--data_dir", str(tmp_path / "elsewhere")]


def test_as_many_processes_compute_as_did(run: RunFolder) -> None:
    flags = device_flags({"accelerator": "cpu", "processes": 4})
    assert flags == ["--accelerator", "cpu", "--num_devices", "4", "--num_nodes", "1", "--cuda_device_ids"]


def test_variables_that_enter_the_numbers_are_those_of_the_record(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MKL_NUM_THREADS", "NVIDIA_TF32_OVERRIDE", "LOCAL_RANK", "SLURM_NTASKS", "HF_HOME"):
        monkeypatch.setenv(name, "here")
    recorded = {"MKL_NUM_THREADS": "3", "OMP_NUM_THREADS": "5", "SLURM_JOB_ID": "7", "HF_HUB_OFFLINE": "1"}
    found = numeric_environment({"command": {"environment": recorded}, "hardware": {"threads": 3}})
    assert (found["MKL_NUM_THREADS"], found["OMP_NUM_THREADS"], found["HF_HOME"]) == ("3", "3", "here")
    assert not found.keys() & {"NVIDIA_TF32_OVERRIDE", "LOCAL_RANK", "SLURM_NTASKS", "SLURM_JOB_ID"}


def test_records_are_read_on_from_where_they_were_whole(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    assert read_records(path) == ([], 0)
    path.write_bytes(b'{"step": 1}\n{"st')
    records, position = read_records(path)
    assert (records, position) == ([{"step": 1}], 12)
    path.write_bytes(b'{"step": 1}\n{"step": 2, "loss": "NaN"}\n')
    assert read_records(path, position) == ([{"step": 2, "loss": "NaN"}], 39)
    path.write_bytes(b"step 1\n")
    with pytest.raises(UserError, match=r"metrics\.jsonl: a record is damaged"):
        read_records(path)
