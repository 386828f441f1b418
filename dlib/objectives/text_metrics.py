"""Written texts compared with the right ones: BLEU, chrF and ROUGE, each by the library that others report it by.

Papineni et al. 2002; Popović 2015 and 2017 (chrF++); Post 2018, whose signatures say how BLEU was computed; Lin 2004.
"""

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Any

from dlib.process.errors import UserError

DECIDING = {"bleu": "bleu", "chrf": "chrf", "exact_match": "exact_match", "rouge": "rougeL"}
"""The name of the one number that stands for a metric, by that of the metric."""
ROUGE_KEYS = ("rouge1", "rouge2", "rougeL")


def refuse_missing_sacrebleu(metrics: Sequence[str]) -> None:
    """Refuse BLEU and chrF where the package is not installed that computes them.

    Raises:
        UserError: they are asked for.
    """
    if {"bleu", "chrf"} & {*metrics} and find_spec("sacrebleu") is None:
        raise UserError(
            "--eval_metrics bleu chrf need the package sacrebleu: pip install sacrebleu, or --eval_generate_samples 0"
        )


def score_texts(metrics: Sequence[str], hypotheses: Sequence[str], references: Sequence[str]) -> dict[str, float]:
    """The numbers of some metrics for a whole text: BLEU and chrF from 0 to 100, the others from 0 to 1.

    Args:
        metrics: keys of `DECIDING`.
        hypotheses: what was written.
        references: what should have been, one each.
    """
    named = sacrebleu_metrics(metrics)
    scores = {name: metric.corpus_score(hypotheses, [references]).score for name, metric in named.items()}
    if "exact_match" in metrics:
        pairs = zip(hypotheses, references, strict=True)
        scores["exact_match"] = sum(ours.strip() == theirs.strip() for ours, theirs in pairs) / len(references)
    return scores | (score_rouge(hypotheses, references) if "rouge" in metrics else {})


def score_rouge(hypotheses: Sequence[str], references: Sequence[str]) -> dict[str, float]:
    """The mean F of ROUGE-1, ROUGE-2 and ROUGE-L without stemming, as of the package rouge-score."""
    from torchmetrics.functional.text.rouge import rouge_score

    found = rouge_score([*hypotheses], [*references], rouge_keys=ROUGE_KEYS)
    return {name: float(found[f"{name}_fmeasure"]) for name in ROUGE_KEYS}


def describe_scores(metrics: Sequence[str]) -> Mapping[str, str]:
    """The signatures of sacrebleu, by the name of the number."""
    found = {}
    for name, metric in sacrebleu_metrics(metrics).items():
        metric.corpus_score([""], [[""]])  # it knows the number of references from the texts alone
        found[name] = str(metric.get_signature())
    return found


def sacrebleu_metrics(metrics: Sequence[str]) -> dict[str, Any]:
    """The objects of sacrebleu, by the name of the number."""
    if not {"bleu", "chrf"} & {*metrics}:
        return {}
    from sacrebleu.metrics import BLEU, CHRF

    bleu = {"bleu": BLEU()} if "bleu" in metrics else {}
    return bleu | ({"chrf": CHRF(), "chrf++": CHRF(word_order=2)} if "chrf" in metrics else {})
