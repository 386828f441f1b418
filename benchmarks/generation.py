"""How fast generate.py's engine answers lines, beside transformers with the same model, lines and settings.

python -m benchmarks.generation [--lines 128] [--new_tokens 32] [--batch_size 32] [--repeats 5] [-o FILE]

Text: `generate` of transformers on batches of the lines in their order, padded on the left. Masks: the pipeline
`fill-mask`, a line at a time as it is called by itself, and in batches. The models are drawn and not trained; their
tokenizer is one of words without an end of text, so that both write as many tokens after each line.
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

import torch
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase, pipeline

from benchmarks.drawn_models import LONGEST_LINE, SHORTEST_LINE, build_tokenizer, draw_for, draw_lines
from benchmarks.side_by_side import Comparison, add_output, compare, tell
from dlib.args.generation import GenerationArgs
from dlib.generation.continuing import TextContinuer
from dlib.generation.filling import MaskFiller
from dlib.generation.line_batches import find_context

SHARPNESS = 10.0
"""Times the last weights of a drawn model, so that its probabilities are as uneven as those of a trained one."""
SETTINGS: dict[str, dict[str, Any]] = {
    "greedy": {"temperature": 0.0},
    "sampling, temperature 0.7, top_p 0.9": {"temperature": 0.7, "top_p": 0.9},
    "sampling, temperature 1, top_k 50": {"temperature": 1.0, "top_p": 1.0, "top_k": 50},
    "beams, 4": {"num_beams": 4},
}


def main() -> None:
    """Print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="configs/models/llama-mini", help="folder of a causal language model")
    parser.add_argument("--masked_model", default="configs/models/roberta-mini", help="folder of a masked one")
    parser.add_argument("--vocab_size", type=int, default=8192, help="words of the tokenizer")
    parser.add_argument("--lines", type=int, default=128, help="lines that are asked")
    parser.add_argument("--new_tokens", type=int, default=32, help="tokens that are written after each")
    parser.add_argument("--batch_size", type=int, default=32, help="lines that are computed together")
    parser.add_argument("--repeats", type=int, default=5, help="measurements of each way")
    add_output(parser)
    args = parser.parse_args()
    tokenizer = build_tokenizer(args.vocab_size)
    tokenizer.eos_token, tokenizer.padding_side = None, "left"
    rows = [*compare_continuing(args, tokenizer), *compare_filling(args, tokenizer)]
    print(f"{args.lines} lines of {SHORTEST_LINE} to {LONGEST_LINE} words; batches of {args.batch_size}")
    tell(rows, args.output)


def compare_continuing(args: argparse.Namespace, tokenizer: PreTrainedTokenizerBase) -> Iterator[Comparison]:
    """Continue lines, by each of SETTINGS."""
    model: Any = draw_for(tokenizer, args.model, "AutoModelForCausalLM")
    with torch.no_grad():
        model.lm_head.weight *= SHARPNESS
    lines = draw_lines(args.lines, args.vocab_size)
    for name, settings in SETTINGS.items():
        ours = GenerationArgs(batch_size=args.batch_size, max_new_tokens=args.new_tokens, **settings)
        continuer = TextContinuer(model, tokenizer, find_context(model, tokenizer, None), ours)
        theirs = their_settings(ours, tokenizer)

        def continue_lines(continuer: TextContinuer = continuer) -> list[str]:
            return [answer.continuation for answer in continuer.answer(lines, 1)]

        def generate(theirs: GenerationConfig = theirs) -> list[str]:
            batches = (lines[first : first + args.batch_size] for first in range(0, len(lines), args.batch_size))
            return [text for batch in batches for text in write(model, tokenizer, batch, theirs)]

        same = None if ours.drawing_temperature else without_spaces(continue_lines) == without_spaces(generate)
        amount = args.lines * args.new_tokens
        yield compare(name, "generate", continue_lines, generate, amount, "new tokens", args.repeats, same)


def their_settings(ours: GenerationArgs, tokenizer: PreTrainedTokenizerBase) -> GenerationConfig:
    """The same in transformers' words."""
    draws = ours.drawing_temperature > 0
    drawing = {"temperature": ours.drawing_temperature, "top_p": ours.top_p, "top_k": ours.top_k or 0} if draws else {}
    return GenerationConfig(
        max_new_tokens=ours.max_new_tokens,
        do_sample=draws,
        num_beams=ours.num_beams,
        pad_token_id=tokenizer.pad_token_id,
        **drawing,
    )


@torch.no_grad()
def write(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, lines: Sequence[str], settings: GenerationConfig
) -> list[str]:
    """What follows some lines, as the documentation of transformers does it."""
    inputs = tokenizer(list(lines), return_tensors="pt", padding=True, return_token_type_ids=False)
    tokens = cast(Any, model).generate(**inputs, generation_config=settings)
    texts: list[str] = tokenizer.batch_decode(tokens[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    return texts


def without_spaces(texts: Callable[[], list[str]]) -> list[str]:
    """Texts but for the space that ours begin with, as they are put after a line."""
    return [text.strip() for text in texts()]


def compare_filling(args: argparse.Namespace, tokenizer: PreTrainedTokenizerBase) -> Iterator[Comparison]:
    """Fill the mask of each line."""
    model = draw_for(tokenizer, args.masked_model, "AutoModelForMaskedLM")
    lines = draw_lines(args.lines, args.vocab_size, str(tokenizer.mask_token))
    ours = GenerationArgs(batch_size=args.batch_size, top_k=5)
    filler = MaskFiller(model, tokenizer, find_context(model, tokenizer, None), ours)
    peer = cast(Any, pipeline)("fill-mask", model=model, tokenizer=tokenizer, top_k=5, device="cpu")

    def fill() -> list[str]:
        return [answer.masks[0][0].token for answer in filler.answer(lines, 1)]

    for name, options in (
        ("fill-mask", {}),
        (f"fill-mask, batch_size {args.batch_size}", {"batch_size": args.batch_size}),
    ):

        def pipe(options: dict[str, Any] = options) -> list[str]:
            return [guesses[0]["token_str"] for guesses in peer(lines, **options)]

        yield compare("masks, 5 guesses", name, fill, pipe, args.lines, "lines", args.repeats, fill() == pipe())


if __name__ == "__main__":
    main()
