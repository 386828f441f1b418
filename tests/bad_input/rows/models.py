"""Models, tokenizers, and what is changed in them."""

from tests.bad_input.calling import TINY, Row

ROWS = [
    Row("train.py TINY --model ./nowhere", "./nowhere: there is no such folder"),
    Row("train.py TINY --model data/", "--model"),
    Row("train.py TINY --model_overrides hiden_size=8", "did you mean hidden_size?"),
    Row("train.py TINY --model_overrides hidden_size=33", "--model"),
    Row("train.py TINY --max_length 600", "--max_length 600"),
    Row(
        f"train.py {TINY.replace('--from_scratch', '')}",
        "error: --model configs/models/roberta-tiny: the folder has no weights; add --from_scratch to draw new ones",
    ),
]
