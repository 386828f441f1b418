"""Ask a trained model, line by line: fill the masks of each line, or continue it.

for filled in Predictor("runs/first").predict(["The <mask> is red."]):
    print(filled.text, filled.masks[0][0].probability)
"""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import torch

from dlib.args.generation import GenerationArgs
from dlib.generation.continuing import Continuation, TextContinuer
from dlib.generation.filling import FilledLine, MaskFiller
from dlib.generation.line_batches import find_context, windows
from dlib.models.head import Head
from dlib.models.hub import explain_loading
from dlib.models.loading import load_model
from dlib.models.names import find_model, trained_length
from dlib.models.pretrained import read_config
from dlib.models.saved_head import CAUSAL, find_saved_head
from dlib.models.tokenization import load_tokenizer
from dlib.process.errors import UserError
from dlib.training.devices import choose_accelerator

Answer = FilledLine | Continuation

DEFAULTS = GenerationArgs()
DEFAULT_GUESSES = 5


class Predictor:
    """A trained model that answers lines: one that was trained on masks fills them, any other continues the line.

    Attributes:
        answerer: what turns lines into answers.
    """

    def __init__(self, model: str | Path, args: GenerationArgs = DEFAULTS) -> None:
        """Load a model.

        Args:
            model: a run (its best checkpoint) or its name in `runs`, a checkpoint, a Hugging Face folder, or a name on
                the hub.
            args: how it is asked.

        Raises:
            UserError: there is no such model, it can be asked neither way, or not with these options.
        """
        name, trust = find_model(model), args.trust_remote_code
        with explain_loading("the model", name):
            config = read_config(name, trust_remote_code=trust)
        head = find_saved_head(config, name)
        if head != CAUSAL:
            refuse_options_of_text(args, name)
        device = torch.device(choose_accelerator(args.accelerator))
        tokenizer = load_tokenizer(name, "the model", trust_remote_code=trust)
        network = load_model(Head(head), name, config, device, trust_remote_code=trust)
        context = find_context(network, tokenizer, trained_length(name))
        self.args = args
        self.answerer: MaskFiller | TextContinuer
        if head == CAUSAL:
            self.answerer = TextContinuer(network, tokenizer, context, args)
        else:
            top_k = args.top_k or DEFAULT_GUESSES
            self.answerer = MaskFiller(network, tokenizer, context, top_k=top_k, batch_size=args.batch_size)

    def predict(self, lines: Iterable[str]) -> list[Answer]:
        """The answers to lines, in their order."""
        return [answer for answers in self.windows(lines) for answer in answers]

    def windows(self, lines: Iterable[str], *, wait: bool = True) -> Iterator[list[Answer]]:
        """The answers to any number of lines, in their order, some at a time.

        Args:
            lines: are read as they are needed.
            wait: whether more lines may be read before the first is answered, which is faster.

        Raises:
            UserError: the memory of the device does not suffice.
        """
        number = 1
        for window in windows(lines, self.args.batch_size, wait=wait):
            try:
                yield list(self.answerer.answer(window, number))
            except (RuntimeError, MemoryError) as error:
                if not is_lack_of_memory(error):
                    raise
                asked = f"--batch_size {self.args.batch_size}, --num_beams {self.args.num_beams}"
                raise UserError(f"{asked}: the device has not the memory; give less") from error
            number += len(window)

    @property
    def can_stream(self) -> bool:
        """Whether answers can be shown while they are written."""
        return isinstance(self.answerer, TextContinuer) and self.args.num_beams == 1

    def stream(self, lines: Iterable[str], show: Callable[[str], None]) -> Iterator[list[Answer]]:
        """The answers as `windows` gives them, one by one; `show` gets their text in pieces, as it is written.

        Only where `can_stream` says so.
        """
        assert isinstance(self.answerer, TextContinuer)
        for number, line in enumerate(lines, start=1):
            yield [self.answerer.stream(line, number, show)]


def is_lack_of_memory(error: Exception) -> bool:
    """Whether an error says that a GPU or the machine has not the memory."""
    return isinstance(error, (torch.cuda.OutOfMemoryError, MemoryError)) or "DefaultCPUAllocator" in str(error)


def refuse_options_of_text(args: GenerationArgs, name: str) -> None:
    """Refuse what only means something where text is continued.

    Raises:
        UserError: a model that fills masks was asked for it.
    """
    for option in ("max_new_tokens", "temperature", "top_p", "num_beams"):
        if getattr(args, option) != getattr(DEFAULTS, option):
            raise UserError(f"--{option}: {name} fills masks and continues no text; leave it out")
