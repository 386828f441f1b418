"""Prints, a line each, what the packages of a conda lock file ask for and the lock does not hold.

Runs where conda-lock is installed: its own parser reads the file, and the conda that it carries says what meets what.
"""

import sys
from pathlib import Path
from typing import Any

from conda_lock._vendor.conda.models.match_spec import MatchSpec
from conda_lock.lockfile import parse_conda_lock_file


def record(package: Any) -> dict[str, Any]:
    """What a specification is compared with: the build stands in the file's name, name-version-build.conda."""
    build = package.url.rpartition("/")[2].removesuffix(".conda").removesuffix(".tar.bz2").rpartition("-")[2]
    return {"name": package.name, "version": package.version, "build": build, "build_number": 0}


def unmet(path: Path) -> list[str]:
    """Every dependency that no package of the same platform meets; what begins with __ is the machine's to have."""
    packages = parse_conda_lock_file(path).package
    records = {(package.platform, package.name): record(package) for package in packages}
    return [
        f"{path.name}: {package.platform}: {package.name} {package.version} needs {name} {specification}"
        for package in packages
        for name, specification in package.dependencies.items()
        if not name.startswith("__")
        and not MatchSpec(f"{name} {specification}").match(records.get((package.platform, name), {"name": ""}))
    ]


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        print("\n".join(unmet(Path(argument))), end="")
