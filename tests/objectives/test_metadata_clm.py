"""Metadata: what is written where, drawn by key, never a target; all tokens of a text are, whatever is drawn."""

import json
import signal
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from dlib.args import ObjectiveArgs
from dlib.data.mixture import MixedRows
from dlib.data.samples import Sample
from dlib.data.token_roles import token_roles
from dlib.data.token_store import TokenStore, build_token_store
from dlib.models.tokenization import add_tokens
from dlib.objectives import build_objective
from dlib.objectives.metadata_clm import MetadataLanguageModeling
from dlib.objectives.metadata_rows import MetadataRows, choose
from dlib.process.errors import UserError
from dlib.runs.folder import RunFolder
from dlib.runs.metrics_log import read_metrics
from tests.asking import generate
from tests.exactness.comparing import differences
from tests.exactness.faults import Fault
from tests.launching import Place, train
from tests.objectives.dealing import evaluated_by
from tests.toys import remove_dropout, train_gpt2_like

TEXT = "Ada Lovelace knows many words, and the quick brown fox jumps over the lazy dog."
RECORD = {
    "text": TEXT,
    "url": "example.org",
    "year": 1843,
    "names": [{"start": 0, "end": 12, "value": "person"}, {"start": 4, "end": 12, "value": "family"}],
}
FIELDS = {"metadata_fields": ["url", "year"], "metadata_span_fields": ["names"]}
Build = Callable[..., tuple[MetadataLanguageModeling, TokenStore]]


@pytest.fixture
def build(tmp_path: Path) -> Build:
    """Builds the objective, and the store of documents."""

    def build_both(
        documents: Sequence[dict[str, Any]] = (RECORD,), **args: Any
    ) -> tuple[MetadataLanguageModeling, TokenStore]:
        tokenizer = train_gpt2_like()
        settings = ObjectiveArgs(objective="metadata_clm", **{**FIELDS, **args})
        add_tokens(tokenizer, MetadataLanguageModeling.special_tokens_of(settings))
        objective = build_objective(settings, token_roles(tokenizer), tokenizer)
        assert isinstance(objective, MetadataLanguageModeling)
        file = tmp_path / "documents.jsonl"
        file.write_text("".join(json.dumps(document) + "\n" for document in documents))
        store = build_token_store(
            file,
            tokenizer,
            separator_id=objective.roles.separator_id,
            cache_dir=tmp_path / "cache",
            columns=objective.columns_of(settings),
            processes=1,
        )
        return objective, store

    return build_both


def model_of(tokenizer: PreTrainedTokenizerFast, dtype: torch.dtype = torch.float32) -> PreTrainedModel:
    config = transformers.GPT2Config(
        vocab_size=len(tokenizer), n_embd=16, n_layer=2, n_head=2, n_positions=256, pad_token_id=0
    )
    remove_dropout(config)
    torch.manual_seed(1)
    model: PreTrainedModel = transformers.AutoModelForCausalLM.from_config(config)
    return model.to(dtype).eval()  # type: ignore[arg-type]


def samples_of(rows: MetadataRows, *key: int | str) -> list[Sample]:
    return [rows.sample(index, (*key, index)) for index in range(len(rows))]


def written(objective: MetadataLanguageModeling, sample: Sample, place: int = 0) -> str:
    """A row as text."""
    return str(objective.tokenizer.decode(sample.sequences[place], clean_up_tokenization_spaces=False))


END = "<|endoftext|>"


@pytest.mark.parametrize(
    ("args", "wanted"),
    [
        ({}, f"url: example.org|year: 1843|<person>Ada <family>Lovelace</family></person>{TEXT[12:]}"),
        ({"metadata_span_fields": []}, f"url: example.org|year: 1843|{TEXT}"),
        (
            {
                "metadata_fields": ["year"],
                "metadata_template": "<{value}",
                "metadata_separator": "> ",
                "metadata_span_template": "{text} [{name}={value}]",
            },
            f"<1843> Ada Lovelace [names=family] [names=person]{TEXT[12:]}",
        ),
        ({"metadata_length": 1}, TEXT),
    ],
)
def test_metadata_is_written_before_and_into_the_text(build: Build, args: dict[str, Any], wanted: str) -> None:
    objective, store = build(**args, **({} if "metadata_length" in args else {"metadata_length": 100}))
    [sample] = samples_of(objective.rows(store, 300), "evaluation")
    assert written(objective, sample) == f"{END}{wanted}{END}"
    assert written(objective, sample, 1) == f"{END}{TEXT}{END}"


def test_a_value_that_is_too_long_is_cut_and_the_next_left_out(build: Build) -> None:
    document = {"text": "words", "url": "x" * 50, "year": 5}
    objective, store = build([document], metadata_length=12)
    [sample] = samples_of(objective.rows(store, 60), "evaluation")
    assert written(objective, sample).startswith(f"{END}url: x")
    assert written(objective, sample).endswith(f"x|words{END}")
    assert len(sample.sequences[0]) == len(sample.sequences[1]) + 12


def test_words_of_templates_become_single_tokens_where_that_is_asked(build: Build) -> None:
    special = ["<person>", "</person>"]
    objective, store = build(metadata_special_tokens=special, metadata_length=100)
    [sample] = samples_of(objective.rows(store, 300), "evaluation")
    ids = sample.ids.tolist()
    assert [ids.count(objective.tokenizer.convert_tokens_to_ids(token)) for token in special] == [1, 1]


@pytest.mark.parametrize("max_length", [20, 37, 300])
def test_each_token_of_a_text_is_a_target_once_whatever_is_drawn(build: Build, max_length: int) -> None:
    documents = [RECORD, {"text": "words"}, {**RECORD, "url": "u" * 30}, {"text": "", "year": 7}]
    objective, store = build(documents)
    rows = objective.rows(store, max_length)
    for seed in range(3):
        samples = samples_of(rows, seed, 0)
        targets = [target for sample in samples for target in objective.prepare(sample)[2].tolist()]
        assert targets == store.tokens.tolist()
        assert [objective.weight(sample) for sample in samples] == [len(objective.prepare(s)[2]) for s in samples]
        lengths = [sample.num_tokens for sample in samples]
        assert (lengths <= rows.lengths(0, len(rows))[:, 0]).all()
        assert rows.lengths(0, len(rows)).max() <= max_length
    assert rows.num_tokens == len(targets) + len(rows)


def test_what_is_drawn_depends_on_the_key_alone_and_on_the_weights() -> None:
    args = ObjectiveArgs(metadata_probability=0.5, metadata_weights={"a": 3.0, "c": 0.0})
    drawn = [tuple(choose(args, ["a", "b", "c"], (1, 0, number))) for number in range(4000)]
    assert drawn == [tuple(choose(args, ["a", "b", "c"], (1, 0, number))) for number in range(4000)]
    shares = {fields: count / 4000 for fields, count in Counter(drawn).items()}
    # Half have none; of the others half have one field, three times out of four the likelier.
    assert shares == pytest.approx({(): 0.5, ("a", "b"): 0.25, ("a",): 0.1875, ("b",): 0.0625}, abs=0.03)
    every = ObjectiveArgs(metadata_probability=1.0)
    assert choose(every, ["a", "b"], (1, 0, 5)) == ["a", "b"]
    assert choose(every, [], (1, 0, 5)) == []


def test_all_rows_of_a_document_have_what_was_drawn_for_it_in_the_epoch(build: Build) -> None:
    documents = [{"text": TEXT * 3, "url": "u", "year": number} for number in range(12)]
    objective, store = build(documents, metadata_span_fields=[], metadata_weights={"url": 2.0})
    rows = objective.rows(store, 60)
    assert len(rows) >= 3 * len(documents)
    mixed = MixedRows(("a", "b"), (rows, rows))
    drawn: dict[tuple[int, int, int], set[tuple[bool, ...]]] = {}
    for epoch in range(4):
        for number in range(len(mixed)):
            text = mixed.text_of(number)
            document = int(np.searchsorted(rows._first_rows, number - text * len(rows), side="right")) - 1
            row = written(objective, mixed.sample(number, (1, epoch, number)))
            place = drawn.setdefault((text, document, epoch), set())
            place.add(tuple(f"{name}: " in row for name in objective.names))
    assert {len(of_one) for of_one in drawn.values()} == {1}
    alike = [sum(drawn[0, n, 0] == drawn[text, n, epoch] for n in range(12)) for text, epoch in ((0, 1), (1, 0))]
    assert max(alike) < 12, "each epoch, and each text, has draws of its own"
    assert len({next(iter(of_one)) for of_one in drawn.values()}) == 4


@torch.no_grad()
def test_the_loss_is_that_of_the_plain_model_with_metadata_left_out_of_its_labels(build: Build) -> None:
    objective, store = build([RECORD, {"text": "Few words", "year": 7}] * 3, metadata_length=60)
    model = model_of(objective.tokenizer)
    samples = samples_of(objective.rows(store, 200), 1, 0)
    batch = objective.collate(samples)
    labels = torch.full_like(batch["input_ids"], -100)
    for row, sample in enumerate(samples):
        is_text = torch.from_numpy(sample.fields["is_text"][0])
        labels[row, : len(is_text)] = torch.from_numpy(sample.ids).where(is_text, -100)
    found: Any = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], labels=labels)
    count = sum(map(objective.weight, samples))
    assert float(objective.loss_sum(model, batch)) / count == pytest.approx(float(found.loss), rel=1e-5)
    assert any(len(sample.ids) > objective.weight(sample) + 1 for sample in samples)


@pytest.mark.oldest
@torch.no_grad()
def test_an_evaluation_has_each_row_with_and_without_and_the_rows_with_a_field(build: Build) -> None:
    documents = [RECORD, {"text": "Few words", "year": 7}, {"text": "No metadata stands here."}, RECORD]
    objective, store = build(documents, metadata_length=60)
    rows, model = objective.rows(store, 200), model_of(objective.tokenizer, torch.float64)
    alone = evaluated_by(1, objective, model, rows, batch_size=2)
    assert alone == evaluated_by(2, objective, model, rows, batch_size=2)

    def mean_loss(place: int, numbers: Sequence[int]) -> float:
        samples = [rows.sample(number, ("evaluation", number)) for number in numbers]
        own = [Sample((s.sequences[place],), {"is_text": s.fields["is_text"][place:][:1]}) for s in samples]
        return float(objective.loss_sum(model, objective.collate(own))) / sum(map(objective.weight, own))

    wanted = {
        "loss": mean_loss(0, range(4)),
        "loss_without_metadata": mean_loss(1, range(4)),
        "loss_with_url": mean_loss(0, [0, 3]),
        "loss_with_year": mean_loss(0, [0, 1, 3]),
        "loss_with_names": mean_loss(0, [0, 3]),
    }
    assert {name: alone[name] for name in wanted} == pytest.approx(wanted)
    assert wanted["loss"] != pytest.approx(wanted["loss_without_metadata"])


@pytest.mark.parametrize(
    ("args", "told"),
    [
        ({"metadata_fields": [], "metadata_span_fields": []}, "needs --metadata_fields"),
        ({"metadata_fields": ["ulr"]}, "no document of the training text has the key ulr"),
        ({"metadata_template": "{key}: {value}"}, "--metadata_template {key}: {value}: write {name} and {value}"),
        ({"metadata_template": "{value"}, "--metadata_template {value: "),
        ({"metadata_span_template": "<{value}>"}, "--metadata_span_template <{value}>: write {name} and {text}"),
        ({"metadata_span_fields": ["url"]}, 'key "url": write a list of'),
        ({"metadata_length": 40}, "--max_length 40 leaves no room for text"),
    ],
)
def test_what_cannot_be_is_told_before_training(build: Build, args: dict[str, Any], told: str) -> None:
    def prepare() -> None:
        objective, store = build(**args)
        objective.rows(store, 40)
        objective.study(store, store)
        objective.check(store, 0)

    with pytest.raises(UserError) as error:
        prepare()
    assert told in str(error.value)


@pytest.mark.slow
def test_a_killed_run_goes_on_bitwise_and_has_learned_what_metadata_says(place: Place, tmp_path: Path) -> None:
    words = {"sea": "wave ship harbour sail salt", "wood": "tree leaf moss deer path"}
    for name, count in (("train", 400), ("dev", 40)):
        sites = [[*words][number % 2] for number in range(count)]
        documents = [
            {"text": " ".join(sorted(words[site].split(), key=lambda word: (len(word) * number) % 7)), "site": site}
            for number, site in enumerate(sites)
        ]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(document) + "\n" for document in documents))

    def run(name: str, fault: Fault | None = None) -> RunFolder:
        words = place.arguments(name, "-d", str(tmp_path), "--objective", "metadata_clm", "--metadata_fields", "site")
        model = ("--model", "configs/models/gpt2-tiny", "--model_overrides", "n_embd=32", "n_layer=2")
        goal = ("--training_goal", "200", "--eval_interval", "100", "--save_interval", "100", "--max_checkpoints", "-1")
        result = train([*words, *model, *goal, "--micro_batch_size", "8"], tmp_path, fault=fault)
        assert result.status == (-signal.SIGKILL if fault else 0), result.stderr
        return place.folder(name)

    undisturbed = run("undisturbed")
    run("killed", Fault("inside weights", 2, str(place.runs)))
    assert differences(run("killed"), undisturbed) == []
    last = read_metrics(undisturbed.metrics)[-1]
    assert last["dev/loss"] < last["dev/loss_without_metadata"] - 0.02
    asked = generate([str(undisturbed.root), "--accelerator", "cpu"], b"site: sea|\nsite: wood|\n", tmp_path)
    first, second = (line.partition("|")[2].split() for line in asked.stdout.splitlines())
    assert {*first[:2]} <= {*words["sea"].split()}
    assert {*second[:2]} <= {*words["wood"].split()}
