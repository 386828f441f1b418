"""Nothing that is read runs code: each artefact carries a payload here, which leaves a file if it is ever run."""

import ast
import io
import json
import pickle
import re
import sys
import tarfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import RobertaConfig, RobertaForMaskedLM

from dlib.args import DataArgs, ExperimentArgs, ModelArgs
from dlib.args.generation import GenerationArgs
from dlib.config.configuration import dump_config, load_config, parse_args
from dlib.data.fingerprint import text_sha256
from dlib.data.token_store import MANIFEST, OFFSETS, TOKENS, build_token_store
from dlib.generation.predictor import Predictor
from dlib.measuring.flags import parse_order
from dlib.measuring.subjects import find_subjects
from dlib.models.head import Head
from dlib.models.loading import as_saved, build_meta_model, build_model
from dlib.models.pretrained import read_config, refuse_unsafe_pickle
from dlib.models.tokenization import load_tokenizer
from dlib.process.errors import UserError
from dlib.runs import session
from dlib.runs.folder import RunFolder
from dlib.runs.paths import CheckpointFolder
from dlib.runs.resuming import with_recorded_run
from dlib.training.checkpoints import read_training_state
from dlib.transfer.exporting import export_run
from dlib.transfer.importing import import_run
from tests.launching import ROOT, write_corpus
from tests.runs.folders import write_run
from tests.toys import BERT_SIZES, train_wordpiece

pytestmark = pytest.mark.oldest

MASKED_LM = "AutoModelForMaskedLM"
CODE = """
from pathlib import Path
from transformers import PreTrainedTokenizerFast, RobertaConfig, RobertaForMaskedLM
Path({marker!r}).touch()
class EvilConfig(RobertaConfig):
    model_type = "evil"
class EvilForMaskedLM(RobertaForMaskedLM):
    config_class = EvilConfig
class EvilTokenizer(PreTrainedTokenizerFast):
    pass
"""
ALL = [*(ROOT / "dlib").rglob("*.py"), *ROOT.glob("*.py"), *(ROOT / "benchmarks").glob("*.py")]
SOURCES = [path for path in ALL if path.is_file()]
REFUSED = "brings Python code of its own, which is not run: read it, then give --trust_remote_code$"


class Payload:
    """Leaves a file where it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.marker,)


@pytest.fixture
def marker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The file that no payload may leave, whatever stdin says to a question; stdin is not even asked."""
    answers = io.StringIO("y\n" * 100)
    monkeypatch.setattr(sys, "stdin", answers)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    yield tmp_path / "marker"
    assert not (tmp_path / "marker").exists()
    assert answers.tell() == 0


def write_evil_model(folder: Path, marker: Path) -> Path:
    """A model whose configuration, network and tokenizer are code of its own."""
    tokenizer = train_wordpiece()
    torch.manual_seed(1)
    RobertaForMaskedLM(RobertaConfig(**{**BERT_SIZES, "vocab_size": len(tokenizer)})).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "evil.py").write_text(CODE.format(marker=str(marker)))
    classes = {"AutoConfig": "evil.EvilConfig", MASKED_LM: "evil.EvilForMaskedLM"}
    change_json(folder / "config.json", model_type="evil", architectures=["EvilForMaskedLM"], auto_map=classes)
    own = {"AutoTokenizer": [None, "evil.EvilTokenizer"]}
    change_json(folder / "tokenizer_config.json", tokenizer_class="EvilTokenizer", auto_map=own)
    return folder


def change_json(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def args_of(**model: Any) -> ExperimentArgs:
    return ExperimentArgs(data=DataArgs(max_length=16), model=ModelArgs(**model))


def calls_in(path: Path) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def test_transformers_loads_through_one_door_where_it_is_told_whether_code_may_run() -> None:
    for path in SOURCES:
        for name, call in calls_in(path):
            if name.endswith((".from_pretrained", ".from_config")):
                is_peer = "benchmarks" in path.parts  # what is measured beside ours
                assert is_peer or path.name == "pretrained.py", f"{path}: use dlib/models/pretrained.py"
                assert "trust_remote_code" in {keyword.arg for keyword in call.keywords}, name


def test_nothing_is_unpickled_but_tensors_and_no_text_is_run() -> None:
    for path in SOURCES:
        for name, call in calls_in(path):
            assert name not in ("eval", "exec", "np.load", "numpy.load", "pickle.load", "pickle.loads"), path
            if name == "torch.load":
                assert {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}["weights_only"] == "True"
            if name == "yaml.load":
                assert [keyword.arg for keyword in call.keywords] == ["Loader"]


def test_code_of_a_model_folder_is_not_run_and_the_flag_named(tmp_path: Path, marker: Path) -> None:
    folder = write_evil_model(tmp_path / "evil", marker)
    tokenizer = train_wordpiece()
    for from_scratch in (False, True):
        with pytest.raises(UserError, match=f"^--model {folder} {REFUSED}"):
            build_meta_model(args_of(from_scratch=from_scratch), str(folder), tokenizer, Head(MASKED_LM))
        with pytest.raises(UserError, match=REFUSED):
            build_model(args_of(from_scratch=from_scratch), str(folder), tokenizer, Head(MASKED_LM), "32-true")
    with pytest.raises(UserError, match=f"^the model {folder} {REFUSED}"):
        Predictor(folder)


def test_code_of_a_network_or_tokenizer_beside_a_known_configuration_is_not_run(tmp_path: Path, marker: Path) -> None:
    folder = write_evil_model(tmp_path / "evil", marker)
    change_json(folder / "config.json", model_type="roberta")
    known = build_model(args_of(), str(folder), train_wordpiece(), Head(MASKED_LM), "32-true")
    assert type(known) is RobertaForMaskedLM
    assert "auto_map" not in known.config.to_dict()  # or its checkpoints would name code that they lack
    with suppress(UserError):  # transformers 5 takes a class of its own in the unknown one's place
        assert type(load_tokenizer(str(folder), "--tokenizer", trust_remote_code=False)).__name__ != "EvilTokenizer"


def test_kernel_from_the_hub_is_code_too(tmp_path: Path, marker: Path) -> None:
    folder = write_evil_model(tmp_path / "evil", marker)
    change_json(folder / "config.json", model_type="roberta", auto_map={}, attn_implementation="somebody/kernel")
    with pytest.raises(UserError, match="the attention kernel somebody/kernel, which is code from the hub"):
        build_meta_model(args_of(), str(folder), train_wordpiece(), Head(MASKED_LM))
    kernel = {"text_config": "somebody/kernel"}  # of a part, in models that also see
    (folder / "config.json").write_text(json.dumps({"model_type": "llava", "attn_implementation": kernel}))
    with suppress(TypeError, AttributeError):  # old versions of transformers have no kernels for parts
        if read_config(str(folder), trust_remote_code=True).text_config._attn_implementation == "somebody/kernel":
            with pytest.raises(UserError, match="the attention kernel somebody/kernel, which is code from the hub"):
                read_config(str(folder), trust_remote_code=False)


def test_code_that_is_trusted_runs_and_goes_with_the_checkpoint(tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    folder = write_evil_model(tmp_path / "trusted", marker)
    tokenizer = load_tokenizer(str(folder), "--model", trust_remote_code=True)
    for from_scratch in (True, False):
        overrides = ["num_hidden_layers=1"] * from_scratch
        args = args_of(trust_remote_code=True, from_scratch=from_scratch, model_overrides=overrides)
        assert type(build_meta_model(args, str(folder), tokenizer, Head(MASKED_LM))).__name__ == "EvilForMaskedLM"
        model = build_model(args, str(folder), tokenizer, Head(MASKED_LM), "32-true")
        assert type(model).__name__ == "EvilForMaskedLM"
        assert marker.exists()
        saved = tmp_path / f"checkpoint-{from_scratch}"
        model.save_pretrained(saved)
        tokenizer.save_pretrained(saved)
        assert (saved / "evil.py").is_file()
        again = build_model(as_saved(args), str(saved), tokenizer, Head(MASKED_LM), "32-true")
        assert all(map(torch.equal, model.state_dict().values(), again.state_dict().values()))
        with pytest.raises(UserError, match=REFUSED):
            build_model(args_of(), str(saved), tokenizer, Head(MASKED_LM), "32-true")
    assert Predictor(folder, GenerationArgs(trust_remote_code=True)).predict(["The [MASK] fox"])


def test_pickles_of_checkpoints_and_weights_run_nothing(tmp_path: Path, marker: Path) -> None:
    checkpoint = CheckpointFolder(tmp_path / "step-00000001")
    checkpoint.model.mkdir(parents=True)
    torch.save({"steps_done": 1, "optimizer": Payload(marker)}, checkpoint.state)
    with pytest.raises(UserError, match=r"state\.ckpt is damaged"):
        read_training_state(checkpoint.state.parent)
    folder = write_evil_model(tmp_path / "pickled", marker)
    change_json(folder / "config.json", model_type="roberta", auto_map={})
    (folder / "model.safetensors").unlink()
    torch.save({"lm_head.bias": Payload(marker)}, folder / "pytorch_model.bin")
    with pytest.raises(UserError, match=f"--model {folder} cannot be loaded"):
        build_model(args_of(), str(folder), train_wordpiece(), Head(MASKED_LM), "32-true")


def test_containers_from_which_old_versions_of_torch_run_code_are_refused(tmp_path: Path) -> None:
    script = torch.jit.script(torch.nn.Linear(2, 2))
    script.save(tmp_path / "script.bin")
    with tarfile.open(tmp_path / "tar.bin", "w") as archive:
        archive.addfile(tarfile.TarInfo("storages"))
    torch.save({"a": torch.zeros(2)}, tmp_path / "good.bin")
    torch.save({"a": torch.zeros(2)}, tmp_path / "old.bin", _use_new_zipfile_serialization=False)
    for name in ("script", "tar"):
        with pytest.raises(UserError, match=f"{name}.bin is no file of weights alone"):
            refuse_unsafe_pickle(tmp_path / f"{name}.bin")
    (tmp_path / "openvino_model.bin").write_bytes(bytes(2048) + b"numbers")
    for name in ("good", "old", "openvino_model"):
        refuse_unsafe_pickle(tmp_path / f"{name}.bin")


def test_an_index_hides_no_pickle_under_another_name(tmp_path: Path, marker: Path) -> None:
    folder = write_evil_model(tmp_path / "evil", marker)
    change_json(folder / "config.json", model_type="roberta", auto_map={})
    (folder / "model.safetensors").unlink()
    torch.jit.script(torch.nn.Linear(2, 2)).save(folder / "script.pt")
    for file in ("script.pt", "gone.pt", "whole.safetensors"):
        index = {"metadata": {}, "weight_map": {"lm_head.bias": file}}
        (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index))
        told = "script.pt is no file of weights alone" if file == "script.pt" else "cannot be loaded"
        with pytest.raises(UserError, match=told):
            build_model(args_of(), str(folder), train_wordpiece(), Head(MASKED_LM), "32-true")


def test_token_store_is_numbers_whatever_stands_in_it(tmp_path: Path, marker: Path) -> None:
    data, tokenizer = write_corpus(tmp_path / "data", num_lines=20, num_dev_lines=2), train_wordpiece()

    def store() -> Any:
        return build_token_store(
            data / "train.txt", tokenizer, separator_id=3, cache_dir=tmp_path / "cache", processes=1
        )

    folder = store().folder
    for name in (TOKENS, OFFSETS):
        size = (folder / name).stat().st_size
        (folder / name).write_bytes(pickle.dumps(Payload(marker)).ljust(size, b"."))
    (folder / "evil.npy").write_bytes(pickle.dumps(np.array([Payload(marker)], dtype=object)))
    found = store()
    assert int(found.tokens.sum()) >= 0
    text_sha256(data / "train.txt", tmp_path / "cache")
    manifest = json.loads((folder / MANIFEST).read_text())
    columns = [{"name": "label", "dtype": "|O", "distinct": None}]
    manifests = ({"store": {**manifest["store"], "dtype": "|O", "num_tokens": 1}}, {"fields": columns})
    for changed in manifests:  # an entry would be taken for an address, and what is there for an object
        (folder / "field-0.bin").write_bytes(b"A" * 64)
        (folder / MANIFEST).write_text(json.dumps({**manifest, **changed}))
        found = store()
        assert found.tokens.dtype.kind == "u"
        assert found.fields == ()


@pytest.mark.parametrize("value", ["!!python/object/apply:pathlib.Path.touch [{path}]", "!!python/name:os.system"])
def test_yaml_makes_no_objects(tmp_path: Path, marker: Path, value: str) -> None:
    (tmp_path / "evil.yml").write_text(f"run:\n  name: {value.format(path=marker)}\n")
    with pytest.raises(UserError, match="is not YAML"):
        load_config([tmp_path / "evil.yml"])


def make_imported_run(tmp_path: Path, marker: Path) -> RunFolder:
    """A run whose checkpoints are code and whose configuration says that it may run, exported there, imported here."""
    run = write_run(tmp_path / "theirs", args=args_of(trust_remote_code=True))
    for _, checkpoint in run.whole_checkpoints():
        write_evil_model(CheckpointFolder(checkpoint).model, marker)
    export_run(run, str(tmp_path / "run.tar"), None)
    import_run(str(tmp_path / "run.tar"), tmp_path / "ours", None)
    return RunFolder(tmp_path / "ours" / "first")


def test_imported_run_that_trusts_its_own_code_is_not_believed(tmp_path: Path, marker: Path) -> None:
    run = make_imported_run(tmp_path, marker)
    with pytest.raises(UserError, match=REFUSED):
        Predictor(run.root)
    data = write_corpus(tmp_path / "data", num_lines=20, num_dev_lines=2)
    words = [str(run.root), "-d", str(data), "--cache_dir", str(tmp_path / "cache")]
    [subject] = find_subjects(words[0], parse_order(words))
    assert not subject.evaluation.args.model.trust_remote_code
    [subject] = find_subjects(words[0], parse_order([*words, "--trust_remote_code"]))
    assert subject.evaluation.args.model.trust_remote_code
    with pytest.raises(UserError, match=r"model\.trust_remote_code was True, now False"):
        session.check(run, args_of())
    with pytest.raises(UserError, match=r"a configuration file cannot allow code to run.*--trust_remote_code"):
        parse_args(["--config_path", str(run.config), "-n", "first"], description="")
    with pytest.raises(UserError, match=r"a configuration file cannot allow code to run.*--trust_remote_code"):
        with_recorded_run(parse_args(["--resume", str(run.root)], description=""))
    for words in (["--config_path", str(run.config), "-n", "first"], ["--resume", str(run.root)]):
        parsed = with_recorded_run(parse_args([*words, "--trust_remote_code"], description=""))
        assert parsed.args.model.trust_remote_code


@pytest.mark.parametrize("reference", ["${oc.env:SECRET}", "$\\u007boc.env:SECRET}", "${from_file:secret.yml}"])
def test_imported_run_reads_no_variable_and_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reference: str
) -> None:
    monkeypatch.setenv("SECRET", "hush")
    run = write_run(tmp_path / "theirs")
    told = f'wandb_group: "{reference}"'
    config, found = re.subn("wandb_group: .*", lambda _: told, dump_config(ExperimentArgs()))
    assert found == 1
    run.config.write_text(config)
    export_run(run, str(tmp_path / "run.tar"), None)
    with pytest.raises(UserError, match=r"config\.yml refers to what is not in it: tracking\.wandb_group$"):
        import_run(str(tmp_path / "run.tar"), tmp_path / "ours", None)
    assert not (tmp_path / "ours" / "first").exists()
