"""Models, tokenizers, and what is changed in them."""

from tests.bad_input.calling import TINY, Row

ROWS = [
    Row("train.py TINY --model ./nowhere", "./nowhere: there is no such folder"),
    Row("train.py TINY --model data/", "error: --model data/: the folder has no config.json"),
    Row("train.py TINY --model_overrides hiden_size=8", "did you mean hidden_size?"),
    Row("train.py TINY --model_overrides hidden_size=33", "error: --model_overrides hidden_size=33: "),
    Row("train.py TINY --model_overrides num_attention_heads=3", "error: --model_overrides num_attention_heads=3: "),
    Row("train.py TINY --attn_implementation flash_attention_2", "error: --attn_implementation"),
    Row("train.py TINY --attn_implementation flex_attention", "error: --attn_implementation flex_attention"),
    Row("train.py TINY --model_overrides num_hidden_layers=1000000000", "with 1,000,000,000 layers: its "),
    Row("train.py TINY --vocab_size 9223372036854775807", "--vocab_size: 9223372036854775807 is out of range"),
    Row("train.py TINY --max_length 600", "has 512 positions; use --max_length 512 or less"),
    Row(
        f"train.py {TINY.replace('--from_scratch', '')}",
        "error: --model configs/models/roberta-tiny: the folder has no weights; add --from_scratch to draw new ones",
    ),
]
