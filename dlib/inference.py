"""Ask a trained model: fill the masks of a line, or continue it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from dlib.hub import explain_loading
from dlib.runs.folder import resolve_model_folder


@dataclass(frozen=True)
class Filling:
    """One guess for a mask: the token as text, and its probability."""

    text: str
    probability: float


@torch.no_grad()
def fill_masks(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, line: str, top: int) -> list[list[Filling]]:
    """The `top` likeliest tokens for each mask of a line, likeliest first.

    The other masks are seen as masks. Special tokens are no guesses.

    Args:
        model: a masked language model, in evaluation mode.
        tokenizer: its tokenizer.
        line: a text with the tokenizer's mask token in it.
        top: number of guesses for each mask.
    """
    inputs = tokenizer(line, return_tensors="pt", truncation=True, return_token_type_ids=False).to(model.device)
    masked = inputs["input_ids"][0] == tokenizer.mask_token_id
    logits = model(**inputs).logits[0, masked].float()
    logits[:, tokenizer.all_special_ids] = -torch.inf
    best = logits.softmax(-1).topk(top)
    return [
        [
            Filling(str(tokenizer.decode([token])), probability)
            for token, probability in zip(tokens, probabilities, strict=True)
        ]
        for tokens, probabilities in zip(best.indices.tolist(), best.values.tolist(), strict=True)
    ]


@torch.no_grad()
def continue_text(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, prompt: str, *, max_new_tokens: int, seed: int
) -> str:
    """The prompt and what the model writes after it, up to an end-of-text token.

    Args:
        model: a causal language model, in evaluation mode.
        tokenizer: its tokenizer.
        prompt: the beginning.
        max_new_tokens: where to stop at the latest.
        seed: of the tokens that are drawn.
    """
    torch.manual_seed(seed)
    inputs = tokenizer(prompt, return_tensors="pt", return_token_type_ids=False).to(model.device)
    tokens = cast(Any, model).generate(
        **inputs,
        max_new_tokens=max_new_tokens,
        do_sample=True,
        temperature=0.7,
        top_p=0.9,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return str(tokenizer.decode(tokens[0], skip_special_tokens=True))


def load_model(path: Path, *, causal: bool) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The model and tokenizer of a run (its best checkpoint), a checkpoint, or a Hugging Face folder.

    Raises:
        UserError: nothing there can be loaded.
    """
    folder = str(resolve_model_folder(path))
    auto_model = AutoModelForCausalLM if causal else AutoModelForMaskedLM
    with explain_loading("the model", folder):
        return auto_model.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
