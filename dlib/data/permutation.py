"""A keyed shuffle of range(size) that is computed at any position, without a table.

It stands apart because the promise of an exact resume rests on it: the order of an epoch is a pure
function of a key, so that going on in the middle of a billion rows costs what going on at row 0 does.

The method is a balanced Feistel network (Luby and Rackoff, 1988, "How to construct pseudorandom
permutations from pseudorandom functions") on the smallest even power of two that holds the size, with
cycle walking (Black and Rogaway, 2002, "Ciphers with arbitrary finite domains", section 3) down to it.
"""

import numpy as np

MAX_SIZE = 2**62
# Two rows keep a trace of where they stood to each other that fades by about 2^-half_bits every other round.
# This many bits of rounds leave less of it than 2^20 epochs could show, in the smallest domain as in the largest.
MIXING_BITS = 48
MIN_ROUNDS = 8
# With one bit a half, the round functions are affine and mix slowly.
MIN_HALF_BITS = 2

GOLDEN_RATIO = np.uint64(0x9E3779B97F4A7C15)
UINT64_MASK = 2**64 - 1
SHIFTS = tuple(np.uint64(bits) for bits in (30, 27, 31))
FACTORS = tuple(np.uint64(factor) for factor in (0xBF58476D1CE4E5B9, 0x94D049BB133111EB))


def permute(positions: np.ndarray, size: int, key: int) -> np.ndarray:
    """Map positions of a shuffled range(size) to its elements.

    Over all positions this is a bijection of range(size). The time for a position depends neither on
    the position nor, beyond a logarithm, on the size.

    Args:
        positions: integers in range(size), of any shape.
        size: number of elements, 1 to 2^62.
        key: names the shuffle; its low 64 bits count.

    Returns:
        int64 array of the shape of `positions`.

    Raises:
        ValueError: a size or a position out of range, which is a fault of the caller.
    """
    positions = np.asarray(positions)
    if not 1 <= size <= MAX_SIZE:
        raise ValueError(f"size {size} is not in 1..2^62")
    if positions.size and not (positions.min() >= 0 and positions.max() < size):
        raise ValueError(f"positions {positions.min()}..{positions.max()} are not in range({size})")
    half_bits = max(MIN_HALF_BITS, ((size - 1).bit_length() + 1) // 2)
    keys = _round_keys(key, half_bits)
    values = _feistel(positions.astype(np.uint64).ravel(), half_bits, keys)
    outside = np.flatnonzero(values >= size)
    # The domain is less than four times the size (but for sizes under 4), so a walk ends after four steps on average.
    while outside.size:
        values[outside] = _feistel(values[outside], half_bits, keys)
        outside = outside[values[outside] >= size]
    return values.astype(np.int64).reshape(positions.shape)


def _round_keys(key: int, half_bits: int) -> np.ndarray:
    """One 64-bit key a round, (rounds,) uint64."""
    rounds = max(MIN_ROUNDS, MIXING_BITS // half_bits)
    # Mixed before and after, so that neighbouring keys, and keys a multiple of the ratio apart, share nothing.
    start = _mix(np.array([key & UINT64_MASK], dtype=np.uint64))
    return _mix(start + np.arange(1, rounds + 1, dtype=np.uint64) * GOLDEN_RATIO)


def _feistel(values: np.ndarray, half_bits: int, keys: np.ndarray) -> np.ndarray:
    """Encipher each value of 2 * half_bits bits, (N,) uint64."""
    shift = np.uint64(half_bits)
    top = np.uint64(64 - half_bits)
    left, right = values >> shift, values & np.uint64((1 << half_bits) - 1)
    for key in keys:
        left, right = right, left ^ (_mix(right + key) >> top)
    return (left << shift) | right


def _mix(values: np.ndarray) -> np.ndarray:
    """Finalizer of SplitMix64 (Steele, Lea and Flood, 2014, "Fast splittable pseudorandom number generators")."""
    values = (values ^ (values >> SHIFTS[0])) * FACTORS[0]
    values = (values ^ (values >> SHIFTS[1])) * FACTORS[1]
    return values ^ (values >> SHIFTS[2])
