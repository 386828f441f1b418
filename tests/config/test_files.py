"""Files: their order, `${from_file:...}`, and one clear line for everything that can be wrong with them."""

from pathlib import Path
from typing import Any

import pytest

from dlib.config.configuration import dump_config, load_config
from dlib.config.strict_yaml import read_yaml
from dlib.process.errors import UserError

pytestmark = pytest.mark.oldest


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DLIB_CONFIG_DIR", raising=False)
    return tmp_path


def write(folder: Path, **texts: str) -> None:
    for name, text in texts.items():
        (folder / f"{name}.yml").write_text(text)


def error_of(*names: str, **overrides: Any) -> str:
    with pytest.raises(UserError) as caught:
        load_config([Path(f"{name}.yml") for name in names], overrides)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_later_files_win_key_by_key(folder: Path) -> None:
    write(folder, a="optim: {learning_rate: 1e-3, weight_decay: 0.5}", b="optim: {learning_rate: 2e-3}")
    args = load_config([Path("a.yml"), Path("b.yml")])
    assert (args.optim.learning_rate, args.optim.weight_decay) == (2e-3, 0.5)
    assert load_config([Path("b.yml"), Path("a.yml")]).optim.learning_rate == 1e-3


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "optim:\n", "optim:\n  # learning_rate: 1\nrun: null\n"])
def test_an_empty_file_or_section_says_nothing(folder: Path, text: str) -> None:
    write(folder, a=text)
    assert load_config([Path("a.yml")]) == load_config([])


def test_scalars_are_what_was_written(folder: Path) -> None:
    write(folder, a="run: {name: 007}\ndurations: {max_time: 11:30:00, training_goal: 1_000}\ndata: {data_dir: no}")
    args = load_config([Path("a.yml")])
    assert (args.run.name, args.data.data_dir) == ("007", "no")
    assert (args.durations.max_time, args.durations.training_goal) == ("11:30:00", "1_000")


def test_anchors_and_merge_keys_are_yaml(folder: Path) -> None:
    write(folder, a="batch: {batch_size: &n 64, eval_batch_size: *n}\noptim: {<<: {weight_decay: 1}, adam_beta1: 0.5}")
    args = load_config([Path("a.yml")])
    assert (args.batch.batch_size, args.batch.eval_batch_size) == (64, 64)
    assert (args.optim.weight_decay, args.optim.adam_beta1) == (1.0, 0.5)


class TestFromFile:
    def test_stands_for_a_section_that_others_can_still_change(self, folder: Path) -> None:
        (folder / "models").mkdir()
        write(folder / "models", tiny="model: tiny\nvocab_size: 500\n")
        write(folder, a="model: ${from_file:models/tiny.yml}", b="model: {freeze: embeddings}")
        args = load_config([Path("a.yml"), Path("b.yml")], {"model.vocab_size": 600})
        assert (args.model.model, args.model.vocab_size, args.model.freeze) == ("tiny", 600, "embeddings")

    def test_stands_for_a_whole_file_and_for_a_single_key(self, folder: Path) -> None:
        write(folder, a="${from_file:b.yml}", b="checkpoint: {extra_steps: '${from_file:steps.yml}'}", steps="[1, 2]")
        assert load_config([Path("a.yml")]).checkpoint.extra_steps == [1, 2]

    def test_is_looked_for_beside_the_file_that_says_it(self, folder: Path) -> None:
        (folder / "deep" / "er").mkdir(parents=True)
        write(folder, goal="9 steps")
        write(folder / "deep" / "er", goal="1 step")
        write(folder / "deep", b="training_goal: ${from_file:er/goal.yml}")
        write(folder, a="durations: ${from_file:deep/b.yml}")
        assert load_config([Path("a.yml")]).durations.training_goal == "1 step"

    def test_is_looked_for_in_the_configuration_folder_next(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (folder / "shared").mkdir()
        write(folder / "shared", model="model: shared", goal="1 step")
        write(folder, a="model: ${from_file:model.yml}\ndurations: {training_goal: '${from_file:goal.yml}'}", goal="2")
        monkeypatch.setenv("DLIB_CONFIG_DIR", str(folder / "shared"))
        args = load_config([Path("a.yml")])
        assert (args.model.model, args.durations.training_goal) == ("shared", "2")

    def test_name_can_be_an_interpolation_that_sees_the_command_line(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write(folder, mlm="model: for-mlm", clm="model: for-clm", a="model: ${from_file:${objective.objective}.yml}")
        write(folder, b="model: ${from_file:${oc.env:TASK,mlm}.yml}")
        assert load_config([Path("a.yml")]).model.model == "for-mlm"
        assert load_config([Path("a.yml")], {"objective.objective": "clm"}).model.model == "for-clm"
        assert load_config([Path("b.yml")]).model.model == "for-mlm"
        monkeypatch.setenv("TASK", "clm")
        assert load_config([Path("b.yml")]).model.model == "for-clm"

    def test_name_can_refer_to_what_another_file_brings(self, folder: Path) -> None:
        write(folder, clm="model: for-clm", task="objective: clm")
        write(folder, a="model: ${from_file:${objective.objective}.yml}\nobjective: ${from_file:task.yml}")
        assert load_config([Path("a.yml")]).model.model == "for-clm"

    def test_name_that_needs_a_file_not_yet_known_is_refused(self, folder: Path) -> None:
        write(folder, a="model: ${from_file:${optim.schedule}.yml}\noptim: ${from_file:${model.freeze}.yml}")
        assert error_of("a").startswith("a.yml: model: there is no optim.schedule to refer to")

    def test_works_on_the_command_line(self, folder: Path) -> None:
        write(folder, goal="10k steps")
        assert load_config([], {"durations.training_goal": "${from_file:goal.yml}"}).durations.training_goal == (
            "10k steps"
        )

    def test_cycle_is_told_with_its_files(self, folder: Path) -> None:
        write(folder, a="${from_file:b.yml}", b="model: ${from_file:c.yml}", c="model: ${from_file:./b.yml}")
        assert error_of("a").startswith("c.yml: the files refer to each other in a circle: b.yml -> c.yml -> b.yml")

    def test_the_same_file_twice_is_no_cycle(self, folder: Path) -> None:
        write(folder, a="durations: {training_goal: '${from_file:g.yml}', eval_interval: '${from_file:g.yml}'}", g="7")
        args = load_config([Path("a.yml")])
        assert (args.durations.training_goal, args.durations.eval_interval) == ("7", "7")

    def test_error_names_the_file_that_holds_the_mistake(self, folder: Path) -> None:
        write(folder, a="model: ${from_file:b.yml}", b="modle: x", c="model: ${from_file:d.yml}", d="vocab_size: x")
        assert error_of("a") == "b.yml: unknown key model.modle: did you mean model.model?"
        assert error_of("c") == "d.yml: model.vocab_size: 'x' is not a whole number"

    def test_only_a_whole_value_is_taken(self, folder: Path) -> None:
        write(folder, a="run: {name: 'x${from_file:b.yml}'}")
        assert error_of("a") == "a.yml: run.name: ${from_file:...} must be the whole value of a key"

    def test_missing_file_is_told_with_the_places(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        write(folder, a="model: ${from_file:no.yml}")
        assert error_of("a") == "a.yml: model: there is no file no.yml"
        monkeypatch.setenv("DLIB_CONFIG_DIR", "other")
        assert error_of("a") == "a.yml: model: there is no file no.yml nor other/no.yml"


class TestVariables:
    def test_are_there_to_be_referred_to(self, folder: Path) -> None:
        write(folder, a="vars: {size: 128, steps: [1, 2]}\ndata: {max_length: '${vars.size}'}", more="learning_rate: 3")
        write(folder, b="checkpoint: {extra_steps: '${vars.steps}'}\nrun: {name: 'n-${vars.size}'}")
        args = load_config([Path("a.yml"), Path("b.yml")])
        assert (args.data.max_length, args.checkpoint.extra_steps, args.run.name) == (128, [1, 2], "n-128")
        assert "vars" not in dump_config(args)
        assert "max_length: 128" in dump_config(args)

    def test_of_a_later_file_win_name_by_name(self, folder: Path) -> None:
        write(folder, a="vars: {size: 128, name: x}\ndata: {max_length: '${vars.size}', data_dir: '${vars.name}'}")
        write(folder, b="vars: {size: 256}")
        for names, length in [(["a", "b"], 256), (["b", "a"], 128)]:
            args = load_config([Path(f"{name}.yml") for name in names])
            assert (args.data.max_length, args.data.data_dir) == (length, "x")

    def test_refer_to_each_other_to_arguments_and_choose_files(self, folder: Path) -> None:
        write(folder, mini="vocab_size: 333", sizes="{mini: 64, tiny: 32}")
        write(
            folder,
            a="vars: {which: mini, sizes: {mini: 64, tiny: 32}, rate: '${optim.learning_rate}'}\n"
            "model: ${from_file:${vars.which}.yml}\n"
            "data: {max_length: '${vars.sizes.${vars.which}}'}\noptim: {adam_beta1: '${vars.rate}'}",
            b="vars: ${from_file:sizes.yml}\ndata: {max_length: '${vars.tiny}'}",
        )
        args = load_config([Path("a.yml")], {"optim.learning_rate": "0.5"})
        assert (args.model.vocab_size, args.data.max_length, args.optim.adam_beta1) == (333, 64, 0.5)
        assert load_config([Path("b.yml")]).data.max_length == 32


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("vars: 3", "a.yml: vars: this must be a mapping of keys to values, not '3'"),
        ("vars: {a b: 1}", "a.yml: vars: 'a b' can name no variable: take letters, digits and _"),
        ("var: {a: 1}", "a.yml: unknown key var: did you mean vars?"),
        ("data: {vars: 1}", "a.yml: unknown key data.vars"),
        ("run: {name: '${vars.no}'}", "a.yml: run.name: there is no vars.no to refer to: write a full key such as "),
        ("vars: {a: '${vars.a}'}\nrun: {name: '${vars.a}'}", "a.yml: run.name: this refers to itself"),
        ("vars: {a: x}\nrun: {seed: '${vars.a}'}", "a.yml: run.seed: '${vars.a}' does not lead to a whole number"),
        ("optim: {lerning_rate: 1}", "a.yml: unknown key optim.lerning_rate: did you mean optim.learning_rate?"),
        ("learning_rate: 1", "a.yml: unknown key learning_rate: did you mean optim.learning_rate?"),
        ("data: {batch_size: 1}", "a.yml: unknown key data.batch_size: did you mean batch.batch_size?"),
        ("optm: {learning_rate: 1}", "a.yml: unknown key optm: did you mean optim?"),
        ("zzz: 1", "a.yml: unknown key zzz"),
        ("optim: {learning_rate: {peak: 1}}", "a.yml: optim.learning_rate: this must be a number"),
        ("optim: 3", "a.yml: optim: this must be a mapping of keys to values, not '3'"),
        ("- optim", "a.yml: this must be a mapping of keys to values, not ['optim']"),
        ("just text", "a.yml: this must be a mapping of keys to values, not 'just text'"),
        ("optim:\n  learning_rate: [1", "a.yml, line 2: this is not YAML: "),
        ("optim:\n  a: 1\n  a: 2", "a.yml, line 3: this is not YAML: the key a is there twice, first in line 2"),
        ("run: !!python/object:os.system {}", "a.yml, line 1: this is not YAML: "),
        ("run: {seed: \0}", "a.yml: this cannot be read as YAML: "),
        ("checkpoint: {extra_steps: &a [*a]}", "a.yml: checkpoint.extra_steps: this must be a list of whole numbers"),
    ],
)
def test_mistake_in_a_file_is_one_line_with_file_and_key(folder: Path, text: str, message: str) -> None:
    write(folder, a=text)
    found = error_of("a")
    assert found.startswith(message)
    assert found == message or message.endswith(" ")


def test_missing_file_and_other_bytes_than_utf8_are_told(folder: Path) -> None:
    (folder / "b.yml").write_bytes(b"run: {name: \xff}")
    assert error_of("a") == "--config_path: there is no file a.yml"
    assert error_of("b").startswith("b.yml: this cannot be read as YAML")


def test_yaml_scalars_stay_text_and_null_is_none(folder: Path) -> None:
    write(folder, a="{a: 1, b: true, c: null, d: ~, e: 'null', f: 2026-01-02, g: [1.5, on]}")
    assert read_yaml(Path("a.yml")) == {
        "a": "1",
        "b": "true",
        "c": None,
        "d": None,
        "e": "null",
        "f": "2026-01-02",
        "g": ["1.5", "on"],
    }
