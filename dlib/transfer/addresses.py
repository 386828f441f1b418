"""Where exports go and imports come from: a path here, or an address that fsspec knows (`s3://bucket/run.tar`).

fsspec is imported for addresses alone: a path needs none of it.
"""

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

from dlib.process.durable import sync, sync_tree
from dlib.process.errors import UserError

ARCHIVE_ENDINGS = (".tar", ".tar.gz", ".tgz")
OTHER_ARCHIVES = (".zip", ".tar.bz2", ".tar.xz", ".tar.zst", ".7z")


@dataclass(frozen=True)
class Address:
    """A place for a folder or a file."""

    text: str  # as the user wrote it
    path: str  # on this machine, or within the file system
    system: Any = None  # the file system of fsspec; None: this machine's own

    @property
    def is_archive(self) -> bool:
        """Whether it names a tar file."""
        return self.text.endswith(ARCHIVE_ENDINGS)

    @property
    def is_compressed(self) -> bool:
        """Whether it names a tar file with gzip."""
        return not self.text.endswith(ARCHIVE_ENDINGS[0])

    def is_folder(self) -> bool:
        """Whether there is a folder."""
        return os.path.isdir(self.path) if self.system is None else self.system.isdir(self.path)

    def exists(self) -> bool:
        """Whether anything is there."""
        if self.system is None:
            return os.path.lexists(self.path)
        # Some stores have no folders, and older ones say that a folder with files does not exist.
        return self.system.exists(self.path) or self.system.isdir(self.path)

    def open(self, name: str = "") -> IO[bytes]:
        """Opens the file, or one below the folder, for reading."""
        path = f"{self.path}/{name}" if name else self.path
        if self.system is None and os.path.exists(path) and not os.path.isfile(path):
            raise OSError(errno.EINVAL, "is no regular file", path)  # a pipe would let its reader wait for ever
        return open(path, "rb") if self.system is None else self.system.open(path, "rb")


def find_address(text: str) -> Address:
    """What an address means.

    Raises:
        UserError: its kind is unknown, or needs a package that is not installed.
    """
    if "://" not in text and "::" not in text:
        return Address(text, text.rstrip("/") or "/")
    from fsspec.core import url_to_fs
    from fsspec.implementations.local import LocalFileSystem

    try:
        system, path = url_to_fs(text)
    except (ValueError, ImportError, OSError) as error:
        raise UserError(f"{text}: {error}") from error
    return Address(text, path, None if isinstance(system, LocalFileSystem) else system)


@contextmanager
def failures_told(address: Address) -> Iterator[None]:
    """Turns what goes wrong with files into a `UserError` of one line."""
    try:
        yield
    except OSError as error:
        file = f" ({error.filename})" if error.filename and error.filename != address.path else ""
        raise UserError(f"{address.text}: {error.strerror or error}{file}") from error
    except (UserError, KeyboardInterrupt):
        raise
    except Exception as error:
        if address.system is None:
            raise
        # A store may raise anything: the classes of its own package.
        raise UserError(f"{address.text}: {type(error).__name__}: {error}") from error


def refuse_taken(address: Address) -> None:
    """Refuses to write where something is; an empty folder may be replaced."""
    if address.path.endswith(OTHER_ARCHIVES):
        raise UserError(f"{address.text}: give a folder, or a file that ends in {', '.join(ARCHIVE_ENDINGS)}")
    is_empty = address.system is None and os.path.isdir(address.path) and not os.listdir(address.path)
    if address.exists() and (address.is_archive or os.path.islink(address.path) or not is_empty):
        raise UserError(f"{address.text} exists: name another destination, or remove it first")


@contextmanager
def new_place(address: Address) -> Iterator[Callable[[str], IO[bytes]]]:
    """Gives what opens new files below a place, `""` being the place itself: all are there at the end, or none."""
    if address.system is not None:
        try:
            with address.system.transaction:
                yield lambda name: address.system.open(f"{address.path}/{name}".rstrip("/"), "wb")
        except BaseException:
            if address.exists():  # it has no transactions
                address.system.rm(address.path, recursive=True)
            raise
        return
    final = Path(address.path).absolute()
    temporary = final.with_name(f".{final.name}.{os.getpid()}.writing")
    try:
        yield partial(new_file, temporary)
        sync(temporary)
        sync_tree(temporary)
        temporary.rename(final)
        sync(final.parent)
    finally:
        temporary.unlink(missing_ok=True) if temporary.is_file() else shutil.rmtree(temporary, ignore_errors=True)


def new_file(folder: Path, name: str) -> IO[bytes]:
    """Opens a new file below a folder; an existing one is never written to."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.open("xb")
