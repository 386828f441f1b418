"""Texts and their folder."""

from tests.bad_input.calling import Row

ROWS = [
    Row("train.py TINY -d /nowhere", "--data_dir /nowhere: there is no such folder"),
    Row(
        "train.py TINY",
        "it has no dev.txt or val.txt or dev.jsonl or val.jsonl; name the dev text",
        {"data/dev.txt": None},
    ),
    Row("train.py TINY", "--encoding_errors", {"data/train.txt": b"One line.\nCaf\xe9.\n"}),
    Row(
        "train.py TINY",
        "error: data/train.txt is empty; name the training text with --train_file",
        {"data/train.txt": ""},
    ),
    Row(
        "train.py TINY",
        "error: data/train.txt is empty; name the training text with --train_file",
        {"data/train.txt": "\n\n"},
    ),
    Row("train.py TINY", "error: data/dev.txt is empty; name the dev text with --dev_file", {"data/dev.txt": ""}),
    Row("train.py TINY", "error: data/dev.txt is empty; name the dev text with --dev_file", {"data/dev.txt": "\n\n"}),
    Row("train.py TINY", "error: data/dev.txt line 2: bytes that are not UTF-8", {"data/dev.txt": b"a\n\xff\n"}),
    Row("train.py TINY", "it has no train.txt", {"data/train.txt": None}),
    Row("train.py TINY --dev_file test.txt", "it has no test.txt; name the dev text with --dev_file"),
    Row("train.py TINY -d data/train.txt", "--data_dir data/train.txt is a file: give its folder"),
    Row("train.py TINY --train_file ../data", "it has no ../data"),
    Row("train.py TINY -d '\x1b[2J'", r"--data_dir \x1b[2J: there is no such folder"),
    Row("train.py TINY --cache_dir /dev/null/cache", "error: cannot write to --cache_dir /dev/null/cache"),
]
