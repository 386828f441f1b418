"""What is needed to repeat a run: record.json, and under code/ the code that no commit holds.

It is to hold no secret: only the listed environment variables are kept, keys are struck from command lines and remote
addresses, and code with a key in it is left out.
"""

import json
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any

from dlib.process.durable import write_text_atomically
from dlib.process.threads import usable_cores
from dlib.runs.comparison import SHORT_COMMIT, package_changes
from dlib.runs.folder import RunFolder
from dlib.runs.git_commands import top_folder
from dlib.runs.redaction import strip_secrets
from dlib.runs.working_tree import describe_git, hash_uncommitted_code, save_uncommitted_code

SCHEMA_VERSION = 1
PARTS = {"command": dict, "git": dict, "hardware": dict, "packages": dict, "hashes": dict, "sessions": list}
"""What is read of a record without asking whether it is there."""
NUMERIC_VARIABLES = tuple(
    "ATEN_CPU_CAPABILITY CUBLAS_WORKSPACE_CONFIG MKL_CBWR MKL_NUM_THREADS NCCL_ALGO NCCL_PROTO NVIDIA_TF32_OVERRIDE "
    "OMP_NUM_THREADS ONEDNN_MAX_CPU_ISA PYTHONHASHSEED TORCH_ALLOW_TF32_CUBLAS_OVERRIDE".split()
)
"""They choose kernels, or the order in which these add up: a repetition needs them as they were."""
KEPT_VARIABLES = (
    *NUMERIC_VARIABLES,
    *"CUDA_VISIBLE_DEVICES HF_HUB_OFFLINE TOKENIZERS_PARALLELISM WANDB_MODE WORLD_SIZE SLURM_RESTART_COUNT".split(),
    *"SLURM_ARRAY_JOB_ID SLURM_ARRAY_TASK_ID SLURM_JOB_ID SLURM_JOB_NODELIST SLURM_JOB_PARTITION SLURM_NTASKS".split(),
)


def describe_session(
    folder: RunFolder, argv: Sequence[str], devices: Mapping[str, Any], from_step: int, repository: Path
) -> dict[str, Any]:
    """What a session of a run is made with: the words of `argv`, the code of `repository`, `Devices.describe()`."""
    return {
        "time": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "from_step": from_step,
        "command": describe_command(argv, repository),
        "git": {**describe_git(repository), "uncommitted_sha256": hash_uncommitted_code(folder, repository)},
        "hardware": {**describe_machine(), **devices},
        "packages": installed_packages(),
        "python": sys.version,
        "platform": platform.platform(),
    }


def write_record(folder: RunFolder, session: Mapping[str, Any], hashes: Mapping[str, str], repository: Path) -> None:
    """Writes record.json of a new run; adds to `sessions` of a resumed one.

    Of those packages and uncommitted code are kept where they are not as at the run's beginning.
    """
    record = read_record(folder)
    if record is None:
        code = save_uncommitted_code(folder, repository)
        record = {"schema_version": SCHEMA_VERSION, **session, "hashes": dict(hashes), "code": code, "sessions": []}
    else:
        once = ("packages", "python", "platform", "card", "branch")
        kept = {name: value for name, value in session.items() if name not in once}
        code = _save_later_code(folder, session["git"], record["git"], repository)
        record["sessions"].append({**kept, "changed_packages": package_changes(session, record), **code})
    _write(folder, record)


def _save_later_code(
    folder: RunFolder, git: Mapping[str, Any], begun: Mapping[str, Any], repository: Path
) -> dict[str, Any]:
    """Keeps uncommitted code that the run did not begin with, and returns what the session's record says of it."""
    if not _is_changed(git, begun):
        return {}
    code = folder.later_code(git["uncommitted_sha256"])
    place = str(code.root.relative_to(folder.root))
    return {"code": {"folder": place, **save_uncommitted_code(folder, repository, code)}}


def _is_changed(git: Mapping[str, Any], begun: Mapping[str, Any]) -> bool:
    """Whether a session had uncommitted changes other than at the run's beginning, as far as git told."""
    known = (None, begun.get("uncommitted_sha256"))
    return git.get("dirty") is not False and git.get("uncommitted_sha256") not in known


def add_hash(folder: RunFolder, name: str, value: str) -> None:
    """Adds a hash that was not known at the start to record.json."""
    record = read_record(folder)
    assert record is not None, f"{folder.record} vanished during the session"
    record["hashes"][name] = value
    _write(folder, record)


def _write(folder: RunFolder, record: Mapping[str, Any]) -> None:
    write_text_atomically(folder.record, json.dumps(record, indent=2, ensure_ascii=False) + "\n")


def read_record(folder: RunFolder) -> dict[str, Any] | None:
    """The content of record.json; None when it is missing or damaged."""
    try:
        record = json.loads(folder.record.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    is_whole = isinstance(record, dict) and all(type(record.get(name)) is kind for name, kind in PARTS.items())
    return record if is_whole else None


def began_with_uncommitted_code(record: Mapping[str, Any]) -> bool:
    """Whether a run began with code that its commit lacks."""
    code = record.get("code")
    return isinstance(code, Mapping) and bool(code.get("diff") or code.get("untracked"))


def sessions_with_other_code(record: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The sessions that went on with uncommitted changes which the run did not begin with."""
    told = [session for session in record["sessions"] if isinstance(session, dict) and "git" in session]
    return [session for session in told if _is_changed(session["git"], record["git"])]


def has_uncommitted_code(record: Mapping[str, Any]) -> bool:
    """Whether a session of a run had code that its commit lacks."""
    return began_with_uncommitted_code(record) or bool(sessions_with_other_code(record))


def shown_commit(record: Mapping[str, Any]) -> str | None:
    """The commit of a run's code in short, with `+` where more than it ran; None where none is known."""
    commit = (record["git"].get("commit") or "")[:SHORT_COMMIT]
    return commit + "+" * has_uncommitted_code(record) if commit else None


def describe_command(argv: Sequence[str], repository: Path) -> dict[str, Any]:
    """The command line without secrets, its folder from the repository's top, and the environment it met."""
    top = top_folder(repository)
    cwd = Path.cwd()
    inside = top is not None and cwd.is_relative_to(top)
    return {
        "argv": strip_secrets(argv),
        "python": sys.executable,
        "cwd": str(cwd.relative_to(top)) if inside and top else str(cwd),
        "environment": {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ},
    }


def describe_machine() -> dict[str, Any]:
    """The machine: its name, its processor, the cores that this process may use, its memory in bytes."""
    return {
        "host": platform.node(),
        "cpu": _cpu_model(),
        "cpu_cores": usable_cores(),
        "memory_bytes": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
    }


def installed_packages() -> dict[str, str]:
    """Name and version of every installed package, by name."""
    found = dict(map(_name_and_version, distributions()))
    return dict(sorted((name, version) for name, version in found.items() if name))


def _name_and_version(package: Distribution) -> tuple[str, str]:
    """Those of an installed package; `package.metadata` would parse its whole description, too, which takes longer."""
    text = package.read_text("METADATA") or package.read_text("PKG-INFO") or package.read_text("") or ""
    headers = (line.partition(": ") for line in text.partition("\n\n")[0].splitlines())
    values = {name: value for name, _, value in headers}
    return values.get("Name", ""), values.get("Version", "")


def _cpu_model() -> str:
    """The processor's name; x86 calls it "model name" in /proc/cpuinfo, POWER "cpu"."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    fields = (line.partition(":") for line in lines)
    names = (value.strip() for name, _, value in fields if name.strip() in ("model name", "cpu"))
    return next(names, platform.processor() or platform.machine())
