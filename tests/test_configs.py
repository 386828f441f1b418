"""What is shipped works: every configuration parses and plans, every model's shape builds and has its positions."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from dlib.args import ExperimentArgs
from dlib.config.configuration import load_config
from dlib.models.head import Head
from dlib.models.limits import max_positions
from dlib.models.loading import build_meta_model
from dlib.models.tokenization import load_tokenizer, trained_tokenizer_folder
from dlib.process.errors import UserError
from dlib.process.versions import MODEL_TYPES, has
from tests.launching import ROOT, Place, train

pytestmark = pytest.mark.oldest

CONFIGS = sorted((ROOT / "configs").glob("*.yml"))
MODELS = sorted(path.parent for path in (ROOT / "configs" / "models").glob("*/config.json"))
KNOWN = [
    folder
    for folder in MODELS
    if has(MODEL_TYPES.get(json.loads((folder / "config.json").read_text())["model_type"], {}))
]
"""Those that the installed transformers knows."""
OBJECTIVES = {
    "ForMaskedLM": "mlm",
    "ForCausalLM": "clm",
    "LMHeadModel": "clm",
    "ElectraForPreTraining": "replaced_token_detection",
    "ForConditionalGeneration": "seq2seq",
    "MarianMTModel": "seq2seq",
}
AUTO_MODELS = {
    "mlm": "AutoModelForMaskedLM",
    "clm": "AutoModelForCausalLM",
    "replaced_token_detection": "AutoModelForPreTraining",
    "seq2seq": "AutoModelForSeq2SeqLM",
}
SHAPES = {
    "mlm": "configs/models/roberta-tiny",
    "clm": "configs/models/gpt2-tiny",
    "question_answering": "configs/models/roberta-tiny",
    "sequence_classification": "configs/models/roberta-tiny",
    "token_classification": "configs/models/roberta-tiny",
    "multiple_choice": "configs/models/roberta-tiny",
}
LINES: dict[str, list[dict[str, Any]]] = {
    "metadata_clm": [{"text": "Ada painted the bridge.", "url": "example.org", "timestamp": 1843}],
    "question_answering": [
        {
            "question": "Who painted it?",
            "context": "Ada painted the bridge.",
            "answers": {"text": ["Ada"], "answer_start": [0]},
        }
    ],
    "sequence_classification": [{"text": "So.", "label": "a"}, {"text": "No.", "label": "b"}],
    "token_classification": [{"tokens": ["So", "it", "is"], "labels": [0, 1, 1]}],
    "multiple_choice": [{"question": "Why?", "choices": ["So.", "No."], "label": 1}],
    "seq2seq": [{"source": "Ein Hund läuft.", "target": "A dog runs."}],
}
"""Lines of the text of objectives that read more than texts."""


def name_of(path: Path) -> str:
    """How a test is called."""
    return path.name


def objective_of(folder: Path) -> str:
    """The objective that a model's architecture is for."""
    (architecture,) = json.loads((folder / "config.json").read_text())["architectures"]
    return next(objective for ending, objective in OBJECTIVES.items() if architecture.endswith(ending))


def test_something_is_shipped() -> None:
    assert CONFIGS
    assert {objective_of(folder) for folder in MODELS} == {*AUTO_MODELS}


@pytest.mark.parametrize("path", CONFIGS, ids=name_of)
def test_a_shipped_configuration_parses_and_plans(path: Path, place: Place, tmp_path: Path) -> None:
    args = load_config([path])
    folder = place.data
    if lines := LINES.get(args.objective.objective):
        folder = tmp_path / "data"
        folder.mkdir()
        for name in ("train", "dev"):
            (folder / f"{name}.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines * 200))
    data = ["-d", str(folder), "--cache_dir", str(place.cache), "--out_dir", str(place.runs)]
    flags = ["--config_path", str(path), "-n", "planned", *data, "--accelerator", "cpu", "--offline", "--plan"]
    if not (ROOT / args.model.model).is_dir():  # a name on the hub, which no test may ask
        flags += ["--model", SHAPES[args.objective.objective], "--from_scratch"]
    result = train(flags, tmp_path)
    assert result.status == 0, result.stderr
    assert "optimizer steps" in result.stdout + result.stderr
    assert not place.runs.exists()


@pytest.fixture(scope="module")
def arguments(session_place: Place) -> ExperimentArgs:
    """Those of a model from scratch with a tokenizer trained on the small text."""
    args = ExperimentArgs()
    return replace(
        args,
        data=replace(args.data, cache_dir=str(session_place.cache)),
        model=replace(args.model, from_scratch=True, vocab_size=400),
    )


@pytest.mark.parametrize("folder", KNOWN, ids=name_of)
def test_a_shipped_shape_builds_and_refuses_rows_beyond_its_positions(
    folder: Path, arguments: ExperimentArgs, session_place: Place
) -> None:
    head = Head(AUTO_MODELS[objective_of(folder)])
    tokenizer_folder = trained_tokenizer_folder(arguments, session_place.data / "train.txt", open_ended=False)
    tokenizer = load_tokenizer(str(tokenizer_folder), "--tokenizer", trust_remote_code=False)
    model = build_meta_model(arguments, str(folder), tokenizer, head)
    assert type(model).__name__ == json.loads((folder / "config.json").read_text())["architectures"][0]
    limit = max_positions(model)
    if limit is None:
        assert type(model).__name__.startswith("T5"), "it has relative positions, and no limit"
        return
    assert limit >= 512
    longer = replace(arguments, data=replace(arguments.data, max_length=limit + 1))
    with pytest.raises(UserError, match=f"has {limit} positions"):
        build_meta_model(longer, str(folder), tokenizer, head)


@pytest.mark.parametrize("folder", [folder for folder in KNOWN if folder.name.endswith("-tiny")], ids=name_of)
def test_a_tiny_shape_reads_a_row_of_all_its_positions(folder: Path) -> None:
    config = transformers.AutoConfig.from_pretrained(folder)
    model = getattr(transformers, AUTO_MODELS[objective_of(folder)]).from_config(config).eval()
    limit = max_positions(model) or 512
    ids = torch.full((1, limit), 7)
    with torch.no_grad():
        logits = model(input_ids=ids, **({"decoder_input_ids": ids} if config.is_encoder_decoder else {})).logits
    assert logits.shape[:2] == (1, limit)
    assert torch.isfinite(logits).all()
