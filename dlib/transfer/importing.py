"""`runs.py import`: a run that `export --full` wrote lands in the workspace, whole and checked, or not at all.

    archive --manifest--> all headers as it says? --> unpacked aside, hashed --> a whole run? --rename--> runs/x

An archive may come from anybody. Nothing that it says is used as a path before it is checked, and it can make nothing
but plain files: what it unpacks to stays aside, in the workspace's trash, until all is known to be right.
"""

import gzip
import io
import os
import shutil
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from dlib.browse.tables import shown_size
from dlib.config.configuration import has_interpolation, load_config
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
# Headers are small, and contents are read in pieces: whoever asks for more at once was told so by a hostile header.
MAX_READ_BYTES = 2**24


def import_run(source: str, workspace: Path, name: str | None) -> None:
    """Check an exported run, then put it into the workspace.

    Args:
        source: path or address of the folder or archive.
        workspace: the folder that holds the run folders.
        name: name of the run here; None: as it was.

    Raises:
        UserError: the source is no whole export, or the name is taken; the workspace is as it was.
    """
    address = find_address(source)
    with failures_told(address):
        if not address.exists():
            raise UserError(f"no file or folder {address.text}")
        manifest = _read_manifest(address)
        run = RunFolder(workspace / (manifest.name if name is None else _checked_name(name)))
        _refuse_taken(run)
        _refuse_lack_of_space(manifest, workspace)
        with _staging(workspace, run.name) as staged:
            _unpack(address, manifest, staged)
            _check_whole(staged, address)
            sync_tree(staged.root)
            _refuse_taken(run)  # again: this took its time
            staged.root.rename(run.root)
            sync(workspace)
    print(f"imported run '{run.name}' ({len(manifest.files)} files, {shown_size(manifest.total_bytes)}) to {run.root}")


def _read_manifest(address: Address) -> Manifest:
    """The manifest; of an archive every header is checked against it."""
    if address.is_folder():
        try:
            with address.open(MANIFEST_NAME) as file:
                return parse_manifest(file.read(MAX_MANIFEST_BYTES), address.text)
        except FileNotFoundError as error:
            raise UserError(f"{address.text} has no {MANIFEST_NAME}: export the run with --full") from error
    with _members(address) as (manifest, members):
        for _ in members:
            pass
    return manifest


@contextmanager
def _members(address: Address) -> "Iterator[tuple[Manifest, Iterator[tuple[str, IO[bytes]]]]]":
    """The manifest of an archive, and its files by name; each is checked against the manifest before it is told of."""
    try:
        with address.open() as raw, _decompressed(raw) as file, tarfile.open(fileobj=file, mode="r:") as archive:
            first = archive.next()
            top, _, name = first.name.partition("/") if first else ("", "", "")
            if first is None or not first.isreg() or name != MANIFEST_NAME or first.size > MAX_MANIFEST_BYTES:
                raise UserError(
                    f"{address.text} is no archive of export --full: it does not begin with {MANIFEST_NAME}"
                )
            manifest = parse_manifest(_content(archive, first).read(), address.text)
            yield manifest, _checked_members(archive, top, manifest, address)
    except (
        tarfile.TarError,
        EOFError,
        gzip.BadGzipFile,
        zlib.error,
        ArithmeticError,
        ValueError,
        RecursionError,
    ) as error:
        raise UserError(f"{address.text} is no whole archive: {error}") from error


def _checked_members(
    archive: tarfile.TarFile, top: str, manifest: Manifest, address: Address
) -> "Iterator[tuple[str, IO[bytes]]]":
    seen: set[str] = set()
    while (member := archive.next()) is not None:
        name = member.name.removeprefix(f"{top}/")
        entry = manifest.files.get(name)
        if not member.isreg() or entry is None or name in seen or member.size != entry.bytes:
            kind = "is not in its manifest" if entry is None or not member.isreg() else "is not as its manifest says"
            raise UserError(f"{address.text}: {member.name[:80]!r} {kind}: nothing was imported")
        seen.add(name)
        yield name, _content(archive, member)
    missing = manifest.files.keys() - seen
    if missing:
        raise UserError(f"{address.text} is not whole: {len(missing)} files are missing, such as {min(missing)!r}")


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    content = archive.extractfile(member)
    assert content is not None, "only plain files come here"
    return content


class _BoundedReads(io.RawIOBase):
    """A file that is never read in large pieces, however large a header says that the next one is."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= MAX_READ_BYTES:
            raise tarfile.ReadError(f"a header of {size} bytes")
        return self._file.read(size)

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()


def _decompressed(raw: IO[bytes]) -> Any:
    start = raw.read(len(GZIP_START))
    raw.seek(0)
    return _BoundedReads(gzip.GzipFile(fileobj=raw) if start == GZIP_START else raw)  # type: ignore[arg-type]


def _checked_name(name: str) -> str:
    check_name(name, "--name")
    if not name:
        raise UserError("--name is empty: leave it out, or name the run")
    return name


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
    """A new folder, held, on the same disk as the workspace; what is left in it at the end is removed.

    It stands in the trash: what a killed import leaves is nobody's run, and goes when the trash is emptied.
    """
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


def _unpack(address: Address, manifest: Manifest, staged: RunFolder) -> None:
    """Write every file, and compare its hash."""
    if address.is_folder():
        for name in manifest.files:
            _refuse_links(address, name)
            with address.open(name) as source:
                _write(name, source, manifest, staged, address)
    else:
        with _members(address) as (again, members):
            if again != manifest:
                raise UserError(f"{address.text} changed meanwhile: nothing was imported")
            for name, source in members:
                _write(name, source, manifest, staged, address)
    for name, step in manifest.pointers.items():
        if not staged.checkpoint(step).is_dir():
            raise UserError(f"{address.text}: there is no checkpoint of step {step}, the {name} one")
        staged.point(name, step)


def _write(name: str, source: IO[bytes], manifest: Manifest, staged: RunFolder, address: Address) -> None:
    expected = manifest.files[name]
    with new_file(staged.root, name) as target:
        written = copy_counted(source, target, limit=expected.bytes)
    if written != expected:
        raise UserError(f"{address.text}: {name!r} is damaged, its hash is another: nothing was imported")


def _refuse_links(address: Address, name: str) -> None:
    """Refuses a file of a folder that is reached through a link: it may be anything of this machine."""
    if address.system is None:
        path = Path(address.path, name)
        if any(part.is_symlink() for part in (path, *list(path.parents)[: name.count("/")])):
            raise UserError(f"{address.text}: {name!r} is a link: nothing was imported")


def _refuse_references(config: Path, address: Address) -> None:
    """Refuses a config.yml that takes values from this machine's variables and files; what a run writes has none."""
    for item in flatten(read_yaml(config), "", (config,)):
        values = item.value if isinstance(item, Setting) else "${"
        if any(has_interpolation(str(value)) for value in (values if isinstance(values, list) else [values])):
            raise UserError(f"{address.text}: its config.yml refers to what is not in it: {item.key}")


def _check_whole(staged: RunFolder, address: Address) -> None:
    """Refuses what is no whole run."""
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
