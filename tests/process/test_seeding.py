"""Keys are unambiguous and stable, and generators depend on nothing but their key."""

import random
import subprocess
import sys
import timeit

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlib.process.seeding import derive_key, keyed_generator, seed_other_generators, seed_torch

PARTS = st.lists(st.one_of(st.integers(), st.text()), max_size=4).map(tuple)


def test_key_is_the_same_in_every_version_of_this_project() -> None:
    assert derive_key("mask", 1, 0, 12345) == 0x7E0BDEA87E716DD0
    assert derive_key() == 0xB4B2797457A0A6E4


def test_key_does_not_depend_on_the_process() -> None:
    command = "from dlib.process.seeding import derive_key; print(derive_key('order', 3, -1))"
    output = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True).stdout
    assert int(output) == derive_key("order", 3, -1)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (("a", "bc"), ("ab", "c")),
        ((1,), ("1",)),
        ((1, 23), (12, 3)),
        ((1, 2), (2, 1)),
        (("a",), ("a", "")),
        ((0,), ()),
        ((1,), (-1,)),
    ],
)
def test_different_parts_have_different_keys(a: tuple[int | str, ...], b: tuple[int | str, ...]) -> None:
    assert derive_key(*a) != derive_key(*b)


@given(PARTS, PARTS)
def test_equal_keys_come_from_equal_parts_only(a: tuple[int | str, ...], b: tuple[int | str, ...]) -> None:
    assert (derive_key(*a) == derive_key(*b)) == (a == b)
    assert 0 <= derive_key(*a) < 2**64


def test_numpy_integers_are_integers() -> None:
    assert derive_key("order", np.int64(7), np.uint16(3)) == derive_key("order", 7, 3)


def test_a_part_that_is_neither_word_nor_integer_is_refused() -> None:
    with pytest.raises(AttributeError):
        derive_key(1.0)  # type: ignore[arg-type]


def test_generator_repeats_its_numbers_whatever_was_drawn_before() -> None:
    first = keyed_generator("mask", 1, 2).random(5)
    keyed_generator("mask", 1, 3).random(1000)
    np.testing.assert_array_equal(keyed_generator("mask", 1, 2).random(5), first)


def test_neighbouring_keys_give_unrelated_numbers() -> None:
    draws = np.array([keyed_generator("mask", sample).random(200) for sample in range(200)])
    correlations = np.corrcoef(draws)[np.triu_indices(200, k=1)]
    assert abs(draws.mean() - 0.5) < 0.01
    assert np.abs(correlations).max() < 0.4


def test_generator_is_cheap_enough_for_one_a_sample() -> None:
    fastest = min(timeit.repeat(lambda: keyed_generator("mask", 1, 2, 3), number=1000, repeat=5)) / 1000
    assert fastest < 100e-6


def test_torch_repeats_its_numbers_for_the_same_key() -> None:
    torch = pytest.importorskip("torch")
    seed_torch("dropout", 1, 2)
    first = torch.rand(4)
    seed_torch("dropout", 1, 3)
    other = torch.rand(4)
    seed_torch("dropout", 1, 2)
    assert torch.equal(torch.rand(4), first)
    assert not torch.equal(first, other)


def test_torch_has_the_same_generator_whether_or_not_devices_that_have_not_begun_are_left_out() -> None:
    torch = pytest.importorskip("torch")
    seed_torch("dropout", 1, 2)
    all_devices = torch.get_rng_state()
    torch.rand(4)
    seed_torch("dropout", 1, 2, begun_only=True)
    assert torch.equal(torch.get_rng_state(), all_devices)


def test_generators_of_python_and_numpy_repeat_their_numbers_for_the_same_key() -> None:
    drawn = []
    for micro_batch in (2, 3, 2):
        seed_other_generators("dropout", 1, micro_batch)
        drawn.append((random.random(), float(np.random.random())))
    assert drawn[0] == drawn[2]
    assert not {*drawn[0]} & {*drawn[1]}
