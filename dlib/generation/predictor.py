"""Ask a trained model, line by line: fill the masks of each line, or continue it.

for filled in Predictor("runs/first").predict(["The <mask> is red."]):
    print(filled.text, filled.masks[0][0].probability)
"""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase
from transformers.models.auto import modeling_auto

from dlib.args.generation import GenerationArgs
from dlib.generation.continuing import Continuation, TextContinuer
from dlib.generation.filling import FilledLine, MaskFiller
from dlib.generation.line_batches import find_context, windows
from dlib.models.hub import explain_loading
from dlib.models.limits import refuse_broken_weights
from dlib.models.loading import tell_new_weights
from dlib.models.names import find_model, trained_length
from dlib.models.pretrained import read_config, read_model
from dlib.models.probes import keep_attention_type
from dlib.models.tokenization import load_tokenizer
from dlib.process.errors import UserError
from dlib.process.versions import dtype_option
from dlib.training.devices import choose_accelerator

Answer = FilledLine | Continuation

DEFAULTS = GenerationArgs()
DEFAULT_GUESSES = 5
MASKED, CAUSAL = "AutoModelForMaskedLM", "AutoModelForCausalLM"


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
        name = find_model(model)
        with explain_loading("the model", name):
            config = read_config(name, trust_remote_code=args.trust_remote_code)
        causal = is_causal(config, name)
        if not causal:
            refuse_options_of_text(args, name)
        network, tokenizer = load_model(name, args, causal=causal)
        context = find_context(network, tokenizer, trained_length(name))
        self.args = args
        self.answerer: MaskFiller | TextContinuer
        if causal:
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


def is_causal(config: PretrainedConfig, name: str) -> bool:
    """Whether a model continues text, and does not fill masks: by its class, else by what its type can do.

    Raises:
        UserError: it does neither, or it is an encoder-decoder.
    """
    if config.is_encoder_decoder:
        raise UserError(f"{name} is an encoder-decoder ({config.model_type}): only models of one stack can be asked")
    masked, causal = modeling_auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES, modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    own = set(config.architectures or ())
    for heads, answer in ((masked, False), (causal, True)):
        if own & class_names(heads):
            return answer
    if config.model_type not in masked and config.model_type not in causal:
        foreign = set(getattr(config, "auto_map", None) or {})  # what code of the model's own can do
        if foreign & {CAUSAL, MASKED}:
            return MASKED not in foreign
        raise UserError(f"{name}: a {config.model_type} model neither fills masks nor continues text")
    return config.model_type not in masked or getattr(config, "is_decoder", False)


def refuse_options_of_text(args: GenerationArgs, name: str) -> None:
    """Refuse what only means something where text is continued.

    Raises:
        UserError: a model that fills masks was asked for it.
    """
    for option in ("max_new_tokens", "temperature", "top_p", "num_beams"):
        if getattr(args, option) != getattr(DEFAULTS, option):
            raise UserError(f"--{option}: {name} fills masks and continues no text; leave it out")


def class_names(heads: Any) -> set[str]:
    """The classes in one of transformers' tables, whose entries are names or several of them."""
    return {name for names in heads.values() for name in ([names] if isinstance(names, str) else names)}


def load_model(name: str, args: GenerationArgs, *, causal: bool) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A model in evaluation mode, on its device, and its tokenizer.

    A GPU computes in the type in which the weights are stored. So does a CPU, but for 16 bits, in which it is slow.

    Args:
        name: folder or hub name that transformers loads.
        args: how it is asked.
        causal: whether it is to continue text.

    Raises:
        UserError: it cannot be loaded, its weights are no numbers, or there is no such device.
    """
    device = torch.device(choose_accelerator(args.accelerator))
    auto_model = CAUSAL if causal else MASKED
    tokenizer = load_tokenizer(name, "the model", trust_remote_code=args.trust_remote_code)
    with explain_loading("the model", name):
        options = {"trust_remote_code": args.trust_remote_code, **dtype_option("auto")}
        model, loading = read_model(auto_model, name, **options)
    tell_new_weights(loading["missing_keys"], name)
    refuse_broken_weights(model, name)
    keep_attention_type(model)
    if device.type == "cpu" and model.dtype in (torch.float16, torch.bfloat16):
        model = model.float()
    return model.to(device).eval(), tokenizer  # type: ignore[arg-type]
