"""The arguments of masked language modeling."""

from dataclasses import dataclass

from dlib.args.fields import setting


@dataclass
class MlmArgs:
    """Which tokens of a row are predicted."""

    mask_fraction: float = setting(0.15, more_than=0, at_most=1)
    """mlm, replaced_token_detection: share of a row's tokens that are predicted; their number is exact for each row."""
    whole_word_masking: bool = setting(False)
    """mlm, replaced_token_detection: mask all the tokens of a word together."""
