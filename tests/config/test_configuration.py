"""The merged configuration: types, interpolations, choices, dump and load, differences."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from dlib.args import ExperimentArgs
from dlib.args.fields import facts_of
from dlib.config.configuration import ChangedField, differing_fields, dump_config, load_config
from dlib.config.fields import FIELDS, bare_type, choices_of, is_optional
from dlib.process.errors import UserError

pytestmark = pytest.mark.oldest

# "none" and "null" stand for None in an optional field.
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20).filter(
    lambda text: text.strip() and text.lower() not in ("none", "null")
)
PIECES = st.sampled_from(["${", "}", "\\", "$", "{", "???", "oc.env:X", "a", " ", "'", "from_file:"])
INTERPOLATION_LIKE = st.lists(PIECES).map("".join).filter(str.strip)
CHECKED_TEXTS = {
    "run.name",
    *(key for key, field in FIELDS.items() if facts_of(field).path or facts_of(field).duration),
    "data.train",
    "data.dev",
    "data.dev_split",
    "hardware.distributed_strategy",
    "tracking.wandb_project",
    "tracking.wandb_entity",
    "tracking.wandb_tags",
}


def values_of(key: str) -> st.SearchStrategy[Any]:
    """Any value of a field that is free in its range."""
    field = FIELDS[key]
    texts = st.sampled_from(choices_of(field)) if choices_of(field) else TEXTS | INTERPOLATION_LIKE
    scalars = {
        bool: st.booleans(),
        int: st.integers(-(10**12), 10**12),
        float: st.floats(allow_nan=False, allow_infinity=False),
        str: texts,
        list[int]: st.lists(st.integers(), max_size=3),
        list[str]: st.lists(texts, max_size=3),
        dict[str, str]: st.dictionaries(st.sampled_from(["a", "b c", "é"]), texts, max_size=3),
    }
    values = scalars[bare_type(field)]
    return values | st.none() if is_optional(field) else values


@st.composite
def experiments(draw: st.DrawFn) -> ExperimentArgs:
    args = ExperimentArgs()
    for key in FIELDS:
        if key not in CHECKED_TEXTS and not facts_of(FIELDS[key]).range:
            section, name = key.split(".")
            setattr(getattr(args, section), name, draw(values_of(key)))
    args.optim.learning_rate = draw(st.floats(0, 1e6))
    args.batch.batch_size = draw(st.integers(1, 2**63 - 1))
    args.checkpoint.extra_steps = draw(st.lists(st.integers(1, 10**9), max_size=3))
    args.tracking.trackers = draw(st.sampled_from([[], ["none"], ["wandb"], ["tensorboard", "wandb"]]))
    return args


def load(text: str, folder: Path, **sections: Any) -> ExperimentArgs:
    (folder / "a.yml").write_text(text, encoding="utf-8")
    return load_config([folder / "a.yml"], sections)


def error_of(text: str, folder: Path, overrides: dict[str, Any] | None = None) -> str:
    (folder / "a.yml").write_text(text, encoding="utf-8")
    with pytest.raises(UserError) as caught:
        load_config([folder / "a.yml"], overrides or {})
    return str(caught.value).replace(f"{folder}/", "")


def test_nothing_said_gives_the_defaults() -> None:
    assert load_config([]) == ExperimentArgs()


def test_every_field_has_its_own_flag() -> None:
    names = [key.split(".")[1] for key in FIELDS]
    assert len(set(names)) == len(names)


@settings(deadline=None, max_examples=30)
@given(experiments())
def test_dumped_configuration_loads_as_equal_arguments(tmp_path_factory: Any, args: ExperimentArgs) -> None:
    file = tmp_path_factory.mktemp("dump") / "config.yml"
    file.write_text(dump_config(args), encoding="utf-8")
    assert load_config([file]) == args


def test_dump_is_readable_yaml_with_sections_in_order() -> None:
    text = dump_config(ExperimentArgs())
    sections = [field.name for field in dataclasses.fields(ExperimentArgs)]
    assert list(yaml.safe_load(text)) == sections
    assert "\n\noptim:\n  learning_rate: 0.0001\n  schedule: linear\n" in text


def test_overrides_are_taken_by_full_key_and_by_section(tmp_path: Path) -> None:
    text = "optim: {learning_rate: 1}"
    (tmp_path / "a.yml").write_text(text)
    assert load_config([tmp_path / "a.yml"], {"optim.learning_rate": 2}).optim.learning_rate == 2.0
    assert load_config([tmp_path / "a.yml"], {"optim": {"learning_rate": "3"}}).optim.learning_rate == 3.0


class TestInterpolation:
    def test_reference_sees_the_last_value(self, tmp_path: Path) -> None:
        text = "optim: {weight_decay: '${optim.learning_rate}', learning_rate: 0.1}"
        assert load(text, tmp_path).optim.weight_decay == 0.1
        assert load(text, tmp_path, optim={"learning_rate": 0.5}).optim.weight_decay == 0.5

    def test_environment_variable_is_read_with_the_fields_type(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        text = "batch: {batch_size: '${oc.env:DLIB_TEST_SIZE,64}'}"
        monkeypatch.delenv("DLIB_TEST_SIZE", raising=False)
        assert load(text, tmp_path).batch.batch_size == 64
        monkeypatch.setenv("DLIB_TEST_SIZE", "128")
        assert load(text, tmp_path).batch.batch_size == 128

    def test_works_inside_texts_and_lists(self, tmp_path: Path) -> None:
        args = load("run: {name: 'run-${run.seed}'}\ncheckpoint: {extra_steps: [1, '${run.seed}']}", tmp_path)
        assert (args.run.name, args.checkpoint.extra_steps) == ("run-1", [1, 1])

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("${oc.env:DLIB_NO_SUCH}", "the environment variable DLIB_NO_SUCH is not set: set it, or write "),
            ("${optim.lr}", "there is no optim.lr to refer to"),
            ("${run.name}", "this refers to itself"),
            ("${", "this ${ begins no reference that can be read"),
            ("${nothing:1}", "Unsupported interpolation type nothing"),
            ("???", "??? stands for a missing value"),
        ],
    )
    def test_what_leads_nowhere_is_one_line_with_the_place(self, tmp_path: Path, text: str, message: str) -> None:
        assert error_of(f"run: {{name: '{text}'}}", tmp_path).startswith(f"a.yml: run.name: {message}")
        assert error_of("", tmp_path, {"run.name": text}).startswith(f"--name: {message}")

    def test_wrong_type_at_the_end_of_a_reference_is_told(self, tmp_path: Path) -> None:
        message = error_of("batch: {batch_size: '${run.out_dir}'}", tmp_path)
        assert message == "a.yml: batch.batch_size: '${run.out_dir}' does not lead to a whole number"

    def test_escaped_one_is_text(self, tmp_path: Path) -> None:
        assert load(r"run: {name: '\${x}'}", tmp_path).run.name == "${x}"


class TestTypes:
    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("run: {seed: abc}", "run.seed: 'abc' is not a whole number"),
            ("run: {seed: 1.5}", "run.seed: '1.5' is not a whole number"),
            ("run: {seed: null}", "run.seed: None is not a whole number"),
            ("optim: {learning_rate: fast}", "optim.learning_rate: 'fast' is not a number"),
            ("model: {from_scratch: 2}", "model.from_scratch: '2' is not true or false"),
            ("batch: {micro_batch_size: x}", "batch.micro_batch_size: 'x' is not a whole number or auto"),
            ("checkpoint: {extra_steps: 5}", "checkpoint.extra_steps: '5' is not a list of whole numbers"),
            ("checkpoint: {extra_steps: [a]}", "checkpoint.extra_steps: ['a'] is not a list of whole numbers"),
            ("run: {out_dir: [a]}", "run.out_dir: ['a'] is not a text"),
        ],
    )
    def test_wrong_type_is_one_line_with_file_and_key(self, tmp_path: Path, text: str, message: str) -> None:
        assert error_of(text, tmp_path) == f"a.yml: {message}"

    @pytest.mark.parametrize(("word", "value"), [("true", True), ("yes", True), ("on", True), ("False", False)])
    def test_usual_words_for_true_and_false_are_taken(self, tmp_path: Path, word: str, value: bool) -> None:
        assert load(f"model: {{from_scratch: {word}}}", tmp_path).model.from_scratch is value

    @pytest.mark.parametrize("word", ["null", "none", "None", "~", ""])
    def test_none_is_taken_where_a_field_is_optional(self, tmp_path: Path, word: str) -> None:
        assert load(f"model: {{tokenizer: {word}}}", tmp_path).model.tokenizer is None

    def test_none_stays_a_word_where_it_is_a_choice(self, tmp_path: Path) -> None:
        assert load("model: {freeze: none}", tmp_path).model.freeze == "none"


def test_value_outside_the_choices_is_refused_with_the_nearest(tmp_path: Path) -> None:
    message = error_of("optim: {schedule: cosin}", tmp_path)
    assert message.startswith("a.yml: optim.schedule: 'cosin' is none of linear, cosine")
    assert message.endswith(": did you mean cosine?")
    assert error_of("model: {attn_implementation: fast}", tmp_path).startswith("a.yml: model.attn_implementation: ")
    assert load("model: {attn_implementation: null}", tmp_path).model.attn_implementation is None


def test_value_out_of_range_names_the_file_and_key(tmp_path: Path) -> None:
    message = error_of("batch: {batch_size: 0}", tmp_path)
    assert message == "a.yml: batch.batch_size: 0 is out of range: it must be at least 1"


def test_differences_are_named_by_full_key_and_leave_out_free_fields() -> None:
    a, b = ExperimentArgs(), ExperimentArgs()
    assert differing_fields(a, b) == []
    b.optim.learning_rate = 1.0
    b.run.name = "other"
    b.checkpoint.extra_steps = [3]
    changed = [ChangedField("optim.learning_rate", 1e-4, 1.0), ChangedField("checkpoint.extra_steps", [], [3])]
    assert differing_fields(a, b) == changed
    assert differing_fields(a, b, ignore_free=False) == [ChangedField("run.name", "", "other"), *changed]


def test_texts_that_were_moved_are_the_same_texts(tmp_path: Path) -> None:
    a, moved, other, renamed = (
        load(f"data: {{train: [{texts}], exclude: ['{folder}/test.txt']}}", tmp_path)
        for folder, texts in (
            ("/old", "/old/news.txt:0.7, b=/old/books.jsonl:0.3:limit=9"),
            ("/new", "/new/news.txt:0.7, {path: /new/books.jsonl, name: b, weight: 0.3, limit: 9}"),
            ("/new", "/new/news.txt:0.7, b=/new/books.jsonl:0.4:limit=9"),
            ("/new", "/new/papers.txt:0.7, b=/new/books.jsonl:0.3:limit=9"),
        )
    )
    assert differing_fields(a, moved) == []
    assert [d.key for d in differing_fields(a, moved, ignore_free=False)] == ["data.train", "data.exclude"]
    assert (
        [d.key for d in differing_fields(a, other)] == [d.key for d in differing_fields(a, renamed)] == ["data.train"]
    )


def test_lists_of_two_configurations_are_their_own() -> None:
    load_config([]).checkpoint.extra_steps.append(1)
    assert load_config([]).checkpoint.extra_steps == []


@pytest.mark.parametrize("text", ["\x85", "a\u2028b", "é ü", "\ufeff", "\x00"])
def test_characters_that_end_a_line_in_yaml_are_kept(text: str, tmp_path: Path) -> None:
    args = ExperimentArgs()
    args.tracking.wandb_group = text
    (tmp_path / "config.yml").write_text(dump_config(args), encoding="utf-8")
    assert load_config([tmp_path / "config.yml"]) == args
