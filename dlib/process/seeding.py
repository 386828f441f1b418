"""Counter-based randomness: every random draw comes from a generator that is made from a key.

A key is a tuple of words and integers that says what is drawn, for example `("mask", seed, epoch, sample_id)`. The
same key gives the same numbers in every process and at every time, so that no state is ever kept, saved or handed on:
who draws, and what was drawn before, changes nothing. The alternative, one generator that is moved forward, makes a
run depend on the number of workers, on validation, and on where it was stopped.

    parts --derive_key--> 64-bit key --Philox--> numbers

Philox (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011) enciphers a counter under a key:
neighbouring keys give unrelated numbers, and a generator costs no warm-up. The keys never change; what NumPy draws from
a generator may change between NumPy versions, which is why a run records its packages.
"""

import hashlib
import random
from typing import SupportsIndex

import numpy as np

KEY_BYTES = 8
LENGTH_BYTES = 8


def derive_key(*parts: SupportsIndex | str) -> int:
    """The 64-bit key of a tuple of words and integers, the same on every platform and in every Python version.

    Args:
        parts: what the key stands for; `1` and `"1"` differ, and so do `("a", "bc")` and `("ab", "c")`.

    Returns:
        An integer in `[0, 2**64)`.
    """
    encoded = b"".join(map(encode_part, parts))
    return int.from_bytes(hashlib.blake2b(encoded, digest_size=KEY_BYTES).digest(), "little")


def encode_part(part: SupportsIndex | str) -> bytes:
    """A part as its kind, its length and its text: no two tuples of parts have the same encoding."""
    kind, text = (b"s", part) if isinstance(part, str) else (b"i", str(part.__index__()))
    payload = text.encode()
    return kind + len(payload).to_bytes(LENGTH_BYTES, "little") + payload


def keyed_generator(*parts: SupportsIndex | str) -> np.random.Generator:
    """A new generator of the given key, cheap enough (about 10 microseconds) to make one for each sample.

    Args:
        parts: the key, as for `derive_key`.
    """
    return np.random.Generator(np.random.Philox(key=derive_key(*parts)))


def seed_torch(*parts: SupportsIndex | str) -> None:
    """Sets torch's generators, those of all devices, to the given key.

    Args:
        parts: the key, as for `derive_key`.
    """
    # Imported here so that `--help` and `--plan`, which need no torch, do not wait for it.
    import torch

    torch.manual_seed(derive_key(*parts))


def seed_other_generators(*parts: SupportsIndex | str) -> None:
    """Sets Python's and NumPy's global generators to the given key: some models draw from them (MusicGen, BigBird).

    Args:
        parts: the key, as for `derive_key`.
    """
    key = derive_key(*parts)
    random.seed(key)
    np.random.seed(key % 2**32)  # all that it takes
