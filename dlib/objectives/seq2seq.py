"""Sequence to sequence: translate, correct or summarize, each token from the source and the tokens before it.

Sutskever et al. 2014, "Sequence to Sequence Learning with Neural Networks", equation 1.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from dlib.args import ObjectiveArgs
from dlib.data.packing import LineRows, RowSource
from dlib.data.samples import Columns, Sample
from dlib.data.token_roles import Frame, TokenRoles, find_frame
from dlib.data.token_store import TokenStore
from dlib.models.limits import max_positions
from dlib.objectives.encoder_decoder import EncoderDecoder
from dlib.objectives.objective import Batch, Evaluated
from dlib.objectives.padding import model_inputs, pack_texts, unpack_texts
from dlib.objectives.text_metrics import DECIDING, describe_scores, refuse_missing_sacrebleu, score_texts
from dlib.runs.metrics_log import BestMetric


@dataclass(frozen=True)
class Written:
    """What a model wrote for a row, and the texts of the row as they stand in the data."""

    source: str
    reference: str
    hypothesis: str


class SequenceToSequence(EncoderDecoder):
    """`source` and `target`, framed as the tokenizer frames a text; loss and accuracy are of the target's tokens."""

    answerer = "dlib.generation.writing:Writer"

    def __init__(
        self, args: ObjectiveArgs, roles: TokenRoles, tokenizer: PreTrainedTokenizerBase | None = None
    ) -> None:
        """Find what stands around a text.

        Raises:
            UserError: BLEU or chrF is asked for, and sacrebleu is not installed.
        """
        super().__init__(args, roles, tokenizer)
        self.smoothing = self.args.label_smoothing_factor
        self.frame = frame_of(tokenizer, roles) if tokenizer is not None else Frame([], [roles.separator_id])
        if self.args.eval_generate_samples:
            refuse_missing_sacrebleu(self.args.eval_metrics)

    @classmethod
    def columns_of(cls, args: ObjectiveArgs) -> Columns:
        """Both texts; also as they stand in the data where an evaluation compares what it writes."""
        names = ("source", "target")
        return Columns(names, names if args.eval_generate_samples else ())

    @property
    def best(self) -> BestMetric:
        """The first metric of what is written where anything is, else the loss."""
        metrics = self.args.eval_metrics if self.args.eval_generate_samples else []
        return BestMetric(f"dev/{DECIDING[metrics[0]]}", highest=True) if metrics else super().best

    @property
    def signatures(self) -> Mapping[str, str]:
        """Those of sacrebleu."""
        return describe_scores(self.args.eval_metrics) if self.args.eval_generate_samples else {}

    def rows(self, store: TokenStore, max_length: int) -> RowSource:
        """A row a pair. A target that is cut does not end there; see `collate` for such a source."""
        return LineRows(store, max_length, *self.frame, close_truncated=False)

    def weight(self, sample: Sample) -> int:
        """The target's tokens, the one that ends it among them."""
        return len(sample.sequences[1])

    def collate(self, samples: Sequence[Sample]) -> Batch:
        """Pad the pairs; an evaluation that generates has their texts too."""
        batch = self.stack([self.close(sample.ids) for sample in samples], [sample.sequences[1] for sample in samples])
        places = [place for place, sample in enumerate(samples) if self.generates(sample)]
        if not places:
            return batch
        texts = {name: pack_texts([samples[place].fields[name] for place in places]) for name in ("source", "target")}
        return {**batch, "places": torch.tensor(places), **texts}

    def close(self, source: np.ndarray) -> np.ndarray:
        """A source (S,) with its end, also where it was cut, because an encoder is used to one."""
        end = self.frame.end
        return source if source[len(source) - len(end) :].tolist() == end else np.append(source[: -len(end)], end)

    def generates(self, sample: Sample) -> bool:
        """Whether an evaluation generates for a row."""
        most = self.args.eval_generate_samples
        return sample.key[:1] == ("evaluation",) and (most < 0 or sample.number < most)

    def evaluate(self, model: PreTrainedModel, batch: Batch) -> Evaluated:
        """The sums of the loss without smoothing, and what is written for a row; None where nothing is."""
        sums = super().evaluate(model, batch).sums
        if not self.args.eval_generate_samples:
            return Evaluated(sums)
        items: list[Written | None] = [None] * len(batch["input_ids"])
        if "places" in batch:
            inputs = {name: tensor[batch["places"]] for name, tensor in model_inputs(batch).items()}
            tokens = generate_tokens(model, inputs, self.args.max_new_tokens, self.args.num_beams)
            texts = self.tokenizer.batch_decode(tokens, skip_special_tokens=True)
            pairs = zip(unpack_texts(batch["source"]), unpack_texts(batch["target"]), texts, strict=True)
            for place, pair in zip(batch["places"].tolist(), pairs, strict=True):
                items[place] = Written(*pair)
        return Evaluated(sums, items)

    def metrics(self, evaluated: Evaluated, tokens_per_byte: float) -> dict[str, float]:
        """Loss and accuracy, the share of targets that are right as a whole, and what compares the generated texts.

        A target is right whose every token is the likeliest after those before it: then it is what a search without
        beams writes.
        """
        sums, written = evaluated.sums, [item for item in evaluated.items if item is not None]
        found = super().metrics(evaluated, tokens_per_byte)
        found["sequence_accuracy"] = sums["correct_sequences"] / max(sums["sequences"], 1.0)
        texts = [(item.hypothesis, item.reference) for item in written]
        return found | (score_texts(self.args.eval_metrics, *zip(*texts, strict=True)) if texts else {})

    def outputs(self, evaluated: Evaluated) -> Sequence[Mapping[str, Any]]:
        """Source, reference and hypothesis of each row that was generated."""
        return [vars(item) for item in evaluated.items if item is not None]


def frame_of(tokenizer: PreTrainedTokenizerBase, roles: TokenRoles) -> Frame:
    """What the tokenizer puts around a text; at its end there is always something, so that a decoder can stop."""
    start, end = find_frame(tokenizer)
    return Frame(start, end or [roles.separator_id])


def generate_tokens(model: Any, inputs: Mapping[str, Tensor], max_new_tokens: int, num_beams: int) -> Tensor:
    """The likeliest texts for sources, found token by token; nothing is drawn.

    Args:
        model: in evaluation mode.
        inputs: `input_ids` (B, S), and `attention_mask` (B, S) where a row is padded.
        max_new_tokens: tokens of a text at most, or all that the model has positions for.
        num_beams: so many are kept at each token.

    Returns:
        Tokens (B, 1 + T), the one that the decoder starts with before them, and padding where a text has ended.
    """
    length = min(max_new_tokens, (max_positions(model) or max_new_tokens + 1) - 1)
    options = {"max_new_tokens": length, "num_beams": num_beams, "do_sample": False}
    # Processes have unequal numbers of batches, and with FSDP all weights while they evaluate: none waits for another.
    tokens: Tensor = model.generate(**inputs, **options, synced_gpus=False)
    return tokens
