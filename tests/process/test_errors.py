"""How scripts end, seen from outside: exit status, stderr, no traceback for a user's mistake."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dlib.process.errors import one_line, quoted

ROOT = Path(__file__).parents[2]


def run(body: str) -> subprocess.CompletedProcess[str]:
    """Runs a script whose `main` has the given body."""
    return subprocess.run([sys.executable, "-c", script(body)], capture_output=True, text=True, timeout=60)


def script(body: str) -> str:
    lines = ["import os, sys, time", "from dlib.process.errors import UserError, run_script", "def main():"]
    return "\n".join([*lines, *("    " + line for line in body.splitlines()), "run_script(main)"])


@pytest.mark.parametrize(("body", "status"), [("pass", 0), ("return 0", 0), ("return 3", 3), ("sys.exit(4)", 4)])
def test_script_ends_with_what_main_returns(body: str, status: int) -> None:
    result = run(body)
    assert (result.returncode, result.stdout, result.stderr) == (status, "", "")


def test_users_mistake_is_one_line_and_status_2() -> None:
    result = run("print('before'); raise UserError('--seed: write\\n  a number')")
    assert (result.returncode, result.stdout) == (2, "before\n")
    assert result.stderr == "error: --seed: write a number\n"


def test_our_own_fault_keeps_its_traceback() -> None:
    result = run("raise ValueError('ours')")
    assert result.returncode == 1
    assert "Traceback" in result.stderr
    assert "ValueError: ours" in result.stderr


def test_interrupt_ends_quietly_with_130() -> None:
    result = run("import signal; os.kill(os.getpid(), signal.SIGINT); time.sleep(10)")
    assert (result.returncode, result.stderr) == (130, "")


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("body", ["print('x' * 1_000_000)", "print('x')", "print('x'); sys.exit(0)"])
def test_reader_that_went_away_is_no_error(body: str, unbuffered: str) -> None:
    command = [sys.executable, "-c", script("sys.stdin.read()\n" + body)]
    environment = os.environ | {"PYTHONUNBUFFERED": unbuffered}
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, env=environment) as process:
        assert process.stdin
        assert process.stdout
        assert process.stderr
        process.stdout.close()
        process.stdin.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


def test_another_broken_pipe_is_not_hidden() -> None:
    result = run("read, write = os.pipe(); os.close(read); os.write(write, b'x')")
    assert result.returncode == 1
    assert "BrokenPipeError" in result.stderr


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_are_empty_files(closed: str) -> None:
    body = "sys.stdin.buffer.read(); print('x', flush=True); print('y', file=sys.stderr); return 3"
    command = ["sh", "-c", f'"$0" -c "$1" {closed}', sys.executable, script(body)]
    result = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    expected = ("" if ">&-" in closed.split() else "x\n", "" if "2>&-" in closed else "y\n")
    assert (result.returncode, result.stdout, result.stderr) == (3, *expected)


@pytest.mark.parametrize(("signal", "status"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)])
@pytest.mark.parametrize("made_of_it", ["pass", "raise ValueError", "pass\n    end_if_asked()"])
def test_a_signal_ends_the_process_whatever_a_library_made_of_its_exception(
    signal: str, status: int, made_of_it: str
) -> None:
    begin = (
        "import signal; from dlib.process.errors import ended_by_signals\nwith ended_by_signals() as end_if_asked:\n"
    )
    taken = f"    try: os.kill(os.getpid(), signal.{signal})\n    except BaseException: {made_of_it}\n"
    result = run(f"{begin}{taken}print('goes on')")
    assert (result.returncode, result.stdout, result.stderr) == (status, "", "")


def test_errors_need_no_other_module_of_the_project() -> None:
    result = run("print(sorted(name for name in sys.modules if name.startswith('dlib')))")
    assert result.stdout.strip() == "['dlib', 'dlib.process', 'dlib.process.errors']"


@pytest.mark.parametrize(
    ("message", "line"),
    [
        ("a\x1b[31mb\x07\u202e", r"a\x1b[31mb\x07\u202e"),
        ("Größe, 模型: 3 µm", "Größe, 模型: 3 µm"),
        ("--seed " + "9" * 5000 + " is long", "--seed " + "9" * 150 + "[...]" + "9" * 50 + " is long"),
        ("word " * 1000, "word " * 300 + "[...] word" + " word" * 19),
    ],
)
def test_a_line_moves_no_cursor_and_fits_a_screen(message: str, line: str) -> None:
    assert one_line(message) == line


def test_a_value_is_quoted_in_a_few_words_however_large_it_is() -> None:
    value: Any = ["x" * 10**6] * 10
    for _ in range(20):
        value = [value] * 10
    assert len(quoted(value)) < 20_000


@pytest.mark.parametrize("body", ["open('x' * 5000)", "os.mkdir('x' * 300)"])
def test_a_path_that_no_system_takes_is_the_users_mistake(body: str) -> None:
    result = run(body)
    assert (result.returncode, result.stderr.count("\n")) == (2, 1)
    assert result.stderr.endswith("File name too long\n")


@pytest.mark.parametrize("name", ["train.py", "eval.py", "generate.py", "prepare.py", "runs.py"])
@pytest.mark.parametrize("is_set_up", [False, True])
def test_where_nothing_is_installed_a_script_says_what_to_do(name: str, is_set_up: bool, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "dlib", tmp_path / "dlib", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / name, tmp_path)
    if is_set_up:
        (tmp_path / ".venv" / "bin").mkdir(parents=True)
        (tmp_path / ".venv" / "bin" / "python").touch()
    command = [sys.executable, "-S", name, "--help"]  # without site-packages
    result = subprocess.run(command, cwd=tmp_path, env={}, capture_output=True, text=True, timeout=60)
    assert (result.returncode, result.stdout) == (2, "")
    setup = "" if is_set_up else "run scripts/setup.sh, then "
    assert result.stderr == (
        f"error: {sys.executable} has no lightning, omegaconf, simple_parsing, torch, transformers: {setup}start "
        f".venv/bin/python {name}, or activate your conda environment first (docs/environments.md)\n"
    )
