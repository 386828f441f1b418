"""Questions: windows over a context, losses of the plain model, the likeliest span of all, SQuAD's own scores."""

import json
import random
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from tokenizers import processors
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from dlib.args import ObjectiveArgs
from dlib.data.samples import Sample
from dlib.data.token_roles import token_roles
from dlib.data.token_store import TokenStore, build_token_store
from dlib.generation.answering_questions import read_line
from dlib.objectives import build_objective
from dlib.objectives.answer_spans import Found, find_spans, score_answers, squad_scores
from dlib.objectives.answer_windows import QuestionRows
from dlib.objectives.question_answering import QuestionAnswering, stands_at
from dlib.process.errors import UserError
from dlib.runs.folder import RunFolder
from dlib.runs.metrics_log import read_metrics
from tests.asking import generate
from tests.exactness.comparing import differences
from tests.exactness.faults import Fault
from tests.launching import SMALL_MODEL, Place, train
from tests.objectives.dealing import evaluated_by
from tests.toys import SIZES, remove_dropout, train_wordpiece

KINDS = ("red", "old", "quiet", "warm", "empty")
FILLER = "the keeper walked around a bridge and painted her letter while it rained".split()


def question(number: int, longest: int = 30) -> dict[str, Any]:
    """A question whose answer is the word after "is"; every fourth has none."""
    draw = random.Random(number)
    before, after = (" ".join(draw.choices(FILLER, k=draw.randint(2, longest))) for _ in range(2))
    word, is_there = draw.choice(KINDS), number % 4 < 3
    context = f"{before} {'is ' * is_there}{word} {after}"
    answers = {"text": [word], "answer_start": [len(before) + 4]}
    empty: dict[str, list[Any]] = {"text": [], "answer_start": []}
    return {"id": str(number), "question": "What is it?", "context": context, "answers": answers if is_there else empty}


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    """BERT-like, with its way of joining pairs."""
    made = train_wordpiece()
    special = [(token, made.convert_tokens_to_ids(token)) for token in ("[CLS]", "[SEP]")]
    pair = "[CLS] $A [SEP] $B:1 [SEP]:1"
    made.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair=pair, special_tokens=special
    )
    return made


Build = Callable[..., TokenStore]


@pytest.fixture
def build(tmp_path: Path, tokenizer: PreTrainedTokenizerFast) -> Build:
    """Builds the store of questions."""

    def build_store(questions: Sequence[dict[str, Any]]) -> TokenStore:
        file = tmp_path / "questions.jsonl"
        file.write_text("".join(json.dumps(record) + "\n" for record in questions))
        return build_token_store(
            file,
            tokenizer,
            separator_id=token_roles(tokenizer).separator_id,
            cache_dir=tmp_path / "cache",
            columns=QuestionAnswering.columns,
            processes=1,
        )

    return build_store


def objective_of(tokenizer: PreTrainedTokenizerFast, **args: Any) -> QuestionAnswering:
    roles = token_roles(tokenizer)
    objective = build_objective(ObjectiveArgs(objective="question_answering", **args), roles, tokenizer)
    assert isinstance(objective, QuestionAnswering)
    return objective


def model_of(tokenizer: PreTrainedTokenizerFast, dtype: torch.dtype = torch.float32) -> PreTrainedModel:
    """A BERT drawn anew, of 128 positions."""
    config = transformers.BertConfig(
        **SIZES, vocab_size=len(tokenizer), max_position_embeddings=128, pad_token_id=tokenizer.pad_token_id
    )
    remove_dropout(config)
    torch.manual_seed(1)
    model: PreTrainedModel = transformers.AutoModelForQuestionAnswering.from_config(config)
    return model.to(dtype).eval()  # type: ignore[arg-type]


def samples_of(rows: QuestionRows, *key: str) -> list[Sample]:
    return [rows.sample(index, (*key, index)) for index in range(len(rows))]


@pytest.mark.parametrize(("max_length", "stride"), [(64, 16), (64, 1000), (128, 24), (40, 1)])
def test_windows_overlap_by_the_stride_and_leave_no_token_out(
    build: Build, tokenizer: PreTrainedTokenizerFast, max_length: int, stride: int
) -> None:
    store = build([question(number) for number in range(7)])
    rows = objective_of(tokenizer, context_stride=stride).rows(store, max_length)
    samples = samples_of(rows)
    lengths = [sample.num_tokens for sample in samples]
    assert rows.num_tokens == sum(lengths)
    assert rows.lengths(2, 5).tolist() == [[length] for length in lengths[2:5]]
    for document in range(store.num_documents):
        own = [sample for sample in samples if sample.fields["document"] == document]
        whole, offsets = store.segment(document, 1), store.character_offsets("context", document)
        width = max_length - 3 - len(store.segment(document, 0))
        read: list[int] = []
        for number, sample in enumerate(own):
            assert sample.num_tokens <= max_length
            start = number * min(stride, width // 2)
            context = sample.sequences[1][:-1]
            assert context.tolist() == whole[start : start + width].tolist()
            assert sample.offsets["context"].tolist() == offsets[start : start + width].tolist()
            read.extend(range(start, start + len(context)))
        assert {*read} == {*range(len(whole))}
        assert len(own) == 1 or len(whole) > width


def test_a_row_is_what_the_tokenizer_makes_of_a_pair(build: Build, tokenizer: PreTrainedTokenizerFast) -> None:
    record = question(1, longest=5)
    objective = objective_of(tokenizer)
    [sample] = samples_of(objective.rows(build([record]), 128))
    batch = objective.collate([sample])
    encoded = tokenizer(record["question"], record["context"], return_token_type_ids=True)
    assert batch["input_ids"][0].tolist() == encoded["input_ids"]
    assert batch["token_type_ids"][0].tolist() == encoded["token_type_ids"]
    first, last = int(batch["starts"][0]), int(batch["ends"][0])
    assert tokenizer.decode(batch["input_ids"][0][first : last + 1]) == record["answers"]["text"][0]


def test_a_window_without_the_answer_points_at_its_first_token(
    build: Build, tokenizer: PreTrainedTokenizerFast
) -> None:
    objective = objective_of(tokenizer, context_stride=8)
    samples = samples_of(objective.rows(build([question(0), question(3)]), 48))
    batch = objective.collate(samples)
    for sample, first in zip(samples, batch["starts"].tolist(), strict=True):
        answers, offsets = sample.fields["answers"], sample.offsets["context"]
        start = answers["answer_start"][0] if answers["text"] else -1
        is_there = offsets[0, 0] <= start and start + len("".join(answers["text"])) <= offsets[-1, 1]
        assert (first > 0) == is_there
    assert 0 < int((batch["starts"] > 0).sum()) < len(samples)


@torch.no_grad()
def test_the_loss_is_that_of_the_plain_model(build: Build, tokenizer: PreTrainedTokenizerFast) -> None:
    objective, model = objective_of(tokenizer, context_stride=16), model_of(tokenizer)
    samples = samples_of(objective.rows(build([question(number) for number in range(6)]), 64))

    def plain(own: Sequence[Sample]) -> float:
        batch = objective.collate(own)
        names = {"starts": "start_positions", "ends": "end_positions"}
        found: Any = model(**{names.get(name, name): tensor for name, tensor in batch.items()})
        return float(found.loss) * len(own)

    full = [sample for sample in samples if sample.num_tokens == 64]
    assert len(full) > 2
    assert float(objective.loss_sum(model, objective.collate(full))) == pytest.approx(plain(full), rel=1e-5)
    alone = sum(plain([sample]) for sample in samples)  # a padded row is none other for its padding
    assert float(objective.loss_sum(model, objective.collate(samples))) == pytest.approx(alone, rel=1e-5)
    rows = objective.row_losses(model, objective.collate(samples))
    assert rows.tolist() == pytest.approx([plain([sample]) for sample in samples], rel=1e-4)


@pytest.mark.parametrize("most", [1, 3, 50])
def test_the_span_is_the_likeliest_of_all_that_are_short_enough(most: int) -> None:
    draw = torch.Generator().manual_seed(most)
    starts, ends = (torch.randn(20, 16, generator=draw, dtype=torch.float64) for _ in range(2))
    bounds = [(2 + row % 3, 10 + row % 6) for row in range(20)]
    for row, span in enumerate(find_spans(starts, ends, bounds, most)):
        first, stop = bounds[row]
        pairs = [(i, j) for i in range(first, stop) for j in range(i, min(stop, i + most))]
        best = max(pairs, key=lambda pair: float(starts[row, pair[0]] + ends[row, pair[1]]))
        assert (span.first + first, span.last + first) == best
        assert span.score == pytest.approx(float(starts[row, best[0]] + ends[row, best[1]]))
        chances = starts[row].softmax(0)[best[0]] * ends[row].softmax(0)[best[1]]
        assert span.probability == pytest.approx(float(chances))


def test_scores_are_squads_own_over_the_windows_of_a_question() -> None:
    from torchmetrics.functional.text.squad import squad

    found = [
        Found(0, "a wrong one", 1.0, 0.0, ["the red Bridge", "bridge"]),
        Found(0, "red bridge!", 2.0, 3.0, ["the red Bridge", "bridge"]),
        Found(1, "old letter", 2.0, 1.0, ["letter"]),
        Found(2, "loud", 1.0, 2.0, []),
        Found(2, "quiet", 1.5, 4.0, []),
        Found(3, "cold", 3.0, 2.0, []),
    ]
    given = ["red bridge!", "old letter", "", "cold"]
    right = [["the red Bridge", "bridge"], ["letter"], [""], [""]]
    wanted = squad(
        [{"id": str(number), "prediction_text": text} for number, text in enumerate(given)],
        [{"id": str(n), "answers": {"text": texts, "answer_start": []}} for n, texts in enumerate(right)],
    )
    scores = score_answers(found, may_lack=True)
    assert {name: scores[name] for name in wanted} == pytest.approx({name: float(wanted[name]) for name in wanted})
    assert scores["exact_match"] == 50
    assert scores["f1_unanswerable"] == 50
    assert scores["f1_answerable"] == pytest.approx(100 * (1 + 2 / 3) / 2)
    assert score_answers(found[:3], may_lack=False) == pytest.approx({"exact_match": 50, "f1": 250 / 3})


def test_scores_of_many_questions_are_summed_without_loss() -> None:
    found = squad_scores([("red cat", ["cat red dog"]), ("cat", ["cat red dog"]), ("dog", ["dog"])] * 3000)
    assert found == {"exact_match": pytest.approx(100 / 3, rel=1e-9), "f1": pytest.approx(100 * 2.3 / 3, rel=1e-7)}


@pytest.mark.oldest
def test_one_and_two_processes_evaluate_alike_with_any_batch_size(
    build: Build, tokenizer: PreTrainedTokenizerFast
) -> None:
    objective, model = objective_of(tokenizer, context_stride=16), model_of(tokenizer, torch.float64)
    rows = objective.rows(build([question(number) for number in range(9)]), 64)
    alone = evaluated_by(1, objective, model, rows)
    assert alone == evaluated_by(2, objective, model, rows)
    assert alone == pytest.approx(evaluated_by(1, objective, model, rows, batch_size=1))
    assert {*alone} == {"loss", "exact_match", "f1", "f1_answerable", "f1_unanswerable"}


@pytest.mark.parametrize(
    ("answers", "told"),
    [
        ({"text": ["red"], "answer_start": [0]}, '"red" does not stand at that character of the context'),
        ({"text": [" "], "answer_start": [3]}, '" " does not stand at that character of the context'),
        ({"text": [3], "answer_start": [0]}, "lists of one length"),
        ({"text": ["red"], "answer_start": []}, "lists of one length"),
        (["red"], "lists of one length"),
    ],
)
def test_answers_that_are_not_there_are_told_before_training(
    build: Build, tokenizer: PreTrainedTokenizerFast, answers: Any, told: str
) -> None:
    store = build([question(0), {**question(1), "answers": answers}])
    with pytest.raises(UserError, match=f'^key "answers": .*{told}'):
        objective_of(tokenizer).check(store, 1)


def test_an_answer_does_not_stand_before_its_context() -> None:
    assert [stands_at("Ada", start, "x Ada y") for start in (2, -5, 1)] == [True, False, False]


def test_a_question_without_an_answer_lets_the_model_give_none(
    build: Build, tokenizer: PreTrainedTokenizerFast
) -> None:
    for numbers, may_lack in (((0, 1), False), ((0, 3), True)):
        objective, again = objective_of(tokenizer), objective_of(tokenizer)
        store = build([question(number) for number in numbers])
        objective.study(store, store)
        again.recall(transformers.BertConfig(**objective.config_changes))
        assert objective.may_lack == again.may_lack == may_lack


def test_a_line_is_json_or_has_a_tab() -> None:
    assert read_line("Who?\tShe did.", 1) == ("Who?", "She did.")
    assert read_line('{"question": "Who?", "context": "She\\tdid."}', 1) == ("Who?", "She\tdid.")
    for line in ("Who?", '{"question": "Who?"}', "{"):
        with pytest.raises(UserError, match="line 7: write"):
            read_line(line, 7)


def test_rows_need_room_for_a_question_and_a_context(build: Build, tokenizer: PreTrainedTokenizerFast) -> None:
    with pytest.raises(UserError, match="--max_length 4 leaves no room for a question; give at least 5"):
        objective_of(tokenizer).rows(build([question(0)]), 4)


@pytest.mark.slow
def test_a_killed_run_goes_on_bitwise_learns_and_is_asked(place: Place, tmp_path: Path) -> None:
    for name, numbers in (("train", range(600)), ("dev", range(600, 660))):
        lines = (json.dumps(question(number)) + "\n" for number in numbers)
        (tmp_path / f"{name}.jsonl").write_text("".join(lines))

    def run(name: str, fault: Fault | None = None) -> RunFolder:
        words = place.arguments(name, "-d", str(tmp_path), "--objective", "question_answering")
        model = ("--model_overrides", *SMALL_MODEL, "hidden_dropout_prob=0.0")
        goal = ("--training_goal", "400", "--eval_interval", "200", "--save_interval", "200", "--max_checkpoints", "-1")
        sizes = ("-b", "16", "--micro_batch_size", "16", "--context_stride", "8", "--learning_rate", "3e-3")
        result = train([*words, *model, *goal, *sizes], tmp_path, fault=fault)
        assert result.status == (-signal.SIGKILL if fault else 0), result.stderr
        return place.folder(name)

    undisturbed = run("undisturbed")
    run("killed", Fault("inside weights", 2, str(place.runs)))
    assert differences(run("killed"), undisturbed) == []
    assert read_metrics(undisturbed.metrics)[-1]["dev/f1"] > 90
    asked_lines = (
        b'What is it?\tthe bridge is quiet while it rained\n\n{"question": "What is it?", "context": "her letter"}\n'
    )
    asked = generate([str(undisturbed.root), "--accelerator", "cpu"], asked_lines, tmp_path)
    assert asked.stdout == "quiet\n\n\n"
