"""Networks as a user would write them, and the lines that put them into `MODELS`."""

from typing import Any

import torch
from torch import Tensor, nn
from transformers import GenerationMixin, PretrainedConfig, PreTrainedModel, RobertaForMaskedLM
from transformers.modeling_outputs import MaskedLMOutput


class Recurrent(nn.Module):
    """A plain network with a layer `head`, tied to its embeddings, and a buffer that its file does not hold."""

    scale: Tensor

    def __init__(
        self, vocab_size: int, hidden_size: int = 16, dropout: float = 0.1, tied: bool = True, both_ways: bool = False
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, hidden_size)
        size = hidden_size // 2 if both_ways else hidden_size
        self.cells = nn.GRU(hidden_size, size, num_layers=2, dropout=dropout, batch_first=True, bidirectional=both_ways)
        self.head = nn.Linear(hidden_size, vocab_size)
        self.register_buffer("scale", torch.tensor(0.5), persistent=False)
        if tied:
            self.head.weight = self.embedding.weight

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        hidden, _ = self.cells(self.embedding(input_ids))
        return self.scale * self.head(hidden)


class Average(nn.Module):
    """A plain network without a head or a table of tokens, which tells neither layers nor positions."""

    def __init__(self, vocab_size: int, pad_token_id: int, depth: int = 2) -> None:
        super().__init__()
        self.pad_token_id = pad_token_id
        self.rows = nn.Parameter(torch.randn(vocab_size, 8))
        self.layers = nn.Sequential(*(nn.Sequential(nn.Linear(8, 8), nn.Tanh()) for _ in range(depth)))
        self.out = nn.Linear(8, vocab_size)

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        hidden = (
            self.rows[input_ids].cumsum(1) / torch.arange(1, input_ids.shape[1] + 1, device=input_ids.device)[:, None]
        )
        return self.out(self.layers(hidden))


class ConvolutionConfig(PretrainedConfig):
    """Its configuration, whose class has no `model_type`."""

    def __init__(self, vocab_size: int = 64, width: int = 16, **options: Any) -> None:
        super().__init__(**options)
        self.vocab_size, self.width = vocab_size, width


class Convolution(PreTrainedModel, GenerationMixin):
    """A `PreTrainedModel` with none of the names that transformers' own models have for their parts."""

    config_class = ConvolutionConfig

    def __init__(self, config: ConvolutionConfig) -> None:
        super().__init__(config)
        self.words = nn.Embedding(config.vocab_size, config.width)
        self.mix = nn.Conv1d(config.width, config.width, kernel_size=3)
        self.out = nn.Linear(config.width, config.vocab_size)
        self.post_init()

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None, **options: Any) -> MaskedLMOutput:
        hidden = nn.functional.pad(self.words(input_ids).transpose(1, 2), (2, 0))
        return MaskedLMOutput(logits=self.out(torch.tanh(self.mix(hidden)).transpose(1, 2)))


class Louder(RobertaForMaskedLM):
    """One of transformers' with a change, and transformers' own configuration."""

    def forward(self, *args: Any, **options: Any) -> Any:
        output = super().forward(*args, **options)
        output.logits = 2 * output.logits
        return output


NETWORKS = {
    "own-recurrent": "tests.own_networks:Recurrent",
    "own-average": "tests.own_networks:Average",
    "own-convolution": "tests.own_networks:Convolution",
    "own-louder": "tests.own_networks:Louder",
}


class Unspoken(nn.Module):
    """Asks for what nobody gives."""

    def __init__(self, vocab_size: int, depth: int) -> None:
        super().__init__()


class Strange(nn.Module):
    """Has an argument that no file can hold."""

    def __init__(self, vocab_size: int, activation: Any = torch.tanh) -> None:
        super().__init__()


class Normalized(nn.Module):
    """Keeps running means, and has arguments with names of transformers' own."""

    def __init__(self, vocab_size: int, max_length: int = 512, tie_word_embeddings: bool = False) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, 8)
        self.norm = nn.BatchNorm1d(8)
        self.head = nn.Linear(8, vocab_size)
        if tie_word_embeddings:
            self.head.weight = self.embedding.weight

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        return self.head(self.norm(self.embedding(input_ids).transpose(1, 2)).transpose(1, 2))


NORMALIZED = {"own-normalized": "tests.own_networks:Normalized"}
