"""Texts and their folder."""

from tests.bad_input.calling import Row


def json_lines(content: str | bytes, told: str) -> Row:
    """A training text that is a .jsonl."""
    return Row("train.py TINY", told, {"data/train.txt": None, "data/train.jsonl": content})


ROWS = [
    Row("train.py TINY -d /nowhere", "--data_dir /nowhere: there is no such folder"),
    Row(
        "train.py TINY",
        "or a folder); name the dev text",
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
    Row("train.py TINY", "it has no train (.txt, .jsonl", {"data/train.txt": None}),
    Row("train.py TINY --dev_file test.txt", "it has no test.txt; name the dev text with --dev_file"),
    Row("train.py TINY --train_file train.jsonl", "it has no train.jsonl; name the training text with --train_file"),
    json_lines("", "error: data/train.jsonl is empty; name the training text with --train_file"),
    json_lines('{"text": "a"}\n{"text": "b"', "error: data/train.jsonl line 2: broken JSON (Expecting ',' delimiter)"),
    json_lines('{"text": "a"}\nb\n', "error: data/train.jsonl line 2: broken JSON (Expecting value)"),
    json_lines('[\n{"text": "a"}\n]\n', "error: data/train.jsonl line 1: broken JSON (Expecting value)"),
    json_lines("[]", "error: data/train.jsonl line 1: no JSON object; write one a line"),
    json_lines(
        '{"sentence": "a", "label": 1}', 'data/train.jsonl line 1: no key "text"; there are: "sentence", "label"'
    ),
    json_lines('{"text": ["a"]}', 'error: data/train.jsonl line 1: key "text": a list is no text'),
    json_lines('{"text": null}', 'error: data/train.jsonl line 1: key "text": null is no text'),
    json_lines('{"text": "\\ud83d"}', 'data/train.jsonl line 1: key "text": half a surrogate pair is no character'),
    json_lines('{"text": ""}', "error: data/train.jsonl holds no text that the tokenizer has tokens for"),
    json_lines(b'{"text": "a"}\n{"text": "\xff"}', "error: data/train.jsonl line 2: bytes that are not UTF-8"),
    Row("train.py TINY --dev_file dev.jsonl", 'dev.jsonl line 1: no key "text"', {"data/dev.jsonl": '{"a": "b"}'}),
    Row("train.py TINY --train train.txt:0.7 more.txt:0.3", "it has no more.txt; name it with --train"),
    Row("train.py TINY --train train.txt:0.7 dev.txt", "error: --train: dev.txt has no weight and others have"),
    Row("train.py TINY --dev dev.txt other/dev.txt", "error: --dev: two texts have the name dev"),
    Row(
        "train.py TINY --objective sequence_classification --train a.jsonl --dev a.jsonl b.jsonl",
        'error: data/b.jsonl line 2: key "label": "w" is no label of the training text',
        {
            "data/a.jsonl": '{"text": "a", "label": "v"}\n{"text": "b", "label": "x"}',
            "data/b.jsonl": '{"text": "a", "label": "x"}\n{"text": "a", "label": "w"}',
        },
    ),
    Row("train.py TINY --exclude more.txt", "it has no more.txt; name it with --exclude"),
    Row("train.py TINY --exclude train.txt", "data/train.txt: --dev_split or --exclude leave no document of it"),
    Row("train.py TINY --dev_split 100000", "error: --dev_split 100000: the training text has only "),
    Row("train.py TINY --dev_split all", "error: --dev_split: 'all' is no part of the documents"),
    Row(
        "train.py TINY",
        "error: data/train.txt.gz line 1: here the compressed file breaks off",
        {"data/train.txt": None, "data/train.txt.gz": b"\x1f\x8b\x08\0"},
    ),
    Row("train.py TINY --source_suffix de", "error: --target_suffix: give it too, as in --source_suffix de"),
    Row("train.py TINY --source_suffix de --target_suffix en", "it has no train (.{de,en}); name the training text"),
    Row("train.py TINY -d data/train.txt", "--data_dir data/train.txt is a file: give its folder"),
    Row(
        "train.py TINY --train_file shards",
        "data/shards: a.txt and b.jsonl are files of several formats: name those of one",
        {"data/shards/a.txt": "a\n", "data/shards/b.jsonl": "{}\n"},
    ),
    Row("train.py TINY --train_file 'shards/*.txt'", "it has no shards/*.txt; name the training text"),
    Row("train.py TINY --document lines", "--document: 'lines' is none of auto, line, blank_line, file"),
    Row("train.py TINY -d '\x1b[2J'", r"--data_dir \x1b[2J: there is no such folder"),
    Row("train.py TINY --cache_dir /dev/null/cache", "error: cannot write to --cache_dir /dev/null/cache"),
]
