"""Which network, which tokenizer, and which of its weights learn."""

from dataclasses import dataclass

from dlib.args.fields import setting

MOST_IDS = 2**24
"""Ids that a tokenizer may have. The largest vocabularies have 2**18; arrays and embeddings have a row for each."""


@dataclass
class ModelArgs:
    """The model: a name on the Hugging Face hub, a local folder with `config.json`, or a network in `MODELS`."""

    model: str = setting("roberta-base", path=True)
    """Hugging Face name, local folder, or a name in MODELS; ready shapes are under configs/models/."""
    from_scratch: bool = setting(False)
    """Draw new weights for the model's configuration in place of loading its weights."""
    trust_remote_code: bool = setting(False)
    """Run Python code that the model's or tokenizer's folder brings; only the command line can say so, and no file."""
    model_overrides: list[str] = setting([], keeps_commas=True)
    """Changes to the model's configuration: `--model_overrides hidden_size=256 num_hidden_layers=4`."""
    tokenizer: str | None = setting(None, path=True)
    """Hugging Face name or local folder of the tokenizer; none: the model's own, else one trained on train.txt."""
    vocab_size: int = setting(8192, at_least=300, at_most=MOST_IDS)
    """Number of tokens of a tokenizer that is trained on train.txt."""
    tokenizer_type: str = setting(
        "byte_level_bpe",
        choices={
            "byte_level_bpe": "pairs of bytes: any text comes back, nothing is unknown",
            "bpe": "pairs of characters",
            "wordpiece": "BERT's",
            "unigram": "the likeliest pieces",
            "whitespace": "the words between blanks, for sequences that are no language",
        },
    )
    """What is trained there."""
    unknown_token: str = setting("error", choices=("error", "token"))
    """What stands for a word that a whitespace tokenizer does not know: nothing, it is an error; or the token <unk>."""
    special_tokens: list[str] = setting([])
    """Tokens of your own in that vocabulary, which are never split."""
    checkpoint: str | None = setting(None, path=True)
    """Start from the weights of a run, a checkpoint folder, or `wandb:RUN[:alias]`; the run itself is new."""
    attn_implementation: str | None = setting(
        None, choices=("eager", "sdpa", "flash_attention_2", "flash_attention_3", "flex_attention")
    )
    """Attention kernel; none: the model's default."""
    gradient_checkpointing: bool = setting(False)
    """Compute activations again in the backward pass: less memory, about a third more time."""
    compile: bool = setting(False)
    """Compile the model's trunk with torch.compile: slow first steps, then faster ones."""
    freeze: str = setting("none", choices=("none", "embeddings", "all_but_embeddings", "all_but_head"))
    """Which weights do not learn."""
