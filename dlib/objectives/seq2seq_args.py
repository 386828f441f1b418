"""The arguments of seq2seq."""

from dataclasses import dataclass

from dlib.args.fields import setting


@dataclass
class Seq2SeqArgs:
    """How targets are learned, and what an evaluation makes of the sources."""

    label_smoothing_factor: float = setting(0.0, at_least=0, less_than=1)
    """seq2seq: share of each target token that is spread over the vocabulary; in training alone."""
    eval_generate_samples: int = setting(0, at_least=0, or_all=True, when_evaluated=-1)
    """seq2seq: number of rows, the first ones, that an evaluation in training generates; -1: all, as eval.py does."""
    eval_metrics: list[str] = setting(["bleu", "chrf", "exact_match"], choices=("bleu", "chrf", "exact_match", "rouge"))
    """seq2seq: what compares them with the targets; the first one says which checkpoint is the best."""
    num_beams: int = setting(1, at_least=1, at_most=2**10)
    """seq2seq: beams that an evaluation searches for each row."""
    max_new_tokens: int = setting(128, at_least=1, at_most=2**20)
    """seq2seq: tokens of a row that it generates at most."""
