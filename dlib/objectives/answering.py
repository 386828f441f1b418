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
from dlib.data.token_roles import Frame, token_roles
from dlib.data.unknown_words import encode
from dlib.objectives.padding import stack_rows


class RowAnswerer(ABC):
    """Answers each line by itself: a subclass says what it makes of a batch (`Answerer` of generate.py).

    Attributes:
        model: in evaluation mode.
        tokenizer: its own.
        frame: what stands before and after a line.
    """

    options: ClassVar[Collection[str]] = ()
    """Which of `--top_k`, `--max_new_tokens`, `--temperature`, `--top_p` and `--num_beams` it takes."""

    def __init__(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, context: int, args: GenerationArgs
    ) -> None:
        """Take a model on its device, its tokenizer, and how many tokens it reads at once."""
        self.model: Any = model
        self.tokenizer, self.context, self.args = tokenizer, context, args
        self.roles = token_roles(tokenizer)
        self.frame = Frame([self.roles.lead_id], [self.roles.separator_id])

    @abstractmethod
    def answer_batch(self, lines: Sequence[str], inputs: Mapping[str, Tensor]) -> Sequence[Any]:
        """Answer some lines.

        Args:
            lines: as they were given.
            inputs: `input_ids` (B, T), and `attention_mask` (B, T) where a row is padded; on the model's device.

        Returns:
            A dataclass a line: `--json` shows all of it, else its `text` is printed.
        """

    @torch.no_grad()
    def answer(self, lines: Sequence[str], first_number: int) -> list[Any]:
        """Answer lines in batches of like length; the first has the number `first_number`."""
        encoded = encode(self.tokenizer, lines)
        rows = [framed(ids, self.context, *self.frame) for ids in encoded]
        by_length = sorted(range(len(rows)), key=lambda index: -len(rows[index]))
        answers: dict[int, Any] = {}
        for start in range(0, len(rows), self.args.batch_size):
            batch = by_length[start : start + self.args.batch_size]
            stacked = stack_rows([rows[index] for index in batch], self.roles.pad_id)
            inputs = {name: tensor.to(self.model.device) for name, tensor in stacked.items()}
            found = self.answer_batch([lines[index] for index in batch], inputs)
            answers.update(zip(batch, found, strict=True))
        return [answers[index] for index in range(len(lines))]
