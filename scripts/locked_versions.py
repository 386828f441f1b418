"""The Python packages of a conda lock file as version constraints, which pip and uv read.

python -m scripts.locked_versions conda-lock.yml linux-64 all            name==version, one a line
python -m scripts.locked_versions conda-lock.yml linux-64 transitive     without those of pyproject.toml

`scripts/setup_as_locked.sh` makes environments of them. A name that only conda knows does no harm in a constraint.
"""

import argparse
from pathlib import Path

import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from scripts.conda_environments import CONDA_NAMES, EXTRAS, ranges

INDEX_NAMES = {conda: index for index, conda in CONDA_NAMES.items()} | {
    "antlr-python-runtime": "antlr4-python3-runtime"
}
"""What the Python index calls by another name than conda."""


def locked_versions(lock: Path, platform: str) -> dict[str, str]:
    """The versions of the Python packages, those that depend on `python`, by their names in the Python index.

    Args:
        lock: a lock file of conda-lock, format 1.
        platform: conda's name of one of its platforms, `linux-64` for one.

    Raises:
        ValueError: the lock file is not for that platform.
    """
    content = yaml.safe_load(lock.read_text(encoding="utf-8"))
    packages = [package for package in content["package"] if package["platform"] == platform]
    if not packages:
        raise ValueError(f"{lock} has no packages for {platform}")
    python_packages = [package for package in packages if "python" in package["dependencies"]]
    return {
        canonicalize_name(INDEX_NAMES.get(package["name"], package["name"])): str(package["version"])
        for package in python_packages
    }


def direct_dependencies() -> dict[str, Requirement]:
    """What pyproject.toml asks for, with all extras, by name."""
    return {canonicalize_name(requirement.name): requirement for requirement in ranges(EXTRAS["environment.yml"])}


def main() -> None:
    """Prints the constraints."""
    parser = argparse.ArgumentParser()
    parser.add_argument("lock", type=Path)
    parser.add_argument("platform")
    parser.add_argument("which", choices=("all", "transitive"))
    options = parser.parse_args()
    left_out = direct_dependencies() if options.which == "transitive" else {}
    for name, version in sorted(locked_versions(options.lock, options.platform).items()):
        if name not in left_out:
            print(f"{name}=={version}")


if __name__ == "__main__":
    main()
