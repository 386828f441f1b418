"""What the model is trained to do. A new objective adds its fields here and its line in OBJECTIVES."""

from dataclasses import dataclass

from dlib.args.fields import setting


@dataclass
class ObjectiveArgs:
    """The objective and its own arguments."""

    objective: str = setting("mlm", choices=("mlm", "clm"))
    """`mlm`: fill in masked tokens (BERT, RoBERTa); `clm`: predict the next token (GPT, Llama)."""
    mask_fraction: float = setting(0.15)
    """mlm: share of a row's tokens that are predicted; their number is exact for each row."""
    whole_word_masking: bool = setting(False)
    """mlm: mask all the tokens of a word together."""
