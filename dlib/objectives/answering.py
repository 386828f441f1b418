"""Lines answered a row each, read as training reads a document a row (`--line_by_line`).

Letters: B rows, T tokens a row.
"""

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from dlib.args.generation import GenerationArgs
from dlib.data.packing import framed
from dlib.data.samples import Sample
from dlib.data.token_roles import Frame, token_roles
from dlib.data.unknown_words import encode
from dlib.objectives.padding import stack_rows


class RowAnswerer(ABC):
    """Answers each line by itself: a subclass says what it makes of a batch (`Answerer` of generate.py).

    Attributes:
        model: in evaluation mode.
        tokenizer: its own.
        frame: what stands before and after a line.
        num_cut: lines so far that were too long, so that the model read their beginning alone.
    """

    options: ClassVar[Collection[str]] = ()
    """Which options of an answer it takes, such as `top_k` and `scores`."""

    def __init__(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, context: int, args: GenerationArgs
    ) -> None:
        """Take a model on its device, its tokenizer, and how many tokens it reads at once."""
        self.model: Any = model
        self.tokenizer, self.context, self.args = tokenizer, context, args
        self.roles = token_roles(tokenizer)
        self.frame = Frame([self.roles.lead_id], [self.roles.separator_id])
        self.num_cut = 0

    @abstractmethod
    def answer_batch(self, lines: Sequence[str], inputs: Mapping[str, Tensor]) -> Sequence[Any]:
        """Answer some lines.

        Args:
            lines: as they were given.
            inputs: what `stack` made of them, on the model's device.

        Returns:
            A dataclass a line: `--json` shows all of it, else its `text` is printed.
        """

    def read(self, lines: Sequence[str]) -> Sequence[Sample]:
        """What the model reads of each line: here a text."""
        rows, room = encode(self.tokenizer, lines), self.context - sum(map(len, self.frame))
        self.num_cut += sum(len(ids) > room for ids in rows)
        return [Sample((framed(ids, self.context, *self.frame),)) for ids in rows]

    def stack(self, samples: Sequence[Sample]) -> dict[str, Tensor]:
        """Samples as tensors: `input_ids` (B, T), and `attention_mask` (B, T) where a row is padded."""
        return stack_rows([sample.ids for sample in samples], self.roles.pad_id)

    @torch.no_grad()
    def answer(self, lines: Sequence[str], first_number: int) -> list[Any]:
        """Answer lines in batches of like length; the first has the number `first_number`."""
        samples = self.read(lines)
        by_length = sorted(range(len(samples)), key=lambda index: -samples[index].num_tokens)
        answers: dict[int, Any] = {}
        for start in range(0, len(samples), self.args.batch_size):
            batch = by_length[start : start + self.args.batch_size]
            stacked = self.stack([samples[index] for index in batch])
            inputs = {name: tensor.to(self.model.device) for name, tensor in stacked.items()}
            found = self.answer_batch([lines[index] for index in batch], inputs)
            answers.update(zip(batch, found, strict=True))
        return [answers[index] for index in range(len(lines))]
