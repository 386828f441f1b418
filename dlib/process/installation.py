"""Says in one line that the packages are not installed, to whoever types `python train.py` before anything else.

Each script imports this first, so that no other import can fail before. It imports nothing of the project.
"""

import importlib.util
import os
import sys

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


refuse_missing_packages()
