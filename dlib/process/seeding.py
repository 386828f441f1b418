"""Counter-based randomness: every random draw comes from a generator that is made from a key.

A key is a tuple of words and integers that says what is drawn, for example `("mask", seed, epoch, sample_id)`. The same
key gives the same numbers in every process and at every time, so no state is kept, saved or handed on. One generator
that is moved forward would make a run depend on the number of workers, on validation, and on where it was stopped.

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

    `1` and `"1"` differ, and so do `("a", "bc")` and `("ab", "c")`.
    """
    encoded = b"".join(map(encode_part, parts))
    return int.from_bytes(hashlib.blake2b(encoded, digest_size=KEY_BYTES).digest(), "little")


def encode_part(part: SupportsIndex | str) -> bytes:
    """Kind, length and text of a part: no two tuples of parts have the same encoding."""
    kind, text = (b"s", part) if isinstance(part, str) else (b"i", str(part.__index__()))
    payload = text.encode()
    return kind + len(payload).to_bytes(LENGTH_BYTES, "little") + payload


def keyed_generator(*parts: SupportsIndex | str) -> np.random.Generator:
    """A new generator of the given key (see `derive_key`), cheap enough (about 10 microseconds) for each sample."""
    return np.random.Generator(np.random.Philox(key=derive_key(*parts)))


def seed_torch(*parts: SupportsIndex | str, begun_only: bool = False) -> None:
    """Sets torch's generators, those of all devices, to the given key (see `derive_key`).

    Args:
        parts: of the key.
        begun_only: leave out GPUs while CUDA has not begun. For each kind of device that has not, torch keeps a trace
            of who called: deep within a trainer that takes most of a millisecond, too much for each micro-batch.
    """
    # Imported here so that `--help` and `--plan`, which need no torch, do not wait for it.
    import torch

    key = derive_key(*parts)
    if not begun_only or torch.backends.mps.is_available():
        torch.manual_seed(key)
        return
    torch.default_generator.manual_seed(key)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(key)


def seed_other_generators(*parts: SupportsIndex | str) -> None:
    """Sets the global generators of Python and NumPy, which some models (MusicGen, BigBird) use, to the given key."""
    key = derive_key(*parts)
    random.seed(key)
    np.random.seed(key % 2**32)  # all that it takes
