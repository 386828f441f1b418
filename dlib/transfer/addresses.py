"""Where exports go and imports come from: a path here, or an address that fsspec knows (`s3://bucket/run.tar`).

fsspec is imported for addresses alone: a path needs none of it.
"""

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from dlib.process.durable import sync, sync_tree
from dlib.process.errors import UserError

ARCHIVE_ENDINGS = (".tar", ".tar.gz", ".tgz")
OTHER_ARCHIVES = (".zip", ".tar.bz2", ".tar.xz", ".tar.zst", ".7z")


@dataclass(frozen=True)
class Address:
    """A place for a folder or a file.

    Attributes:
        text: as the user wrote it.
        path: its path: on this machine, or within the file system.
        system: the file system of fsspec; None: this machine's own.
    """

    text: str
    path: str
    system: Any = None

    @property
    def is_archive(self) -> bool:
        """Whether a tar file is meant."""
        return self.text.endswith(ARCHIVE_ENDINGS)

    @property
    def is_compressed(self) -> bool:
        """Whether a tar file with gzip is meant."""
        return not self.text.endswith(ARCHIVE_ENDINGS[0])

    def is_folder(self) -> bool:
        """Whether there is a folder."""
        return os.path.isdir(self.path) if self.system is None else self.system.isdir(self.path)

    def exists(self) -> bool:
        """Whether there is anything."""
        if self.system is None:
            return os.path.lexists(self.path)
        # Stores have no folders of their own, and older ones say of what has files alone that it does not exist.
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
    """Turns what goes wrong with files into one line.

    Raises:
        UserError: something did.
    """
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
    """Refuses to write where something is; an empty folder is nothing."""
    if address.path.endswith(OTHER_ARCHIVES):
        raise UserError(f"{address.text}: give a folder, or a file that ends in {', '.join(ARCHIVE_ENDINGS)}")
    is_empty = address.system is None and os.path.isdir(address.path) and not os.listdir(address.path)
    if address.exists() and (address.is_archive or os.path.islink(address.path) or not is_empty):
        raise UserError(f"{address.text} exists: name another destination, or remove it first")


def write_file(address: Address, write: Callable[[IO[bytes]], None]) -> None:
    """Writes a file so that it is there whole or not at all, as far as a store can promise that."""
    if address.system is not None:
        with address.system.transaction, address.system.open(address.path, "wb") as file:
            write(file)
        return
    final = Path(address.path)
    temporary = _beside(final)
    try:
        with temporary.open("xb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(final)
    finally:
        temporary.unlink(missing_ok=True)
    sync(final.absolute().parent)


def write_folder(address: Address, write: Callable[[Callable[[str], IO[bytes]]], None]) -> None:
    """Writes a folder so that it is there whole or not at all; a store gets its files one by one, none after a failure.

    Args:
        address: where.
        write: is given what opens a new file below the folder by its name, and fills them.
    """
    if address.system is not None:
        try:
            write(lambda name: address.system.open(f"{address.path}/{name}", "wb"))
        except BaseException:
            if address.exists():
                address.system.rm(address.path, recursive=True)
            raise
        return
    final = Path(address.path)
    temporary = _beside(final)
    temporary.mkdir()
    try:
        write(lambda name: new_file(temporary, name))
        sync_tree(temporary)
        temporary.rename(final)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    sync(final.absolute().parent)


def new_file(folder: Path, name: str) -> IO[bytes]:
    """Opens a new file below a folder; one that is there is never written to."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.open("xb")


def _beside(final: Path) -> Path:
    final.absolute().parent.mkdir(parents=True, exist_ok=True)
    return final.absolute().with_name(f".{final.absolute().name}.{os.getpid()}.writing")
