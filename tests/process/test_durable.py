"""What a disk refuses is told in one line, whichever library met it; what is no regular file is never replaced."""

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models

from dlib.process.durable import refusals_told, refuse_output, tell_little_room, write_output, write_text_atomically
from dlib.process.errors import UserError
from tests.full_disks import file_limit, small_disk

pytestmark = pytest.mark.oldest
TENSORS = {"weight": torch.zeros(100_000)}


def save_tensors(path: Path) -> None:
    """As `state.ckpt` is written."""
    with path.open("wb") as file:
        torch.save(TENSORS, file)


def save_vocabulary(path: Path) -> None:
    Tokenizer(models.WordLevel({f"word{index}": index for index in range(20_000)}, unk_token="word0")).save(str(path))


WRITERS: list[Callable[[Path], None]] = [
    lambda path: save_file(TENSORS, path),
    save_tensors,
    save_vocabulary,
    lambda path: write_text_atomically(path, "0" * 400_000),
]
NAMES = ["safetensors", "torch", "tokenizers", "text"]


@pytest.mark.parametrize("write", WRITERS, ids=NAMES)
def test_a_limit_on_files_is_told_in_one_line(write: Callable[[Path], None], tmp_path: Path) -> None:
    path = tmp_path / "file"
    told = rf"^{path} cannot be written: File too large \(0\.10 MB a file allowed, see ulimit -f, 0\.40 MB needed\)$"
    with file_limit(100_000), pytest.raises(UserError, match=told), refusals_told(path, 400_000):
        write(path)


@pytest.mark.parametrize("write", WRITERS, ids=NAMES)
def test_a_full_disk_is_told_with_what_is_free_and_needed(write: Callable[[Path], None], tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "60k") as disk:
        path = disk / "file"
        told = rf"^{path} cannot be written: No space left on device \(.* MB.* free there, 0\.40 MB needed\); make room"
        with pytest.raises(UserError, match=told), refusals_told(path, 400_000):
            write(path)


def test_a_disk_without_inodes_and_one_that_is_read_only_are_told(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "1m", ",nr_inodes=2") as disk:
        write_text_atomically(disk / "first", "text")
        with pytest.raises(UserError, match=r"No space left on device .* MB and 0 inodes free there"):
            write_text_atomically(disk / "second", "text")
    with (
        small_disk(tmp_path / "other", "1m", ",ro") as disk,
        pytest.raises(UserError, match="Read-only file system: n"),
    ):
        write_text_atomically(disk / "first", "text")


def test_a_fault_that_is_not_the_disks_stays_what_it_is(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), refusals_told(tmp_path):
        _ = 1 / 0


def test_a_folder_in_the_way_is_told_and_stays(tmp_path: Path) -> None:
    (tmp_path / "status.json" / "deeper").mkdir(parents=True)
    with pytest.raises(UserError, match=r"status\.json cannot be written: Is a directory: a folder stands there"):
        write_text_atomically(tmp_path / "status.json", "{}")
    assert [path.name for path in tmp_path.iterdir()] == ["status.json"]


def test_no_folder_is_made_for_a_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="No such file or directory"):
        write_text_atomically(tmp_path / "moved" / "status.json", "{}")
    assert not list(tmp_path.iterdir())


def test_an_output_that_is_a_device_a_pipe_or_a_link_is_written_into(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("old")
    (tmp_path / "link").symlink_to("file")
    write_output(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_text() == "new"
    os.mkfifo(tmp_path / "pipe")
    received: list[bytes] = []
    reader = threading.Thread(target=lambda: received.append((tmp_path / "pipe").read_bytes()))
    reader.start()
    write_output(tmp_path / "pipe", b"through")
    reader.join()
    assert received == [b"through"]
    assert (tmp_path / "pipe").is_fifo()
    (tmp_path / "full").symlink_to("/dev/full")
    with pytest.raises(UserError, match="full cannot be written: No space left"):
        write_output(tmp_path / "full", b"text")


def test_an_output_that_cannot_be_is_refused_before_the_work(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=rf"--output {tmp_path}: that is a folder; name a file"):
        refuse_output(tmp_path, "--output")
    with pytest.raises(UserError, match=r"--output .*/out\.json: there is no folder .*/none; make it first"):
        refuse_output(tmp_path / "none" / "out.json", "--output")
    assert not list(tmp_path.iterdir())


def test_little_room_is_told_before_it_is_needed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tell_little_room(tmp_path, 1)
    assert capsys.readouterr().err == ""
    tell_little_room(tmp_path, 10**18)
    assert capsys.readouterr().err.startswith(
        f"warning: {tmp_path}: the checkpoints need 1,000,000,000,000.00 MB, and "
    )
