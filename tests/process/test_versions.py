"""What the installed versions cannot do is refused in one line that names the flag and both versions."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForMaskedLM, RobertaConfig

from dlib.args import DataArgs, ExperimentArgs, ModelArgs
from dlib.models.hub import explain_loading
from dlib.models.tokenization import trained_tokenizer_folder
from dlib.process.errors import UserError
from dlib.process.versions import (
    MODEL_TYPES,
    dtype_option,
    explain_model_type,
    has,
    missing,
    parse_release,
    refuse_missing,
    refuse_missing_attention,
    refuse_unread_fields,
    release,
)
from dlib.training.optimizers import has_fused_kernel
from tests.launching import ROOT, Place, train
from tests.toys import BERT_SIZES

pytestmark = pytest.mark.oldest
Pretend = Callable[..., None]


@pytest.fixture
def pretend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pretend]:
    """Has packages stand before the installed ones with other versions, by what Python itself reads them from."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    def stand_before(**versions: str) -> None:
        for name, version in versions.items():
            information = tmp_path / f"{name}-{version}.dist-info"
            information.mkdir()
            (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        release.cache_clear()

    yield stand_before
    release.cache_clear()


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("2.0.1", (2, 0, 1)),
        ("2.0.1+cu118", (2, 0, 1)),
        ("4.57.0.dev0", (4, 57, 0)),
        ("2.10.0a0+git1", (2, 10, 0)),
        ("5", (5,)),
    ],
)
def test_a_release_is_the_numbers_that_a_version_begins_with(text: str, numbers: tuple[int, ...]) -> None:
    assert parse_release(text) == numbers


def test_versions_are_compared_as_numbers(pretend: Pretend) -> None:
    pretend(torch="2.10.0+cpu", transformers="4.48.0")
    assert has({"torch": "2.9"})
    assert has({"torch": "2.10", "transformers": "4.48"})
    assert missing({"torch": "2.4", "transformers": "4.56"}) == (
        "needs transformers 4.56 or later, and 4.48.0 is installed"
    )


@pytest.mark.parametrize(
    ("kernel", "message"),
    [
        (
            "flash_attention_3",
            "--attn_implementation flash_attention_3 needs transformers 4.53 or later, and 4.38.1 is installed; ",
        ),
        ("flex_attention", "flex_attention needs transformers 4.47 or later"),
        ("sdpa", "sdpa needs torch 2.1.1 or later, and 2.0.1 is installed"),
    ],
)
def test_an_attention_kernel_that_is_not_there_yet_is_refused(pretend: Pretend, kernel: str, message: str) -> None:
    pretend(torch="2.0.1", transformers="4.38.1")
    with pytest.raises(UserError) as refusal:
        refuse_missing(kernel, "adamw", compiles=False)
    assert message in str(refusal.value)


def test_an_optimizer_that_torch_has_not_yet_is_refused(pretend: Pretend) -> None:
    pretend(torch="2.8.0")
    refuse_missing(None, "adafactor", compiles=False)
    with pytest.raises(UserError, match=r"^--optimizer muon needs torch 2\.9 or later, and 2\.8\.0 is installed"):
        refuse_missing(None, "muon", compiles=False)


def test_an_attention_kernel_that_came_later_to_a_shipped_shape_is_refused(pretend: Pretend) -> None:
    pretend(transformers="4.44.0")
    refuse_missing_attention("sdpa", "gpt2")
    refuse_missing_attention("eager", "roberta")
    with pytest.raises(UserError, match=r"sdpa for roberta needs transformers 4\.45 or later, and 4\.44\.0 is"):
        refuse_missing_attention("sdpa", "roberta")


@pytest.mark.parametrize(("python", "refused"), [((3, 10), False), ((3, 11), True), ((3, 12), True)])
def test_compiling_is_refused_where_torch_cannot_on_this_python(
    pretend: Pretend, monkeypatch: pytest.MonkeyPatch, python: tuple[int, int], refused: bool
) -> None:
    monkeypatch.setattr(sys, "version_info", (*python, 1, "final", 0))
    pretend(torch="2.0.1")
    refuse_missing(None, "adamw", compiles=False)
    if not refused:
        refuse_missing(None, "adamw", compiles=True)
        return
    with pytest.raises(UserError, match=rf"--compile on Python 3\.{python[1]} needs torch 2\.\d or later, and 2\.0\.1"):
        refuse_missing(None, "adamw", compiles=True)


def test_a_refusal_is_one_line_with_status_2_at_once(pretend: Pretend, place: Place) -> None:
    pretend(transformers="4.38.1")
    arguments = place.arguments("refused", "--attn_implementation", "flex_attention")
    command = [sys.executable, "-X", "importtime", "train.py", *arguments]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ}, capture_output=True, text=True, timeout=60)
    said = [line for line in done.stderr.splitlines() if not line.startswith("import time:")]
    assert (done.returncode, len(said)) == (2, 1), said
    assert said[0].startswith(
        "error: --attn_implementation flex_attention needs transformers 4.47 or later, and 4.38.1"
    )
    assert not place.runs.exists()
    assert "| torch" not in done.stderr, "nobody waits for a refusal"


def test_an_unknown_model_type_is_told_with_the_version_that_knows_it(pretend: Pretend) -> None:
    pretend(transformers="4.38.1")
    assert explain_model_type("modernbert") == (
        "its model type, modernbert, needs transformers 4.48 or later, and 4.38.1 is installed"
    )
    assert explain_model_type("unheard_of") == (
        "its model type, unheard_of, is none that transformers 4.38.1 knows; a later version may"
    )


@pytest.mark.parametrize("model_type", ["modernbert", "unheard-of"])
def test_a_model_that_the_installed_transformers_does_not_know_is_refused_in_one_line(
    place: Place, tmp_path: Path, model_type: str
) -> None:
    if has(MODEL_TYPES.get(model_type, {"transformers": "1000"})):
        pytest.skip("it knows this one")
    (tmp_path / "config.json").write_text(f'{{"model_type": "{model_type}"}}')
    result = train(place.arguments("refused", "--model", str(tmp_path)), tmp_path / "output")
    assert result.status == 2
    assert result.last_line.startswith(f"error: --model {tmp_path}: its model type, {model_type}, ")
    assert not place.folder("refused").root.exists()


def test_a_configuration_that_would_be_read_in_part_is_refused(pretend: Pretend) -> None:
    pretend(transformers="4.57.1")
    refuse_unread_fields("llama", ["rope_theta", "hidden_size"])
    with pytest.raises(
        UserError, match=r"--model llama: rope_parameters in its config\.json needs transformers 5\.0 or"
    ):
        refuse_unread_fields("llama", ["hidden_size", "rope_parameters"])


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{"transformers_version": "1000.1"}', "; it was written by transformers 1000.1, and "),
        ('{"transformers_version": "4.0"}', ""),
        ("{}", ""),
        ("[]", ""),
        ("no JSON", ""),
    ],
)
def test_a_folder_of_a_later_transformers_that_cannot_be_loaded_is_told_as_such(
    tmp_path: Path, text: str, told: str
) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(UserError) as refusal, explain_loading("--model", str(tmp_path)):
        raise ValueError("Tokenizer class Later does not exist.")
    said = f"--model {tmp_path} cannot be loaded: Tokenizer class Later does not exist{told}"
    assert str(refusal.value).startswith(said)
    assert told or str(refusal.value) == said


def test_a_trained_tokenizer_is_kept_for_the_versions_that_can_read_it(pretend: Pretend, session_place: Place) -> None:
    args = ExperimentArgs(data=DataArgs(cache_dir=str(session_place.cache)), model=ModelArgs(vocab_size=400))
    text = session_place.data / "train.txt"
    here = trained_tokenizer_folder(args, text, open_ended=False)
    pretend(tokenizers="0.1.0")
    assert trained_tokenizer_folder(args, text, open_ended=False) != here


def test_weights_have_the_type_that_is_asked_for() -> None:
    model = AutoModelForMaskedLM.from_config(RobertaConfig(**BERT_SIZES), **dtype_option(torch.float64))
    assert model.dtype == torch.float64


def test_the_fused_optimizer_is_chosen_where_torch_has_it() -> None:
    weight = torch.nn.Parameter(torch.ones(2))
    weight.grad = torch.ones(2)
    torch.optim.AdamW([weight], fused=has_fused_kernel(torch.device("cpu"), "32-true")).step()
    assert not weight.equal(torch.ones(2))
