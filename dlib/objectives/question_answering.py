"""Extractive question answering: which stretch of a context answers a question.

Devlin et al. 2019, "BERT", section 4.2: the mean of the cross-entropies of the answer's first and last token over a
row. Of a context that is longer than a row each window counts; in one without the answer, both are the row's first
token.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import PreTrainedModel

from dlib.data.samples import Columns, Sample
from dlib.data.token_store import TokenStore
from dlib.objectives.answer_spans import NOWHERE, Found, Span, answer_places, find_spans, score_answers, span_text
from dlib.objectives.answer_windows import QuestionRows, Windows
from dlib.objectives.objective import Batch, Evaluated, Objective, widened
from dlib.objectives.padding import pack_texts, unpack_texts
from dlib.objectives.pairs import PairFrame, stack_pairs
from dlib.process.errors import UserError

SETTINGS = "question_answering"
"""Where a model's configuration keeps how it is to be asked."""


class QuestionAnswering(Objective):
    """`question`, `context`, and `answers` as in SQuAD: {"text": [...], "answer_start": [...]}, empty for no answer."""

    columns = Columns(("question", "context"), ("context", "answers"), offsets=("context",))
    auto_model = "AutoModelForQuestionAnswering"
    best_by, best_is_highest = "f1", True
    answerer = "dlib.generation.answering_questions:QuestionAnswerer"
    card: ClassVar[Mapping[str, str]] = {"kind": "model that answers questions", "pipeline_tag": "question-answering"}
    may_lack = False
    """Whether there are questions without an answer in the training text."""

    def study(self, train: TokenStore, dev: TokenStore) -> None:
        """Find out whether there are questions without an answer."""
        answers = (train.field("answers", document) for document in range(train.num_documents))
        self.may_lack = any(isinstance(its, dict) and not its.get("text") for its in answers)

    def check(self, store: TokenStore, document: int) -> None:
        """Refuse answers that are not where they are said to be."""
        refuse_other_answers(store.field("answers", document), store.field("context", document))

    def recall(self, config: Any) -> None:
        """The same from a trained model; what came from elsewhere does not say it."""
        self.may_lack = bool(getattr(config, SETTINGS, {}).get("may_lack"))

    @property
    def config_changes(self) -> Mapping[str, Any]:
        """A logit for the start and one for the end, and how the model is to be asked."""
        stride, most = self.args.context_stride, self.args.max_answer_length
        settings = {"context_stride": stride, "max_answer_length": most, "may_lack": self.may_lack}
        return {"num_labels": 2, SETTINGS: settings}

    def rows(self, store: TokenStore, max_length: int) -> QuestionRows:
        """A row a window."""
        frame = PairFrame.of(self.tokenizer, self.roles)
        return QuestionRows(store, Windows(frame, max_length, self.args.context_stride))

    def collate(self, samples: Sequence[Sample]) -> Batch:
        """`starts` and `ends` (B,) are tokens of the row; in an evaluation, `notes` (B, N) say what each row is."""
        places = [answer_places(sample.fields["answers"], sample.offsets["context"]) for sample in samples]
        parts = [(sample.sequences[0], sample.sequences[1]) for sample in samples]
        targets = [
            NOWHERE if place is None else (len(head) + place[0], len(head) + place[1])
            for (head, _), place in zip(parts, places, strict=True)
        ]
        starts, ends = torch.tensor(targets).unbind(-1)
        batch = {**stack_pairs(parts, self.roles.pad_id), "starts": starts, "ends": ends}
        if samples[0].key[:1] != ("evaluation",):
            return batch
        return {**batch, "notes": pack_texts([json.dumps(note_of(sample)) for sample in samples])}

    def loss_sum(self, model: PreTrainedModel, batch: Batch) -> Tensor:
        """Sum over rows of the mean of two cross-entropies."""
        return sum_losses(*span_logits(model, batch), batch)

    def row_losses(self, model: PreTrainedModel, batch: Batch) -> Tensor:
        """The mean of two cross-entropies of each row, (B,)."""
        pairs = zip(span_logits(model, batch), (batch["starts"], batch["ends"]), strict=True)
        return torch.stack([F.cross_entropy(*pair, reduction="none") for pair in pairs]).mean(0)

    def evaluate(self, model: PreTrainedModel, batch: Batch) -> Evaluated:
        """The loss, and the likeliest answer of each window."""
        starts, ends = span_logits(model, batch)
        notes = [json.loads(text) for text in unpack_texts(batch["notes"])]
        bounds = [(note["first"], note["first"] + len(note["offsets"])) for note in notes]
        spans = find_spans(starts, ends, bounds, self.args.max_answer_length)
        items = [found_in(note, span) for note, span in zip(notes, spans, strict=True)]
        return Evaluated({"loss": float(sum_losses(starts, ends, batch))}, items)

    def metrics(self, evaluated: Evaluated, tokens_per_byte: float) -> dict[str, float]:
        """The mean loss of a window; exact match and F1 of a question."""
        may_lack = self.may_lack or not all(found.answers for found in evaluated.items)
        return {
            **super().metrics(evaluated, tokens_per_byte),
            **score_answers(evaluated.items, may_lack=may_lack),
        }


def refuse_other_answers(answers: Any, context: str) -> None:
    """Refuse what is no answers, or not in the context; raises `UserError`."""
    try:
        pairs = zip(answers["text"], answers["answer_start"], strict=True)
        wrong = next((text for text, start in pairs if not stands_at(text, start, context)), None)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError('key "answers": write {"text": ["..."], "answer_start": [0]}, lists of one length') from error
    if wrong is not None:
        raise UserError(f'key "answers": "{wrong[:50]}" does not stand at that character of the context')


def stands_at(text: str, start: int, context: str) -> bool:
    """Whether a text with a letter stands at a character of the context."""
    return bool(text.strip()) and start >= 0 and context[start : start + len(text)] == text


def note_of(sample: Sample) -> dict[str, Any]:
    """What an evaluation has to know of a row, beside its tokens."""
    offsets = sample.offsets["context"]
    start, stop = (int(offsets[0, 0]), int(offsets[-1, 1])) if len(offsets) else (0, 0)
    return {
        "document": sample.fields["document"],
        "first": len(sample.sequences[0]),
        "text": sample.fields["context"][start:stop],
        "offsets": (offsets - start).tolist(),
        "answers": sample.fields["answers"]["text"],
    }


def found_in(note: Mapping[str, Any], span: Span) -> Found:
    """What is gathered of a row; a context without tokens has no answer."""
    text = span_text(note["text"], note["offsets"], span) if note["offsets"] else ""
    return Found(note["document"], text, span.score, span.null_score, note["answers"])


def span_logits(model: PreTrainedModel, batch: Batch) -> tuple[Tensor, Tensor]:
    """Logits (B, T) that an answer starts, and that it ends at each token, in float32 at least; -inf at padding."""
    names = ["input_ids", "attention_mask"]
    if (getattr(model.config, "type_vocab_size", None) or 0) > 1:
        names.append("token_type_ids")
    output = model(**{name: batch[name] for name in names if name in batch})
    is_padding = batch.get("attention_mask", torch.ones_like(batch["input_ids"])) == 0
    starts, ends = widened(output.start_logits), widened(output.end_logits)
    return starts.masked_fill(is_padding, -torch.inf), ends.masked_fill(is_padding, -torch.inf)


def sum_losses(starts: Tensor, ends: Tensor, batch: Batch) -> Tensor:
    """Half of the cross-entropies of starts and ends, summed over rows."""
    losses = [F.cross_entropy(*pair, reduction="sum") for pair in ((starts, batch["starts"]), (ends, batch["ends"]))]
    return (losses[0] + losses[1]) / 2
