"""`train.py --resume RUN`: continue a named run from its own config.yml."""

from dataclasses import replace
from pathlib import Path

from dlib.args.run import RESUME_WORDS
from dlib.config.configuration import ParsedArgs, load_training_config
from dlib.process.errors import UserError
from dlib.runs.registry import find_run


def with_recorded_run(parsed: ParsedArgs) -> ParsedArgs:
    """The parsed command line, with the arguments of the run that `--resume` names below all that was typed.

    Raises:
        UserError: there is no such run, it never began, `--name` names another, or its code is to run unasked.
    """
    word = parsed.args.run.resume
    if word in RESUME_WORDS:
        return parsed
    try:
        folder = find_run(word, Path(parsed.args.run.out_dir))
    except UserError as error:
        raise UserError(f"--resume {word}: {error}; else write auto or never") from error
    if not folder.config.is_file():
        raise UserError(f"--resume {word}: it has no {folder.config.name}: it never began")
    if parsed.args.run.name not in ("", folder.name):
        raise UserError(f"--resume {word} goes on with run '{folder.name}', and --name says {parsed.args.run.name}")
    place = {"run.name": folder.name, "run.out_dir": str(folder.root.parent), "run.resume": "auto"}
    paths, overrides = [folder.config, *parsed.flags.config_paths], {**parsed.flags.overrides, **place}
    return replace(parsed, args=load_training_config(paths, overrides))
