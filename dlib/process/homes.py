"""Where libraries keep what they need when the home cannot be written, as in a read-only container."""

import os
import tempfile
from pathlib import Path

HOMES = {"MPLCONFIGDIR": ".config/matplotlib", "WANDB_CACHE_DIR": ".cache/wandb"}
"""Variables of libraries that complain of it in a dozen lines, and where they write without them."""


def move_homes_that_cannot_be_written() -> None:
    """Name a folder among the temporary ones to such libraries, unless the user has named one."""
    for variable, place in HOMES.items():
        if variable not in os.environ and not can_be_made(Path.home() / place):
            folder = Path(tempfile.gettempdir(), f"dlib-{os.getuid()}", place)
            if can_be_made(folder):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                os.environ[variable] = str(folder)


def can_be_made(folder: Path) -> bool:
    """Whether a folder is there and may be written, or may be made."""
    nearest = next(path for path in (folder, *folder.parents) if path.exists())
    return nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK)
