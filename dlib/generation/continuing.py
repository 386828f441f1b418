"""Continue lines: what a causal language model writes after each.

    line --encode--> the end of its tokens --generate, in batches--> new tokens up to an end --decode--> text

Letters: B rows, T tokens a row, N new tokens.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from transformers import GenerationConfig, LogitsProcessorList, PreTrainedModel, PreTrainedTokenizerBase
from transformers.generation.streamers import BaseStreamer

from dlib.args.generation import GenerationArgs
from dlib.data.token_roles import find_frame, first_id
from dlib.data.unknown_words import encode
from dlib.generation.line_batches import by_length, padded
from dlib.generation.sampling import DrawKey, KeyedSampling, draw_key
from dlib.models.parts import keeps_cache
from dlib.process.errors import UserError

DEFAULT_NEW_TOKENS = 64
TOKENS_BEFORE = 4
"""Of the prompt, that are decoded with what follows: whether that begins with a space shows in its company only."""
PROBE_LENGTHS, PROBE_TOKENS, PROBE_TOLERANCE = (8, 13), 3, 1e-3
"""Two prompts, a few tokens after them, and how much of the largest logit a logit may change by."""


@dataclass(frozen=True)
class Continuation:
    """A line and what the model writes after it."""

    prompt: str  # the line as it was given
    continuation: str  # the text that follows
    prompt_tokens: int  # tokens that the model read
    tokens: int  # tokens that it wrote, without the one that ends the text
    finish_reason: str  # `stop`: the model ended the text; `length`: `--max_new_tokens` did; `blank`: it was not asked
    truncated: bool  # whether the line was too long, so that the model read its end alone
    sample: int = 1  # which of the line's `--samples` it is

    @property
    def text(self) -> str:
        """What comes out as plain text."""
        return self.prompt + self.continuation


class TextContinuer:
    """A causal language model that continues lines.

    What follows a line depends on the line, the numbers of line and sample, and the options: not on what is beside it,
    but for the rounding of sums in batches of another shape. Models whose rows depend on each other get one at a time.
    """

    options = ("top_k", "max_new_tokens", "temperature", "top_p", "samples", "num_beams")

    def __init__(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, context: int, args: GenerationArgs
    ) -> None:
        """Take a model in evaluation mode, on its device, its tokenizer, and how many tokens it reads at once.

        Raises:
            UserError: so many new tokens leave no room for a prompt, or the model's class cannot generate.
        """
        if not model.can_generate():
            raise UserError(f"{type(model).__name__} continues no text: let it inherit transformers' GenerationMixin")
        self.model, self.tokenizer, self.args = model, tokenizer, args
        self.max_new_tokens = args.max_new_tokens or min(DEFAULT_NEW_TOKENS, context // 2)
        self.start = find_frame(tokenizer).start
        self.room = context - self.max_new_tokens - len(self.start)
        if self.room < 1:
            most = context - len(self.start) - 1
            raise UserError(
                f"--max_new_tokens {self.max_new_tokens}: the model reads {context} tokens at once, with the prompt; "
                f"give {most} or less"
            )
        self.end_ids = find_end_ids(model, tokenizer)
        self.pad_id = first_id(tokenizer.pad_token_id, *sorted(self.end_ids)) or 0
        self.generation_config = GenerationConfig(
            max_new_tokens=self.max_new_tokens,
            do_sample=False,  # what is drawn, `KeyedSampling` draws
            num_beams=args.num_beams,
            eos_token_id=sorted(self.end_ids) or None,
            pad_token_id=self.pad_id,
            use_cache=keeps_cache(model),
        )
        model.generation_config = GenerationConfig()  # the model's own would fill in what this does not say
        self.batch_size = args.batch_size if args.batch_size > 1 and keeps_rows_apart(model, self.pad_id) else 1

    def answer(self, lines: Sequence[str], first_number: int) -> list[Continuation]:
        """Continue lines, the first of which has the number `first_number`; blank ones stay as they are.

        Returns:
            The samples of the first line, then those of the next.
        """
        samples = range(1, self.args.samples + 1)
        asked = [index for index, line in enumerate(lines) if line.strip()]
        encoded = dict(zip(asked, encode(self.tokenizer, [lines[index] for index in asked]), strict=True))
        prompts = {index: self.prompt_of(ids) for index, ids in encoded.items()}
        blank = [Continuation(line, "", 0, 0, "blank", False) for line in lines]
        answers = {
            (index, sample): replace(blank[index], sample=sample) for index in range(len(lines)) for sample in samples
        }
        rows = [(index, sample) for index in asked for sample in samples]
        for batch in by_length([len(prompts[index]) for index, _ in rows], self.batch_size):
            together = [rows[place] for place in batch]
            keys = [draw_key(first_number + index, sample) for index, sample in together]
            written = self.generate([prompts[index] for index, _ in together], keys)
            for (index, sample), new in zip(together, written, strict=True):
                found = self.finish(lines[index], prompts[index], new, len(encoded[index]) > self.room)
                answers[index, sample] = replace(found, sample=sample)
        return [*answers.values()]

    def stream(self, line: str, number: int, write: Callable[[str], None]) -> Continuation:
        """Continue one line; `write` gets the line, then what follows in pieces, as they are written."""
        write(line)
        if not line.strip():
            return Continuation(line, "", 0, 0, "blank", False)
        [ids] = encode(self.tokenizer, [line])
        prompt = self.prompt_of(ids)
        pieces = TextPieces(lambda new: self.text_after(prompt, new), write, self.end_ids)
        [new] = self.generate([prompt], [draw_key(number, 1)], pieces)
        return self.finish(line, prompt, new, len(ids) > self.room)

    def prompt_of(self, ids: Sequence[int]) -> list[int]:
        """The tokens that the model reads: the last of a line, after what the tokenizer puts before a text."""
        prompt = [*self.start, *ids[-self.room :]]
        # A tokenizer can drop all of a line, and a model cannot begin with nothing.
        return prompt or [first_id(self.tokenizer.bos_token_id, *sorted(self.end_ids)) or 0]

    @torch.no_grad()
    def generate(
        self, prompts: Sequence[list[int]], keys: Sequence[DrawKey], streamer: BaseStreamer | None = None
    ) -> list[list[int]]:
        """The new tokens after each prompt, an end token and what follows it among them; `keys` say what is drawn."""
        device = self.model.device
        input_ids, attention_mask = padded(prompts, self.pad_id, device, left=True)
        width = input_ids.shape[1]
        draws = self.args.drawing_temperature > 0
        sampling = [KeyedSampling(keys, self.args, width, self.max_new_tokens, device)] if draws else []
        tokens = cast(Any, self.model).generate(
            input_ids=input_ids,
            attention_mask=attention_mask,
            generation_config=self.generation_config,
            logits_processor=LogitsProcessorList(sampling),
            streamer=streamer,
        )
        new: list[list[int]] = tokens[:, width:].tolist()
        return new

    def finish(self, line: str, prompt: Sequence[int], new: Sequence[int], truncated: bool) -> Continuation:
        """The answer to a line, from its prompt and the new tokens up to an end token."""
        length = next((index for index, token in enumerate(new) if token in self.end_ids), None)
        text = self.text_after(prompt, new[:length])
        tokens = len(new) if length is None else length
        return Continuation(line, text, len(prompt), tokens, "length" if length is None else "stop", truncated)

    def text_after(self, prompt: Sequence[int], new: Sequence[int]) -> str:
        """New tokens as the text that follows the prompt's."""
        before = self.decode(prompt[-TOKENS_BEFORE:])
        whole = self.decode([*prompt[-TOKENS_BEFORE:], *new])
        return whole[len(before) :] if whole.startswith(before) else self.decode(new)

    def decode(self, ids: Sequence[int]) -> str:
        """Tokens as text, without special ones."""
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False))


class TextPieces(BaseStreamer):
    """Hands on a text in pieces, as its tokens come; a character of several tokens is held back until it is whole."""

    def __init__(
        self, decode: Callable[[Sequence[int]], str], write: Callable[[str], None], end_ids: frozenset[int]
    ) -> None:
        """Decode all new tokens with `decode`, give the text to `write`, and leave out the tokens of `end_ids`."""
        self.decode, self.write_piece, self.end_ids = decode, write, end_ids
        self.tokens: list[int] = []
        self.written = ""
        self.is_prompt = True

    def put(self, value: torch.Tensor) -> None:
        """Take the prompt first, then each new token."""
        if not self.is_prompt:
            self.tokens += [token for token in value.flatten().tolist() if token not in self.end_ids]
            self.write_up_to(self.decode(self.tokens).rstrip("\ufffd"))
        self.is_prompt = False

    def end(self) -> None:
        """Write what is held back."""
        self.write_up_to(self.decode(self.tokens))

    def write_up_to(self, text: str) -> None:
        """Write what is new of the text."""
        if len(text) > len(self.written):
            self.write_piece(text[len(self.written) :])
            self.written = text


def find_end_ids(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """The tokens that end a text: those of the model, and what separated documents in training."""
    own = getattr(model.generation_config, "eos_token_id", None)
    ids = [*(own if isinstance(own, list) else [own]), tokenizer.eos_token_id, tokenizer.sep_token_id]
    return frozenset(token for token in ids if token is not None)


@torch.no_grad()
def keeps_rows_apart(model: PreTrainedModel, pad_id: int) -> bool:
    """Whether what follows a prompt stays the same beside a longer one, before which it is padded.

    It does not for models that number their positions without looking at the padding (BERT in transformers 4), that
    take it for text, or whose rows get mixed up (RWKV in transformers 5).
    """
    short, long = ([1 + index % (model.config.vocab_size - 1) for index in range(length)] for length in PROBE_LENGTHS)
    alone, beside = next_logits(model, [short], pad_id), next_logits(model, [short, long], pad_id)
    return torch.allclose(alone, beside, rtol=0, atol=PROBE_TOLERANCE * float(alone.abs().max()))


def next_logits(model: PreTrainedModel, rows: list[list[int]], pad_id: int) -> torch.Tensor:
    """The logits (N, V) of some tokens after the first row, as `generate` computes them."""
    input_ids, attention_mask = padded(rows, pad_id, model.device, left=True)
    output = cast(Any, model).generate(
        input_ids=input_ids,
        attention_mask=attention_mask,
        generation_config=GenerationConfig(
            max_new_tokens=PROBE_TOKENS,
            pad_token_id=pad_id,
            use_cache=keeps_cache(model),
            output_scores=True,
            return_dict_in_generate=True,
        ),
    )
    return torch.stack([scores[0].float() for scores in output.scores])
