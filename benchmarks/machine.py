"""What measured numbers depend on: the machine and the versions of the libraries, in a line beneath a table."""

import os
import platform
from importlib.metadata import version
from pathlib import Path

PACKAGES = ("torch", "lightning", "transformers", "tokenizers", "safetensors")


def machine() -> str:
    """The CPU, its cores, Python and the libraries."""
    cpu_info = Path("/proc/cpuinfo")
    lines = cpu_info.read_text().splitlines() if cpu_info.exists() else []
    names = [line.partition(": ")[2] for line in lines if line.startswith("model name")] or [platform.processor()]
    versions = ", ".join(f"{package} {version(package)}" for package in PACKAGES)
    return f"{names[0]}, {os.cpu_count()} cores; Python {platform.python_version()}, {versions}"
