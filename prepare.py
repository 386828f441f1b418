"""Prepare a corpus ahead of training: look at it, train a tokenizer on it, tokenize it.

    python prepare.py report -d data --png report.png                          what is in it?
    python prepare.py tokenizer -d data --out tokenizer --tokenizer_type unigram --vocab_size 8000
    python prepare.py report -d data --tokenizer tokenizer                     ... in tokens of this one
    python prepare.py tokens -d data --tokenizer tokenizer --objective clm     what train.py then finds

Arguments are those of train.py. Exit status: 0 done, 2 a mistake of the user, 130 interrupted.
"""

import sys
from collections.abc import Callable

import dlib.process.installation  # noqa: F401 - first: it says what is missing
from dlib.models.hub import choose_hub_mode
from dlib.models.sources import find_source, refuse_missing_tokenizer
from dlib.preparing.flags import Task, parse_task
from dlib.process.errors import run_script
from dlib.process.importing import without_collecting
from dlib.process.messages import quiet_libraries
from dlib.process.threads import let_threads_sleep

# The functions below import what takes seconds after they have looked for what they read: a mistake must not wait.


def main() -> int:
    """Do what the command line asks for."""
    task = parse_task(sys.argv[1:])
    quiet_libraries()
    let_threads_sleep()
    COMMANDS[task.command](task)
    return 0


def write_tokenizer(task: Task) -> None:
    """Which pieces is this text made of?"""
    from dlib.data.finding import find_texts

    assert task.output is not None  # argparse requires it
    texts = find_texts(task.args.data, "train")

    with without_collecting():
        from dlib.preparing import commands

    commands.write_tokenizer(task.args, texts, task.output)


def tokenize(task: Task) -> None:
    """Do now what a run would begin with."""
    from dlib.data.finding import find_text

    texts, source = find_text(task.args.data), find_source(task.args)
    choose_hub_mode([source, task.args.model.tokenizer], task.args.tracking.offline)

    with without_collecting():
        from dlib.preparing import commands

    commands.tokenize(task.args, texts, source)


def report(task: Task) -> None:
    """What is in this text? Where no model and no tokenizer is named, in tokens of one trained on it."""
    from dlib.browse.plotting import refuse_figure
    from dlib.data.finding import find_text

    if task.output is not None:
        refuse_figure(task.output, "--png")
    texts, model = find_text(task.args.data), task.args.model
    if model.tokenizer is not None:
        refuse_missing_tokenizer(model.tokenizer)
    source = find_source(task.args) if task.names_model else None
    choose_hub_mode([source, model.tokenizer], task.args.tracking.offline)

    with without_collecting():
        from dlib.preparing import commands

    commands.report(task.args, texts, source, task.output)


COMMANDS: dict[str, Callable[[Task], None]] = {"tokenizer": write_tokenizer, "tokens": tokenize, "report": report}


if __name__ == "__main__":
    run_script(main)
