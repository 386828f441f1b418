"""What an exported run consists of: its name, and size and SHA-256 of every file.

It stands first in an archive, so that all that follows can be checked against it. It holds no links: of those in a run
only `best` and `last` count, and they are steps.
"""

import hashlib
import io
import json
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from dlib.config.validation import check_name
from dlib.process.errors import UserError
from dlib.process.ranks import say
from dlib.runs.folder import RunFolder

MANIFEST_NAME = "run-manifest.json"
FORMAT, VERSION = "dlib run", 1
MAX_FILES = 100_000
MAX_MANIFEST_BYTES = 2**24
LONGEST_PATH_BYTES = 1024
LONGEST_PART_BYTES = 255
COPY_BYTES = 2**20
POINTERS = ("best", "last")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class FileEntry:
    """Size and hash of a file."""

    bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What an exported run consists of."""

    name: str  # name of the run
    files: dict[str, FileEntry]  # all files by their path in the run's folder
    pointers: dict[str, int]  # the steps that `checkpoints/best` and `checkpoints/last` link to

    @property
    def total_bytes(self) -> int:
        """Size of all files."""
        return sum(entry.bytes for entry in self.files.values())

    def to_json(self) -> bytes:
        """The manifest as it is written."""
        return json.dumps({"format": FORMAT, "version": VERSION, **asdict(self)}, indent=1).encode()


def describe_run(folder: RunFolder) -> Manifest:
    """The manifest of a run that nobody writes to; every file is read.

    Raises:
        UserError: it has what `parse_manifest` would refuse.
    """
    files = {}
    for name in sorted(_file_names(folder)):
        with (folder.root / name).open("rb") as file:
            files[name] = copy_counted(file, None)
    steps = {name: folder.pointed_step(name) for name in POINTERS}
    manifest = Manifest(folder.name, files, {name: step for name, step in steps.items() if step is not None})
    try:
        _check(manifest)
    except ValueError as error:
        raise UserError(f"run '{folder.name}' cannot be exported whole: {error}") from error
    return manifest


def _file_names(folder: RunFolder) -> Iterator[str]:
    """Paths of the plain files of a run, without the lock, leftovers and claims.

    The files of W&B stay behind too: by the id in them a copy would go on with the W&B run of the original. So does the
    job: it is one of this cluster, and the record has its code.
    """
    left_out = []
    for path in folder.root.rglob("*"):
        name = path.relative_to(folder.root)
        if path in (folder.best, folder.last) or any(part.startswith(".") for part in _own_parts(name)):
            continue
        if name.parts[0] in (folder.wandb.name, folder.job.name):
            continue
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            left_out.append(str(name))
        elif path.is_file() and str(name) != MANIFEST_NAME:
            yield name.as_posix()
    if left_out:
        say(f"left out, no plain files: {', '.join(sorted(left_out))}")


class CountedReads(io.RawIOBase):
    """A file that counts and hashes what is read of it."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._digest = hashlib.sha256()
        self.count = 0

    @property
    def entry(self) -> FileEntry:
        """Size and hash of what was read."""
        return FileEntry(self.count, self._digest.hexdigest())

    def read(self, size: int = -1) -> bytes:
        """Reads on."""
        block = self._file.read(size)
        self._digest.update(block)
        self.count += len(block)
        return block


def copy_counted(source: IO[bytes], target: IO[bytes] | None, limit: int | None = None) -> FileEntry:
    """Size and hash of a file, copied unless `target` is None; one longer than `limit` is not read to its end."""
    counted = CountedReads(source)
    while block := counted.read(COPY_BYTES):
        if target is not None:
            target.write(block)
        if limit is not None and counted.count > limit:
            break
    return counted.entry


def parse_manifest(text: bytes, source: str) -> Manifest:
    """The manifest, checked: nothing in it can lead out of the folder that it is unpacked in.

    Raises:
        UserError: it is none, of another version, or hostile; the message names `source`.
    """
    try:
        content = json.loads(text, object_pairs_hook=_without_duplicates)
        if not isinstance(content, dict) or not all(isinstance(content[name], dict) for name in ("files", "pointers")):
            raise ValueError("it is no JSON object of files and pointers")
        if content["format"] != FORMAT:
            raise ValueError(f"its format is {content['format']!r}")
        if content["version"] != VERSION:
            raise UserError(f"{source} is of version {content['version']} of the format; this program reads {VERSION}")
        files = {str(name): FileEntry(**entry) for name, entry in content["files"].items()}
        manifest = Manifest(content["name"], files, dict(content["pointers"]))
        _check(manifest)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        reason = str(error) or type(error).__name__
        raise UserError(f"{source}: {MANIFEST_NAME} is damaged or not one of export --full: {reason}") from error
    return manifest


def _check(manifest: Manifest) -> None:
    """Raises ValueError when a part of a manifest cannot be trusted."""
    if not isinstance(manifest.name, str) or not manifest.name:
        raise ValueError("the run has no name")
    check_name(manifest.name, "name of the run")
    if len(manifest.files) > MAX_FILES:
        raise ValueError(f"more than {MAX_FILES:,} files")
    for name, entry in manifest.files.items():
        check_path(name)
        is_sound = type(entry.bytes) is int and entry.bytes >= 0 and isinstance(entry.sha256, str)
        if not is_sound or not _SHA256.fullmatch(entry.sha256):
            raise ValueError(f"size or hash of {name!r}")
    for name, step in manifest.pointers.items():
        if name not in POINTERS or type(step) is not int or step < 0:
            raise ValueError(f"pointer {name!r}")


def check_path(name: str) -> None:
    """Refuses a path that is not plainly one of a file below a run's folder.

    Raises:
        ValueError: it is absolute, climbs, is not in its shortest form, or is a name of this program's own.
    """
    parts = name.split("/")
    if (
        any(part in ("", ".", "..") or len(part.encode(errors="replace")) > LONGEST_PART_BYTES for part in parts)
        or "\0" in name
        or "\\" in name
        or len(name.encode(errors="replace")) > LONGEST_PATH_BYTES
    ):
        raise ValueError(f"path {name[:80]!r} leads nowhere below a run")
    # The lock and unfinished files: a file of such a name would be taken for this program's own.
    if any(part.startswith(".") for part in _own_parts(Path(name))) or name == MANIFEST_NAME:
        raise ValueError(f"path {name[:80]!r} is reserved")


def _own_parts(name: Path) -> tuple[str, ...]:
    """The parts of a path whose names only this program chooses."""
    own = RunFolder(Path())
    return name.parts[:2] if name.parts[0] in (own.checkpoints.name, own.evals.name) else name.parts[:1]


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name stands twice")
    return found
