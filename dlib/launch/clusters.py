"""What a lab says of its machines, in a file of `configs/clusters/`; each key is a flag of `jobs.py` too."""

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

from dlib.args.fields import facts_of, setting
from dlib.config.durations import parse_clock
from dlib.config.files import explain_interpolation
from dlib.config.spelling import did_you_mean
from dlib.config.strict_yaml import read_yaml
from dlib.process.errors import UserError
from dlib.process.ranks import logger
from dlib.runs.redaction import holds_secret, names_secret

UNPACKING_SECONDS = 60
"""How long an image takes until its command starts: 14 to 42 seconds were measured."""
CLUSTERS = Path(__file__).parents[2] / "configs" / "clusters"


@dataclass(frozen=True)
class Container:
    """What pyxis is asked for, where the job is to run in an image."""

    image: str = setting("", path=True)
    """The image: a file, `/shared/dlib.sqsh` or `./dlib.sqsh`, or an address, `docker://...`; empty: no container.
    The flag says `none` for it."""
    mounts: list[str] = setting([])
    """Folders to show, `host:container`, besides the repository and the workspace, which keep their paths."""
    workdir: str = setting("", path=True)
    """Where the command starts; empty: where it was submitted."""
    writable: bool = setting(False)
    """Whether programs may write into the image's own folders."""
    name: str = setting("dlib")
    """Name of the unpacked image on a node, which steps share; a signal to a step leaves it mounted."""

    @property
    def sources(self) -> list[tuple[Path, Path]]:
        """What is mounted, and where."""
        words = (mount.split(":") for mounts in self.mounts for mount in mounts.split(","))
        return [(Path(here), Path(there[0] if there else here)) for here, *there in words]


@dataclass(frozen=True)
class Cluster:
    """Where jobs go, and what each of them asks for."""

    launcher: str = setting("slurm")
    """Who starts jobs, one of the table LAUNCHERS: `slurm`, `local`."""
    partition: str | None = setting(None)
    """Partition (queue); none: the cluster's default."""
    account: str | None = setting(None)
    """Account that is charged; none: yours."""
    qos: str | None = setting(None)
    """Quality of service; none: the cluster's default."""
    nodes: int = setting(1, at_least=1)
    """Number of machines."""
    tasks_per_node: int | None = setting(None, at_least=1)
    """Processes that srun starts on each machine; none: one a GPU, or one where there is none."""
    gpus_per_node: int = setting(0, at_least=0)
    """GPUs on each machine."""
    cpus_per_task: int | None = setting(None, at_least=1)
    """Cores of each process; none: the cluster's default."""
    mem: str | None = setting(None)
    """Memory of each machine, `64G`; none: the cluster's default."""
    time: str | None = setting(None)
    """Time limit of a start, HH:MM:SS or D-HH:MM:SS; none: the partition's."""
    signal_seconds: int = setting(120, at_least=1)
    """Seconds ahead of the time limit, and of preemption, at which a run is told to save."""
    max_requeues: int = setting(3, at_least=0)
    """How often a job starts again without a further optimizer step, before it is given up."""
    options: list[str] = setting([])
    """Further options of sbatch, `--constraint=a100`, one a line."""
    setup: list[str] = setting([])
    """Lines of the shell before the command, `module load cuda`; one that fails ends the job. Write `$NAME`, without
    braces."""
    environment: dict[str, str] = setting({})
    """Variables for the command; the flag adds to them. Keys of W&B or a hub do not belong here: they come from your
    own environment."""
    python: str = setting("", path=True)
    """What runs a script; empty: the interpreter that runs `jobs.py`, or `python` in a container."""
    container: Container = Container()
    """What pyxis is asked for."""

    @property
    def tasks(self) -> int:
        """Processes that are started on each machine."""
        return self.tasks_per_node or max(1, self.gpus_per_node)

    @property
    def clock(self) -> str | None:
        """`--max_time` of a training in a container: should no signal come through, it saves ahead of the limit."""
        if not self.container.image or self.time is None:
            return None
        limit = parse_clock(self.time, "--time")
        seconds = max(limit - self.signal_seconds - UNPACKING_SECONDS, limit // 2)
        return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"


def load_cluster(word: str, overrides: Mapping[str, Any] = {}) -> Cluster:
    """The cluster that a word means: a name in `configs/clusters/`, or a file; with other values for some keys.

    Args:
        word: `slurm`, or `configs/clusters/slurm.yml`.
        overrides: values by key, `{"container.image": "./dlib.sqsh"}`; texts are read as in a file. Variables are added
            to those of the file.

    Raises:
        UserError: there is no such file; or a key or value is wrong, which is named.
    """
    path = find_cluster(word)
    config: Any = OmegaConf.structured(Cluster)
    for group in (config, config.container):  # as their classes are frozen
        OmegaConf.set_readonly(group, False)
    content = read_yaml(path) or {}
    if not isinstance(content, dict):
        raise UserError(f"{path}: this must be a mapping of keys to values")
    for key, value in _flat(content).items():
        _assign(config, key, value, f"{path}: {key}")
    for key, value in overrides.items():
        _assign(config, key, value, f"--{key}", merge=isinstance(value, Mapping))
    try:
        cluster: Cluster = OmegaConf.to_object(config)  # type: ignore[assignment]
    except OmegaConfBaseException as error:
        raise UserError(explain_interpolation(error, f"{path}: {error.full_key}")) from error
    of_container = [key for key in overrides if "." in key]
    asks_for_container = isinstance(content.get("container"), Mapping) or of_container
    if of_container == ["container.image"] and overrides["container.image"] == "none":
        cluster = replace(cluster, container=Container())
    elif asks_for_container and not cluster.container.image:
        raise UserError(f"--container.image is missing: {path} and the flags ask for a container, and name none")
    _check(cluster)
    return cluster


def find_cluster(word: str) -> Path:
    """The file of a cluster.

    Raises:
        UserError: there is none.
    """
    places = [Path(word), *([CLUSTERS / f"{word}.yml"] if "/" not in word else [])]
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        names = sorted(path.stem for path in CLUSTERS.glob("*.yml"))
        raise UserError(f"--cluster {word}: there is no such file{did_you_mean(word, names)} ({', '.join(names)})")
    return path


def _flat(content: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of a file, those of `container` in full; what is commented out below a key says nothing."""
    container = content.get("container")
    if not isinstance(container, Mapping):
        return {key: value for key, value in content.items() if value is not None}
    inner = {f"container.{key}": value for key, value in container.items() if value is not None}
    return {key: value for key, value in content.items() if key != "container" and value is not None} | inner


def _assign(config: Any, key: str, value: Any, place: str, *, merge: bool = False) -> None:
    try:
        OmegaConf.update(config, key, value, merge=merge)
    except (ConfigKeyError, ConfigAttributeError) as error:
        names = [*config, *(f"container.{name}" for name in config.container)]
        raise UserError(f"{place}: there is no such key{did_you_mean(key, names)}") from error
    except OmegaConfBaseException as error:
        raise UserError(f"{place}: {str(error).partition(chr(10))[0]}") from error


def _check(cluster: Cluster) -> None:
    """Refuse values that no type sees."""
    _check_texts(cluster)
    for declared in fields(cluster):
        value, facts = getattr(cluster, declared.name), facts_of(declared)
        if isinstance(value, int) and not facts.accept(value):
            raise UserError(f"--{declared.name} {value}: give {facts.range}")
    if cluster.time is not None and parse_clock(cluster.time, "--time") <= cluster.signal_seconds:
        raise UserError(
            f"--time {cluster.time}: a run is told to save {cluster.signal_seconds} seconds ahead of it "
            "(--signal_seconds); give more time"
        )
    _check_setup(cluster.setup)
    for name, value in cluster.environment.items():
        if not (name.isascii() and name.isidentifier()):
            raise UserError(f"--environment: {name!r} is no name of a variable")
        if names_secret(name) or holds_secret(value.encode()):
            raise UserError(
                f"--environment {name}: a key would stand in the job's script; export it in the shell you submit from"
            )
    _check_container(cluster.container)


def _check_texts(cluster: Cluster) -> None:
    """Refuse texts that no script can hold: halves of surrogate pairs, which YAML can escape and UTF-8 not write."""
    for name, value in asdict(cluster).items():
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            raise UserError(f"--{name}: half a surrogate pair is no character: leave it out") from error


def _check_setup(lines: Sequence[str]) -> None:
    """Refuse lines that the shell cannot read; a here-document without an end would take in the command, too."""
    if not lines:
        return
    words = ["/bin/bash", "-O", "extglob", "-n"]  # -n executes nothing, no `shopt -s extglob` either
    english = {"LC_ALL": "C"}  # which has no warning of a locale that is not there
    read = subprocess.run(words, input="\n".join([*lines, ""]), env=english, capture_output=True, text=True)
    if read.stderr:
        raise UserError(f"--setup: the shell cannot read it: {read.stderr.splitlines()[0].removeprefix('/bin/bash: ')}")


def _check_container(container: Container) -> None:
    """Refuse an image that is not there, and tell of mounts that are not: nodes may have disks of their own."""
    image, is_address = container.image, "://" in container.image
    if image and not is_address and not image.startswith(("/", "./")):
        raise UserError(f"--container.image {image}: a file's path begins with / or ./, else pyxis asks a registry")
    if image and not is_address and not Path(image).exists():
        raise UserError(f"--container.image {image}: it is not there; where nodes alone see it, submit from a node")
    for here, _ in container.sources:
        if not here.exists():
            logger().warning("--container.mounts %s: it is not there, and a node without it fails", here)
