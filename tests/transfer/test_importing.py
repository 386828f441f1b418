"""Import: whatever an archive says, a whole and checked run lands, or nothing does."""

import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from dlib.process.errors import UserError
from dlib.reproduce.line_by_line import print_difference
from dlib.reproduce.reproduction import Request, reproduce
from dlib.runs.folder import RunFolder
from dlib.transfer.exporting import export_run
from dlib.transfer.importing import import_run
from dlib.transfer.manifest import MANIFEST_NAME, MAX_FILES, check_path
from tests.launching import ROOT
from tests.repositories import git
from tests.runs.folders import contents, done, refused, write_run, write_run_with_code

EVIL = b"not what you think"


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return write_run_with_code(tmp_path / "runs")


def manifest_of(content_of: dict[str, bytes], **changes: Any) -> bytes:
    entries = {n: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()} for n, data in content_of.items()}
    content = {"format": "dlib run", "version": 1, "name": "first", "files": entries, "pointers": {}}
    return json.dumps(content | changes).encode()


def add(archive: tarfile.TarFile, name: str, data: bytes = b"", **header: Any) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for key, value in header.items():
        setattr(info, key, value)
    archive.addfile(info, io.BytesIO(data))


def write_archive(path: Path, manifest: bytes, members: Sequence[tuple[str, bytes, dict[str, Any]]]) -> None:
    with tarfile.open(path, "w") as archive:
        add(archive, f"first/{MANIFEST_NAME}", manifest)
        for name, data, header in members:
            add(archive, name, data, **header)


def files_of(run: RunFolder) -> dict[str, bytes]:
    return {name: data for name, data in contents(run.root).items() if isinstance(data, bytes)}


def members_of(files: dict[str, bytes]) -> list[tuple[str, bytes, dict[str, Any]]]:
    return [(f"first/{name}", data, {}) for name, data in files.items()]


@pytest.mark.parametrize(
    "name",
    [
        "../evil",
        "../../evil",
        "/absolute/evil",
        "checkpoints/../../evil",
        "a//b",
        "./evil",
        "",
        "a/",
        ".lock",
        ".config.yml.1.writing",
        "checkpoints/.writing-step-00000010/x",
        "evals/.watched",
        "evals/.pinned/step-00000010/config.json",
        MANIFEST_NAME,
        "a\\..\\evil",
        "a\0b",
        "x" * 300,
        "/".join(["deep"] * 300),
    ],
)
def test_a_manifest_with_a_path_that_is_none_of_a_run_is_refused(
    name: str, run: RunFolder, workspace: Path, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="path "):
        check_path(name)
    files = files_of(run) | {name: EVIL}
    write_archive(tmp_path / "evil.tar", manifest_of(files), members_of(files_of(run)))
    assert "path " in refused_import(tmp_path / "evil.tar", workspace)


def refused_import(source: Path, workspace: Path) -> str:
    """Why an import is refused; nothing of it may be there, whatever it was."""
    with pytest.raises(UserError) as refusal:
        import_run(str(source), workspace, None)
    assert not workspace.exists() or not os.listdir(workspace)
    assert not list(source.parent.rglob("evil"))
    return str(refusal.value)


@pytest.mark.parametrize(
    ("extra", "told"),
    [
        ([("first/../../evil", EVIL, {})], "is not in its manifest"),
        ([("/absolute/evil", EVIL, {})], "is not in its manifest"),
        ([("first/evil", EVIL, {})], "is not in its manifest"),
        ([("first/code", b"", {"type": tarfile.SYMTYPE, "linkname": "/etc"})], "is not in its manifest"),
        ([("first/status.json", b"", {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"})], "is not in its manifest"),
        ([("first/status.json", b"", {"type": tarfile.LNKTYPE, "linkname": "/etc/passwd"})], "is not in its manifest"),
        ([("first/status.json", b"", {"type": tarfile.FIFOTYPE})], "is not in its manifest"),
        ([("first/status.json", b"", {"type": tarfile.CHRTYPE, "devmajor": 1, "devminor": 3})], "is not in its man"),
        ([("first/evil", b"", {"type": tarfile.DIRTYPE})], "is not in its manifest"),
    ],
    ids=lambda value: value[0][0] if isinstance(value, list) else None,
)
def test_a_member_that_the_manifest_does_not_name_or_that_is_no_plain_file_is_refused(
    extra: list[tuple[str, bytes, dict[str, Any]]], told: str, run: RunFolder, workspace: Path, tmp_path: Path
) -> None:
    files = files_of(run)
    others = [member for member in members_of(files) if member[0] != extra[0][0]]
    write_archive(tmp_path / "evil.tar", manifest_of(files), [*extra, *others])
    assert told in refused_import(tmp_path / "evil.tar", workspace)


def test_a_member_that_comes_twice_is_refused(run: RunFolder, workspace: Path, tmp_path: Path) -> None:
    files = files_of(run)
    write_archive(tmp_path / "evil.tar", manifest_of(files), [*members_of(files), *members_of(files)[:1]])
    assert "is not as its manifest says" in refused_import(tmp_path / "evil.tar", workspace)


def test_a_file_that_is_missing_or_has_other_bytes_is_refused(run: RunFolder, workspace: Path, tmp_path: Path) -> None:
    files = files_of(run)
    write_archive(tmp_path / "evil.tar", manifest_of(files), members_of(files)[1:])
    assert "is not whole: 1 files are missing" in refused_import(tmp_path / "evil.tar", workspace)
    swapped = files | {"metrics.jsonl": files["metrics.jsonl"].replace(b"2.0", b"1.0")}
    write_archive(tmp_path / "evil.tar", manifest_of(files), members_of(swapped))
    assert "'metrics.jsonl' is damaged, its hash is another" in refused_import(tmp_path / "evil.tar", workspace)
    longer = files | {"metrics.jsonl": files["metrics.jsonl"] + b"{}"}
    write_archive(tmp_path / "evil.tar", manifest_of(files), members_of(longer))
    assert "is not as its manifest says" in refused_import(tmp_path / "evil.tar", workspace)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"name": "../evil"}, "name of the run"),
        ({"name": "/evil"}, "name of the run"),
        ({"name": ".trash"}, "name of the run"),
        ({"name": ""}, "no name"),
        ({"name": 7}, "no name"),
        ({"format": "other"}, "its format is 'other'"),
        ({"version": 2}, "is of version 2"),
        ({"files": []}, "damaged or not one of export --full: it is no JSON object of files and pointers"),
        ({"pointers": []}, "damaged or not one of export --full: it is no JSON object of files and pointers"),
        ({"files": {"a": {"bytes": -1, "sha256": "0" * 64}}}, "size or hash of 'a'"),
        ({"files": {"a": {"bytes": 1, "sha256": "zz"}}}, "size or hash of 'a'"),
        ({"files": {"a": {"bytes": 10**18, "sha256": "0" * 64}}}, "the run has 1000000 TB"),
        (
            {"files": {str(n): {"bytes": 0, "sha256": "0" * 64} for n in range(MAX_FILES + 1)}},
            "more than 100,000 files",
        ),
        ({"pointers": {"best": 77}}, "there is no checkpoint of step 77, the best one"),
        ({"pointers": {"../../evil": 1}}, "pointer"),
        ({"pointers": {"best": "../../evil"}}, "pointer"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_manifest_that_cannot_be_trusted_is_refused(
    changes: dict[str, Any], told: str, run: RunFolder, workspace: Path, tmp_path: Path
) -> None:
    files = files_of(run)
    is_other = "files" in changes
    write_archive(tmp_path / "evil.tar", manifest_of(files, **changes), [] if is_other else members_of(files))
    message = refused_import(tmp_path / "evil.tar", workspace)
    assert told in message


def test_a_run_too_large_for_the_disk_is_refused_before_it_is_unpacked(
    run: RunFolder, workspace: Path, tmp_path: Path
) -> None:
    done("export", run.root, tmp_path / "run", "--full")
    manifest = json.loads((tmp_path / "run" / MANIFEST_NAME).read_text())
    manifest["files"]["config.yml"]["bytes"] = 10**18
    (tmp_path / "run" / MANIFEST_NAME).write_text(json.dumps(manifest))
    assert "the run has 1000000 TB, and " in refused_import(tmp_path / "run", workspace)


def test_a_name_that_stands_twice_in_a_manifest_is_refused(run: RunFolder, workspace: Path, tmp_path: Path) -> None:
    manifest = manifest_of(files_of(run)).replace(b'"config.yml"', b'"record.json"', 1)
    write_archive(tmp_path / "evil.tar", manifest, members_of(files_of(run)))
    assert "a name stands twice" in refused_import(tmp_path / "evil.tar", workspace)


def test_an_archive_that_holds_no_whole_run_is_refused(run: RunFolder, workspace: Path, tmp_path: Path) -> None:
    whole = files_of(run)
    for name, data, told in (
        ("config.yml", None, "holds no whole run"),
        ("config.yml", b"optim: {learning_rat: 1}\n", "learning_rat"),
        ("status.json", b"{}", "status.json is missing or damaged"),
        ("record.json", b"[]", "its record.json is damaged"),
        ("checkpoints/step-00000010/state.ckpt", None, "step-00000010/state.ckpt is missing"),
    ):
        files = {key: value for key, value in whole.items() if key != name} | ({name: data} if data else {})
        write_archive(tmp_path / "evil.tar", manifest_of(files), members_of(files))
        assert told in refused_import(tmp_path / "evil.tar", workspace)


def test_an_archive_that_is_none_or_torn_is_refused(run: RunFolder, workspace: Path, tmp_path: Path) -> None:
    done("export", run.root, tmp_path / "run.tar.gz", "--full")
    done("export", run.root, tmp_path / "run.tar", "--full")
    for name in ("run.tar.gz", "run.tar"):
        whole = (tmp_path / name).read_bytes()
        for size in (0, 1, 2, 100, 700, len(whole) // 4, len(whole) // 2):
            (tmp_path / "torn.tar").write_bytes(whole[:size])
            refused_import(tmp_path / "torn.tar", workspace)
    with tarfile.open(tmp_path / "other.tar", "w") as archive:
        add(archive, "first/config.yml", b"{}")
    assert f"does not begin with {MANIFEST_NAME}" in refused_import(tmp_path / "other.tar", workspace)
    (tmp_path / "folder").mkdir()
    assert "export the run with --full" in refused_import(tmp_path / "folder", workspace)
    assert "no file or folder" in refused_import(tmp_path / "none.tar", workspace)


def test_headers_that_nest_for_ever_or_claim_gigabytes_are_refused(workspace: Path, tmp_path: Path) -> None:
    extended = tarfile.TarInfo("x")
    extended.type = tarfile.XHDTYPE
    (tmp_path / "nested.tar").write_bytes(extended.tobuf() * 20_000)
    assert "is no whole archive" in refused_import(tmp_path / "nested.tar", workspace)
    extended.size = 10**10
    with (tmp_path / "huge.tar").open("wb") as file:
        file.write(extended.tobuf(tarfile.GNU_FORMAT))
        file.truncate(10**10 + 2048)  # a hole
    assert "is no whole archive" in refused_import(tmp_path / "huge.tar", workspace)


def test_a_folder_whose_files_are_links_is_refused(run: RunFolder, workspace: Path, tmp_path: Path) -> None:
    done("export", run.root, tmp_path / "run", "--full")
    status = tmp_path / "run" / "status.json"
    (tmp_path / "status.json").write_bytes(status.read_bytes())
    status.unlink()
    status.symlink_to(tmp_path / "status.json")
    assert "'status.json' is a link" in refused_import(tmp_path / "run", workspace)
    status.unlink()
    status.write_bytes((tmp_path / "status.json").read_bytes())
    (tmp_path / "run" / "checkpoints").rename(tmp_path / "checkpoints")
    (tmp_path / "run" / "checkpoints").symlink_to(tmp_path / "checkpoints")
    assert "is a link" in refused_import(tmp_path / "run", workspace)


@pytest.mark.parametrize("name", ["../evil", ".evil", "a/b", ""])
def test_a_name_that_names_no_folder_is_refused(name: str, run: RunFolder, workspace: Path, tmp_path: Path) -> None:
    export_run(run, str(tmp_path / "run.tar"), None)
    with pytest.raises(UserError, match="--name"):
        import_run(str(tmp_path / "run.tar"), workspace, name)
    assert not list(tmp_path.rglob("evil"))


def test_what_a_killed_import_leaves_is_in_the_trash_and_goes_with_it(
    run: RunFolder, workspace: Path, tmp_path: Path
) -> None:
    export_run(run, str(tmp_path / "run.tar"), None)
    script = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from dlib.transfer import importing\n"
        "importing.sync_tree = lambda _: os.kill(os.getpid(), signal.SIGKILL)\n"
        "importing.import_run(sys.argv[1], Path(sys.argv[2]), None)\n"
    )
    killed = subprocess.run([sys.executable, "-c", script, tmp_path / "run.tar", workspace], cwd=ROOT, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert os.listdir(workspace) == [".trash"]
    assert "no runs in" in done("list", "--out_dir", workspace)
    done("drop", "--purge", "--yes", "--out_dir", workspace)
    done("import", tmp_path / "run.tar", "--out_dir", workspace)
    assert contents(workspace / "first") == contents(run.root)


EVIL_DIFF = """diff --git a/evil b/evil
new file mode 120000
--- /dev/null
+++ b/evil
@@ -0,0 +1 @@
+{target}
\\ No newline at end of file
"""


@pytest.mark.parametrize(
    ("link", "target", "file"),
    [
        ("evil", "outside", "evil/pwned"),
        ("evil", "outside/pwned", "evil"),
        ("evil/evil", "outside/pwned", "evil"),
        ("evil", "outside", ".git/hooks/pwned"),
        ("evil", "outside", "dlib/.GIT"),
    ],
)
def test_the_code_of_an_imported_run_is_never_written_through_a_link(
    link: str, target: str, file: str, repository: Path, workspace: Path, tmp_path: Path
) -> None:
    (tmp_path / "outside").mkdir()
    commit = git(repository, "rev-parse", "HEAD").strip()
    code = {"diff": "uncommitted.diff", "untracked": [file], "left_out": {}, "left_out_count": 0}
    about = {"commit": commit, "remote": None, "uncommitted_sha256": None}
    write_run(workspace, "plain", record={"git": about})
    run = write_run(tmp_path / "runs", record={"git": {**about, "uncommitted_sha256": "1" * 64}, "code": code})
    files = files_of(run) | {
        "code/uncommitted.diff": EVIL_DIFF.format(target=tmp_path / target).replace("evil\n", f"{link}\n").encode(),
        f"code/untracked/{file}": b"pwned",
    }
    write_archive(tmp_path / "evil.tar", manifest_of(files, name="got"), members_of(files))
    import_run(str(tmp_path / "evil.tar"), workspace, None)
    got = RunFolder(workspace / "got")
    message = "would be written through a link or into .git|cannot be put back"
    with pytest.raises(UserError, match=message):
        reproduce(Request(got.root, None, None, present_code=False, keep=None), repository)
    print_difference(RunFolder(workspace / "plain"), got, repository)
    assert not os.listdir(tmp_path / "outside")
    assert len(git(repository, "worktree", "list").splitlines()) == 1


def test_what_is_no_regular_file_is_refused_without_waiting(run: RunFolder, workspace: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.tar")
    assert "is no regular file" in refused_import(tmp_path / "pipe.tar", workspace)
    done("export", run.root, tmp_path / "run", "--full")
    for name in ("status.json", MANIFEST_NAME):
        (tmp_path / "run" / name).unlink()
        os.mkfifo(tmp_path / "run" / name)
        assert "is no regular file" in refused_import(tmp_path / "run", workspace)


@pytest.mark.parametrize("command", ["list", "import run.tar", "drop first", "show first", "checkpoints first"])
def test_an_address_is_no_workspace(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    told = refused(*command.split(), "--out_dir", "memory://ws/runs")
    assert told.startswith("error: --out_dir memory://ws/runs: give a folder here; only import's SOURCE and export's ")
    assert not os.listdir(tmp_path)
