"""Each type of tokenizer is trained to the same bits every time, and does to a text what its name says."""

from pathlib import Path
from typing import Any

import pytest
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from dlib.args import DataArgs, ExperimentArgs, ModelArgs
from dlib.args.fields import facts_of
from dlib.config.fields import FIELDS
from dlib.data.fingerprint import serialized_backend
from dlib.data.text import LONGEST_WORD
from dlib.data.token_roles import token_roles
from dlib.models.tokenization import build_tokenizer, load_tokenizer, train_tokenizer, trained_tokenizer_folder
from dlib.models.tokenizer_types import SPECIAL_TOKENS, TOKENIZER_TYPES, TokenizerKind
from dlib.process.errors import UserError
from tests.toys import SENTENCES

pytestmark = pytest.mark.oldest

TYPES = tuple(TOKENIZER_TYPES)
SUBWORDS = tuple(name for name in TYPES if name != "whitespace")
SIZE = 330


@pytest.fixture(scope="module")
def text_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("text") / "train.txt"
    file.write_text("\n".join(SENTENCES), encoding="utf-8")
    return file


def train(
    text_file: Path, name: str, *, size: int = SIZE, open_ended: bool = False, **kind: Any
) -> PreTrainedTokenizerFast:
    return train_tokenizer(text_file, size, "strict", kind=TokenizerKind(name, **kind), open_ended=open_ended)


def plain_ids(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return ids


def test_the_argument_names_all_types() -> None:
    assert tuple(facts_of(FIELDS["model.tokenizer_type"]).choices) == TYPES


@pytest.mark.parametrize("name", TYPES)
def test_the_same_text_trains_the_same_tokenizer_and_it_comes_back_from_its_folder(
    name: str, text_file: Path, tmp_path: Path
) -> None:
    # Chance decides on orders inside the trainers: two of some would be alike by luck.
    first, *others = (serialized_backend(train(text_file, name, special_tokens=("[REF]",))) for _ in range(4))
    assert others == [first] * 3
    tokenizer = train(text_file, name, special_tokens=("[REF]",))
    tokenizer.save_pretrained(tmp_path)
    loaded = load_tokenizer(str(tmp_path), "--tokenizer", trust_remote_code=False)
    assert serialized_backend(loaded) == first
    assert loaded(SENTENCES)["input_ids"] == tokenizer(SENTENCES)["input_ids"]


@pytest.mark.parametrize("name", TYPES)
@pytest.mark.parametrize(("open_ended", "ends"), [(False, ["</s>"]), (True, [])])
def test_roles_and_frame_are_those_of_every_trained_tokenizer(
    name: str, open_ended: bool, ends: list[str], text_file: Path
) -> None:
    tokenizer = train(text_file, name, open_ended=open_ended, unknown_token="token")
    assert tokenizer.convert_ids_to_tokens(list(range(5))) == [*SPECIAL_TOKENS.values()]
    roles = token_roles(tokenizer)
    assert (roles.lead_id, roles.pad_id, roles.separator_id, roles.mask_id) == (0, 1, 2, 4)
    assert roles.special_ids == {0, 1, 2, 4}
    framed = tokenizer.convert_ids_to_tokens(tokenizer("The dog")["input_ids"])
    assert (framed[0], framed[len(framed) - len(ends) :]) == ("<s>", ends)
    assert plain_ids(tokenizer, "The <mask> dog").count(4) == 1


@pytest.mark.parametrize("name", ["byte_level_bpe", "bpe", "unigram"])
@pytest.mark.parametrize("text", [*SENTENCES, "two  blanks", "a word, and another "])
def test_text_of_known_characters_comes_back(name: str, text: str, text_file: Path) -> None:
    tokenizer = train(text_file, name)
    assert tokenizer.decode(plain_ids(tokenizer, text)) == text


def test_words_come_back_joined_by_single_spaces(text_file: Path) -> None:
    tokenizer = train(text_file, "whitespace")
    text = "  and\tthe dog   does\u00a0not mind "
    assert tokenizer.tokenize(text) == ["and", "the", "dog", "does", "not", "mind"]
    assert tokenizer.decode(plain_ids(tokenizer, text)) == "and the dog does not mind"
    assert tokenizer.unk_token is None


@pytest.mark.parametrize("name", TYPES)
def test_a_word_starts_where_one_does(name: str, text_file: Path) -> None:
    tokenizer = train(text_file, name)
    text = "and the dog tokenizer knows"
    starts = token_roles(tokenizer).starts_word[plain_ids(tokenizer, text)]
    first = name != "byte_level_bpe"  # in which the first word of a text has no space before it
    assert starts.sum() == 4 + first
    assert bool(starts[0]) == first


@pytest.mark.parametrize("name", TYPES)
def test_tokens_of_ones_own_are_never_split_and_are_written(name: str, text_file: Path) -> None:
    tokenizer = train(text_file, name, special_tokens=("[REF]", "[END]"), unknown_token="token")
    assert tokenizer.convert_tokens_to_ids(["[REF]", "[END]"]) == [5, 6]
    tokens = tokenizer.tokenize("the dog[REF] and [END]")
    assert {"[REF]", "[END]"} < {*tokens}
    assert "[REF]" in tokenizer.decode(plain_ids(tokenizer, "the dog [REF]"), skip_special_tokens=True)
    assert not {5, 6} & token_roles(tokenizer).special_ids
    assert len(tokenizer) <= SIZE


@pytest.mark.parametrize("name", [name for name in SUBWORDS if name != "byte_level_bpe"])
def test_a_character_that_was_not_seen_is_unknown(name: str, text_file: Path) -> None:
    tokenizer = train(text_file, name)
    assert tokenizer.unk_token_id in plain_ids(tokenizer, "the ☃ dog")
    assert tokenizer.unk_token_id not in plain_ids(tokenizer, "the dog")


def test_the_most_frequent_words_stay_where_a_token_stands_for_the_others(tmp_path: Path) -> None:
    file = tmp_path / "train.txt"
    words = [f"w{number:03}" for number in range(400)]
    file.write_text("\n".join(f"{word} {word}" for word in words[:295]) + "\n" + " ".join(words))
    tokenizer = train(file, "whitespace", size=300, unknown_token="token")
    assert len(tokenizer) == 300
    assert tokenizer.tokenize("w000 w294 w295 new") == ["w000", "w294", "<unk>", "<unk>"]
    with pytest.raises(
        UserError, match=r"--vocab_size 300: no room for all words .* takes 404; .*--unknown_token token"
    ):
        train(file, "whitespace", size=300)
    assert len(train(file, "whitespace", size=404)) == 404


def test_an_endless_word_is_one_word(tmp_path: Path) -> None:
    file, word = tmp_path / "train.txt", "x" * (LONGEST_WORD + 5)
    file.write_text(f"a {word} b\n")
    assert train(file, "whitespace").tokenize(f"b {word}") == ["b", word]


@pytest.mark.parametrize("name", ["bpe", "wordpiece", "unigram"])
def test_a_vocabulary_too_small_for_the_characters_is_told(name: str, tmp_path: Path) -> None:
    file = tmp_path / "train.txt"
    file.write_text(" ".join(map(chr, range(0x4E00, 0x4E00 + 400))))
    with pytest.raises(UserError, match=r"--vocab_size 330: no room for all characters of the text"):
        train(file, name)


def arguments(tmp_path: Path, **model: Any) -> ExperimentArgs:
    return ExperimentArgs(
        data=DataArgs(cache_dir=str(tmp_path / "cache")),
        model=ModelArgs(vocab_size=SIZE, **model),
    )


def test_each_kind_has_its_place_in_the_cache(text_file: Path, tmp_path: Path) -> None:
    kinds: list[dict[str, Any]] = [
        {},
        *({"tokenizer_type": name} for name in TYPES[1:]),
        {"special_tokens": ["[A]"]},
    ]
    kinds.append({"tokenizer_type": "whitespace", "unknown_token": "token"})
    folders = [trained_tokenizer_folder(arguments(tmp_path, **kind), text_file, open_ended=False) for kind in kinds]
    assert len({*folders}) == len(kinds)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            {"tokenizer": "own", "tokenizer_type": "bpe"},
            "--tokenizer_type: it is for a tokenizer that is trained, and ",
        ),
        (
            {"special_tokens": ["[A]"]},
            "--special_tokens: it is for a tokenizer that is trained, and own brings its own",
        ),
    ],
)
def test_a_type_beside_a_tokenizer_that_is_there_is_refused(
    model: dict[str, Any], message: str, text_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = train(text_file, "bpe")
    own.save_pretrained(tmp_path / "own")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=message):
        build_tokenizer(arguments(tmp_path, **model), text_file, "own", open_ended=False)
    goes_on = build_tokenizer(arguments(tmp_path, **model), text_file, "own", open_ended=False, goes_on=True)
    assert goes_on.get_vocab() == own.get_vocab()


def test_a_token_that_is_there_already_is_told(text_file: Path) -> None:
    with pytest.raises(UserError, match="--special_tokens <mask>: every trained tokenizer has it"):
        train(text_file, "bpe", special_tokens=("[A]", "<mask>"))
