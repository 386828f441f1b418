"""Masks: their exact number, their shares, what is never hidden, and what they depend on."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerBase

from dlib.args import ObjectiveArgs
from dlib.data.samples import Sample
from dlib.data.token_roles import token_roles
from dlib.models.tokenization import train_tokenizer
from dlib.objectives.mlm import MaskedLanguageModeling, choose_words
from dlib.process.errors import UserError
from tests.toys import (
    LEAD,
    MASK,
    SENTENCES,
    SEPARATOR,
    VOCAB_SIZE,
    toy_roles,
    toy_row,
    train_metaspace,
    train_wordpiece,
)

KEY = (1, 0, 7)


def objective(**args: object) -> MaskedLanguageModeling:
    return MaskedLanguageModeling(ObjectiveArgs(**args), toy_roles())  # type: ignore[arg-type]


@settings(deadline=None, max_examples=150)
@given(
    row=st.lists(st.integers(0, VOCAB_SIZE - 1), min_size=1, max_size=80),
    fraction=st.floats(0.001, 1.0),
    whole_words=st.booleans(),
    sample=st.integers(0, 2**40),
)
def test_number_is_exact_and_no_special_token_is_touched_in_any_row(
    row: list[int], fraction: float, whole_words: bool, sample: int
) -> None:
    tokens = np.array(row)
    mlm = objective(mask_fraction=fraction, whole_word_masking=whole_words)
    hidden, positions, targets = mlm.prepare(Sample((tokens,), key=(1, 0, sample)))
    ordinary = int((tokens >= 5).sum())
    assert len(positions) == mlm.count_targets(tokens) == min(ordinary, max(1, round(fraction * len(row))))
    assert len(set(positions.tolist())) == len(positions)
    assert np.array_equal(targets, tokens[positions])
    assert (targets >= 5).all()
    untouched = np.delete(np.arange(len(row)), positions)
    assert np.array_equal(hidden[untouched], tokens[untouched])
    assert np.array_equal(tokens, row), "the row itself must not change"


def test_eighty_ten_ten() -> None:
    mlm = objective(mask_fraction=0.5)
    masked = random = kept = 0
    for sample in range(400):
        hidden, positions, targets = mlm.prepare(Sample((toy_row(101, sample),), key=(1, 0, sample)))
        masked += int((hidden[positions] == MASK).sum())
        kept += int((hidden[positions] == targets).sum())
        random += int(((hidden[positions] != MASK) & (hidden[positions] != targets)).sum())
        assert not set(hidden[positions].tolist()) & {0, 1, 2, 3}, "random tokens are ordinary ones"
    total = 400 * 50
    same_by_chance = 0.1 / (VOCAB_SIZE - 5)
    for count, share in ((masked, 0.8), (random, 0.1 - same_by_chance), (kept, 0.1 + same_by_chance)):
        assert abs(count - share * total) < 4 * np.sqrt(total * share * (1 - share))


def test_each_position_is_as_likely_as_any_other() -> None:
    mlm, row = objective(mask_fraction=0.2), toy_row(41)
    counts = np.zeros(41)
    for sample in range(2000):
        counts[mlm.prepare(Sample((row,), key=(1, 0, sample)))[1]] += 1
    assert counts[0] == 0
    assert np.abs(counts[1:] - 400).max() < 4.5 * np.sqrt(2000 * 0.2 * 0.8)


def test_separator_in_the_middle_of_a_packed_row_is_never_hidden() -> None:
    row = toy_row(30)
    row[[7, 8, 20]] = SEPARATOR
    for sample in range(200):
        hidden, positions, _ = objective(mask_fraction=0.9).prepare(Sample((row,), key=(1, 0, sample)))
        assert not {0, 7, 8, 20} & set(positions.tolist())
        assert (hidden[[7, 8, 20]] == SEPARATOR).all()


@pytest.mark.parametrize("row", [[LEAD], [LEAD, SEPARATOR], [LEAD, SEPARATOR, SEPARATOR]])
@pytest.mark.parametrize("whole_words", [False, True])
def test_row_without_ordinary_tokens_has_no_targets(row: list[int], whole_words: bool) -> None:
    hidden, positions, targets = objective(whole_word_masking=whole_words).prepare(Sample((np.array(row),), key=KEY))
    assert hidden.tolist() == row
    assert len(positions) == len(targets) == 0
    assert positions.dtype.kind == "i"


def test_row_of_one_ordinary_token_has_one_target() -> None:
    _, positions, targets = objective().prepare(Sample((np.array([LEAD, 9, SEPARATOR]),), key=KEY))
    assert (positions.tolist(), targets.tolist()) == ([1], [9])


def test_mask_depends_on_the_key_alone_and_not_on_the_batch_or_the_order() -> None:
    mlm = objective()
    rows = [toy_row(length) for length in (20, 5, 31, 12)]
    keys = [(1, 0, sample) for sample in range(4)]
    samples = [Sample((row,), key=key) for row, key in zip(rows, keys, strict=True)]
    alone = [mlm.collate([sample])["input_ids"][0] for sample in samples]
    for order in ([0, 1, 2, 3], [3, 1], [2, 0, 3]):
        together = mlm.collate([samples[i] for i in order])["input_ids"]
        for place, sample in enumerate(order):
            assert together[place, : len(rows[sample])].equal(alone[sample])
    changed = [
        mlm.prepare(Sample((rows[2],), key=key))[1].tolist() for key in ((1, 0, 2), (2, 0, 2), (1, 1, 2), (1, 0, 3))
    ]
    assert len({tuple(positions) for positions in changed}) == 4


def test_tokenizer_without_a_mask_token_is_refused() -> None:
    with pytest.raises(UserError, match=r"--objective mlm needs a mask token .* --objective clm"):
        MaskedLanguageModeling(ObjectiveArgs(), toy_roles(mask_id=None))


def words_of(row: np.ndarray, tokenizer: PreTrainedTokenizerBase) -> list[list[int]]:
    """Positions of each word, by the marks of the tokens themselves, and not by the code under test."""
    words: list[list[int]] = []
    special = set(tokenizer.all_special_ids)
    open_word = False
    wordpiece = "##s" in tokenizer.get_vocab()
    for position, token in enumerate(tokenizer.convert_ids_to_tokens(row.tolist())):
        if int(row[position]) in special:
            open_word = False
            continue
        starts = not token.startswith("##") if wordpiece else token[0] in "Ġ▁"
        if starts or not open_word:
            words.append([])
        words[-1].append(position)
        open_word = True
    return words


@pytest.fixture(scope="module", params=["byte_level_bpe", "wordpiece", "metaspace"])
def tokenizer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> PreTrainedTokenizerBase:
    if request.param == "wordpiece":
        return train_wordpiece()
    if request.param == "metaspace":
        return train_metaspace()
    text: Path = tmp_path_factory.mktemp("text") / "train.txt"
    text.write_text("\n".join(SENTENCES), encoding="utf-8")
    return train_tokenizer(text, 320, "strict", open_ended=False)


def test_whole_words_are_hidden_but_for_one_that_is_cut(tokenizer: PreTrainedTokenizerBase) -> None:
    roles = token_roles(tokenizer)
    mlm = MaskedLanguageModeling(ObjectiveArgs(mask_fraction=0.3, whole_word_masking=True), roles)
    ids = [roles.lead_id]
    for sentence in SENTENCES:
        ids += [*tokenizer(sentence, add_special_tokens=False)["input_ids"], roles.separator_id]
    row = np.array(ids)
    words = words_of(row, tokenizer)
    assert 20 < len(words) < len(row) - len(SENTENCES) - 10, "the toy has words of several tokens"
    for sample in range(50):
        _, positions, _ = mlm.prepare(Sample((row,), key=(1, 0, sample)))
        assert len(positions) == round(0.3 * len(row))
        hidden = set(positions.tolist())
        cut = [word for word in words if 0 < len(hidden & set(word)) < len(word)]
        assert len(cut) <= 1


def test_pseudo_perplexity_of_a_subclass_is_refused_where_it_would_be_that_of_mlm() -> None:
    class HidesOthers(MaskedLanguageModeling):
        def count_targets(self, row: np.ndarray) -> int:
            return 1

    class Smoothed(HidesOthers):
        def predictions(self, model: Any, batch: Any) -> Any:
            raise NotImplementedError

    options, store = {"pseudo_perplexity": True, "max_documents": None}, SimpleNamespace(num_documents=3)
    measured = [
        kind(ObjectiveArgs(), toy_roles()).further_evaluations(store, 16, options)  # type: ignore[arg-type]
        for kind in (MaskedLanguageModeling, HidesOthers)
    ]
    assert [[further.prefix for further in its] for its in measured] == [["pseudo_"], ["pseudo_"]]
    smoothed = Smoothed(ObjectiveArgs(), toy_roles())
    with pytest.raises(UserError, match="--pseudo_perplexity: mlm has its own predictions, and this would be measured"):
        smoothed.further_evaluations(store, 16, options)  # type: ignore[arg-type]
    assert smoothed.further_evaluations(store, 16, {"pseudo_perplexity": False}) == ()  # type: ignore[arg-type]


def test_first_word_that_does_not_fit_is_cut_to_keep_the_number() -> None:
    starts = np.array([True, False, False, True, False, False])
    for seed in range(20):
        chosen = choose_words(np.arange(6), 4, starts, np.random.default_rng(seed))
        assert chosen.tolist() in ([0, 1, 2, 3], [0, 3, 4, 5])
