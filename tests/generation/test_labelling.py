"""Lines, words and choices are labelled: as many labels as words, pairs by a tab or as JSON, scores when asked."""

from typing import Any

import pytest
import torch
import transformers
from transformers import PreTrainedTokenizerFast

from dlib.args.generation import GenerationArgs
from dlib.generation.choosing import Chooser
from dlib.generation.labelling import Classifier
from dlib.generation.word_labelling import NO_NAME, WordLabeller
from tests.asking import SPREAD, special_ids
from tests.toys import SIZES, train_wordpiece

CONTEXT = 16


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return train_wordpiece()


def answerer(kind: Any, auto_model: str, tokenizer: PreTrainedTokenizerFast, scores: bool = False) -> Any:
    """A model drawn anew, with labels "a" and "b"."""
    names = {0: "a", 1: "b"}
    config = transformers.BertConfig(**SIZES, **special_ids(tokenizer), max_position_embeddings=32, id2label=names)
    torch.manual_seed(1)
    model = getattr(transformers, auto_model).from_config(config).eval()
    for weight in model.parameters():
        weight.data *= SPREAD if weight.dim() > 1 else 1
    return kind(model, tokenizer, CONTEXT, GenerationArgs(batch_size=3, scores=scores))


def test_a_line_of_any_length_has_a_label_a_word(tokenizer: PreTrainedTokenizerFast) -> None:
    labeller = answerer(WordLabeller, "AutoModelForTokenClassification", tokenizer)
    lines = ["The quick brown fox", "", " ".join(["dog", "tokenizer"] * 30), "fox \u200b fox"]
    answers = labeller.answer(lines, 1)
    assert [len(answer.text.split()) for answer in answers] == [4, 0, 60, 3]
    assert {label for answer in answers[:3] for label in answer.text.split()} <= {"a", "b"}
    assert answers[3].words[1].label == NO_NAME
    again = labeller.answer(lines[2:3], 1)
    assert again[0].text == answers[2].text


def test_scores_stand_beside_labels_when_asked(tokenizer: PreTrainedTokenizerFast) -> None:
    [words] = answerer(WordLabeller, "AutoModelForTokenClassification", tokenizer, scores=True).answer(["fox dog"], 1)
    assert words.text == " ".join(f"{word.label}:{word.probability:.4f}" for word in words.words)
    [line] = answerer(Classifier, "AutoModelForSequenceClassification", tokenizer, scores=True).answer(["fox"], 1)
    assert line.text == f"{line.labels[0]}\t{line.probabilities[line.labels[0]]:.4f}"
    assert sum(line.probabilities.values()) == pytest.approx(1)


def test_a_pair_is_told_by_a_tab_or_as_json(tokenizer: PreTrainedTokenizerFast) -> None:
    classifier = answerer(Classifier, "AutoModelForSequenceClassification", tokenizer)
    lines = ["the fox\tthe dog", '{"text": "the fox", "text_pair": "the dog"}', "the fox the dog", "{broken"]
    tab, record, alone, _ = (answer.probabilities for answer in classifier.answer(lines, 1))
    assert tab == record
    assert tab != alone


def test_lines_of_which_the_model_reads_the_beginning_are_counted(tokenizer: PreTrainedTokenizerFast) -> None:
    for kind, auto_model, fits in (
        (Classifier, "AutoModelForSequenceClassification", ["a " * 14, "a " * 6 + "\t" + "a " * 7, ""]),
        (Chooser, "AutoModelForMultipleChoice", ["a " * 6 + "\ta\t" + "a " * 7, "a"]),
    ):
        asked = answerer(kind, auto_model, tokenizer)
        asked.answer(fits, 1)
        assert asked.num_cut == 0
        asked.answer([f"a {line}" for line in fits], 1)
        assert asked.num_cut == len(fits) - 1


def test_choices_are_told_by_tabs_or_as_json(tokenizer: PreTrainedTokenizerFast) -> None:
    chooser = answerer(Chooser, "AutoModelForMultipleChoice", tokenizer)
    lines = ["Who?\tfox\tthe lazy dog", '{"question": "Who?", "choices": ["fox", "the lazy dog"]}', "Who?\tfox", ""]
    tab, record, one, none = chooser.answer(lines, 1)
    assert tab.probabilities == pytest.approx(record.probabilities)
    assert tab.text == ["fox", "the lazy dog"][tab.label]
    assert (one.text, one.probabilities) == ("fox", [1.0])
    assert none.text == ""
