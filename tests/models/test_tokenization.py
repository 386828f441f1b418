"""Tokenizers: trained once by content, exact on any bytes, and the roles of their special tokens."""

import gzip
import json
import multiprocessing
from pathlib import Path

import pytest
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from dlib.args import DataArgs, ExperimentArgs, ModelArgs, ObjectiveArgs
from dlib.data.fingerprint import serialized_backend
from dlib.data.samples import Columns
from dlib.data.token_roles import token_roles, word_starts
from dlib.models.tokenization import build_tokenizer, load_tokenizer, train_tokenizer, trained_tokenizer_folder
from dlib.process import progress
from dlib.process.errors import UserError
from tests.toys import SENTENCES, train_gpt2_like, train_metaspace, train_wordpiece

pytestmark = pytest.mark.oldest

TEXTS = [*SENTENCES, "", " two  blanks ", "\x00", "tab\there", "🙂\u200d🙃", "\u00a0\u2028end", "<s> in the text"]


@pytest.fixture
def text_file(tmp_path: Path) -> Path:
    file = tmp_path / "train.txt"
    file.write_text("\n".join(SENTENCES), encoding="utf-8")
    return file


@pytest.mark.parametrize("suffix", [".txt", ".jsonl.gz"])
def test_a_long_training_shows_how_far_it_is_read_and_what_follows(
    tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("SILENT_SECONDS", "LINE_SECONDS"):
        monkeypatch.setattr(progress, name, 0)
    said: list[str] = []
    monkeypatch.setattr("dlib.models.tokenization.say", said.append)
    file = tmp_path / f"train{suffix}"
    if suffix == ".txt":
        file.write_text("some words that are read\n" * 100_000)
    else:
        file.write_bytes(gzip.compress(b'{"text": "some words that are read"}\n' * 1000))
    train_tokenizer(file, 300, "strict", open_ended=False)
    printed = capsys.readouterr()
    lines = printed.err.splitlines()
    assert [line.split(", ")[0].rpartition(" ")[2] for line in lines] == ["42%", "84%", "100%"][
        -1 if "gz" in suffix else 0 :
    ]
    assert lines[-1].startswith("Reading for the tokenizer: 100%, 0:00:0")
    assert printed.out == ""
    assert said == ["All is read: now the tokens are chosen, of which nothing is shown"]


def arguments(
    tmp_path: Path,
    *,
    objective: str = "mlm",
    vocab_size: int = 300,
    errors: str = "strict",
    tokenizer: str | None = None,
) -> ExperimentArgs:
    return ExperimentArgs(
        data=DataArgs(cache_dir=str(tmp_path / "cache"), encoding_errors=errors),
        model=ModelArgs(vocab_size=vocab_size, tokenizer=tokenizer),
        objective=ObjectiveArgs(objective=objective),
    )


def reload(tokenizer: PreTrainedTokenizerFast, folder: Path) -> PreTrainedTokenizerBase:
    tokenizer.save_pretrained(folder)
    return load_tokenizer(str(folder), "--tokenizer", trust_remote_code=False)


@pytest.mark.parametrize("saved", [False, True])
def test_trained_tokenizer_gives_back_any_text(text_file: Path, tmp_path: Path, saved: bool) -> None:
    tokenizer: PreTrainedTokenizerBase = train_tokenizer(text_file, 320, "strict", open_ended=False)
    if saved:
        tokenizer = reload(tokenizer, tmp_path / "saved")  # type: ignore[arg-type]
    every_character = "".join(map(chr, [*range(0x300), 0xFFFD, 0x10FFFF]))
    for text in [*TEXTS, every_character]:
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        assert tokenizer.decode(ids) == text
        assert tokenizer.unk_token_id not in ids


def test_special_tokens_are_the_first_five(text_file: Path) -> None:
    tokenizer = train_tokenizer(text_file, 300, "strict", open_ended=False)
    assert tokenizer.convert_ids_to_tokens(list(range(5))) == ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    roles = token_roles(tokenizer)
    assert (roles.lead_id, roles.pad_id, roles.separator_id, roles.mask_id) == (0, 1, 2, 4)
    assert roles.special_ids == {0, 1, 2, 4}
    assert roles.vocab_size == len(tokenizer) == 300


@pytest.mark.parametrize(("open_ended", "ends"), [(False, [2]), (True, [])])
def test_open_ended_template_leaves_a_prompt_open(
    text_file: Path, tmp_path: Path, open_ended: bool, ends: list[int]
) -> None:
    tokenizer = reload(train_tokenizer(text_file, 300, "strict", open_ended=open_ended), tmp_path / "saved")
    plain = tokenizer("The dog", add_special_tokens=False)["input_ids"]
    assert tokenizer("The dog")["input_ids"] == [0, *plain, *ends]


def test_training_is_deterministic_and_depends_on_the_options(text_file: Path) -> None:
    first, second = (serialized_backend(train_tokenizer(text_file, 320, "strict", open_ended=False)) for _ in range(2))
    assert first == second
    assert serialized_backend(train_tokenizer(text_file, 310, "strict", open_ended=False)) != first


def test_text_that_cannot_fill_the_vocabulary_gives_a_smaller_one(text_file: Path) -> None:
    text_file.write_text("ab ab\n")
    tokenizer = train_tokenizer(text_file, 10_000, "strict", open_ended=False)
    assert 256 + 5 <= len(tokenizer) < 270
    assert token_roles(tokenizer).vocab_size == len(tokenizer)


def test_trained_tokenizer_is_found_again_by_content(text_file: Path, tmp_path: Path) -> None:
    folder = trained_tokenizer_folder(arguments(tmp_path), text_file, open_ended=False)
    written = (folder / "tokenizer.json").stat().st_mtime_ns
    copy = tmp_path / "elsewhere.txt"
    copy.write_bytes(text_file.read_bytes())
    assert trained_tokenizer_folder(arguments(tmp_path), copy, open_ended=False) == folder
    assert (folder / "tokenizer.json").stat().st_mtime_ns == written
    others = [
        trained_tokenizer_folder(arguments(tmp_path, vocab_size=301), text_file, open_ended=False),
        trained_tokenizer_folder(arguments(tmp_path), text_file, open_ended=True),
        trained_tokenizer_folder(arguments(tmp_path, errors="ignore"), text_file, open_ended=False),
    ]
    lines = tmp_path / "a.jsonl"
    lines.write_text('{"text": "one", "other": "two"}\n')
    columns = [Columns(("text",)), Columns(("text", "other"))]
    assert len({trained_tokenizer_folder(arguments(tmp_path), lines, of, open_ended=False) for of in columns}) == 2
    copy.write_bytes(text_file.read_bytes() + b"!")
    others.append(trained_tokenizer_folder(arguments(tmp_path), copy, open_ended=False))
    assert len({folder, *others}) == 5


def train_in_a_process(tmp_path: Path, text_file: Path, barrier: object) -> None:
    barrier.wait()  # type: ignore[attr-defined]
    trained_tokenizer_folder(arguments(tmp_path), text_file, open_ended=False)


def test_processes_that_start_together_train_it_once(
    text_file: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    text_file.write_text("\n".join(SENTENCES * 500), encoding="utf-8")
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(3)
    processes = [context.Process(target=train_in_a_process, args=(tmp_path, text_file, barrier)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    (folder,) = (entry for entry in (tmp_path / "cache" / "tokenizers").iterdir() if entry.is_dir())
    assert (folder / "tokenizer.json").is_file()
    assert capfd.readouterr().err.count("Training a tokenizer") == 1


def test_interrupted_training_leaves_nothing_that_looks_whole(text_file: Path, tmp_path: Path) -> None:
    text_file.write_bytes(b"fine\n\xff\xfe broken\n")
    with pytest.raises(UserError, match="--encoding_errors"):
        trained_tokenizer_folder(arguments(tmp_path), text_file, open_ended=False)
    assert [entry for entry in (tmp_path / "cache" / "tokenizers").iterdir() if entry.is_dir()] == []
    assert trained_tokenizer_folder(arguments(tmp_path, errors="replace"), text_file, open_ended=False).is_dir()


def test_cache_that_is_a_file_is_told(text_file: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("")
    with pytest.raises(UserError, match=r"--cache_dir .* cannot be written"):
        trained_tokenizer_folder(arguments(tmp_path), text_file, open_ended=False)


def test_tokenizer_is_the_one_asked_for_else_the_models_own_else_a_trained_one(text_file: Path, tmp_path: Path) -> None:
    asked, own, bare = (tmp_path / name for name in ("asked", "own", "bare"))
    tokenizers = train_wordpiece(), train_metaspace()
    for tokenizer, folder in zip(tokenizers, (asked, own), strict=True):
        tokenizer.save_pretrained(folder)
    bare.mkdir()
    (bare / "config.json").write_text(json.dumps({"model_type": "roberta"}))
    by_flag = build_tokenizer(arguments(tmp_path, tokenizer=str(asked)), text_file, str(own), open_ended=False)
    by_model = build_tokenizer(arguments(tmp_path), text_file, str(own), open_ended=False)
    assert [by_flag.get_vocab(), by_model.get_vocab()] == [tokenizer.get_vocab() for tokenizer in tokenizers]
    assert len(build_tokenizer(arguments(tmp_path), text_file, str(bare), open_ended=False)) == 300


def test_damaged_tokenizer_is_one_line(text_file: Path, tmp_path: Path) -> None:
    train_wordpiece().save_pretrained(tmp_path / "asked")
    (tmp_path / "asked" / "tokenizer.json").write_text("{")
    with pytest.raises(UserError, match=r"--tokenizer .*asked cannot be loaded"):
        build_tokenizer(
            arguments(tmp_path, tokenizer=str(tmp_path / "asked")), text_file, "roberta-base", open_ended=False
        )


def test_roles_of_a_bert_like_tokenizer() -> None:
    tokenizer = train_wordpiece()
    roles = token_roles(tokenizer)
    expected = tokenizer.convert_tokens_to_ids(["[CLS]", "[SEP]", "[PAD]", "[MASK]"])
    assert [roles.lead_id, roles.separator_id, roles.pad_id, roles.mask_id] == expected
    assert roles.special_ids == set(expected)


def test_roles_of_a_gpt2_like_tokenizer_all_fall_to_its_one_special_token() -> None:
    roles = token_roles(train_gpt2_like())
    assert roles.lead_id == roles.separator_id == roles.pad_id == 0
    assert roles.special_ids == {0}, "the end of a text is special, though it stands for the unknown too"
    assert roles.mask_id is None
    assert token_roles(train_gpt2_like(mask_token="<mask>")).mask_id == 1


def test_tokenizer_that_cannot_separate_documents_is_refused() -> None:
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=train_wordpiece().backend_tokenizer, mask_token="[MASK]")
    with pytest.raises(UserError, match="neither sep_token nor eos_token"):
        token_roles(tokenizer)


@pytest.mark.parametrize(
    ("tokenizer", "start", "inside"),
    [(train_wordpiece, "t", "##s"), (train_metaspace, "▁", "s"), (train_gpt2_like, "Ġ", "s")],
)
def test_marks_of_word_starts_are_read_from_the_vocabulary(tokenizer: object, start: str, inside: str) -> None:
    trained: PreTrainedTokenizerFast = tokenizer()  # type: ignore[operator]
    starts = word_starts(trained)
    assert starts[trained.convert_tokens_to_ids(start)]
    assert not starts[trained.convert_tokens_to_ids(inside)]
    assert len(starts) == len(trained)
