"""Whether the network is tried, and what is said when a name cannot be had."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dlib.models.hub import choose_hub_mode, explain_loading, hub_answers
from dlib.models.tokenization import load_tokenizer
from dlib.process.errors import UserError

ROOT = Path(__file__).parents[2]
PROXIES = ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")


@pytest.fixture
def closed_endpoint(monkeypatch: pytest.MonkeyPatch) -> str:
    """A hub at a local port where nobody listens; no setting survives the test."""
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{listening.getsockname()[1]}"
    monkeypatch.setenv("HF_ENDPOINT", endpoint)
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    return endpoint


def is_offline() -> bool:
    return os.environ["HF_HUB_OFFLINE"] == "1"


def test_local_folders_need_no_network(closed_endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.getsockname()[1]}")
        choose_hub_mode([str(tmp_path), None], offline=False)
        assert is_offline()
        with pytest.raises(TimeoutError):
            server.accept()


def test_hub_that_answers_is_used_unless_offline_is_asked_for(
    closed_endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.getsockname()[1]}")
        choose_hub_mode(["owner/name"], offline=False)
        assert not is_offline()
        choose_hub_mode(["owner/name"], offline=True)
        assert is_offline()


def test_hub_out_of_reach_is_given_up_quickly(closed_endpoint: str) -> None:
    started = time.monotonic()
    choose_hub_mode(["owner/name"], offline=False)
    assert is_offline()
    assert time.monotonic() - started < 3


def test_proxy_is_taken_at_its_word(closed_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not hub_answers()
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    assert hub_answers()


UNREACHED = "--model owner/name is not in the local cache, and the hub is not asked"


def test_name_that_cannot_be_fetched_is_told_at_once_though_the_libraries_were_imported_before(
    closed_endpoint: str, capfd: pytest.CaptureFixture[str]
) -> None:
    choose_hub_mode(["owner/name"], offline=False)
    started = time.monotonic()
    with pytest.raises(UserError, match=f"^{UNREACHED}"):
        load_tokenizer("owner/name", "--model", trust_remote_code=False)
    assert time.monotonic() - started < 5
    assert "Retry" not in capfd.readouterr().err


def test_name_that_cannot_be_fetched_is_told_at_once_where_the_libraries_are_imported_afterwards(
    closed_endpoint: str, tmp_path: Path
) -> None:
    program = "\n".join(
        [
            "import time",
            "from dlib.models.hub import choose_hub_mode",
            "choose_hub_mode(['owner/name'], False)",
            "import dlib.models.tokenization",
            "started = time.monotonic()",
            "try: dlib.models.tokenization.load_tokenizer('owner/name', '--model', trust_remote_code=False)",
            "except Exception as error: print(type(error).__name__, error)",
            "print(time.monotonic() - started)",
        ]
    )
    environment = {**os.environ, "HF_HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    environment.pop("HF_HUB_OFFLINE")
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=90
    )
    message, seconds = done.stdout.splitlines()
    assert message.startswith(f"UserError {UNREACHED}")
    assert float(seconds) < 5
    assert "Retry" not in done.stderr


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("owner/name", ValueError("strange\nand long"), "--model owner/name cannot be loaded: strange$"),
        (
            "owner/name",
            ValueError("it broke:\n  because:\n\n  of this\nand that"),
            "loaded: it broke: because: of this$",
        ),
        ("owner/name", KeyError("foo"), "--model owner/name cannot be loaded: KeyError: 'foo'$"),
        ("owner/name", KeyError(), "--model owner/name cannot be loaded: KeyError"),
        (".", IndexError("list index out of range"), r"--model \. cannot be loaded: list index"),
    ],
)
def test_failure_to_load_is_one_line(name: str, error: Exception, message: str) -> None:
    with pytest.raises(UserError, match=message), explain_loading("--model", name):
        raise error


def test_what_is_told_names_no_flag_that_the_script_lacks() -> None:
    advice = "the model owner/name .*: check the name, or give a run, a checkpoint or a local folder$"
    with pytest.raises(UserError, match=advice), explain_loading("the model", "owner/name"):
        raise OSError("couldn't connect")


def test_mistakes_that_are_explained_already_and_interrupts_pass() -> None:
    with pytest.raises(UserError, match=r"^as it is$"), explain_loading("--model", "."):
        raise UserError("as it is")
    with pytest.raises(KeyboardInterrupt), explain_loading("--model", "."):
        raise KeyboardInterrupt
