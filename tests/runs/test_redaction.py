"""Secrets are known by the names of files and flags, and by the shape of well-known keys; other text is left alone."""

import pytest

from dlib.runs.redaction import holds_secret, names_secret, strip_secrets


@pytest.mark.parametrize(
    ("argv", "stripped"),
    [
        (["--api_key=abc", "-n", "x"], ["--api_key=***", "-n", "x"]),
        (["--password", "abc", "def"], ["--password", "***", "def"]),
        (["--token", "-n", "x"], ["--token", "-n", "x"]),
        (["secret.key=abc"], ["secret.key=***"]),
        (["--tokenizer", "gpt2", "--training_goal", "2B tokens"], None),
        (["--model_overrides", "hidden_size=256"], None),
        (["hf_" + "a1" * 17], ["***"]),
    ],
)
def test_secrets_are_struck_from_a_command_line(argv: list[str], stripped: list[str] | None) -> None:
    assert strip_secrets(argv) == (argv if stripped is None else stripped)


@pytest.mark.parametrize(
    "name",
    [
        ".env",
        "deploy/.env.local",
        "hf_token",
        "token.txt",
        "wandb-token.json",
        ".token",
        "secrets/prod.yml",
        "api_key.py",
        "id_rsa",
        "server.PEM",
    ],
)
def test_names_of_secrets_are_known(name: str) -> None:
    assert names_secret(name)


@pytest.mark.parametrize(
    "name",
    [
        "dlib/models/tokenization.py",
        "dlib/data/token_store.py",
        "tokenizer.json",
        "tokens.bin",
        "added_tokens.json",
        "train.py",
        "tokenizer_config.json",
        "keyboard.py",
        "environment.yml",
        "tests/objectives/test_token_prediction.py",
    ],
)
def test_names_of_code_are_no_secrets(name: str) -> None:
    assert not names_secret(name)


# In pieces, so that these tests do not hold what they speak of.
@pytest.mark.parametrize(
    "content",
    [
        "hf_" + "aB3" * 12,
        "ghp_" + "aB3" * 12,
        "sk-" + "proj-" + "aB3" * 8,
        "AKIA" + "ABCDEFGH12345678",
        "WANDB_API_KEY" + "=" + "0123456789" * 4,
        "-----BEGIN " + "OPENSSH PRIVATE KEY-----",
    ],
)
def test_keys_are_known_wherever_they_stand(content: str) -> None:
    assert holds_secret(f'x = "{content}"  # größer\n'.encode())


@pytest.mark.parametrize(
    "content", ["hf_checkpoint_loader = hf_configuration", "commit " + "0a" * 20, "task-management"]
)
def test_identifiers_and_commits_are_no_keys(content: str) -> None:
    assert not holds_secret(content.encode())
