"""Put the ranges of pyproject.toml into the conda environment files, below the line that says so.

    python scripts/conda_environments.py FOLDER     the files are written to the folder; scripts/lock.sh calls it

What is above that line is written by hand: channels, platforms, Python, and what only conda has to be told.
"""

import sys
from pathlib import Path

from packaging.requirements import Requirement

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
MARKER = "  # Below: the ranges of pyproject.toml, put here by scripts/lock.sh.\n"
# An environment file and the extras that it takes: no channel builds the other ones' packages for ppc64le.
EXTRAS = {
    "environment.yml": ("tensorboard", "plot", "formats", "test", "dev"),
    "ppc64le.environment.yml": ("plot", "test"),
}
# What the channels have for one platform of environment.yml only, by conda-lock's name of the platform.
ONLY_ON = {"tensorboard": "linux64"}
# What conda calls by another name than the Python index.
CONDA_NAMES = {"matplotlib": "matplotlib-base", "torch": "pytorch"}


def ranges(extras: tuple[str, ...]) -> list[Requirement]:
    """What pyproject.toml asks for, with these extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lists = [project["dependencies"], *(project["optional-dependencies"][extra] for extra in extras)]
    return [Requirement(text) for texts in lists for text in texts]


def conda_line(requirement: Requirement) -> str:
    """A line of an environment file, "  - pytorch >=2.0.1", with a selector where the package is for one platform."""
    selector = f" # [{ONLY_ON[requirement.name]}]" if requirement.name in ONLY_ON else ""
    return f"  - {CONDA_NAMES.get(requirement.name, requirement.name)} {requirement.specifier}{selector}\n"


def with_ranges(name: str) -> str:
    """The text of the environment file `name` as it has to be."""
    by_hand, _, _ = (ROOT / name).read_text().partition(MARKER)
    return by_hand + MARKER + "".join(sorted(conda_line(one) for one in ranges(EXTRAS[name])))


if __name__ == "__main__":
    for name in EXTRAS:
        (Path(sys.argv[1]) / name).write_text(with_ranges(name))
