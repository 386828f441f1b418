"""Spans that are left out: how many, where, and that nothing is lost."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerBase

from dlib.args import ObjectiveArgs
from dlib.data.samples import Sample
from dlib.data.token_roles import token_roles
from dlib.models.tokenization import add_tokens, train_tokenizer
from dlib.models.tokenizer_types import TokenizerKind
from dlib.objectives.span_corruption import SENTINELS, SpanCorruption
from dlib.process.errors import UserError
from tests.objectives.test_seq2seq import build_shape, loss_and_gradients
from tests.toys import SENTENCES

pytestmark = pytest.mark.oldest

KEY = (1, 0, 7)
FIRST_ORDINARY = 5


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> PreTrainedTokenizerBase:
    """One trained on the spot."""
    return train_with_sentinels(tmp_path_factory.mktemp("text"))


def train_with_sentinels(folder: Path) -> PreTrainedTokenizerBase:
    """A tokenizer that is given what the objective asks for."""
    text = folder / "text.txt"
    text.write_text("".join(f"{line}\n" for line in SENTENCES))
    trained = train_tokenizer(text, 300, "strict", kind=TokenizerKind(leads=False), open_ended=False)
    add_tokens(trained, SpanCorruption.special_tokens)
    return trained


@pytest.fixture(scope="module")
def objective(tokenizer: PreTrainedTokenizerBase) -> SpanCorruption:
    """With T5's numbers."""
    return SpanCorruption(ObjectiveArgs(objective="span_corruption"), token_roles(tokenizer), tokenizer)


def row(length: int) -> np.ndarray:
    """A packed row: the lead token, ordinary ones, and a separator in the middle."""
    ordinary = np.random.default_rng(length).integers(FIRST_ORDINARY, 280, length)
    return np.concatenate([[0], ordinary[: length // 2], [2], ordinary[length // 2 :]])


@pytest.mark.parametrize(
    ("length", "left_out", "spans"), [(512, 77, 26), (100, 15, 5), (10, 2, 1), (2, 1, 1), (1, 0, 0)]
)
def test_numbers_are_those_of_t5(objective: SpanCorruption, length: int, left_out: int, spans: int) -> None:
    assert objective.count(length) == (left_out, spans)


@settings(deadline=None, max_examples=100)
@given(length=st.integers(0, 300), number=st.integers(0, 2**40), density=st.floats(0.01, 0.99))
def test_the_text_is_in_source_and_target_with_as_many_targets_as_were_foretold(
    objective: SpanCorruption, length: int, number: int, density: float
) -> None:
    args: Any = {"objective": "span_corruption", "noise_density": density}
    other = SpanCorruption(ObjectiveArgs(**args), objective.roles, objective.tokenizer)
    sample = Sample((row(length),), key=(1, 0, number))
    source, target = other.corrupt(other.text(sample), np.random.default_rng(number))
    assert len(target) == other.weight(sample)
    assert source[-1] == target[-1] == objective.roles.separator_id
    parts = np.split(target[:-1], np.flatnonzero(np.isin(target[:-1], other.sentinel_ids)))[1:]
    spans = {part[0]: part[1:] for part in parts}
    assert [*spans] == other.sentinel_ids[: len(spans)].tolist()
    assert all(len(span) for span in spans.values())
    restored = [spans.get(token, [token]) for token in source[:-1]]
    assert np.concatenate([*restored, []]).tolist() == other.text(sample).tolist()
    assert not np.isin(other.text(sample), [0, 2]).any()


def test_spans_depend_on_the_key_alone_and_on_all_of_it(objective: SpanCorruption) -> None:
    def source(*key: int) -> list[int]:
        return objective.collate([Sample((row(100),), key=key)])["input_ids"].tolist()

    assert source(*KEY) == source(*KEY)
    assert len({str(source(*key)) for key in ((1, 0, 7), (2, 0, 7), (1, 1, 7), (1, 0, 8))}) == 4


@pytest.mark.parametrize("name", ["t5", "bart"])
def test_the_loss_of_a_batch_is_that_of_the_plain_model_with_its_own_loss(objective: SpanCorruption, name: str) -> None:
    model = build_shape(name, objective.roles.vocab_size)
    samples = [Sample((row(length),), number=length, key=(1, 0, length)) for length in (30, 50, 7)]
    batch = objective.collate(samples)
    own, _ = loss_and_gradients(model, objective.loss_sum(model, batch) / sum(map(objective.weight, samples)))
    theirs, _ = loss_and_gradients(model, model(**batch).loss)
    assert own == pytest.approx(theirs, abs=1e-5)


def test_rows_with_more_spans_than_there_are_sentinels_are_refused(objective: SpanCorruption) -> None:
    store: Any = None
    assert objective.rows(store, 2000) is None
    with pytest.raises(UserError, match="--max_length 4096: its rows would have more spans than the 100"):
        objective.rows(store, 4096)


def test_a_tokenizer_that_has_the_sentinels_stays_as_it_is(tokenizer: PreTrainedTokenizerBase, tmp_path: Path) -> None:
    before = len(tokenizer)
    add_tokens(tokenizer, SENTINELS)
    assert len(tokenizer) == before
    assert tokenizer.decode(tokenizer.convert_tokens_to_ids([*SENTINELS[:2]]), skip_special_tokens=True) == ""
