"""Texts of a mixture as people write them: `news.txt`, `news.txt:0.3`, `b=books.jsonl:0.7:limit=10000:limit_tokens=2M`.

A mapping in a YAML file (`{path: news.txt, weight: 0.3}`) is turned into such a text, so that config.yml has one form.
"""

import glob
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any

from dlib.config.durations import MULTIPLIERS
from dlib.process.errors import UserError, quoted

HUB = "hf:"
"""What the name of a dataset on the hub begins with."""
NAME = re.compile(r"[\w.-]+")
OPTION = re.compile(r":(?:(?P<key>weight|limit|limit_tokens)=)?(?P<number>\d[\d_]*(?:\.\d+)?|\.\d+)(?P<suffix>[kMB]?)$")
PERCENT = r"\d+(?:\.\d+)?|\.\d+"
DEV_SPLIT = re.compile(rf"(?P<count>[1-9]\d{{0,17}})(?: = (?P<settled>{PERCENT})%)?|(?P<percent>{PERCENT})%")
KEYS = ("path", "name", "weight", "limit", "limit_tokens")
EXAMPLE = "[NAME=]FILE[:WEIGHT][:limit=DOCUMENTS][:limit_tokens=TOKENS], such as news.txt:0.3"
LARGEST_CYCLE = 100_000
"""The weights as whole numbers may add up to so many: the turns of the texts are a table of this length."""


@dataclass(frozen=True)
class Corpus:
    """One text of several."""

    name: str  # in metrics
    path: str  # in the data folder
    weight: Fraction | None = None  # share of the samples, in proportion to the others'; None: by its size
    limit: int | None = None  # documents that are taken, the first ones
    limit_tokens: int | None = None  # the most tokens of the documents that are taken, the first ones

    @property
    def limits(self) -> str:
        """As they are typed, ":limit=10000:limit_tokens=2000000"; empty where there are none."""
        return "".join(f":{key}={number}" for key in KEYS[3:] if (number := getattr(self, key)) is not None)


def parse_corpora(texts: Sequence[str], place: str) -> list[Corpus]:
    """Read texts with their weights and limits.

    Raises:
        UserError: one cannot be read, two have one name, or some have a weight and some have none.
    """
    corpora = [parse_corpus(text, place) for text in texts]
    names = [corpus.name for corpus in corpora]
    if again := next((name for name in names if names.count(name) > 1), None):
        raise UserError(f"{place}: two texts have the name {again}: write another in front of one, NAME=FILE")
    if len({corpus.weight is None for corpus in corpora}) > 1:
        unweighted = next(corpus.path for corpus in corpora if corpus.weight is None)
        raise UserError(f"{place}: {unweighted} has no weight and others have: give each one, or none")
    if sum(whole_weights(corpora)) > LARGEST_CYCLE:
        raise UserError(f"{place}: weights of too many digits: in whole numbers they are over {LARGEST_CYCLE:,} in all")
    return corpora


def parse_corpus(text: str, place: str) -> Corpus:
    """Read one text with its weight and limits.

    Raises:
        UserError: it cannot be read.
    """
    numbers: dict[str, Fraction] = {}
    rest = text
    while match := OPTION.search(rest):
        key = match["key"] or "weight"
        if key in numbers:
            raise UserError(f"{place}: {quoted(text)} has two numbers for {key}: write {EXAMPLE}")
        numbers[key] = Fraction(match["number"].replace("_", "")) * MULTIPLIERS[match["suffix"]]
        rest = rest[: match.start()]
    name, equals, path = rest.partition("=")
    if not (equals and NAME.fullmatch(name)):
        path = rest
        name = name_of(path)
    if not path.strip() or not name or ":limit" in path or ":weight" in path:
        raise UserError(f"{place}: {quoted(text)} is no text with a weight: write {EXAMPLE}")
    if any(not value for value in numbers.values()) or any(numbers.get(key, 1) % 1 for key in KEYS[3:]):
        raise UserError(f"{place}: {quoted(text)}: weights are more than 0, and limits whole numbers from 1 on")
    limits = [None if key not in numbers else int(numbers[key]) for key in KEYS[3:]]
    return Corpus(name, path, numbers.get("weight"), *limits)


def names_files(text: str) -> bool:
    """Whether a word is a path, a pattern or a dataset of the hub, and no mere name of a text."""
    return text.startswith(HUB) or "/" in text or glob.has_magic(text)


def name_of(path: str) -> str:
    """The name of a text without one: its file's up to the first dot, or of `shards/*.txt` the folder's."""
    words = (re.sub(r"[^\w-]+", "_", part.partition(".")[0]).strip("_") for part in reversed(path.split("/")))
    return next(filter(None, words), "")


def corpus_text(mapping: Mapping[Any, Any], place: str) -> str:
    """A text that a file gives as a mapping, as it is typed.

    Raises:
        UserError: it has no path, or another key.
    """
    if unknown := next((key for key in mapping if key not in KEYS), None):
        raise UserError(f"{place}: unknown key {unknown}: a text has {', '.join(KEYS)}")
    if not mapping.get("path"):
        raise UserError(f"{place}: a text has no path: write {{path: news.txt, weight: 0.3}}")
    named = f"{mapping['name']}=" if mapping.get("name") else ""
    text = f"{named}{mapping['path']}" + "".join(f":{key}={mapping[key]}" for key in KEYS[2:] if key in mapping)
    if "${" not in text and parse_corpus(text, place).path != mapping["path"]:
        raise UserError(f"{place}: {quoted(text)} has a name or path that reads as another: write {EXAMPLE}")
    return text


def whole_weights(corpora: Sequence[Corpus]) -> tuple[int, ...]:
    """The weights as the smallest whole numbers that stand in their proportion; none where there are none."""
    weights = [corpus.weight for corpus in corpora if corpus.weight is not None]
    whole = [int(weight * math.lcm(*(each.denominator for each in weights))) for weight in weights]
    return tuple(weight // math.gcd(*whole) for weight in whole)


@dataclass(frozen=True)
class DevSplit:
    """How much of the training text is the development text."""

    count: int | None  # documents
    share: Fraction | None  # of all documents; None where the number has yet to be turned into one

    @property
    def text(self) -> str:
        """As config.yml has it: "1%", or "2000 = 0.25%"."""
        assert self.share is not None
        percent = format(Decimal(self.share.numerator * 100) / Decimal(self.share.denominator), "f")
        return f"{percent}%" if self.count is None else f"{self.count} = {percent}%"


def parse_dev_split(text: str, place: str) -> DevSplit:
    """Read a number of documents or a percentage of them.

    Raises:
        UserError: the text is neither.
    """
    match = DEV_SPLIT.fullmatch(text.strip())
    percent = match and (match["percent"] or match["settled"])
    share = Fraction(percent) / 100 if percent else None
    if match is None or (share is not None and not 0 < share < 1):
        raise UserError(f'{place}: {quoted(text)} is no part of the documents: write for example 2000, or "1%"')
    return DevSplit(int(match["count"]) if match["count"] else None, share)
