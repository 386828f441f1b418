"""Tokenizing by several processes side by side.

It stands apart because it is also what such a process runs (`python -m dlib.data.tokenizing_processes`,
with an order on its standard input). The process is a new interpreter rather than a fork, which would
copy the parent's torch threads in an unknown state, and rather than one of `multiprocessing`, which
would first import the parent's main script, and torch with it. It loads numpy and tokenizers alone and
starts in 0.2 s.

The processes take the parts of the text in turn, and the parent hands the parts on in the order of the
text, so that the result does not depend on the number of processes. A process that runs ahead fills the
disk, not the memory.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from dlib.data.fingerprint import Recipe, serialized_backend
from dlib.data.lines import MIB
from dlib.data.parts import Part
from dlib.data.shards import iterate_slices, num_bytes_of
from dlib.data.tokenizing import TokenizingJob, load_encode, tokenize_here
from dlib.process.errors import UserError
from dlib.process.stop_signals import STOP_SIGNALS
from dlib.process.threads import usable_cores

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

PACKAGE_ROOT = Path(__file__).resolve().parents[2]
WORKER = [sys.executable, "-m", "dlib.data.tokenizing_processes"]
# A smaller text is tokenized before further processes would have started.
SMALL_TEXT_BYTES = 2 * MIB


class KilledProcessError(UserError):
    """A tokenizing process was killed: the parts that are whole serve the next start."""


def tokenize_text(job: TokenizingJob, tokenizer: "PreTrainedTokenizerBase", processes: int) -> Iterator[Part]:
    """Tokenize a text by as many processes as it is worth (-1: one a CPU core); parts come in the order of the text.

    A tokenizer in pure Python works in this process alone, and does not say where its tokens stand.

    Raises:
        DocumentError: a document cannot be read.
        OSError: a part cannot be written.
        UserError: a process was killed, most likely for its memory; or the tokenizer cannot do it.
    """
    with_offsets = bool(job.recipe.offsets)
    if not tokenizer.is_fast:
        if with_offsets:
            name = tokenizer.name_or_path or type(tokenizer).__name__
            raise UserError(
                f"--tokenizer {name} is written in Python and does not say which characters its tokens stand for; "
                "take a fast one, which has a tokenizer.json"
            )

        def encode(texts: list[str]) -> list[Any]:
            return [SimpleNamespace(ids=tokenizer.convert_tokens_to_ids(tokenizer.tokenize(text))) for text in texts]

        return tokenize_here(job, encode)
    backend, encode_special_tokens = serialized_backend(tokenizer)
    size, num_parts = num_bytes_of([*map(Path, job.files)]), sum(1 for _ in iterate_slices(job.files))
    cores = usable_cores() if processes == -1 else processes
    if cores < 2 or size < SMALL_TEXT_BYTES:
        encoding = load_encode(backend, encode_special_tokens, with_offsets=with_offsets, threads=usable_cores())
        return tokenize_here(job, encoding)
    # A file that has to be read as a whole is one part: then the tokenizer's threads take the further cores.
    wanted = min(cores, num_parts)
    return tokenize_in_processes(job, backend, encode_special_tokens, wanted, threads=cores // wanted)


def tokenize_in_processes(
    job: TokenizingJob, backend: str, encode_special_tokens: bool, processes: int, threads: int = 1
) -> Iterator[Part]:
    """Tokenize in processes of so many threads that take the parts in turn, as `tokenize_here` does.

    Raises:
        OSError: a process cannot write.
        UserError: a document cannot be read, or a process was killed, most likely for its memory.
    """
    with ExitStack() as stack:
        workers = [stack.enter_context(_worker(threads)) for _ in range(processes)]
        for index, worker in enumerate(workers):
            order = {"job": asdict(job), "backend": backend, "encode_special_tokens": encode_special_tokens}
            _send_order(worker, {**order, "threads": threads, "index": index, "processes": processes})
        for number, _ in enumerate(iterate_slices(job.files)):
            yield _receive_part(workers[number % processes])


def serve() -> None:
    """Be a tokenizing process: answer an order, until the parent has its answers or is gone."""
    try:
        carry_out()
    except BrokenPipeError:
        # The parent is gone. The last flush of stdout must not fail a second time.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def carry_out() -> None:
    """Read an order from stdin, answer with one line a part on stdout."""
    order = json.load(sys.stdin.buffer)
    job = TokenizingJob(**order["job"] | {"recipe": Recipe(**order["job"]["recipe"])})
    options = {"with_offsets": bool(job.recipe.offsets), "threads": order["threads"]}
    encode = load_encode(order["backend"], order["encode_special_tokens"], **options)
    try:
        for part in tokenize_here(job, encode, order["index"], order["processes"]):
            _answer({"part": part})
    except UserError as error:
        _answer({"user_error": str(error)})
    except BrokenPipeError:
        raise
    except OSError as error:
        _answer({"os_error": [error.errno, error.strerror, error.filename]})


@contextmanager
def _worker(threads: int) -> Iterator[subprocess.Popen[bytes]]:
    """A tokenizing process, killed at the end if it still works."""
    with _started(threads) as worker:
        try:
            yield worker
        finally:
            worker.kill()


def _started(threads: int) -> subprocess.Popen[bytes]:
    """A tokenizing process that no stop signal reaches: a scheduler sends it to all, and the parent ends this one."""
    threading = {"TOKENIZERS_PARALLELISM": str(threads > 1).lower(), "RAYON_NUM_THREADS": str(threads)}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)  # inherited
    try:
        return subprocess.Popen(
            WORKER,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=PACKAGE_ROOT,
            env={**os.environ, **threading},
            start_new_session=True,  # out of reach of a terminal's Ctrl-C
        )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _send_order(worker: subprocess.Popen[bytes], order: dict[str, Any]) -> None:
    assert worker.stdin is not None
    try:
        worker.stdin.write(json.dumps(order).encode())
        worker.stdin.close()
    except BrokenPipeError:
        with suppress(BrokenPipeError):
            worker.stdin.close()
        raise _dead(worker) from None


def _receive_part(worker: subprocess.Popen[bytes]) -> Part:
    assert worker.stdout is not None
    line = worker.stdout.readline()
    if not line.endswith(b"\n"):
        raise _dead(worker)
    answer = json.loads(line)
    if "user_error" in answer:
        raise UserError(answer["user_error"])
    if "os_error" in answer:
        raise OSError(*answer["os_error"])
    return Part(*answer["part"])


def _dead(worker: subprocess.Popen[bytes]) -> UserError:
    status = worker.wait()
    if status > 0:
        return UserError(f"a tokenizing process ended with status {status}, see above; try --tokenizer_processes 1")
    return KilledProcessError(
        f"a tokenizing process was killed by signal {-status}, most likely out of memory; "
        "take fewer of them with --tokenizer_processes: what is tokenized stays"
    )


def _answer(answer: dict[str, Any]) -> None:
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    serve()
