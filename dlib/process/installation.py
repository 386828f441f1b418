"""Says in one line that packages are not installed. Each script imports it first, and it imports nothing of ours.

What the user's own additions to `dlib/args/` spoil is found while scripts still import: it is told in one line as well.
"""

import importlib.util
import os
import sys
from types import TracebackType

NEEDED = ("lightning", "omegaconf", "simple_parsing", "torch", "transformers")
OWN_PYTHON = os.path.join(".venv", "bin", "python")


def refuse_missing_packages() -> None:
    """End the process with status 2 where packages are missing."""
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if not missing:
        return
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    own = os.path.join(root, OWN_PYTHON)
    is_own = os.path.exists(own) and os.path.samefile(sys.prefix, os.path.dirname(os.path.dirname(own)))
    setup = "" if os.path.exists(own) else "run scripts/setup.sh, then "
    if is_own:
        setup = "scripts/setup.sh did not come to its end: run it again, then "
    script = os.path.basename(sys.argv[0])
    print(
        f"error: {sys.executable} has no {', '.join(missing)}: {setup}start {OWN_PYTHON} {script}, "
        "or activate your conda environment first (docs/environments.md)",
        file=sys.stderr,
    )
    sys.exit(2)


def tell_mistake(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """End the process as `run_script` does, where a mistake of the user is found before it is called."""
    from dlib.process.errors import UserError, one_line

    if not isinstance(error, UserError):
        sys.__excepthook__(kind, error, trace)
        return
    print(f"error: {one_line(str(error))}", file=sys.stderr)
    sys.exit(error.status)


refuse_missing_packages()
sys.excepthook = tell_mistake
