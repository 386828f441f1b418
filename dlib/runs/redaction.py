"""What looks like a secret: by the name of a file or flag, and by the shape of a value.

It knows the common kinds of keys: it catches slips, and is no promise.
"""

import re
from collections.abc import Sequence
from pathlib import PurePath

STRUCK = "***"
_SECRET_WORDS = {*"key apikey token secret password passwd credential credentials".split()}
# The services' own prefixes, a private key, and a W&B key: 40 digits, which a commit has too, so its name goes before.
_SECRET_VALUE = re.compile(
    r"\b(?:(?:hf_|gh[opsur]_)[A-Za-z0-9]{20,}|(?:sk-|github_pat_|glpat-|wandb_v\d_|xox[a-z]-|AKIA)[\w-]{12,})"
    r"|-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----"
    r"|(?i:api_?key)\W{1,6}[0-9a-f]{40}\b"
)
# "token" is a word of its own here: tokenizer.json and token_store.py are no secrets.
_SECRET_NAME = re.compile(
    r"\.env.*|\.netrc|.*\.(pem|key|p12|pfx|kdbx)|id_[a-z0-9]+|.*(secret|credential|password|api[-_]?key).*"
    r"|(.*[-_.])?token(\.(txt|json|ya?ml|toml|ini|cfg|conf))?"
)
_URL_USER = re.compile(r"(?<=://)[^/@\s]+@")


def names_secret(name: str) -> bool:
    """Whether the name of a file, or of a folder on its path, looks like a secret's."""
    return any(_SECRET_NAME.fullmatch(part.lower()) for part in PurePath(name).parts)


def holds_secret(content: bytes) -> bool:
    """Whether the content of a file has a key of a well-known form."""
    return _SECRET_VALUE.search(content.decode("latin-1")) is not None


def strip_secrets(argv: Sequence[str]) -> list[str]:
    """The arguments with `***` for the value of a flag like --api_key, for well-known keys, and for users in URLs."""
    stripped: list[str] = []
    secret_follows = False
    for argument in argv:
        name, equals, _ = argument.partition("=")
        is_secret = not _SECRET_WORDS.isdisjoint(re.split(r"[-_.]", name.lower()))
        if secret_follows and not argument.startswith("-"):
            argument = STRUCK
        elif is_secret and equals:
            argument = f"{name}={STRUCK}"
        secret_follows = is_secret and not equals and name.startswith("-")
        stripped.append(_SECRET_VALUE.sub(STRUCK, _URL_USER.sub(f"{STRUCK}@", argument)))
    return stripped
