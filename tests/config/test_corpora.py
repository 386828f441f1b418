"""Several texts, as flags and in a file: what is read, what is refused, and that config.yml has one form."""

from fractions import Fraction
from pathlib import Path

import pytest

from dlib.config.configuration import dump_config, load_config, parse_args
from dlib.config.corpora import Corpus, parse_corpora
from dlib.process.errors import UserError

READ = {
    "news.txt": Corpus("news", "news.txt"),
    "news.txt:0.7": Corpus("news", "news.txt", Fraction(7, 10)),
    "a/news.jsonl.gz:3": Corpus("news", "a/news.jsonl.gz", Fraction(3)),
    "n=a/b.txt:.5:limit=10_000": Corpus("n", "a/b.txt", Fraction(1, 2), 10_000),
    "b.txt:limit=2k:limit_tokens=2M:weight=1.5": Corpus("b", "b.txt", Fraction(3, 2), 2000, 2_000_000),
    "shards/*.txt": Corpus("shards", "shards/*.txt"),
    "./lang=de/a.txt": Corpus("a", "./lang=de/a.txt"),
    "odd:name.txt": Corpus("odd_name", "odd:name.txt"),
}
REFUSED = {
    "--train a.txt:0.5 b.txt": "--train: b.txt has no weight and others have",
    "--train a.txt x/a.txt": "--train: two texts have the name a: write another",
    "--train a.txt:0": "weights are more than 0",
    "--train a.txt:limit=1.5": "limits whole numbers from 1 on",
    "--train a.txt:limit=x": "is no text with a weight: write [NAME=]FILE",
    "--train a.txt:1:2": "two numbers for weight",
    "--train a.txt:0.1234567 b.txt:1": "--train: weights of too many digits",
    "--train a.txt --train_file b.txt": "--train: --train_file names a text, too",
    "--dev a.txt --dev_file b.txt": "--dev: --dev_file names a text, too",
    "--dev a.txt:2": "--dev: weights are for --train",
}
FILES = {
    "[{path: a.txt, weight: 0.7}, {path: b.txt, weight: 1, limit: 100, name: bee}]": [
        "a.txt:weight=0.7",
        "bee=b.txt:weight=1:limit=100",
    ],
    "[a.txt:2, {path: b.txt, weight: 1}]": ["a.txt:2", "b.txt:weight=1"],
}


@pytest.mark.parametrize("text", READ)
def test_a_text_is_read_with_its_name_weight_and_limits(text: str) -> None:
    assert parse_corpora([text], "--train") == [READ[text]]


@pytest.mark.parametrize("flags", REFUSED)
def test_what_cannot_be_mixed_is_refused(flags: str) -> None:
    with pytest.raises(UserError) as refused:
        parse_args(["-n", "x", *flags.split()], description="")
    assert REFUSED[flags] in str(refused.value)


@pytest.mark.parametrize("written", FILES)
def test_a_file_may_give_mappings_and_the_recorded_one_has_texts(written: str, tmp_path: Path) -> None:
    (tmp_path / "a.yml").write_text(f"data: {{train: {written}}}")
    args = load_config([tmp_path / "a.yml"])
    assert args.data.train == FILES[written]
    (tmp_path / "config.yml").write_text(dump_config(args))
    assert load_config([tmp_path / "config.yml"]) == args


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ("[{weight: 1}]", "a text has no path"),
        ("[{path: a, wieght: 1}]", "unknown key wieght: a text has path, name"),
        ("[{path: a=b.txt}]", "'a=b.txt' has a name or path that reads as another"),
        ("[{path: 'news:2024'}]", "'news:2024' has a name or path that reads as another"),
        ("[{path: b.txt, name: a b}]", "'a b=b.txt' has a name or path that reads as another"),
    ],
)
def test_a_wrong_mapping_is_refused_with_its_file(written: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / "a.yml").write_text(f"data: {{train: {written}}}")
    with pytest.raises(UserError) as refused:
        load_config([tmp_path / "a.yml"])
    assert f"a.yml: data.train: {reason}" in str(refused.value)


def test_a_development_text_of_a_file_has_its_limits(tmp_path: Path) -> None:
    (tmp_path / "a.yml").write_text("data: {dev: [a.txt, {path: b.txt, limit: 100, limit_tokens: 5000}]}")
    assert load_config([tmp_path / "a.yml"]).data.dev == ["a.txt", "b.txt:limit=100:limit_tokens=5000"]
