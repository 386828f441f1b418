"""How much arithmetic training is, so that speed can be told as a share of what the device could do."""

from fractions import Fraction

from torch import nn
from transformers import PreTrainedModel

from dlib.models.parts import trunk_parameters, word_embeddings

FLOPS_PER_WEIGHT = 6
"""Per token: a multiplication and an addition forward, twice that backward."""


def training_flops(model: PreTrainedModel, tokens_per_row: Fraction) -> tuple[float, float]:
    """Floating-point operations of a forward and a backward pass, for each token and for each target token.

    Chowdhery et al. 2022 (PaLM), appendix B: 6 N + 12 L H T a token, where N leaves the embeddings out;
    the vocabulary projection, 6 V H, counts for target tokens alone, as it is computed for no others.
    Recomputed activations do not count, nor what a network of one's own does not tell of itself.

    Args:
        model: a transformer.
        tokens_per_row: T, how far attention reaches.
    """
    words = word_embeddings(model)
    tables = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    matrices = [p for p in trunk_parameters(model) if p.ndim >= 2 and id(p) not in tables]
    trunk = sum(parameter.numel() for parameter in matrices)
    layers, width = (getattr(model.config, name, None) or 0 for name in ("num_hidden_layers", "hidden_size"))
    attention = 12 * layers * width * float(tokens_per_row)
    return FLOPS_PER_WEIGHT * trunk + attention, FLOPS_PER_WEIGHT * (0 if words is None else words.weight.numel())
