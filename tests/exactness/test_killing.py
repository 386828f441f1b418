"""A run that is killed anywhere ends as if it had never been: the same weights, state and records, bit by bit."""

import re
import signal
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from dlib.data.writing import TOKENS
from dlib.runs.folder import RunFolder
from dlib.runs.metrics_log import read_metrics
from tests.exactness.comparing import contents, damage, differences
from tests.exactness.faults import LANDED, LISTED, Fault
from tests.exactness.test_elastic import CLM
from tests.launching import Place, Training, start, start_warm, train, write_corpus

# The dev loss rises at step 16, after the last kill: what was the best before it must not be forgotten.
UNEVEN = ("--learning_rate", "3e-2")
LINES = ("--line_by_line", "--max_length", "40")
WORDS = ("--tokenizer_type", "whitespace", "--unknown_token", "token")
IN_BACKGROUND = "--save_in_background"
KEEP_ALL = ("--max_checkpoints", "-1")
# Dropout is on everywhere, and a step has four micro-batches. Each evaluation of the first is a new best: all links
# move each time.
EVERY_SECOND = (*"--training_goal 24 --eval_interval 2 --save_interval 2 --eval_batch_size 40".split(), *KEEP_ALL)
FEW = (*"--training_goal 30 --eval_interval 4 --save_interval 3".split(), *KEEP_ALL)
FEWER = (*"--training_goal 12 --eval_interval 6 --save_interval 3".split(), *KEEP_ALL)
WRITING = ".writing-step-"
BUILDING = ".building-"
FINGERPRINT = re.compile("[0-9a-f]{64}")


@dataclass
class Killed:
    """A run that is killed again and again, and the undisturbed run that it is compared with."""

    place: Place
    scratch: Path
    arguments: Sequence[str]
    undisturbed: RunFolder

    @property
    def folder(self) -> RunFolder:
        """The run that is killed."""
        return self.place.folder("killed")

    def session(self, fault: Fault, *, warm: bool = True) -> str:
        """Lets the run go on until the fault kills it, and returns where that was; it must have left nothing half."""
        arguments = self.place.arguments("killed", *self.arguments)
        result = train(arguments, self.scratch, warm=warm, fault=fault)
        assert result.status == -signal.SIGKILL, result.stderr
        assert damage(self.folder, self.undisturbed) == []
        return result.stderr.rpartition(LANDED)[2].strip()

    def end(self, *, warm: bool = True) -> None:
        """Lets the run go on to its end, which must be that of the undisturbed run."""
        result = train(self.place.arguments("killed", *self.arguments), self.scratch, warm=warm)
        assert result.status == 0, result.stderr
        assert differences(self.folder, self.undisturbed) == []
        steps = [record["step"] for record in read_metrics(self.folder.metrics)]
        assert steps == list(range(1, len(steps) + 1))


def begin(place: Place, scratch: Path, arguments: Sequence[str], *, warm: bool = True) -> tuple[Killed, list[str]]:
    """Does the undisturbed run, and returns with it the durable operations that it did."""
    fault = Fault("list durable") if warm else None
    result = train(place.arguments("undisturbed", *arguments), scratch, warm=warm, fault=fault)
    assert result.status == 0, result.stderr
    operations = [line.removeprefix(LISTED) for line in result.stderr.splitlines() if line.startswith(LISTED)]
    return Killed(place, scratch, arguments, place.folder("undisturbed")), operations


def operations_of_checkpoint(operations: Sequence[str], number: int) -> list[str]:
    """Those from the first write of a run's checkpoint up to the first write of the next one."""
    firsts = [index for index, line in enumerate(operations) if is_first_write(operations, index)]
    return list(operations[firsts[number - 1] : firsts[number]])


def is_first_write(operations: Sequence[str], index: int) -> bool:
    """Whether a checkpoint's first file reaches the disk there."""
    before = operations[index - 1] if index else ""
    return WRITING in operations[index] and WRITING not in before


def anonymous(operation: str, place: Place) -> str:
    """An operation without its step, its process and its run."""
    return re.sub(r"\d{8}|\.\d+\.|/(un)?(disturbed|killed)(?=/|$)", "", operation.replace(str(place.runs), ""))


@pytest.mark.parametrize(
    ("moment", "kind", "first"),
    [
        pytest.param("before", LINES, "fsync", id="before-mlm-lines"),
        pytest.param("after", CLM, "rename", id="after-clm-packed"),
        pytest.param("before", (*CLM, IN_BACKGROUND), "fsync", id="before-clm-in-background", marks=pytest.mark.slow),
    ],
)
def test_a_kill_at_each_operation_of_a_checkpoint_changes_nothing(
    place: Place, tmp_path: Path, moment: str, kind: Sequence[str], first: str
) -> None:
    run, listed = begin(place, tmp_path, [*kind, *EVERY_SECOND])
    wanted = [f"{moment} {anonymous(line, place)}" for line in operations_of_checkpoint(listed, 2)]
    skipped = next(index for index, line in enumerate(wanted) if f" {first} " in line)
    counts = range(skipped + 1, len(wanted) + 1)
    landed = [run.session(Fault(f"{moment} durable", count, str(place.runs), WRITING)) for count in counts]
    assert [anonymous(line, place) for line in landed] == wanted[skipped:]
    for operation in ("rename", "symlink", "replace", "fsync"):
        assert any(f" {operation} " in line for line in wanted[skipped:])
    # With no step left to do, the links must be moved all the same.
    renamed = next(index for index, line in enumerate(wanted) if " rename " in line)
    run.session(Fault("after durable", renamed + 1, str(place.runs), f"{WRITING}00000024"))
    run.end()


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(UNEVEN, id="mlm-packed"),
        pytest.param((*UNEVEN, IN_BACKGROUND), id="mlm-in-background"),
        pytest.param((*LINES, "--max_tokens_per_batch", "320"), id="mlm-buckets", marks=pytest.mark.slow),
        pytest.param(("--document_mask", "--max_length", "40"), id="mlm-apart", marks=pytest.mark.slow),
        pytest.param((*CLM, *LINES), id="clm-lines", marks=pytest.mark.slow),
        pytest.param((*CLM, *LINES, *WORDS), id="clm-lines-of-words", marks=pytest.mark.slow),
    ],
)
def test_after_five_kills_each_step_has_one_record(place: Place, tmp_path: Path, kind: Sequence[str]) -> None:
    run, _ = begin(place, tmp_path, [*kind, *FEW])
    for aim, count in (("metrics", 5), ("weights", 2), ("evaluation", 3), ("state", 3), ("metrics", 7)):
        run.session(Fault(f"inside {aim}", count, str(place.runs)))
    run.end()


def test_a_kill_at_each_operation_of_the_tokenization_changes_nothing(place: Place, tmp_path: Path) -> None:
    fresh = replace(place, cache=tmp_path / "undisturbed-cache")
    run, listed = begin(fresh, tmp_path, FEW)
    wanted = [unnumbered(line, fresh.cache) for line in listed if str(fresh.cache) in line]
    run.place = replace(place, cache=tmp_path / "cache")
    under = str(run.place.cache)
    of_tokenizer = sum(" /tokenizers" in line for line in wanted)
    # The text's hash, which the second session does, so that the tokenizer's operations are the first ones after it.
    landed = [run.session(Fault("before durable", count, under)) for count in (1, 2, *range(2, of_tokenizer + 1))]
    run.session(Fault("after mkdir", 1, under, BUILDING))
    # A store takes ten operations. Its part is whole after four of them, and later sessions take it over by operations
    # of their own: these count from the store's first file. The first store's tenth cannot be had beside the one after
    # it, of the second text's hash.
    for last in (7, 6):
        aims = [*((count, BUILDING) for count in (1, 2, 3, 4, 5)), *((count, TOKENS) for count in (2, 3, 4, 5, last))]
        landed += [run.session(Fault("before durable", count, under, since)) for count, since in aims]
    tenth = 1 + of_tokenizer + 9
    assert [unnumbered(line, run.place.cache) for line in landed] == wanted[:tenth] + wanted[tenth + 1 :]
    run.end()
    assert stores(run.place.cache) == stores(fresh.cache)


def unnumbered(operation: str, cache: Path) -> str:
    """An operation without what differs between two builds."""
    return re.sub(r"building-\w+", "building", operation).replace(str(cache), "").removeprefix("before ")


def test_processes_killed_while_they_tokenize_leave_nothing_behind(place: Place, tmp_path: Path) -> None:
    big = Place(write_corpus(tmp_path / "data", num_lines=24_000), tmp_path / "undisturbed-cache", tmp_path / "runs")
    further = ("--tokenizer_processes", "2", "--training_goal", "6", *KEEP_ALL)
    run, _ = begin(big, tmp_path, further)
    run.place = replace(big, cache=tmp_path / "cache")
    for kill in (Training.signal, Training.signal_group):  # once the tokenizing processes are left to themselves
        with start_warm(run.place.arguments("killed", *further), tmp_path) as training:
            training.wait_for(lambda: bool(list(run.place.cache.glob(f".*{BUILDING}*/*.tokens"))))
            kill(training, signal.SIGKILL)
            assert training.result().status == -signal.SIGKILL
    run.end()
    assert stores(run.place.cache) == stores(big.cache)


def stores(cache: Path) -> dict[str, dict[str, bytes]]:
    """The bytes of all that a cache holds under a final name."""
    assert not list(cache.glob(f".*{BUILDING}*"))
    folders = [path for path in (*cache.iterdir(), *(cache / "tokenizers").iterdir()) if path.is_dir()]
    return {path.name: contents(path) for path in folders if FINGERPRINT.fullmatch(path.name)}


@pytest.mark.slow
def test_two_processes_with_loader_workers_go_on_after_the_first_was_killed_alone(place: Place, tmp_path: Path) -> None:
    further = (*CLM, *FEWER, "--num_devices", "2")
    run, _ = begin(place, tmp_path, further, warm=False)  # without workers
    run.arguments = (*further, "--num_workers", "2")
    arguments = place.arguments("killed", *run.arguments)
    with start(arguments, tmp_path, Fault("before rename", 3, str(place.runs), alone=True)) as training:
        killed = training.result()
        assert killed.status == -signal.SIGKILL, killed.stderr
        assert damage(run.folder, run.undisturbed) == []
        run.end(warm=False)  # while the others may still live
        assert training.living_processes() == []


def test_old_checkpoints_that_a_kill_kept_from_being_removed_are_removed(place: Place, tmp_path: Path) -> None:
    few = (*FEWER, "--max_checkpoints", "1", "--eval_interval", "12")
    assert train(place.arguments("undisturbed", *few), tmp_path).status == 0
    arguments, runs = place.arguments("killed", *few), [place.folder(name) for name in ("killed", "undisturbed")]
    # The last checkpoint is whole, and bears its name, when the ones before it are still there.
    fault = Fault("after rename", 1, str(place.runs), "step-00000012")
    assert train(arguments, tmp_path, fault=fault).status == -signal.SIGKILL
    assert train(arguments, tmp_path).status == 0
    killed, undisturbed = ({path.name for path in run.checkpoints.iterdir()} for run in runs)
    assert killed == undisturbed == {"step-00000009", "step-00000012", "last", "best"}
