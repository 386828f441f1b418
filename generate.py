"""Ask a trained model, line by line: lines in on stdin, as many lines out on stdout, and nothing else there.

    echo "The <mask> is red." | python generate.py runs/first              fill the masks
    echo "The <mask> is red." | python generate.py runs/first --json       ... with the five likeliest tokens for each
    python generate.py runs/llama --temperature 0 < prompts.txt            continue each line
    python generate.py llama --prompt "Once upon" --samples 3              three continuations of a prompt
    python generate.py llama                                               type lines, and watch

A line break in an answer is written as \\n, so that the answer stays a line; --json has it as it is.
Exit status: 0 done, 2 a mistake of the user, 130 interrupted, 141 nobody reads the output any more.
"""

import json
import sys
from argparse import Namespace
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any, cast

import dlib.process.installation  # noqa: F401 - first: it says what is missing
from dlib.args.fields import facts_of
from dlib.args.generation import GenerationArgs
from dlib.config.fields import KINDS, bare_type, texts_of
from dlib.config.script_parser import ScriptParser, add_flag, add_switch, with_underscores
from dlib.models.hub import choose_hub_mode
from dlib.models.names import find_model
from dlib.process.errors import run_script
from dlib.process.importing import without_collecting
from dlib.process.messages import quiet_libraries
from dlib.process.ranks import say
from dlib.process.threads import let_threads_sleep

if TYPE_CHECKING:
    from dlib.generation.predictor import Answer, Predictor

PROMPT = "> "
DESCRIPTION = "Fill the masks of lines, or continue them: lines in on stdin, as many lines out on stdout."


def main() -> int:
    """Load the model that the command line names, and answer stdin's lines."""
    flags = make_parser().parse_args(with_underscores(sys.argv[1:]))
    args = GenerationArgs(**{field.name: getattr(flags, field.name) for field in fields(GenerationArgs)})
    model = find_model(flags.model)
    quiet_libraries()
    let_threads_sleep()
    choose_hub_mode([model], offline=False)
    # Here and not above: it takes seconds to import, and a mistake in the flags must not wait for it.
    with without_collecting():
        from dlib.generation.predictor import Predictor

    sys.stdout.reconfigure(encoding="utf-8", newline="\n")  # type: ignore[union-attr]
    answer_lines(Predictor(model, args), flags)
    return 0


def make_parser() -> ScriptParser:
    """The parser of the command line."""
    parser = ScriptParser(prog="generate.py", description=DESCRIPTION, allow_abbrev=False)
    text = "A run (its best checkpoint is taken) or its name in runs/, a checkpoint, a Hugging Face folder or name."
    add_flag(parser, "model", text, "RUN_OR_CHECKPOINT")
    text = "Ask this and not stdin; may stand several times. It may contain line breaks."
    add_flag(parser, "--prompt", text, "TEXT", action="append", dest="prompts")
    add_switch(parser, "--json", "Write a JSON object a line, with all that is known of it.")
    texts = texts_of(GenerationArgs)
    for field in fields(GenerationArgs):
        flag, text, kind = f"--{field.name}", texts[field.name], bare_type(field)
        if kind is bool:
            add_switch(parser, flag, text)
            continue
        text += "" if field.default is None else f" (default: {field.default})"
        choices = facts_of(field).choices or None
        metavar = None if choices else KINDS[kind].metavar
        parser.add_argument(flag, help=text, type=kind, default=field.default, choices=choices, metavar=metavar)
    return parser


def answer_lines(predictor: "Predictor", flags: Namespace) -> None:
    """Answer prompts or stdin's lines, token by token at a terminal if the model can, else some lines at a time."""
    lines = flags.prompts or input_lines()
    is_live = sys.stdout.isatty() and not flags.json and predictor.can_stream
    if is_live:
        windows = predictor.stream(lines, show)
    else:
        windows = predictor.windows(lines, wait=bool(flags.prompts) or not sys.stdin.isatty())
    num_truncated = 0
    for answers in windows:
        for answer in answers:
            sys.stdout.write("\n" if is_live else on_one_line(shown(answer, as_json=flags.json)) + "\n")
            num_truncated += getattr(answer, "truncated", False)
        sys.stdout.flush()
    if num_cut := getattr(predictor.answerer, "num_cut", 0):
        say(f"lines longer than what the model reads at once, so that it saw their beginning alone: {num_cut}")
    if num_truncated:
        say(f"lines longer than what the model reads at once, so that it saw their end alone: {num_truncated}")


def show(piece: str) -> None:
    """Write a part of a line at once."""
    sys.stdout.write(on_one_line(piece))
    sys.stdout.flush()


def shown(answer: "Answer", *, as_json: bool) -> str:
    """An answer as a line of the output."""
    return json.dumps(asdict(cast(Any, answer)), ensure_ascii=False) if as_json else answer.text


def input_lines() -> Iterator[str]:
    """The lines of stdin as they come, without their ends, LF or CR LF; typed at a prompt where stdin is a terminal.

    Bytes that are not UTF-8 become U+FFFD.
    """
    if sys.stdin.isatty():
        yield from typed_lines()
        return
    for line in sys.stdin.buffer:
        yield line.decode("utf-8", errors="replace").removesuffix("\n").removesuffix("\r")


def typed_lines() -> Iterator[str]:
    """The lines that somebody types, up to Ctrl-D."""
    with suppress(ImportError):  # not part of every Python: there is no history then
        import readline  # noqa: F401
    sys.stdin.reconfigure(errors="replace")  # type: ignore[union-attr]
    while True:
        try:
            line = input(PROMPT) if sys.stdout.isatty() else ask_on_stderr()
        except EOFError:
            print(file=sys.stderr)
            return
        yield line


def ask_on_stderr() -> str:
    """A typed line where stdout goes elsewhere; `input` would write its prompt there. Raises EOFError at the end."""
    print(PROMPT, end="", file=sys.stderr, flush=True)
    line = sys.stdin.readline()
    if not line:
        raise EOFError
    return line.removesuffix("\n")


def on_one_line(text: str) -> str:
    """The text with its line breaks as `\\n` and `\\r`, so that an output has as many lines as its input."""
    return text.replace("\n", "\\n").replace("\r", "\\r")


if __name__ == "__main__":
    run_script(main)
