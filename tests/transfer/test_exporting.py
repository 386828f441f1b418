"""Export: whole at the destination or not there, and what comes back is what went."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import fsspec
import pytest

from dlib.process.errors import UserError
from dlib.runs.folder import RunFolder
from dlib.runs.paths import CheckpointFolder
from dlib.transfer.exporting import export_model, export_run
from dlib.transfer.importing import import_run
from dlib.transfer.manifest import Manifest, describe_run
from tests.launching import ROOT
from tests.runs.folders import RECORD, contents, done, held, refused, write_checkpoint, write_run, write_run_with_code


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return write_run_with_code(tmp_path / "runs")


@pytest.fixture(autouse=True)
def _empty_memory() -> None:
    memory = fsspec.filesystem("memory")
    memory.store.clear()
    memory.pseudo_dirs[:] = [""]


@pytest.mark.parametrize("form", ["run.tar", "run.tar.gz", "run.tgz", "folder", "file://", "file://run.tar"])
def test_a_whole_run_comes_back_as_it_was(run: RunFolder, workspace: Path, form: str, tmp_path: Path) -> None:
    destination = f"file://{tmp_path}/out/{form[7:] or 'x'}" if "://" in form else str(tmp_path / "out" / form)
    assert "exported run 'first' (" in done("export", run.root, destination, "--full")
    assert "imported run 'first' (" in done("import", destination, "--out_dir", workspace)
    assert contents(workspace / "first") == contents(run.root)
    assert os.listdir(workspace) == ["first"]
    assert [path.name for path in (tmp_path / "out").iterdir()] == [Path(destination).name]


@pytest.mark.parametrize("form", ["bucket/run.tar", "bucket/run.tar.gz", "bucket/run"])
def test_a_store_that_fsspec_knows_takes_and_gives(
    run: RunFolder, workspace: Path, form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    export_run(run, f"memory://{form}", None)
    import_run(f"memory://{form}", workspace, "again")
    assert contents(workspace / "again") == contents(run.root)
    with pytest.raises(UserError, match="exists: name another destination"):
        export_run(run, f"memory://{form}", None)


def test_an_export_that_fails_leaves_nothing_in_a_store(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("dlib.transfer.exporting.copy_counted", fail)
    monkeypatch.setattr(tarfile.TarFile, "addfile", fail)
    for form in ("run", "run.tar"):
        with pytest.raises(UserError, match="No space left on device"):
            export_run(run, f"memory://bucket/{form}", None)
    assert fsspec.filesystem("memory").find("/") == []


def test_an_export_that_is_killed_leaves_nothing_under_the_destination(run: RunFolder, tmp_path: Path) -> None:
    script = (
        "import os, signal, sys, tarfile\n"
        "tarfile.TarFile.addfile = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "from pathlib import Path\n"
        "from dlib.transfer.exporting import export_run\n"
        "from dlib.runs.folder import RunFolder\n"
        "export_run(RunFolder(Path(sys.argv[1])), sys.argv[2], None)\n"
    )
    killed = subprocess.run(
        [sys.executable, "-c", script, run.root, tmp_path / "out" / "run.tar"], cwd=ROOT, check=False
    )
    assert killed.returncode == -signal.SIGKILL
    assert not (tmp_path / "out" / "run.tar").exists()
    done("export", run.root, tmp_path / "out" / "run.tar", "--full")


def test_a_model_is_exported_with_tokenizer_and_card_from_the_checkpoint_asked_for(
    run: RunFolder, tmp_path: Path
) -> None:
    for word, step in ((None, "20"), ("best", "20"), ("last", "30"), ("10", "10"), ("step-00000010", "10")):
        target = tmp_path / f"model-{word}"
        flags = ["--checkpoint", word] if word else []
        assert f"exported step {step} of run 'first'" in done("export", run.root, target, *flags)
        assert (target / "model.safetensors").read_text() == step
        assert {path.name for path in target.iterdir()} == {
            "README.md",
            "config.json",
            "model.safetensors",
            "tokenizer.json",
        }
    assert "has the steps 10, 20, 30, best and last" in refused("export", run.root, tmp_path / "x", "--checkpoint", "7")


def test_the_card_says_how_to_load_what_it_reached_and_what_it_was_made_of_but_no_path(
    run: RunFolder, tmp_path: Path
) -> None:
    run.evals.mkdir()
    (run.evals / "step-00000020.json").write_text('{"step": 20, "metrics": {"pseudo_perplexity": 12.5}}')
    config = run.config.read_text().replace("data_dir: data", "data_dir: /home/somebody/data")
    run.config.write_text(config.replace("tokenizer: null", "tokenizer: /home/somebody/my-tokenizer"))
    done("export", run.root, tmp_path / "a model.tar")
    with tarfile.open(tmp_path / "a model.tar") as archive:
        card = archive.extractfile("a model/README.md")
        assert card is not None
        text = card.read().decode()
    assert text.startswith("---\nbase_model: roberta-base\nlibrary_name: transformers\npipeline_tag: fill-mask\n---\n")
    for word in (
        'AutoModelForMaskedLM.from_pretrained("a model")',
        "| dev/loss | development text | 2 |",
        "| pseudo_perplexity | step-00000020 | 12.5 |",
        "1" * 64,
        "torch 2.1.0",
        "`my-tokenizer`",
    ):
        assert word in text
    assert "somebody" not in text


def test_the_card_says_of_code_that_a_commit_holds_nothing_else(tmp_path: Path) -> None:
    git = {**RECORD["git"], "commit": "fdf30dc0123", "uncommitted_sha256": hashlib.sha256().hexdigest()}
    changed = {**RECORD["code"], "diff": "uncommitted.diff"}
    for name, code, told in (("clean", RECORD["code"], ""), ("own", changed, ", with changes that no commit holds")):
        run = write_run(tmp_path / "runs", name, record={"git": git, "code": code})
        done("export", run.root, tmp_path / name)
        assert f"code at commit `fdf30dc0123`{told}.\n" in (tmp_path / name / "README.md").read_text()


def test_a_classifier_keeps_its_head_and_its_card_names_class_and_labels(run: RunFolder, tmp_path: Path) -> None:
    checkpoint = CheckpointFolder(run.checkpoint(20))
    config = {"architectures": ["BertForSequenceClassification"], "id2label": {"0": "bad", "1": "good"}}
    (checkpoint.model / "config.json").write_text(json.dumps(config))
    checkpoint.modules.write_text("networks")
    done("export", run.root, tmp_path / "classifier", "--checkpoint", "20")
    text = (tmp_path / "classifier" / "README.md").read_text()
    assert "(`BertForSequenceClassification`), after 20" in text
    assert "It tells 2 labels apart: `bad`, `good`." in text
    assert "`objective.safetensors` holds networks" in text
    assert (tmp_path / "classifier" / "objective.safetensors").read_text() == "networks"
    assert json.loads((tmp_path / "classifier" / "config.json").read_text()) == config


def test_the_card_of_a_network_of_ones_own_promises_no_loading_by_transformers(run: RunFolder, tmp_path: Path) -> None:
    config = CheckpointFolder(run.checkpoint(20)).model / "config.json"
    config.write_text('{"model_type": "own-network", "network": "mine", "auto_model": "AutoModelForMaskedLM"}')
    done("export", run.root, tmp_path / "own", "--checkpoint", "20")
    text = (tmp_path / "own" / "README.md").read_text()
    assert "from_pretrained" not in text
    assert "`MODELS`" in text


def test_the_model_of_a_live_run_can_be_exported_but_not_the_run(run: RunFolder, tmp_path: Path) -> None:
    with held(run):
        done("export", run.root, tmp_path / "model")
        assert "run 'first' is live" in refused("export", run.root, tmp_path / "run.tar", "--full")
    assert not (tmp_path / "run.tar").exists()


def test_what_is_there_is_never_overwritten(run: RunFolder, workspace: Path, tmp_path: Path) -> None:
    done("export", run.root, tmp_path / "run.tar", "--full")
    before = (tmp_path / "run.tar").read_bytes()
    assert "run.tar exists: name another" in refused("export", run.root, tmp_path / "run.tar", "--full")
    assert "exists: name another" in refused("export", run.root, run.checkpoints)
    assert (tmp_path / "run.tar").read_bytes() == before
    done("import", tmp_path / "run.tar", "--out_dir", workspace)
    (workspace / "first" / "mine.txt").write_text("")
    assert "first exists: choose another --name" in refused("import", tmp_path / "run.tar", "--out_dir", workspace)
    done("import", tmp_path / "run.tar", "--out_dir", workspace, "--name", "second")
    assert sorted(os.listdir(workspace)) == ["first", "second"]
    assert (workspace / "first" / "mine.txt").exists()


def test_an_empty_folder_may_be_the_destination(run: RunFolder, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    done("export", run.root, f"{tmp_path}/model/")
    assert (tmp_path / "model" / "README.md").exists()


def test_links_and_leftovers_are_no_part_of_an_export(run: RunFolder, workspace: Path, tmp_path: Path) -> None:
    (run.root / "secret").symlink_to("/etc/hostname")
    write_checkpoint(run.checkpoints / ".writing-step-00000040")
    done("export", run.root, tmp_path / "run.tar", "--full")
    done("import", tmp_path / "run.tar", "--out_dir", workspace)
    assert not (workspace / "first" / "secret").exists()
    assert not list((workspace / "first" / "checkpoints").glob(".*"))


def test_a_job_stays_on_its_cluster(run: RunFolder, workspace: Path, tmp_path: Path) -> None:
    (run.job / "code").mkdir(parents=True)
    (run.job / "id").write_text("slurm 7\n")
    export_run(run, str(tmp_path / "out"), None)
    import_run(str(tmp_path / "out"), workspace, None)
    assert not RunFolder(workspace / "first").job.exists()


def test_an_address_of_no_known_kind_is_told(run: RunFolder) -> None:
    assert "nothing://x" in refused("export", run.root, "nothing://x")


def test_a_checkpoint_without_a_model_is_told(run: RunFolder, tmp_path: Path) -> None:
    (run.checkpoint(20) / "model" / "config.json").unlink()
    with pytest.raises(UserError, match="the checkpoint of step 20 is damaged"):
        export_model(run, str(tmp_path / "model"), None)


def test_a_run_that_no_import_would_take_is_not_exported(run: RunFolder, tmp_path: Path) -> None:
    (run.untracked / "back\\slash.py").write_text("")
    assert "cannot be exported whole: path " in refused("export", run.root, tmp_path / "run.tar", "--full")
    assert not list(tmp_path.glob("*.tar"))


def test_a_store_whose_package_is_missing_is_told(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)
    assert "s3fs" in refused("export", run.root, "s3://bucket/run.tar", "--full")


@pytest.mark.parametrize("destination", ["run.tar", "run.tgz", "run", "memory://bucket/run.tar", "memory://bucket/run"])
def test_a_result_that_is_replaced_meanwhile_fails_the_export_and_leaves_nothing(
    destination: str, run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run.evals.mkdir()
    run.ledger.write("step-00000020", "", '{"step": 20, "metrics": {"loss": 1.0}}')

    def describe_then_replace(folder: RunFolder) -> Manifest:
        manifest = describe_run(folder)
        folder.ledger.write("step-00000020", "", '{"step": 20, "metrics": {"loss": 2.0}}')
        return manifest

    monkeypatch.setattr("dlib.transfer.exporting.describe_run", describe_then_replace)
    place = destination if "://" in destination else str(tmp_path / "out" / destination)
    with pytest.raises(UserError, match=r"step-00000020\.json changed while it was exported: .* run it again"):
        export_run(run, place, None)
    assert not (tmp_path / "out").exists() or not os.listdir(tmp_path / "out")
    assert fsspec.filesystem("memory").find("/") == []


def test_what_evaluations_are_about_and_the_files_of_wandb_stay_behind(
    run: RunFolder, workspace: Path, tmp_path: Path
) -> None:
    run.evals.mkdir()
    run.ledger.write("step-00000020", "", '{"step": 20, "metrics": {}}')
    run.ledger.watch("-test")
    run.ledger.pin("step-00000010", run.checkpoint(10) / "model")
    with run.ledger.claim("step-00000010"):
        pass
    run.wandb.mkdir()
    run.wandb_run_id.write_text("the-original")
    done("export", run.root, tmp_path / "run.tar", "--full")
    done("import", tmp_path / "run.tar", "--out_dir", workspace)
    assert os.listdir(workspace / "first" / "evals") == ["step-00000020.json"]
    assert not (workspace / "first" / "wandb").exists()


def test_nothing_is_exported_into_a_run(run: RunFolder, tmp_path: Path) -> None:
    other = write_run(tmp_path / "runs", "other")
    for place in (run.root / "exp", other.checkpoints / "new" / "run.tar", f"file://{run.root}/exp"):
        assert "is inside the folder of run '" in refused("export", run.root, place, "--full")
        assert "is inside the folder of run '" in refused("export", run.root, place)
    assert not (run.root / "exp").exists()
    assert not (other.checkpoints / "new").exists()


@pytest.mark.parametrize("name", ["run.zip", "run.tar.bz2"])
def test_a_name_that_promises_another_archive_is_refused(run: RunFolder, tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match=r"ends in \.tar"):
        export_run(run, str(tmp_path / name), None)
    assert not (tmp_path / name).exists()
