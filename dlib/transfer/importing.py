"""`runs.py import`: a run that `export --full` wrote lands in the workspace, whole and checked, or not at all.

    manifest --> each header as it says? --> unpacked aside, hashed --> a whole run? --rename--> runs/x

An archive may come from anybody. No name in it is used as a path before the manifest has been checked, and nothing but
the plain files of the manifest is written, all in the workspace's trash until everything is known to be right. That is
stricter than tarfile's data filter, which lets links and unlisted files through and is missing from early 3.10.
"""

import gzip
import os
import shutil
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from dlib.browse.tables import shown_size
from dlib.config.configuration import load_config
from dlib.config.escapes import has_interpolation
from dlib.config.files import Setting, flatten, read_yaml
from dlib.config.validation import check_name
from dlib.process.durable import sync, sync_tree
from dlib.process.errors import UserError
from dlib.runs.folder import RunFolder
from dlib.runs.paths import CheckpointFolder
from dlib.runs.record import read_record
from dlib.runs.registry import DAMAGED, FOREIGN, HALF_WRITTEN, find_trash, summarize
from dlib.transfer.addresses import Address, failures_told, find_address, new_file
from dlib.transfer.manifest import MANIFEST_NAME, MAX_MANIFEST_BYTES, Manifest, copy_counted, parse_manifest

GZIP_START = b"\x1f\x8b"
# Headers are small, and contents are read in pieces: only a hostile header asks for more at once.
MAX_READ_BYTES = 2**24
DAMAGES = (tarfile.TarError, EOFError, gzip.BadGzipFile, zlib.error, ArithmeticError, ValueError, RecursionError)
Files = Iterator[tuple[str, IO[bytes]]]


def import_run(source: str, workspace: Path, name: str | None) -> None:
    """Check an exported run, then put it into the workspace, under its own name or `name`.

    Raises:
        UserError: the source is no whole export, or the name is taken; the workspace is as it was.
    """
    check_name(name or "", "--name")
    if name == "":
        raise UserError("--name is empty: leave it out, or name the run")
    address = find_address(source)
    with failures_told(address):
        if not address.exists():
            raise UserError(f"no file or folder {address.text}")
        with _opened(address) as (manifest, files):
            run = RunFolder(workspace / (name or manifest.name))
            _refuse_taken(run)
            _refuse_lack_of_space(manifest, workspace)
            with _staging(workspace, run.name) as staged:
                _unpack(files, manifest, staged, address)
                _check_whole(staged, address)
                sync_tree(staged.root)
                _refuse_taken(run)  # again: this took its time
                staged.root.rename(run.root)
                sync(workspace)
    print(f"imported run '{run.name}' ({len(manifest.files)} files, {shown_size(manifest.total_bytes)}) to {run.root}")


@contextmanager
def _opened(address: Address) -> Iterator[tuple[Manifest, Files]]:
    """The manifest of an export, and its files by name, each checked against the manifest before it is handed out."""
    if address.is_folder():
        try:
            with address.open(MANIFEST_NAME) as file:
                manifest = parse_manifest(file.read(MAX_MANIFEST_BYTES), address.text)
        except FileNotFoundError as error:
            raise UserError(f"{address.text} has no {MANIFEST_NAME}: export the run with --full") from error
        yield manifest, _files_of_folder(address, manifest)
        return
    try:
        with address.open() as raw, tarfile.open(fileobj=_decompressed(raw), mode="r:") as archive:
            first = archive.next()
            top, _, name = first.name.partition("/") if first else ("", "", "")
            if first is None or not first.isreg() or name != MANIFEST_NAME or first.size > MAX_MANIFEST_BYTES:
                raise UserError(
                    f"{address.text} is no archive of export --full: it does not begin with {MANIFEST_NAME}"
                )
            manifest = parse_manifest(_content(archive, first).read(), address.text)
            yield manifest, _files_of_archive(archive, top, manifest, address)
    except DAMAGES as error:
        raise UserError(f"{address.text} is no whole archive: {error}") from error


def _files_of_folder(address: Address, manifest: Manifest) -> Files:
    for name in manifest.files:
        # A link may lead to anything of this machine.
        path = Path(address.path, name)
        if address.system is None and any(p.is_symlink() for p in (path, *list(path.parents)[: name.count("/")])):
            raise UserError(f"{address.text}: {name!r} is a link: nothing was imported")
        with address.open(name) as source:
            yield name, source


def _files_of_archive(archive: tarfile.TarFile, top: str, manifest: Manifest, address: Address) -> Files:
    missing = {*manifest.files}
    while (member := archive.next()) is not None:
        name = member.name.removeprefix(f"{top}/")
        if not member.isreg() or name not in manifest.files:
            raise UserError(f"{address.text}: {member.name[:80]!r} is not in its manifest: nothing was imported")
        if name not in missing or member.size != manifest.files[name].bytes:
            raise UserError(f"{address.text}: {member.name[:80]!r} is not as its manifest says: nothing was imported")
        missing.remove(name)
        yield name, _content(archive, member)
    if missing:
        raise UserError(f"{address.text} is not whole: {len(missing)} files are missing, such as {min(missing)!r}")


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    content = archive.extractfile(member)
    assert content is not None, "only plain files come here"
    return content


class _BoundedReads:
    """A file that is never read in large pieces, whatever size a header claims."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self.seek, self.tell = file, file.seek, file.tell

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= MAX_READ_BYTES:
            raise tarfile.ReadError(f"a header of {size} bytes")
        return self._file.read(size)


def _decompressed(raw: IO[bytes]) -> Any:
    is_compressed = raw.read(len(GZIP_START)) == GZIP_START
    raw.seek(0)
    return _BoundedReads(gzip.GzipFile(fileobj=raw) if is_compressed else raw)  # type: ignore[arg-type]


def _refuse_taken(run: RunFolder) -> None:
    if os.path.lexists(run.root):
        raise UserError(f"{run.root} exists: choose another --name")


def _refuse_lack_of_space(manifest: Manifest, workspace: Path) -> None:
    place = next(path for path in (workspace, *workspace.absolute().parents) if path.is_dir())
    free = shutil.disk_usage(place).free
    if manifest.total_bytes > free:
        raise UserError(f"the run has {shown_size(manifest.total_bytes)}, and {place} has {shown_size(free)} left")


@contextmanager
def _staging(workspace: Path, name: str) -> Iterator[RunFolder]:
    """A new folder, held, in the trash: what a killed import leaves there goes when the trash is emptied."""
    workspace.mkdir(parents=True, exist_ok=True)
    staged = RunFolder(find_trash(workspace) / f"importing-{name}-{os.getpid()}")
    staged.root.mkdir(parents=True)
    try:
        with staged.locked():
            yield staged
    finally:
        shutil.rmtree(staged.root, ignore_errors=True)
        with suppress(OSError):  # it holds other things
            staged.root.parent.rmdir()


def _unpack(files: Files, manifest: Manifest, staged: RunFolder, address: Address) -> None:
    """Write every file, and compare its hash."""
    for name, source in files:
        expected = manifest.files[name]
        with new_file(staged.root, name) as target:
            written = copy_counted(source, target, limit=expected.bytes)
        if written != expected:
            raise UserError(f"{address.text}: {name!r} is damaged, its hash is another: nothing was imported")
    for name, step in manifest.pointers.items():
        if not staged.checkpoint(step).is_dir():
            raise UserError(f"{address.text}: there is no checkpoint of step {step}, the {name} one")
        staged.point(name, step)


def _refuse_references(config: Path, address: Address) -> None:
    """Refuses a config.yml that reads variables and files of this machine; one that a run wrote does not."""
    for item in flatten(read_yaml(config), "", (config,)):
        values = item.value if isinstance(item, Setting) else "${"
        if any(has_interpolation(str(value)) for value in (values if isinstance(values, list) else [values])):
            raise UserError(f"{address.text}: its config.yml refers to what is not in it: {item.key}")


def _check_whole(staged: RunFolder, address: Address) -> None:
    """Refuses a run that is not whole."""
    summary = summarize(staged)
    if summary.state in (DAMAGED, HALF_WRITTEN, FOREIGN):
        raise UserError(f"{address.text} holds no whole run: {summary.note}")
    if staged.record.exists() and read_record(staged) is None:
        raise UserError(f"{address.text} holds no whole run: its {staged.record.name} is damaged")
    _refuse_references(staged.config, address)
    load_config([staged.config])
    for _, path in staged.whole_checkpoints():
        checkpoint = CheckpointFolder(path)
        for file in (checkpoint.model / "config.json", checkpoint.state):
            if not file.is_file():
                raise UserError(f"{address.text} holds no whole run: {file.relative_to(staged.root)} is missing")
