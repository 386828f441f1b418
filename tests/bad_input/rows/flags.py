"""Flags of every script, as they are mistyped."""

from tests.bad_input.calling import Row

ROWS = [
    Row("train.py", "error: --name is missing: give the run a name, for example -n my-run"),
    Row("train.py -n x --lerning-rate 1", "error: unknown flag --lerning_rate: did you mean --learning_rate?"),
    Row("train.py -n x --objective mln", "error: --objective: 'mln' is none of mlm, clm: did you mean mlm?"),
    Row("train.py -n x --name", "--name"),
]
