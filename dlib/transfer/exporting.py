"""`runs.py export`: a checkpoint as a folder that transformers loads, or a whole run that another workspace takes.

RUN --describe_run / model card--> entries --addresses--> folder, .tar or .tar.gz, here or in a store
"""

import io
import os
import re
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from dlib.browse.tables import shown_size
from dlib.process.errors import UserError
from dlib.runs.folder import RunFolder
from dlib.runs.liveness import kept_still, refuse_live
from dlib.runs.paths import CheckpointFolder
from dlib.runs.registry import DAMAGED, HALF_WRITTEN, summarize
from dlib.transfer.addresses import Address, failures_told, find_address, new_place, refuse_taken
from dlib.transfer.manifest import MANIFEST_NAME, CountedReads, FileEntry, copy_counted, describe_run
from dlib.transfer.model_card import model_card

CARD_NAME = "README.md"
PLAIN_MODE = 0o644


@dataclass(frozen=True)
class Entry:
    """A file of an export: its path there, its content or where that is, and what the manifest says of it."""

    name: str
    content: Path | bytes
    expected: FileEntry | None = None

    def open(self) -> IO[bytes]:
        """Opens the content."""
        return io.BytesIO(self.content) if isinstance(self.content, bytes) else self.content.open("rb")

    def check(self, written: FileEntry) -> None:
        """Refuses a file that changed after the manifest: evaluations may write while the run is kept still."""
        if self.expected not in (None, written):
            raise UserError(f"{self.name} changed while it was exported: nothing was written, run it again")


def export_model(folder: RunFolder, destination: str, checkpoint: str | None) -> None:
    """Write the model, tokenizer and model card of a checkpoint ("best", "last" or a step); the run may be live.

    Raises:
        UserError: there is no such checkpoint, or the destination is taken or cannot be written.
    """
    step, path = find_checkpoint(folder, checkpoint)
    model = CheckpointFolder(path).model
    files = sorted(file for file in model.rglob("*") if file.is_file())
    if not (model / "config.json").is_file():
        raise UserError(f"{model} has no config.json: the checkpoint of step {step} is damaged")
    entries = [Entry(file.relative_to(model).as_posix(), file) for file in files if file.name != CARD_NAME]
    address = find_address(destination)
    card = model_card(folder, step, _stem(address))
    _deliver([*entries, Entry(CARD_NAME, card.encode())], address, _stem(address))
    print(f"exported step {step} of run '{folder.name}' to {address.text}")


def export_run(folder: RunFolder, destination: str, checkpoint: str | None) -> None:
    """Write a whole run, with a manifest before all other files; `import_run` takes it.

    Raises:
        UserError: the run is live or damaged, or the destination is taken or cannot be written.
    """
    if checkpoint is not None:
        raise UserError("--checkpoint chooses a model: --full takes all of the run")
    summary = summarize(folder)
    if summary.state in (DAMAGED, HALF_WRITTEN):
        raise UserError(f"run '{folder.name}' is {summary.state}: {summary.note}")
    refuse_live(folder)
    address = find_address(destination)
    with kept_still(folder), failures_told(address):
        _refuse_place(address)
        manifest = describe_run(folder)
        entries = [Entry(MANIFEST_NAME, manifest.to_json())]
        entries += [Entry(name, folder.root / name, entry) for name, entry in manifest.files.items()]
        _deliver(entries, address, folder.name)
    size = shown_size(manifest.total_bytes)
    print(f"exported run '{folder.name}' ({len(manifest.files)} files, {size}) to {address.text}")


def find_checkpoint(folder: RunFolder, word: str | None) -> tuple[int, Path]:
    """Step and folder of the checkpoint that `word` names: "best", "last" or a step; refuses any other."""
    whole = dict(folder.whole_checkpoints())
    if not whole:
        raise UserError(f"run '{folder.name}' has no checkpoint yet")
    best, last = folder.pointed_step("best"), max(whole)
    match = re.fullmatch(r"(?:step-)?(\d+)", word or "")
    named = {None: last if best is None else best, "best": best, "last": last}
    step = int(match[1]) if match else named.get(word)
    if step is None or step not in whole:
        there = ", ".join(map(str, whole))
        raise UserError(f"--checkpoint {word}: run '{folder.name}' has the steps {there}, best and last")
    return step, whole[step]


def _deliver(entries: Sequence[Entry], address: Address, top: str) -> None:
    """Write the entries to a folder, or below the folder `top` of an archive."""
    with failures_told(address):
        _refuse_place(address)
        with new_place(address) as new_file:
            if address.is_archive:
                with new_file("") as file:
                    _write_archive(entries, top, address.is_compressed, file)
                return
            # In a store files may appear one by one: the manifest, or the card, comes last and shows that all came.
            for entry in [*entries[1:], entries[0]] if entries[0].name == MANIFEST_NAME else entries:
                with entry.open() as source, new_file(entry.name) as target:
                    entry.check(copy_counted(source, target))


def _write_archive(entries: Sequence[Entry], top: str, is_compressed: bool, file: IO[bytes]) -> None:
    mode = "w|gz" if is_compressed else "w|"
    with tarfile.open(fileobj=file, mode=mode, format=tarfile.PAX_FORMAT) as archive:  # type: ignore[call-overload]
        for entry in entries:
            header = tarfile.TarInfo(f"{top}/{entry.name}")
            header.mode = PLAIN_MODE
            if isinstance(entry.content, Path):
                header.mtime = int(entry.content.stat().st_mtime)
            with entry.open() as content:
                header.size = content.seek(0, os.SEEK_END)
                content.seek(0)
                counted = CountedReads(content)
                archive.addfile(header, counted)
                entry.check(counted.entry)


def _refuse_place(address: Address) -> None:
    """Refuses a destination that is taken, or inside a run."""
    refuse_taken(address)
    place = Path(address.path).resolve()
    for folder in map(RunFolder, place.parents if address.system is None else ()):
        if folder.config.is_file() and (folder.status.exists() or folder.record.exists()):
            raise UserError(f"{address.text} is inside the folder of run '{folder.name}': name a place outside it")


def _stem(address: Address) -> str:
    """The destination's own name, without the ending of an archive."""
    return re.sub(r"\.(tar|tar\.gz|tgz)$", "", os.path.basename(os.path.abspath(address.path)))
