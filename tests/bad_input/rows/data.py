"""Texts and their folder."""

from tests.bad_input.calling import Row

ROWS = [
    Row("train.py TINY -d /nowhere", "--data_dir /nowhere: there is no such folder"),
    Row("train.py TINY", "it has no dev.txt or val.txt; name the dev text with --dev_file", {"data/dev.txt": None}),
    Row("train.py TINY", "--encoding_errors", {"data/train.txt": b"One line.\nCaf\xe9.\n"}),
    Row("train.py TINY", "train.txt", {"data/train.txt": ""}),
    Row("train.py TINY", "dev.txt", {"data/dev.txt": "\n\n"}),
    Row("train.py TINY --cache_dir /dev/null/cache", "--cache_dir"),
]
