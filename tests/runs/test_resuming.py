"""`--resume RUN` says what the run's own config.yml says, and what is typed besides is checked as ever."""

from pathlib import Path

import pytest

from dlib.args import ExperimentArgs
from dlib.config.configuration import ParsedArgs, load_config, parse_args
from dlib.process.errors import UserError
from dlib.runs import session
from dlib.runs.folder import RunFolder
from dlib.runs.resuming import with_recorded_run
from tests.runs.folders import write_run


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    """A run of whose arguments some are no defaults, in the workspace `runs` of the current folder."""
    monkeypatch.chdir(tmp_path)
    args = ExperimentArgs()
    args.run.name, args.optim.learning_rate, args.batch.batch_size = "first", 0.5, 64
    return write_run(Path("runs"), "first", args=args)


def parse(*words: str) -> ParsedArgs:
    return with_recorded_run(parse_args(list(words), description=""))


@pytest.mark.parametrize("word", ["first", "runs/first", "runs/first/", "./runs/../runs/first"])
def test_a_name_or_a_path_stands_for_all_that_the_run_began_with(run: RunFolder, word: str) -> None:
    args = parse("--resume", word).args
    assert (args.run.name, args.run.resume, args.optim.learning_rate) == ("first", "auto", 0.5)
    assert RunFolder(Path(args.run.out_dir, args.run.name)).root.samefile(run.root)
    session.check(run, args)


def test_a_moved_run_goes_on_where_it_stands(run: RunFolder, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    run.root.rename(tmp_path / "elsewhere" / "second")
    for words in (["--resume", "elsewhere/second"], ["--resume", "second", "--out_dir", "elsewhere"]):
        args = parse(*words).args
        assert (args.run.out_dir, args.run.name) == ("elsewhere", "second")


def test_what_is_typed_besides_wins_and_is_checked(run: RunFolder) -> None:
    args = parse("--resume", "first", "--num_workers", "3").args
    assert (args.data.num_workers, args.optim.learning_rate) == (3, 0.5)
    with pytest.raises(UserError, match=r"learning_rate was 0\.5, now 0\.25"):
        session.check(run, parse("--resume", "first", "--learning_rate", "0.25").args)


def test_a_file_can_name_the_run(run: RunFolder) -> None:
    Path("a.yml").write_text("run: {resume: first}")
    assert parse("--config_path", "a.yml").args.batch.batch_size == 64


def test_the_two_words_stay_what_they_are(run: RunFolder) -> None:
    assert parse("-n", "first", "--resume", "never").args.run.resume == "never"
    assert parse("-n", "first", "--resume", "auto").args == load_config([], {"run.name": "first"})
