"""The image: built from a clean copy of the project, run as root, as its own user and as one that it does not know."""

import json
import os
import time
from pathlib import Path

import pytest

from tests.containers import engine
from tests.containers.conftest import STRAY_FILES
from tests.containers.engine import docker
from tests.launching import THREADS, write_corpus

pytestmark = pytest.mark.docker

WHO_AM_I = "import getpass, os, pathlib; (pathlib.Path.home() / 'x').touch(); print(getpass.getuser(), os.getcwd())"
STAND_IN = """\
#!/bin/sh
echo "CUDA $CONDA_OVERRIDE_CUDA: $*"
for file; do :; done
grep --count '^- name:' "$file"
echo 'no channel can be reached' >&2
exit 3
"""
"""In place of micromamba, where its image and the channels cannot be had: says what it was asked for."""


def run_in(image: str, *command: str | Path, uid: int, arguments: tuple[str, ...] = ()) -> str:
    """What a command prints that a user runs in the image."""
    settings = ("--user", f"{uid}:{uid}", *(f"--env={name}={value}" for name, value in THREADS.items()))
    return docker("run", "--rm", *settings, *arguments, image, *command, timeout_seconds=300)


# What root leaves is root's in any case.
@pytest.mark.parametrize("uid", [pytest.param(0, marks=pytest.mark.slow), 1000])
def test_demo_runs_on_a_mounted_repository_and_all_it_leaves_is_the_user_s(
    image: str, open_folder: Path, uid: int
) -> None:
    checkout = engine.check_out(open_folder / "dlib")
    own_python = checkout / ".venv" / "bin" / "python"
    own_python.parent.mkdir(parents=True)
    own_python.write_text("#!/bin/sh\necho 'the wrong interpreter'\nexit 1\n")
    own_python.chmod(0o755)
    engine.give_to(uid, checkout)
    mounted = ("--volume", f"{checkout}:/workspace")
    run_in(image, "scripts/demo.sh", "--training_goal", "10 steps", uid=uid, arguments=mounted)
    run = checkout / "runs" / "demo-mlm"
    assert json.loads((run / "status.json").read_text())["state"] == "finished"
    record = json.loads((run / "record.json").read_text())
    assert record["git"]["commit"] == engine.run("git", "-C", engine.ROOT, "rev-parse", "HEAD").stdout.strip()
    assert record["command"]["python"] == "/opt/dlib/bin/python"
    assert {path.stat().st_uid for folder in ("runs", "data", "cache") for path in (checkout / folder).rglob("*")} == {
        uid
    }


def test_unknown_user_trains_with_the_image_s_own_code(image: str, open_folder: Path) -> None:
    write_corpus(open_folder / "texts")
    train = "python train.py --config_path configs/demo.yml -n first -d /texts --training_goal '5 steps' --offline"
    texts = ("--volume", f"{open_folder / 'texts'}:/texts:ro")
    said = run_in(image, "bash", "-c", f"{train} >&2 && cat runs/first/record.json", uid=12345, arguments=texts)
    record = json.loads(said)
    assert record["git"]["commit"] is None
    assert record["command"]["cwd"] == "/workspace"


@pytest.mark.parametrize("uid", [pytest.param(0, marks=pytest.mark.slow), 1000])
def test_tests_run_in_the_image(image: str, uid: int) -> None:
    said = run_in(
        image, "scripts/test.sh", "tests/config/test_configuration.py", "tests/training/test_tree_sum.py", "-q", uid=uid
    )
    assert " passed" in said


@pytest.mark.slow
def test_torch_compile_finds_a_compiler(image: str) -> None:
    test = ("tests/models/test_loading.py", "-k", "compiled", "-m", "")
    assert "1 passed" in run_in(image, "scripts/test.sh", *test, uid=12345)


@pytest.mark.parametrize(("uid", "name"), [(0, "root"), (1000, "dlib"), (12345, "uid-12345")])
def test_every_user_has_a_name_and_a_home_to_write_in(image: str, uid: int, name: str) -> None:
    assert run_in(image, "python", "-c", WHO_AM_I, uid=uid) == f"{name} /workspace"


@pytest.mark.parametrize("shell", [[], ["bash", "-c"], ["bash", "-lc"]])
def test_environment_is_there_without_the_entry_point(image: str, shell: list[str]) -> None:
    words = [*shell, "python -c 'import torch; print(torch.__version__)'"]
    if not shell:
        words = ["python", "-c", "import torch; print(torch.__version__)"]
    said = docker("run", "--rm", "--user", "12345", "--entrypoint", words[0], image, *words[1:])
    assert said.endswith("+cpu")


@pytest.mark.slow
def test_a_user_1000_of_the_base_image_gets_our_name(context: Path, image: str, tmp_path: Path) -> None:
    base, name = f"dlib-test-base:{os.getpid()}", f"dlib-test-tools:{os.getpid()}"
    (tmp_path / "Dockerfile").write_text(
        f"FROM {engine.BASE_IMAGE or 'debian:12.12-slim'}\nRUN useradd --uid 1000 --create-home ubuntu\n"
    )
    try:
        docker("build", "--tag", base, tmp_path)
        done = engine.build(context, "--target", "tools", "--build-arg", f"BASE_IMAGE={base}", "--tag", name)
        assert done.returncode == 0, done.stderr
        assert run_in(name, "sh", "-c", "id && stat -c %U /home/dlib", uid=1000) == (
            "uid=1000(dlib) gid=1000(dlib) groups=1000(dlib)\ndlib"
        )
    finally:
        engine.run("docker", "image", "rm", "--force", name, base)


def test_container_stops_when_it_is_asked_to(image: str) -> None:
    container = docker("run", "--detach", "--rm", image, "sleep", "600")
    started = time.monotonic()
    docker("stop", "--time", "60", container)
    assert time.monotonic() - started < 30


def test_image_holds_all_that_is_committed_and_nothing_that_git_ignores(image: str, context: Path) -> None:
    found = set(run_in(image, "find", "/workspace", "-type", "f", "-printf", "%P\n", uid=0).splitlines())
    assert found >= set(engine.tracked_files(context))
    assert found.isdisjoint(STRAY_FILES)


def test_image_is_labelled_and_keeps_no_secret(image: str) -> None:
    config = json.loads(docker("image", "inspect", image))[0]["Config"]
    assert config["User"] == "1000:1000"
    assert config["Labels"]["org.opencontainers.image.version"] == "1.2.3"
    assert not any(word in name for name in config["Env"] for word in ("KEY", "TOKEN", "PASSWORD", "SECRET"))
    assert "secret" not in docker("history", "--no-trunc", image)
    accounts = run_in(image, "stat", "--format", "%a", "/etc/passwd", uid=0)
    assert accounts == "644"


def build_with_stand_in(context: Path, folder: Path, architecture: str) -> str:
    """What the build of the default image says, as far as it comes for an architecture."""
    (folder / "micromamba").write_text(STAND_IN)
    (folder / "Dockerfile").write_text("FROM scratch\nCOPY --chmod=755 micromamba /bin/micromamba\n")
    name = f"dlib-test-micromamba-{architecture}"  # its own: one that was just removed may be missed by the next build
    docker("build", "--tag", name, folder)
    try:
        arguments = ("--build-arg", f"MICROMAMBA_IMAGE={name}", "--tag", f"dlib-test:{architecture}")
        done = engine.build(context, *arguments, "--build-arg", f"TARGETARCH={architecture}")
    finally:
        engine.run("docker", "image", "rm", "--force", name, f"dlib-test:{architecture}")
    return done.stdout + done.stderr


@pytest.mark.parametrize(
    ("architecture", "lock", "cuda"),
    [("amd64", "conda-lock.yml", "12.9"), ("ppc64le", "ppc64le.conda-lock.yml", "11.8")],
)
def test_full_image_asks_micromamba_for_the_lock_of_its_architecture(
    context: Path, image: str, tmp_path: Path, architecture: str, lock: str, cuda: str
) -> None:
    said = build_with_stand_in(context, tmp_path, architecture)
    asked = f"CUDA {cuda}: create --yes --always-copy --prefix /opt/dlib --file /opt/{lock}"
    assert asked in said
    assert str((engine.ROOT / lock).read_text().count("\n- name:")) in said.partition(asked)[2]
    assert "no channel can be reached" in said


def test_default_image_where_no_conda_lock_is_for_the_architecture_is_the_one_for_cpu(
    context: Path, image: str, tmp_path: Path
) -> None:
    said = build_with_stand_in(context, tmp_path, "arm64")
    assert "naming to docker.io/library/dlib-test:arm64" in said
    assert "create --yes" not in said
