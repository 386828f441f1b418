"""The run, its folder, its steps and devices."""

from tests.bad_input.calling import Row

ROWS = [
    Row("train.py TINY -b 7", "--batch_size"),
    Row("train.py TINY --trackers wandbb", "did you mean wandb?"),
    Row("train.py TINY --extra_steps 99", "--extra_steps 99: the run has steps 1 to 5"),
    Row("train.py TINY --checkpoint /nowhere", "--checkpoint"),
    Row("train.py TINY --accelerator mps", "--accelerator mps: no such device is found here"),
    Row("train.py TINY --precision 16-mixed", "--precision 16-mixed"),
    Row("train.py TINY --out_dir /dev/null/runs", "--out_dir"),
]
