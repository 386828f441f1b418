"""The versions that the tests run with, in one line.

python -m tests.environments.installed_versions
"""

import platform
from importlib.metadata import version

PACKAGES = ("torch", "lightning", "transformers", "tokenizers", "wandb", "numpy", "simple-parsing", "omegaconf")
"""Those whose versions differ in what they can do."""


def describe_versions() -> str:
    """Python's version and those of `PACKAGES`."""
    return ", ".join([f"Python {platform.python_version()}", *(f"{name} {version(name)}" for name in PACKAGES)])


if __name__ == "__main__":
    print(f"Tested with {describe_versions()}")
