"""What is needed to repeat a run: record.json, and under code/ the code that no commit holds.

It stands apart from the run folder because it looks outward, at git, the installed packages and the machine. Nothing
here may hold a secret: of the environment only an allow-list is kept, and keys are struck from command lines and
remote addresses.
"""

import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timezone
from importlib.metadata import distributions
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from dlib.runs.folder import RunFolder, write_text_atomically

SCHEMA_VERSION = 1
MAX_FILE_BYTES = 1 << 20
MAX_COPIED_BYTES = 20 << 20
MAX_LISTED_FILES = 100
KEPT_VARIABLES = (
    "CUBLAS_WORKSPACE_CONFIG",
    "CUDA_VISIBLE_DEVICES",
    "HF_HUB_OFFLINE",
    "MKL_NUM_THREADS",
    "NVIDIA_TF32_OVERRIDE",
    "OMP_NUM_THREADS",
    "PYTHONHASHSEED",
    "SLURM_ARRAY_JOB_ID",
    "SLURM_ARRAY_TASK_ID",
    "SLURM_JOB_ID",
    "SLURM_JOB_NODELIST",
    "SLURM_JOB_PARTITION",
    "SLURM_NTASKS",
    "SLURM_RESTART_COUNT",
    "TOKENIZERS_PARALLELISM",
    "WANDB_MODE",
    "WORLD_SIZE",
)
_SECRET_WORDS = {
    "key",
    "apikey",
    "token",
    "secret",
    "password",
    "passwd",
    "credential",
    "credentials",
}
_SECRET_VALUE = re.compile(r"\b(?:hf_|sk-|gh[opsur]_|github_pat_|glpat-|wandb_v\d_|xox[a-z]-|AKIA)[\w-]{12,}")
_URL_USER = re.compile(r"(?<=://)[^/@\s]+@")
_SECRET_FILE = re.compile(r"(\.env.*|\.netrc|.*\.(pem|key|p12|pfx|kdbx)|id_[a-z0-9]+|.*(secret|credential|password).*)")
_STRUCK = "***"


def write_record(
    folder: RunFolder,
    *,
    argv: Sequence[str],
    gpus: Sequence[str],
    hashes: Mapping[str, Any],
    from_step: int,
    repository: Path,
) -> None:
    """Writes record.json when the run is new; when it resumes, appends to its `sessions` and touches nothing else.

    Args:
        folder: the run; this process holds it.
        argv: the command line, script first.
        gpus: the name of every GPU that the run uses, on all nodes.
        hashes: fingerprints of the data and the tokenizer.
        from_step: optimizer steps done when this session begins.
        repository: a folder in the code's working tree; it need not be under git.
    """
    session = {
        "time": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "from_step": from_step,
        "command": describe_command(argv, repository),
        "git": describe_git(repository),
        "hardware": describe_hardware(gpus),
    }
    record = read_record(folder)
    if record is None:
        software = {
            "packages": installed_packages(),
            "python": sys.version,
            "platform": platform.platform(),
        }
        code = save_uncommitted_code(folder, repository)
        record = {
            "schema_version": SCHEMA_VERSION,
            **session,
            **software,
            "hashes": dict(hashes),
            "code": code,
        }
        record["sessions"] = []
    else:
        record["sessions"].append(session)
    write_text_atomically(folder.record, json.dumps(record, indent=2, ensure_ascii=False) + "\n")


def read_record(folder: RunFolder) -> dict[str, Any] | None:
    """What record.json holds; None when there is none or it is no record."""
    try:
        record = json.loads(folder.record.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) and "sessions" in record else None


def describe_command(argv: Sequence[str], repository: Path) -> dict[str, Any]:
    """The command line without secrets, where it was typed (from the repository's top) and what it met there."""
    top = _top(repository)
    cwd = Path.cwd()
    inside = top is not None and cwd.is_relative_to(top)
    return {
        "argv": strip_secrets(argv),
        "python": sys.executable,
        "cwd": str(cwd.relative_to(top)) if inside and top else str(cwd),
        "environment": {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ},
    }


def strip_secrets(argv: Sequence[str]) -> list[str]:
    """The arguments with `***` for what a flag like --api_key holds, for well-known keys, and for users in URLs."""
    stripped: list[str] = []
    secret_follows = False
    for argument in argv:
        name, equals, _ = argument.partition("=")
        names_secret = not _SECRET_WORDS.isdisjoint(re.split(r"[-_.]", name.lower()))
        if secret_follows and not argument.startswith("-"):
            argument = _STRUCK
        elif names_secret and equals:
            argument = f"{name}={_STRUCK}"
        secret_follows = names_secret and not equals and name.startswith("-")
        stripped.append(_SECRET_VALUE.sub(_STRUCK, _URL_USER.sub(f"{_STRUCK}@", argument)))
    return stripped


def strip_remote(url: str) -> str:
    """A git remote's address without password and query, and over HTTP without user, as tokens stand in its place.

    `git@host:path` holds no secret and stays.
    """
    parts = urlsplit(url)
    if not parts.netloc:
        return url
    user, at, host = parts.netloc.rpartition("@")
    kept = "" if parts.scheme.startswith("http") else user.partition(":")[0] + at
    return urlunsplit((parts.scheme, kept + host, parts.path, "", ""))


def describe_git(repository: Path) -> dict[str, Any]:
    """Commit, branch, remote, and whether anything differs; all None without git or outside a repository."""
    remote = _git(repository, "remote", "get-url", "origin")
    changes = _git(repository, "status", "--porcelain")
    return {
        "commit": _text(_git(repository, "rev-parse", "--verify", "--quiet", "HEAD")),
        "branch": _text(_git(repository, "symbolic-ref", "--short", "--quiet", "HEAD")),
        "dirty": None if changes is None else bool(changes),
        "remote": strip_remote(_text(remote) or "") or None,
    }


def describe_hardware(gpus: Sequence[str]) -> dict[str, Any]:
    """The machine: its processor, the cores that this process may use, its memory in bytes, and the GPUs given."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "host": platform.node(),
        "cpu": _cpu_model(),
        "cpu_cores": cores,
        "memory_bytes": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        "gpus": list(gpus),
        "gpu_count": len(gpus),
    }


def installed_packages() -> dict[str, str]:
    """Name and version of everything that is installed beside the running Python, by name."""
    found = {distribution.metadata["Name"]: distribution.version for distribution in distributions()}
    return dict(sorted((name, version) for name, version in found.items() if name))


def save_uncommitted_code(folder: RunFolder, repository: Path) -> dict[str, Any]:
    """Puts what `git checkout <commit>` would not bring back under code/: a diff, and the untracked files.

    Bounded: a file up to 1 MiB, 20 MiB in all, and no file whose name says that it holds keys.

    Returns:
        Which files are there, and which were left out, with the reason.
    """
    top = _top(repository)
    if top is None:
        return {"diff": None, "untracked": [], "left_out": {}, "left_out_count": 0}
    base = "HEAD" if _git(top, "rev-parse", "--verify", "--quiet", "HEAD") else _empty_tree(top)
    diff = _git(top, "diff", "--binary", "--no-ext-diff", "--no-textconv", base)
    if diff:
        folder.code.mkdir(parents=True, exist_ok=True)
        folder.uncommitted_diff.write_bytes(diff)
    copied, left_out = _copy_untracked(top, folder)
    listed = dict(list(left_out.items())[:MAX_LISTED_FILES])
    name = folder.uncommitted_diff.name if diff else None
    return {
        "diff": name,
        "untracked": copied,
        "left_out": listed,
        "left_out_count": len(left_out),
    }


def _copy_untracked(top: Path, folder: RunFolder) -> tuple[list[str], dict[str, str]]:
    copied: list[str] = []
    left_out: dict[str, str] = {}
    room = MAX_COPIED_BYTES
    for name in _untracked_files(top, folder):
        reason = _reason_to_leave(top / name, room)
        if reason:
            left_out[name] = reason
            continue
        target = folder.untracked / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(top / name, target)
        room -= target.stat().st_size
        copied.append(name)
    return copied, left_out


def _untracked_files(top: Path, folder: RunFolder) -> Iterator[str]:
    """Names from the top of what git neither tracks nor ignores, without the run folders that may stand there too."""
    runs = folder.root.resolve().parent
    own = folder.root.resolve() if top.is_relative_to(runs) else runs
    listing = _git(top, "ls-files", "--others", "--exclude-standard", "-z") or b""
    for name in filter(None, os.fsdecode(listing).split("\0")):
        if not (top / name).is_relative_to(own):
            yield name


def _reason_to_leave(path: Path, room: int) -> str | None:
    if path.is_symlink() or not path.is_file():
        return "not a plain file"
    if _SECRET_FILE.fullmatch(path.name.lower()):
        return "may hold secrets"
    size = path.stat().st_size
    if size > MAX_FILE_BYTES:
        return f"{size} bytes, over {MAX_FILE_BYTES} a file"
    return f"over {MAX_COPIED_BYTES} bytes in all" if size > room else None


def _top(repository: Path) -> Path | None:
    top = _git(repository, "rev-parse", "--show-toplevel")
    return Path(os.fsdecode(top.rstrip(b"\n"))).resolve() if top else None


def _empty_tree(top: Path) -> str:
    """The name of a tree without files, what a repository without a commit differs from."""
    return _text(_git(top, "hash-object", "-t", "tree", os.devnull)) or "HEAD"


def _git(repository: Path, *command: str) -> bytes | None:
    """What a git command prints; None when it fails. In a container the tree may belong to another user: that is fine.

    Without the optional locks a run does not disturb whoever commits in the same tree meanwhile. A run that a git hook
    starts inherits the hook's GIT_DIR and its like, which would speak of another repository.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    environment |= {"GIT_OPTIONAL_LOCKS": "0"}
    git = ["git", "-c", "safe.directory=*", "-C", str(repository), *command]
    try:
        done = subprocess.run(
            git,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            env=environment,
            timeout=60,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def _text(output: bytes | None) -> str | None:
    return output.decode("utf-8", errors="replace").strip() or None if output else None


def _cpu_model() -> str:
    """The processor's name; x86 calls it "model name" in /proc/cpuinfo, POWER "cpu"."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    fields = (line.partition(":") for line in lines)
    names = (value.strip() for name, _, value in fields if name.strip() in ("model name", "cpu"))
    return next(names, platform.processor() or platform.machine())
