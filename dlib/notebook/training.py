"""A training begun from Python: `train.py` in a process of its own, which the arguments reach as flags.

Not in this process: a run starts one process a device, takes signals, sets threads before torch is imported, and its
recorded command has to repeat it.
"""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dlib
from dlib.args import ExperimentArgs
from dlib.config.command_line import parse_flags
from dlib.config.configuration import differing_fields, load_config
from dlib.config.escapes import escaped
from dlib.config.fields import FIELDS, flag_of, value_of
from dlib.notebook.run import Run, load_run
from dlib.process.errors import UserError
from dlib.process.stop_signals import STOPPED_STATUS


def train(args: ExperimentArgs) -> Run:
    """Train as `train.py` does with these arguments, and wait for the end; what it says comes on stderr.

    The same arguments again go on with a run that was stopped. An interrupt stops it with everything saved.

    Raises:
        UserError: the arguments are wrong, dlib is installed without its clone, or the training failed.
        KeyboardInterrupt: after the run has saved.
    """
    script = Path(dlib.__file__).parents[1] / "train.py"
    if not script.is_file():
        raise UserError(f"{script} is not there: install dlib from its clone, with pip install -e .")
    command = [sys.executable, str(script), *flags_of_args(args)]
    # A Ctrl-C reaches us alone, and we hand it on once: a second one would interrupt the saving.
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
    try:
        status = process.wait()
    except KeyboardInterrupt:
        process.send_signal(signal.SIGINT)
        process.wait()
        raise
    if status not in (0, STOPPED_STATUS):
        raise UserError(f"the training of run '{args.run.name}' ended with status {status}: its last line says why")
    return load_run(Path(args.run.out_dir, args.run.name).absolute())


def flags_of_args(args: ExperimentArgs) -> list[str]:
    """The flags of `train.py` that make these arguments.

    Raises:
        UserError: an argument is wrong, or is not what its flag can say; or the run has no name.
    """
    if not args.run.name:
        raise UserError("run.name is missing: give the run a name")
    defaults = ExperimentArgs()
    changed = [key for key in FIELDS if value_of(args, key) != value_of(defaults, key)]
    flags = [word for key in changed for word in (flag_of(key), *words_of(value_of(args, key)))]
    for field in differing_fields(args, load_config([], parse_flags(flags, "").overrides), ignore_free=False):
        raise UserError(f"{field.key}: {field.old!r} cannot be given as a flag, which says {field.new!r}")
    return flags


def words_of(value: Any) -> Iterator[str]:
    """A value as the words behind its flag."""
    if isinstance(value, dict):
        yield from (f"{name}={escaped(item)}" for name, item in value.items())
    elif isinstance(value, list | tuple):
        yield from (str(escaped(item)) for item in value)
    else:
        yield str(value).lower() if value is None or isinstance(value, bool) else str(escaped(value))
