"""Configuration files: what is no YAML, what no configuration needs, and what would grow beyond any memory."""

from tests.bad_input.calling import Row


def file(text: str | bytes, told: str, **variables: str) -> Row:
    """A row for a file."""
    return Row("train.py --plan --config_path a.yml", told, {"a.yml": text}, variables)


def grown(innermost: str, template: str) -> str:
    """Nine lines, each of which holds the one before ten times."""
    lines = [f"a: &a {innermost}"]
    for name, before in zip("bcdefghij", "abcdefghi", strict=True):
        lines.append(f"{name}: &{name} " + template.replace("X", ", ".join([f"*{before}"] * 10)))
    return "\n".join(lines)


NOT_TEXT = "a key must be a word, not a list or mapping"
UNKNOWN_TAG = "is not known: leave it out"

ROWS = [
    Row("train.py -n x --config_path no.yml", "error: --config_path: there is no file no.yml"),
    Row("train.py -n x --config_path data", "error: --config_path: there is no file data"),
    Row(
        "train.py -n x --config_path '~no-such-user/a.yml'",
        "error: --config_path: there is no file ~no-such-user/a.yml",
    ),
    Row("train.py -n x --config_path '\x1b[31m'", r"error: --config_path: there is no file \x1b[31m"),
    file("[" * 3000, "error: a.yml: this cannot be read as YAML: it is nested too deeply"),
    file("[" * 3000 + "]" * 3000, "it is nested too deeply"),
    file("{a: " * 3000 + "}" * 3000, "it is nested too deeply"),
    file("- " * 3000, "it is nested too deeply"),
    file(grown("[x, x]", "[X]"), "error: a.yml: unknown key a"),
    file(grown("[x, x]", "[X]") + "\nrun: *j", "error: a.yml: unknown key a"),
    file("run:\n  " + grown("[x, x]", "[X]").replace("\n", "\n  "), "error: a.yml: unknown key run.a"),
    file("- &a [x]\n- &b [*a, *a]\n- [*b, *b]", "this must be a mapping of keys to values, not [['x'], [['x']"),
    file(grown("{x: 1, y: 2}", "{<<: [X]}"), "more than 10,000 keys are merged here"),
    file("? [a, b]\n: 1", f"error: a.yml, line 1: this is not YAML: {NOT_TEXT}"),
    file("run: {? [a] : 1}", NOT_TEXT),
    file("run: {{ section }}", NOT_TEXT),
    file("run: {{a: 1}: 2}", NOT_TEXT),
    file("run:\n  name: {{ name }}", f"error: a.yml, line 2: this is not YAML: {NOT_TEXT}"),
    file("run: {name: !!binary x}", f"the tag !!binary {UNKNOWN_TAG}"),
    file("run: !!set {a, b}", f"the tag !!set {UNKNOWN_TAG}"),
    file("run: !!omap [a: 1]", f"the tag !!omap {UNKNOWN_TAG}"),
    file("run: !!python/object:os.system x", f"the tag !!python/object:os.system {UNKNOWN_TAG}"),
    file("run: !!python/object/apply:os.system [id]", UNKNOWN_TAG),
    file("run: !mine x", f"the tag !mine {UNKNOWN_TAG}"),
    file("run: {seed: !!timestamp x}", "error: a.yml: run.seed: 'x' is not a whole number"),
    file("run: {seed: !!bool perhaps}", "error: a.yml: run.seed: 'perhaps' is not a whole number"),
    file("run: {seed: !!int x}", "error: a.yml: run.seed: 'x' is not a whole number"),
    file("run: &a [*a]", "error: a.yml: run: this must be a mapping of keys to values, not [[[["),
    file("run: &a {name: *a}", "error: a.yml: run.name: this must be a text"),
    file("<<: 5", "expected a mapping or list of mappings for merging, but found scalar"),
    file("<<: *x", "error: a.yml, line 1: this is not YAML: found undefined alias 'x'"),
    file("1: 2", "error: a.yml: unknown key 1"),
    file("null: 2", "error: a.yml: unknown key None"),
    file("a: 1\n---\nb: 2", "error: a.yml, line 2: this is not YAML: but found another document"),
    file("\x00", "special characters are not allowed"),
    file(b"run: {name: \xff}", "error: a.yml: this cannot be read as YAML: 'utf-8' codec"),
    file("run:\n\tname: x", "found character '\\t' that cannot start any token"),
    file("%YAML 9.9\n---\nrun: {}", "found incompatible YAML document"),
    file("run: {seed: 1, seed: 2}", "the key seed is there twice, first in line 1"),
    file("run: {}\nrun: {}", "error: a.yml, line 2: this is not YAML: the key run is there twice, first in line 1"),
    file("just text", "error: a.yml: this must be a mapping of keys to values, not 'just text'"),
    file("- a", "error: a.yml: this must be a mapping of keys to values, not ['a']"),
    file("run: 5", "error: a.yml: run: this must be a mapping of keys to values, not '5'"),
    file("run: [1]", "error: a.yml: run: this must be a mapping of keys to values, not ['1']"),
    file("run: {run: {seed: 1}}", "error: a.yml: unknown key run.run: did you mean run?"),
    file("optim: {lerning_rate: 1}", "error: a.yml: unknown key optim.lerning_rate: did you mean optim.learning_rate?"),
    file("run: {batch_size: 1}", "error: a.yml: unknown key run.batch_size: did you mean batch.batch_size?"),
    file("learning_rate: 1", "error: a.yml: unknown key learning_rate: did you mean optim.learning_rate?"),
    file("? ''\n: 1", "error: a.yml: unknown key"),
    file('"\\e[31mred": 1', r"error: a.yml: unknown key \x1b[31mred"),
    file('? "' + "x" * 5000 + '"\n: 1', "[...]"),
    file("run: {seed: " + "9" * 5000 + "}", "9' is not a whole number"),
    file("run: {seed: {a: 1}}", "error: a.yml: run.seed: this must be a whole number"),
    file("run: {seed: [1]}", "error: a.yml: run.seed: ['1'] is not a whole number"),
    file("run: {seed: null}", "error: a.yml: run.seed: None is not a whole number"),
    file("run: {seed: 1.5}", "error: a.yml: run.seed: '1.5' is not a whole number"),
    file("model: {compile: 2}", "error: a.yml: model.compile: '2' is not true or false"),
    file("checkpoint: {extra_steps: 5}", "error: a.yml: checkpoint.extra_steps: '5' is not a list of whole numbers"),
    file("checkpoint: {extra_steps: [1, [2]]}", "checkpoint.extra_steps: this must be a list of whole numbers"),
    file("checkpoint: {extra_steps: {a: 1}}", "checkpoint.extra_steps: this must be a list of whole numbers"),
    file("checkpoint: {extra_steps: [null]}", "checkpoint.extra_steps: [None] is not a list of whole numbers"),
    file("model: {model_overrides: {hidden_size: 3}}", "model.model_overrides: this must be a list of texts"),
    file("optim: {schedule: cosin}", ": did you mean cosine?"),
    file("data: {data_dir: ''}", "error: a.yml: data.data_dir: this is empty: write a value, or leave it out"),
    file('data: {data_dir: "a\\0b"}', "data.data_dir: 'a\\x00b' is no path: it holds a character"),
    file('data: {cache_dir: "\\ud800"}', "data.cache_dir: '\\ud800' is no path: it holds a character"),
    file('run: {name: "\\e[31mred"}', "run.name: '\\x1b[31mred' cannot name a folder"),
    file("run: {name: '${oc.env:NO_SUCH}'}", "run.name: the environment variable NO_SUCH is not set"),
    file("run: {name: '${optim.lr}'}", "run.name: there is no optim.lr to refer to"),
    file("run: {name: '${run.name}'}", "run.name: this refers to itself"),
    file("run: {name: '${'}", "run.name: this ${ begins no reference that can be read"),
    file("run: {name: '" + "${run.name" * 1000 + "'}", "run.name: this ${ begins no reference that can be read"),
    file("run: {name: '${oc.dict.keys:run}'}", "run.name: '${oc.dict.keys:run}' does not lead to a text"),
    file("run: {name: '${run}'}", "error: a.yml: run.name: Interpolation to parent node detected"),
    file("run: {name: '???'}", "run.name: ??? stands for a missing value"),
    file("data: ${run}", "error: a.yml: data: this must be a mapping of keys to values, not '${run}'"),
    file("run: {seed: '${oc.env:WORD}'}", "run.seed: '${oc.env:WORD}' does not lead to a whole number", WORD="x"),
    file("${from_file:a.yml}", "error: a.yml: the files refer to each other in a circle: a.yml -> a.yml"),
    file("run: ${from_file:" + "x" * 5000 + "}", "x: File name too long"),
    file("run: ${from_file:}", "error: a.yml: run: there is no file ."),
    file("run: ${from_file:/}", "error: a.yml: run: there is no file /"),
    file("run: ${from_file:${oc.env:NOPE}}", "error: a.yml: run: the environment variable NOPE is not set"),
    file("run: {name: 'a ${from_file:b.yml}'}", "run.name: ${from_file:...} must be the whole value of a key"),
]
