"""scripts/console.sh: what a user's command, files, terminal and keys become in a container."""

import hashlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.containers import engine
from tests.containers.engine import docker

pytestmark = pytest.mark.docker

USER = 1001 if os.getuid() == 0 else os.getuid()
KEY = "0123456789abcdef0123456789abcdef01234567"
LAB = {"WANDB_BASE_URL": "https://my.lab:8080/api"}
RECORDING_ENGINE = """\
#!/bin/sh
case "$1 $2" in
  run*) printf '%s\\n' "$@" ;;
esac
"""
"""In place of an engine, where no GPU is: says what it was asked to run."""


class Console(NamedTuple):
    """The project of a user, who has a home and uses one image."""

    uid: int
    repository: Path
    home: Path
    image: str

    def command(self, *arguments: str) -> list[str]:
        return [*engine.as_user(self.uid), str(self.repository / "scripts" / "console.sh"), *arguments]

    def environment(self, changes: Mapping[str, str]) -> dict[str, str]:
        unset = {"WANDB_API_KEY": "", "NETRC": str(self.home / ".netrc"), "HF_HOME": "", "XDG_CACHE_HOME": ""}
        return {**os.environ, **unset, "HOME": str(self.home), "DLIB_IMAGE": self.image, **changes}

    def run(
        self, *arguments: str, changes: Mapping[str, str] | None = None, cwd: Path | None = None, stdin: str = ""
    ) -> "subprocess.CompletedProcess[str]":
        """Runs a command in a container, with changes of the environment outside."""
        environment = self.environment(changes or {})
        return engine.run(*self.command(*arguments), cwd=cwd or self.repository, stdin=stdin, environment=environment)

    def says(
        self, *arguments: str, changes: Mapping[str, str] | None = None, cwd: Path | None = None, stdin: str = ""
    ) -> str:
        """What a command prints in a container; it must succeed."""
        done = self.run(*arguments, changes=changes, cwd=cwd, stdin=stdin)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()


@pytest.fixture(scope="module")
def repository() -> Iterator[Path]:
    """A clone that belongs to a user who is neither root nor known to the image, where that is possible."""
    with engine.open_folder() as folder:
        engine.check_out(folder / "my project")
        engine.give_to(USER, folder)
        yield folder / "my project"


@pytest.fixture
def console(image: str, repository: Path, open_folder: Path) -> Console:
    """One with an empty home."""
    (open_folder / "home").mkdir()
    engine.give_to(USER, open_folder)
    return Console(USER, repository, open_folder / "home", image)


def test_quotes_spaces_and_dollars_survive(console: Console) -> None:
    words = ["a  b", "it's", 'a "word"', "$HOME", "", "*", "back\\slash", "-x"]
    assert console.says("--", "printf", "[%s]", *words) == "".join(f"[{word}]" for word in words)


def test_command_runs_where_the_user_is(console: Console) -> None:
    link = console.home / "link"
    link.symlink_to(console.repository)
    folders = {
        console.repository: "/workspace",
        console.repository / "tests" / "data": "/workspace/tests/data",
        link / "dlib": "/workspace/dlib",
        Path("/"): "/workspace",
    }
    assert {folder: console.says("pwd", cwd=folder) for folder in folders} == folders


def test_files_belong_to_the_user(console: Console) -> None:
    write = "echo mine >'new file'; mkdir ~/.cache/huggingface/hub; git status --short 'new file'; id -u; id -g"
    assert console.says("bash", "-c", write).split() == ["??", '"new', 'file"', str(console.uid), str(console.uid)]
    written = [console.repository / "new file", console.home / ".cache" / "huggingface" / "hub"]
    assert [path.stat().st_uid for path in written] == [console.uid] * 2
    written[0].unlink()


def test_mounts_are_there_and_read_only_when_asked(console: Console) -> None:
    texts = console.home / "my texts"
    texts.mkdir()
    (texts / "train.txt").write_text("once upon a time")
    mounts = ("-m", f"{texts}:/texts", "-m", "my texts:/read only:ro")
    script = "cat /texts/train.txt; touch '/read only/x' 2>/dev/null || echo ', refused'"
    assert console.says(*mounts, "bash", "-c", script, cwd=console.home) == "once upon a time, refused"


def test_pipes_and_exit_status_pass_through(console: Console) -> None:
    assert console.says("cat", stdin="through\n") == "through"
    assert console.run("bash", "-c", "exit 75").returncode == 75


@pytest.mark.skipif(shutil.which("script") is None, reason="needs script, of util-linux")
def test_terminal_is_one_inside_too(console: Console) -> None:
    command = " ".join(
        f"'{word}'" for word in console.command("bash", "-c", "test -t 0 && test -t 1 && echo a terminal")
    )
    done = engine.run("script", "-qec", command, "/dev/null", environment=console.environment({}))
    assert "a terminal" in done.stdout


def command_lines() -> str:
    """The command lines of all processes of this machine."""
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            lines.append(path.read_bytes().decode(errors="replace"))
        except OSError:  # it has ended
            continue
    return "\n".join(lines)


def running_containers(image: str) -> set[str]:
    """The ids of the containers that run an image; the engine lists one a moment after its command has ended, too."""
    return set(docker("ps", "--quiet", "--filter", f"ancestor={image}").split())


def wait_for_container(image: str, before: set[str]) -> str:
    """The id of the one that came; the engine may list it a moment after its command has begun."""
    deadline = time.monotonic() + 60
    while not (new := running_containers(image) - before):
        assert time.monotonic() < deadline, "no container is listed"
        time.sleep(0.1)
    [container] = new
    return container


def key_in_container(console: Console, changes: Mapping[str, str]) -> str:
    """The hash of the key that a container sees, while nobody else sees it."""
    wait = "echo started; read -r _; printf %s \"$WANDB_API_KEY\" | sha256sum | cut -d ' ' -f 1"
    before = running_containers(console.image)
    with subprocess.Popen(
        console.command("bash", "-c", wait),
        cwd=console.repository,
        env=console.environment(changes),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "started\n"
        container = wait_for_container(console.image, before)
        asked = docker("inspect", "--format", "{{json .Args}} {{json .Config.Cmd}} {{json .HostConfig}}", container)
        assert KEY not in asked + command_lines()
        said, _ = process.communicate("\n", timeout=60)
    return said.strip()


@pytest.mark.parametrize(
    ("netrc", "changes"),
    [
        ("", {"WANDB_API_KEY": KEY}),
        (f"machine api.wandb.ai\n  login user\n  password {KEY}\nmachine other.org login a password b\n", {}),
        (f"machine api.wandb.ai login a password b machine my.lab login password password {KEY}\n", LAB),
    ],
    ids=["from the environment", "from netrc", "from netrc, for a server of one's own"],
)
def test_key_is_there_and_nowhere_to_be_read(console: Console, netrc: str, changes: dict[str, str]) -> None:
    (console.home / ".netrc").write_text(netrc)
    engine.give_to(console.uid, console.home)
    assert key_in_container(console, changes) == hashlib.sha256(KEY.encode()).hexdigest()


def test_no_key_is_none_inside(console: Console) -> None:
    assert console.says("bash", "-c", "echo ${WANDB_API_KEY-unset}") == "unset"


@pytest.mark.parametrize(
    ("arguments", "changes", "message"),
    [
        (["-x"], {}, "unknown flag '-x'"),
        (["--gpus", "all"], {}, "unknown flag '--gpus'"),
        (["-m"], {}, "-m needs a value"),
        (["-m", "/tmp", "true"], {}, "-m /tmp: give host:container"),
        (["-m", "/nowhere:/texts", "true"], {}, "there is no '/nowhere'"),
        (["-i", "not-built", "true"], {}, "docker build -t not-built"),
        (["true"], {"CONTAINER_ENGINE": "lxc"}, "it is docker or podman"),
        (["true"], {"DOCKER_HOST": "unix:///nowhere.sock"}, "docker does not answer"),
    ],
)
def test_mistake_is_one_line_that_says_what_to_do(
    console: Console, arguments: list[str], changes: dict[str, str], message: str
) -> None:
    done = console.run(*arguments, changes=changes)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.skipif(shutil.which("nvidia-smi") is not None, reason="this machine may have a GPU to show")
def test_missing_gpu_is_one_line(console: Console) -> None:
    done = console.run("-g", "0,1", "true")
    assert done.returncode == 2
    assert "cannot show the GPUs 0,1" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("name", "gpus", "asked"),
    [
        ("docker", "0,2", ["--gpus", '"device=0,2"']),
        ("docker", "all", ["--gpus", "all"]),
        ("docker", "", ["--env", "NVIDIA_VISIBLE_DEVICES=void"]),
        ("podman", "0,2", ["--device", "nvidia.com/gpu=0", "--device", "nvidia.com/gpu=2"]),
    ],
)
def test_gpus_are_named_as_the_engine_takes_them(console: Console, name: str, gpus: str, asked: list[str]) -> None:
    stand_in = console.home / name
    stand_in.write_text(RECORDING_ENGINE)
    stand_in.chmod(0o755)
    said = console.says(
        *(["-g", gpus] if gpus else []), "true", changes={"CONTAINER_ENGINE": str(stand_in)}
    ).splitlines()
    place = said.index(asked[1])
    assert said[place - 1 : place - 1 + len(asked)] == asked


def test_help_says_how_to_call_it(console: Console) -> None:
    assert "scripts/console.sh [-g 0,2|all]" in console.says("--help")


def test_container_is_gone_when_its_command_ends(console: Console) -> None:
    console.says("true")
    for _ in range(20):
        if not docker("ps", "--all", "--quiet", "--filter", f"ancestor={console.image}"):
            return
        time.sleep(0.2)
    pytest.fail("the container is still there")
