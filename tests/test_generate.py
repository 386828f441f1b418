"""`generate.py` as a filter and at a terminal, from outside: lines in, as many lines out, and nothing else."""

import json
import os
import pty
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import asking
from tests.asking import generate, start_generate
from tests.launching import ROOT, environment

pytestmark = pytest.mark.oldest
roberta, llama = asking.roberta, asking.llama

TIMEOUT_SECONDS = 120


def shell(command: str) -> "subprocess.CompletedProcess[bytes]":
    """Run a pipeline in bash, new interpreters and all."""
    arguments = ["bash", "-o", "pipefail", "-c", command]
    return subprocess.run(arguments, cwd=ROOT, env=environment(), capture_output=True, timeout=TIMEOUT_SECONDS)


class Terminal:
    """A pseudo-terminal whose other end a process has for its own."""

    def __init__(self) -> None:
        """Open it."""
        self.ours, theirs = pty.openpty()
        self.path = Path(os.ttyname(theirs))
        self.theirs = theirs
        self.seen = ""

    def type(self, text: str) -> None:
        """Press keys."""
        os.write(self.ours, text.encode())

    def wait_for(self, ending: str) -> None:
        """Read until the screen ends so."""
        deadline = time.monotonic() + TIMEOUT_SECONDS
        os.set_blocking(self.ours, False)
        while not self.seen.endswith(ending):
            assert time.monotonic() < deadline, self.seen
            try:
                self.seen += os.read(self.ours, 4096).decode()
            except BlockingIOError:
                time.sleep(0.01)


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    """A terminal that is closed in the end."""
    opened = Terminal()
    yield opened
    os.close(opened.ours)
    os.close(opened.theirs)


def test_seven_thousand_lines_through_a_pipe_keep_their_order_and_number(roberta: Path, tmp_path: Path) -> None:
    lines = [[f"{n} is <mask>", f"number {n} is no mask", ""][n % 3] for n in range(7_000)]
    (tmp_path / "lines").write_text("\n".join(lines), encoding="utf-8")  # the last one without its end
    python, model = shlex.quote(sys.executable), shlex.quote(str(roberta))
    ask = f"{python} generate.py {model} --accelerator cpu --batch_size 128"
    result = shell(f"cat {shlex.quote(str(tmp_path / 'lines'))} | {ask} | cat")
    assert (result.returncode, result.stderr) == (0, b"")
    answers = result.stdout.decode().split("\n")
    assert answers.pop() == ""
    assert len(answers) == len(lines)
    for line, answer in zip(lines, answers, strict=True):
        assert answer.startswith(line.removesuffix("<mask>").rstrip())
        assert (answer == line) == ("<mask>" not in line)


def test_a_reader_that_takes_one_line_ends_it_quietly(roberta: Path, tmp_path: Path) -> None:
    stdin, pipe, stderr = (tmp_path / name for name in ("stdin", "pipe", "stderr"))
    stdin.write_text("is <mask>\n" * 20_000)
    stderr.touch()
    os.mkfifo(pipe)
    process = start_generate([str(roberta), "--accelerator", "cpu"], stdin, pipe, stderr)
    with pipe.open("rb") as reader:
        assert reader.readline().startswith(b"is")
    process.join(TIMEOUT_SECONDS)
    assert (process.exitcode, stderr.read_text()) == (141, "")


def test_fillings_as_json_hold_tokens_and_probabilities(roberta: Path, tmp_path: Path) -> None:
    lines = "The <mask> and [MASK]\n\nGröße\r\n".encode() + b"\xff <mask>"
    result = generate([str(roberta), "--json", "--top-k", "3"], lines, tmp_path)
    assert (result.status, result.stderr) == (0, "")
    two, blank, none, damaged = (json.loads(line) for line in result.stdout.splitlines())
    assert two["line"] == "The <mask> and [MASK]"
    assert [[set(guess) for guess in guesses] for guesses in two["masks"]] == [[{"token", "probability"}] * 3] * 2
    assert blank == {"line": "", "filled": "", "masks": []}
    assert none == {"line": "Größe", "filled": "Größe", "masks": []}
    assert damaged["line"] == "\ufffd <mask>"
    assert len(damaged["masks"]) == 1


def test_continuations_as_json_tell_why_they_end(llama: Path, tmp_path: Path) -> None:
    lines = "The lazy dog\n \n" + "words and more " * 100
    result = generate([str(llama), "--json", "--max_new_tokens", "5", "--seed", "3"], lines.encode(), tmp_path)
    assert result.status == 0
    short, blank, long = (json.loads(line) for line in result.stdout.split("\n")[:3])
    assert (short["prompt"], short["finish_reason"], short["truncated"]) == ("The lazy dog", "length", False)
    assert short["tokens"] == 5
    assert (blank["prompt"], blank["continuation"], blank["finish_reason"]) == (" ", "", "blank")
    assert (long["prompt_tokens"], long["truncated"]) == (48 - 5, True)
    assert result.stderr == "lines longer than what the model reads at once, so that it saw their end alone: 1\n"


def test_a_line_stays_a_line_and_the_same_seed_gives_the_same(llama: Path, tmp_path: Path) -> None:
    lines = ["The lazy dog", "", "A tokenizer\rthat", " ", *["words"] * 300]
    arguments = [str(llama), "--max_new_tokens", "4", "--temperature", "2", "--top_p", "1"]
    first, again, other, alone = (
        generate([*arguments, *further], "\n".join(lines).encode(), tmp_path)
        for further in ([], ["--batch_size", "77"], ["--seed", "2"], ["--batch_size", "1"])
    )
    assert first.stdout == again.stdout == alone.stdout
    assert first.stdout != other.stdout
    answers = first.stdout.split("\n")
    assert len(answers) == len(lines) + 1
    assert all(answer.startswith(line.replace("\r", "\\r")) for line, answer in zip(lines, answers, strict=False))
    assert (answers[1], answers[3]) == ("", " ")
    assert len(set(answers[4:])) > 100


def test_with_batches_of_one_each_line_is_answered_before_the_next_is_read(roberta: Path, tmp_path: Path) -> None:
    stdin, stdout, stderr = (tmp_path / name for name in ("stdin", "stdout", "stderr"))
    os.mkfifo(stdin)
    os.mkfifo(stdout)
    stderr.touch()
    process = start_generate([str(roberta), "--batch_size", "1"], stdin, stdout, stderr)
    with stdin.open("w") as questions, stdout.open() as answers:
        for number in range(3):
            print(f"{number} no mask", file=questions, flush=True)
            assert answers.readline() == f"{number} no mask\n"
    process.join(TIMEOUT_SECONDS)
    assert (process.exitcode, stderr.read_text()) == (0, "")


def test_typed_lines_are_answered_as_they_come(llama: Path, tmp_path: Path, terminal: Terminal) -> None:
    arguments = [str(llama), "--max_new_tokens", "6"]
    expected = generate(arguments, b"The lazy dog\nA token\n", tmp_path).stdout.splitlines()
    process = start_generate(arguments, terminal.path, terminal.path, tmp_path / "stderr")
    for line, answer in zip(("The lazy dog", "A token"), expected, strict=True):
        terminal.wait_for("> ")
        terminal.type(line + "\r")
        terminal.wait_for(f"\n{answer}\r\n> ")
    terminal.type("\x04")
    process.join(TIMEOUT_SECONDS)
    assert (process.exitcode, (tmp_path / "stderr").read_text()) == (0, "\n")


def test_ctrl_c_ends_it_quietly(roberta: Path, tmp_path: Path, terminal: Terminal) -> None:
    (tmp_path / "stderr").touch()
    process = start_generate([str(roberta)], terminal.path, terminal.path, tmp_path / "stderr")
    terminal.wait_for("> ")
    terminal.type("half a line\x03")
    process.join(TIMEOUT_SECONDS)
    assert (process.exitcode, (tmp_path / "stderr").read_text()) == (130, "")


def test_the_prompt_does_not_get_among_the_results(roberta: Path, tmp_path: Path, terminal: Terminal) -> None:
    stdout, stderr = tmp_path / "stdout", tmp_path / "stderr"
    for path in (stdout, stderr):
        path.touch()
    process = start_generate([str(roberta)], terminal.path, stdout, stderr)
    terminal.type("no mask\n\x04")
    process.join(TIMEOUT_SECONDS)
    assert (process.exitcode, stdout.read_text(), stderr.read_text()) == (0, "no mask\n", "> > \n")


def test_samples_of_prompts_are_lines_each_whatever_stands_beside(llama: Path, tmp_path: Path) -> None:
    arguments = [str(llama), "--max_new_tokens", "6", "--samples", "3"]
    prompts = ["--prompt", "The lazy dog", "--prompt", "A\nB\\n"]
    result = generate([*arguments, *prompts], b"stdin is not read\n", tmp_path)
    assert (result.status, result.stderr) == (0, "")
    lines = result.stdout.removesuffix("\n").split("\n")
    assert [line[:6] for line in lines] == ["The la"] * 3 + ["A\\nB\\n"] * 3
    assert len(set(lines)) == 6
    piped = generate([*arguments, "--batch_size", "1", "--json"], b"The lazy dog\n\n", tmp_path).stdout.splitlines()
    asked, blank = [json.loads(line) for line in piped[:3]], [json.loads(line) for line in piped[3:]]
    assert [found["prompt"] + found["continuation"] for found in asked] == lines[:3]
    assert [found["sample"] for found in (*asked, *blank)] == [1, 2, 3, 1, 2, 3]
    assert {found["finish_reason"] for found in blank} == {"blank"}


def test_a_line_break_in_an_answer_is_escaped_on_a_line_and_kept_in_json(llama: Path, tmp_path: Path) -> None:
    prompt = "The\r\nlazy\ndog"
    arguments = [str(llama), "--max_new_tokens", "6", "--prompt", prompt]
    plain, as_json = (generate([*arguments, *further], b"", tmp_path).stdout for further in ([], ["--json"]))
    found = json.loads(as_json)
    whole = found["prompt"] + found["continuation"]
    assert whole.startswith(prompt)
    assert plain == whole.replace("\r", "\\r").replace("\n", "\\n") + "\n"


def test_more_new_tokens_than_the_model_reads_are_refused(llama: Path, tmp_path: Path) -> None:
    result = generate([str(llama), "--max_new_tokens", "48"], b"The\n", tmp_path)
    assert (result.status, result.stdout) == (2, "")
    assert result.stderr.startswith("error: --max_new_tokens 48: the model reads 48 tokens at once")
    assert result.stderr.count("\n") == 1
