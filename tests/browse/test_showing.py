"""What is told of one run and of several: show, compare, diff."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dlib.args import ExperimentArgs, OptimArgs, RunArgs
from dlib.process.errors import UserError
from dlib.reproduce.line_by_line import print_difference
from dlib.runs.folder import RunFolder
from dlib.runs.record import PARTS
from tests.repositories import git
from tests.runs.folders import RECORD, done, names, refused, write_run

ARGS = ExperimentArgs(run=RunArgs(name="first"), optim=OptimArgs(learning_rate=3e-4))


def section(text: str, title: str) -> str:
    """What stands below a title."""
    return text.partition(f"\n{title}\n")[2].partition("\n\n")[0]


def test_show_tells_arguments_record_curves_checkpoints_and_evaluations(tmp_path: Path) -> None:
    run = write_run(tmp_path, args=ARGS)
    run.evals.mkdir()
    (run.evals / "step-00000020.json").write_text('{"step": 20, "metrics": {"perplexity": 7.5}}')
    (run.evals / "step-00000010-other.json").write_text('{"step": 10, "metrics": {"accuracy": 0.25}}')
    (run.evals / "noise.json").write_text("{")
    (run.evals / "other.json").write_text("[]")
    text = done("show", "first", "--out_dir", tmp_path)
    assert section(text, "arguments that are no defaults").split() == ["optim.learning_rate", "0.0003"]
    assert "train.py -n first" in section(text, "record")
    assert "torch 2.1.0" in section(text, "record")
    assert "█" in section(text, "curves")
    assert "4 to 3.5, lowest 3 at step 20" in section(text, "curves")
    assert "best" in section(text, "checkpoints").splitlines()[2]
    assert [line.split() for line in section(text, "evaluations").splitlines()[1:]] == [
        ["10", "step-00000010-other.json", "0.25", "-"],
        ["20", "step-00000020.json", "-", "7.5"],
    ]


def test_show_as_json_holds_the_same(tmp_path: Path) -> None:
    write_run(tmp_path, args=ARGS)
    shown = json.loads(done("show", "first", "--json", "--out_dir", tmp_path))
    assert shown["arguments"] == {"optim.learning_rate": 3e-4}
    assert [checkpoint["names"] for checkpoint in shown["checkpoints"]] == [[], ["best"], ["last"]]
    assert shown["record"]["python"].startswith("3.11.7")


def break_config(run: RunFolder) -> None:
    run.config.write_text("optim: {lerning_rate: 1}\n")


def break_record(run: RunFolder) -> None:
    run.record.write_text("{}")


def empty_record(run: RunFolder) -> None:
    run.record.write_text(json.dumps({**{name: {} for name in PARTS}, "sessions": []}))


def break_metrics(run: RunFolder) -> None:
    run.metrics.write_text('noise\n{"step": 1}\n')


def remove_all_but_config(run: RunFolder) -> None:
    for path in (run.record, run.metrics, run.performance, run.status):
        path.unlink()


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (break_config, "cannot be read: "),
        (break_record, "missing or damaged"),
        (empty_record, "cannot be read: "),
        (break_metrics, "cannot be read: "),
        (remove_all_but_config, "damaged: status.json is missing or damaged"),
    ],
)
def test_show_tells_what_is_damaged_and_shows_the_rest(damage: Any, told: str, tmp_path: Path) -> None:
    damage(write_run(tmp_path))
    text = done("show", "first", "--out_dir", tmp_path)
    assert told in text
    assert "checkpoints\n" in text


def test_list_and_show_tell_why_a_run_failed(tmp_path: Path) -> None:
    write_run(tmp_path).write_status("failed", 30, 60, "ValueError: a reason")
    assert done("list", "--out_dir", tmp_path).endswith("\nfirst is failed: ValueError: a reason\n")
    assert "\nfailed: ValueError: a reason\n" in done("show", "first", "--out_dir", tmp_path)


def test_letters_that_move_a_cursor_or_that_the_output_lacks_are_written_out(tmp_path: Path) -> None:
    write_run(tmp_path, "ü\x1b[2J")
    result = done("list", "--out_dir", tmp_path)
    assert "\x1b" not in result
    assert "\\x1b[2J" in result


def test_compare_shows_results_and_only_the_arguments_that_differ(tmp_path: Path) -> None:
    write_run(tmp_path, args=ARGS)
    other = replace(ARGS, run=replace(ARGS.run, name="second", seed=2), data=replace(ARGS.data, max_length=64))
    write_run(tmp_path, "second", losses={10: 1.25}, state="failed", args=replace(other, optim=OptimArgs()))
    text = done("compare", "first", "second", "--out_dir", tmp_path)
    rows = {line.split("  ")[0]: re.split("  +", line)[-2:] for line in text.splitlines() if line}
    assert rows["state"] == ["finished", "failed"]
    assert rows["dev/loss"] == ["2", "1.25"]
    assert rows["best step"] == ["20", "10"]
    assert rows["tokens/s"] == ["10", "10"]
    assert rows["optim.learning_rate"] == ["0.0003", "0.0001 (default)"]
    assert rows["run.seed"] == ["1 (default)", "2"]
    assert not any(name in text for name in ("run.name", "weight_decay"))
    shown = json.loads(done("compare", "first", "second", "--json", "--out_dir", tmp_path))
    assert shown["arguments"]["run.seed"] == [None, [2]]
    assert [run["dev/loss"] for run in shown["runs"]] == [2.0, 1.25]


def test_compare_needs_two_runs(tmp_path: Path) -> None:
    write_run(tmp_path)
    assert "at least two runs" in refused("compare", "first", tmp_path / "first", "--out_dir", tmp_path)


def test_two_runs_of_the_same_have_no_difference(tmp_path: Path) -> None:
    for name in ("first", "second"):
        write_run(tmp_path, name, args=replace(ARGS, run=replace(ARGS.run, name=name)))
    assert done("diff", "first", "second", "--out_dir", tmp_path) == "no difference\n"


def test_diff_shows_arguments_packages_and_data_line_by_line(tmp_path: Path) -> None:
    write_run(tmp_path, args=ARGS)
    changed = {"packages": {"torch": "2.13.0", "numpy": "1.26.0"}, "hashes": {"training text": "2" * 64}}
    write_run(tmp_path, "second", record=changed)
    lines = done("diff", "first", "second", "--out_dir", tmp_path).splitlines()
    assert "--- first/config.yml" in lines
    for word in ('-  "torch": "2.1.0"', '+  "torch": "2.13.0"', "-  learning_rate: 0.0003", "+++ second/hashes"):
        assert word in lines
    assert not any("numpy" in line for line in lines if line[0] in "+-")


def record_at(commit: str, diff: str | None = None) -> dict[str, Any]:
    git_part = {"commit": commit, "remote": None, "uncommitted_sha256": diff}
    return {"git": git_part, "code": {**RECORD["code"], "diff": diff}}


def test_diff_shows_the_code_of_both_commits_with_what_was_uncommitted(
    repository: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    commits = [git(repository, "rev-parse", "HEAD").strip()]
    (repository / "train.py").write_text("print(2)\n")
    git(repository, "commit", "-am", "second")
    commits.append(git(repository, "rev-parse", "HEAD").strip())
    (repository / "train.py").write_text("print(2)\nprint(3)\n")
    old = write_run(tmp_path, record=record_at(commits[0]))
    new = write_run(tmp_path, "second", record=record_at(commits[1], "uncommitted.diff"))
    new.code.mkdir()
    new.uncommitted_diff.write_text(git(repository, "diff"))
    (new.untracked / "dlib").mkdir(parents=True)
    (new.untracked / "dlib" / "mine.py").write_text("x = 1\n")
    print_difference(old, new, repository)
    lines = capsys.readouterr().out.splitlines()
    for line in ("--- a/train.py", "-print(1)", "+print(2)", "+print(3)", "+++ b/dlib/mine.py", "+x = 1"):
        assert line in lines
    assert not any(".git" in line for line in lines)
    assert len(git(repository, "worktree", "list").splitlines()) == 1


def test_diff_says_what_the_records_hold_where_a_commit_is_not_here(
    repository: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = write_run(tmp_path, record=record_at("a" * 40))
    new = write_run(tmp_path, "second", record=record_at("b" * 40, "uncommitted.diff"))
    new.code.mkdir()
    new.uncommitted_diff.write_text("+print(4)\n")
    print_difference(old, new, repository)
    lines = capsys.readouterr().out.splitlines()
    for line in (f"-commit {'a' * 40}", f"+commit {'b' * 40}", "++print(4)"):
        assert line in lines


def test_diff_needs_both_records(tmp_path: Path) -> None:
    first, second = write_run(tmp_path), write_run(tmp_path, "second")
    for damage in (Path.unlink, lambda path: path.write_text('{"sessions": []}')):
        damage(second.record)
        with pytest.raises(UserError, match=r"record\.json is missing or damaged"):
            print_difference(first, second, tmp_path)


def test_diff_steers_no_terminal(tmp_path: Path) -> None:
    first, second = write_run(tmp_path), write_run(tmp_path, "second", record={"packages": {"torch": "2"}})
    second.config.write_text(second.config.read_text() + "\x1b]0;owned\x07\tü\n")
    shown = done("diff", first.root, second.root)
    assert "+\\x1b]0;owned\\x07\tü\n" in shown
    assert "\x1b" not in shown


DAMAGED_LINE = '{"step": 20, "train/loss": {}, "train/tokens": "many", "dev/loss": [1]}'


def test_a_value_that_is_no_number_is_named_and_spoils_no_command(tmp_path: Path) -> None:
    run, other = write_run(tmp_path), write_run(tmp_path, "second")
    lines = run.metrics.read_text().splitlines()
    run.metrics.write_text("\n".join([lines[0], DAMAGED_LINE, lines[2], ""]))
    here = ("--out_dir", tmp_path)
    listed = done("list", "--sort", "loss", *here).splitlines()
    assert [line.split()[:4] for line in listed[1:]] == [
        ["second", "finished", "30/30", "2"],
        ["first", "finished", "30/30", "damaged"],
    ]
    assert names(done("list", "--filter", "loss<3", *here).splitlines()) == ["second"]
    for command in ("show", "plot", "checkpoints"):
        done(command, "first", *here)
    for axis in ("tokens", "hours"):
        done("plot", "first", "--x", axis, *here)
    done("compare", "first", other.root, *here)


@pytest.mark.parametrize("step", ["[1]", '"20"', "true", "null", "1" + 400 * "0"])
def test_a_line_whose_step_is_no_number_is_named(step: str, tmp_path: Path) -> None:
    run, other = write_run(tmp_path), write_run(tmp_path, "second")
    lines = run.metrics.read_text().splitlines()
    run.metrics.write_text("\n".join([lines[0], f'{{"step": {step}, "dev/loss": 1.0}}', lines[2], ""]))
    told = "metrics.jsonl, line 2: not a record of metrics"
    assert told in done("show", run.root)
    assert told in refused("compare", run.root, other.root)
    assert told in refused("plot", run.root)
    done("list", "--sort", "loss", "--filter", "loss<3", "--out_dir", tmp_path)


def test_metrics_that_are_a_folder_are_named(tmp_path: Path) -> None:
    run, other = write_run(tmp_path), write_run(tmp_path, "second")
    run.metrics.unlink()
    run.metrics.mkdir()
    told = "metrics.jsonl cannot be read: Is a directory"
    assert told in done("show", run.root)
    assert told in refused("compare", run.root, other.root)
    assert told in refused("plot", run.root)


def test_code_that_a_session_went_on_with_is_shown(tmp_path: Path) -> None:
    git = {**RECORD["git"], "commit": "fdf30dc0123456789", "uncommitted_sha256": "0" * 64}
    later = {"from_step": 26, "git": {**git, "dirty": True, "uncommitted_sha256": "1" * 64}}
    kept = {**later, "from_step": 39, "code": {"folder": "code/later/111111111111"}}
    run = write_run(tmp_path, record={"git": git, "sessions": [later, kept]})
    told = "commit fdf30dc012, other uncommitted changes after step 26, other uncommitted changes after step 39"
    assert f"{told} (code/later/111111111111)\n" in done("show", run.root)
    assert "fdf30dc012+" in done("list", "--columns", "commit", "--out_dir", tmp_path)


def test_compare_marks_uncommitted_code_and_shows_metrics_of_ones_own(tmp_path: Path) -> None:
    git = {"git": {**RECORD["git"], "commit": "fdf30dc0123456789"}}
    own = write_run(tmp_path, record={**git, "code": {**RECORD["code"], "untracked": ["mine.py"]}})
    records = [json.loads(line) for line in own.metrics.read_text().splitlines()]
    for number, record in enumerate(records):
        record["train/mean_loss"] = float(number)
    own.metrics.write_text("".join(json.dumps(record) + "\n" for record in records))
    write_run(tmp_path, "second", record=git)
    rows = [line.split() for line in done("compare", "first", "second", "--out_dir", tmp_path).splitlines()]
    assert ["commit", "fdf30dc012+", "fdf30dc012"] in rows
    assert ["train/mean_loss", "1", "-"] in rows
    assert not any("train/tokens" in row for row in rows)
