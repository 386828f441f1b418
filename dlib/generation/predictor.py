"""Ask a trained model, line by line: fill the masks of each line, or continue it.

for filled in Predictor("runs/first").predict(["The <mask> is red."]):
    print(filled.text, filled.masks[0][0].probability)
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import ClassVar, Protocol

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from dlib.args.generation import GenerationArgs
from dlib.args.tables import load
from dlib.generation.line_batches import find_context, windows
from dlib.models.head import Head
from dlib.models.hub import explain_loading
from dlib.models.loading import load_model
from dlib.models.names import args_of_run, find_model
from dlib.models.pretrained import read_config
from dlib.models.tokenization import load_tokenizer
from dlib.objectives import objective_class
from dlib.objectives.recognition import recognize
from dlib.process.errors import UserError
from dlib.training.devices import choose_accelerator

DEFAULTS = GenerationArgs()
OPTIONS_OF_ANSWERS = ("top_k", "max_new_tokens", "temperature", "top_p", "samples", "num_beams", "scores")


class Answer(Protocol):
    """What comes of a line: a dataclass, all of which `--json` shows."""

    @property
    def text(self) -> str:
        """What comes out as plain text."""


class Answerer(Protocol):
    """What turns lines into answers; an objective names its own. One with `stream` can show text as it is written."""

    options: ClassVar[Collection[str]]  # which of the options of an answer it takes

    def __init__(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, context: int, args: GenerationArgs
    ) -> None:
        """Take a model in evaluation mode, on its device, its tokenizer, and how many tokens it reads at once."""

    def answer(self, lines: Sequence[str], first_number: int) -> Sequence[Answer]:
        """The answers to lines, in their order, `samples` to each; the first line has the number `first_number`."""


class Predictor:
    """A trained model that answers lines, as its objective says.

    Attributes:
        network: the model, in evaluation mode.
        answerer: what turns lines into answers.
    """

    def __init__(self, model: str | Path, args: GenerationArgs = DEFAULTS) -> None:
        """Load a run (its best checkpoint) or its name in `runs`, a checkpoint, a Hugging Face folder, or a hub's name.

        Raises:
            UserError: there is no such model, its objective answers no lines, or not with these options.
        """
        name, trust = find_model(model), args.trust_remote_code
        with explain_loading("the model", name):
            config = read_config(name, trust_remote_code=trust)
        run = args_of_run(name)
        objective = run.objective.objective if run else recognize(config, name)
        kind = objective_class(objective)
        if kind.answerer is None:
            raise UserError(f"{name}: the objective {objective} answers no lines; it names no answerer")
        answerer: type[Answerer] = load(kind.answerer)
        refuse_other_options(args, answerer, f"{name}, a model of {objective},")
        device = torch.device(choose_accelerator(args.accelerator))
        tokenizer = load_tokenizer(name, "the model", trust_remote_code=trust)
        head = Head(kind.auto_model, auto_models=kind.auto_models)
        self.network = load_model(head, name, config, device, trust_remote_code=trust)
        # What a model would make of positions that it never saw is left to chance: they were drawn, and not learned.
        longest = run.data.max_length if run and run.model.from_scratch else None
        self.args = args
        self.answerer = answerer(self.network, tokenizer, find_context(self.network, tokenizer, longest), args)

    def predict(self, lines: Iterable[str]) -> list[Answer]:
        """The answers to lines, in their order; with `samples` all of a line, then all of the next."""
        return [answer for answers in self.windows(lines) for answer in answers]

    def windows(self, lines: Iterable[str], *, wait: bool = True) -> Iterator[list[Answer]]:
        """The answers to any number of lines, which are read as they are needed, in their order, some at a time.

        It is faster if more lines may be read before the first is answered: `wait`.

        Raises:
            UserError: the memory of the device does not suffice.
        """
        number = 1
        for window in windows(lines, self.args.batch_size, samples=self.args.samples, wait=wait):
            try:
                answers = list(self.answerer.answer(window, number))
            except (RuntimeError, MemoryError) as error:
                if not is_lack_of_memory(error):
                    raise
                asked = f"--batch_size {self.args.batch_size}, --num_beams {self.args.num_beams}"
                raise UserError(f"{asked}: the device has not the memory; give less") from error
            # Which line of the input one of the output stands for shows in their order alone.
            if len(answers) != len(window) * self.args.samples:
                raise ValueError(f"{type(self.answerer)}.answer: {len(answers)} answers to {len(window)} lines")
            yield answers
            number += len(window)

    @property
    def can_stream(self) -> bool:
        """Whether answers can be shown while they are written."""
        return hasattr(self.answerer, "stream") and self.args.num_beams == self.args.samples == 1

    def stream(self, lines: Iterable[str], show: Callable[[str], None]) -> Iterator[list[Answer]]:
        """The answers as `windows` gives them, one by one; `show` gets their text in pieces, as it is written.

        Only where `can_stream` says so.
        """
        stream = self.answerer.stream  # type: ignore[attr-defined]
        for number, line in enumerate(lines, start=1):
            yield [stream(line, number, show)]


def is_lack_of_memory(error: Exception) -> bool:
    """Whether an error says that a GPU or the machine has not the memory."""
    return isinstance(error, (torch.cuda.OutOfMemoryError, MemoryError)) or "DefaultCPUAllocator" in str(error)


def refuse_other_options(args: GenerationArgs, answerer: type[Answerer], name: str) -> None:
    """Refuse what means nothing to who answers."""
    for option in OPTIONS_OF_ANSWERS:
        if option not in answerer.options and getattr(args, option) != getattr(DEFAULTS, option):
            raise UserError(f"--{option}: {name} is not asked in this way; leave it out")
