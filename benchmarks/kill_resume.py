"""Kill runs at random and aimed-at instants, resume them, and compare what they end with.

python -m benchmarks.kill_resume [--kills 50] [--seed 1] [--keep FOLDER]

Each run is a real `python train.py`, first undisturbed, then killed with SIGKILL about five times and resumed by the
same command. It must end with the same checkpoints and metrics.jsonl, byte for byte, and no kill may leave half of
anything under its final name. Exit status: 0 all the same, 1 a difference. About 15 minutes for 50 kills on two cores.
"""

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.killed_kinds import TOTAL_STEPS, Configuration, draw_configurations, write_records
from benchmarks.killed_runs import ANY_TIME, TOKENIZATION, Kill, KilledRun
from benchmarks.machine import machine
from dlib.runs.folder import RunFolder
from tests.exactness.faults import Fault
from tests.launching import Place, start, write_corpus

MOST_COUNTS = {
    "rename": 5,
    "replace": 20,
    "fsync": 80,
    "symlink": 6,
    "weights": 5,
    "state": 5,
    "metrics": 40,
    "evaluation": 15,
}
"""Up to which operation of a session a kill is aimed, about half of those of a whole run."""

AIMED = (
    *(
        f"{moment} {operation}"
        for operation in ("rename", "replace", "fsync", "symlink")
        for moment in ("before", "after")
    ),
    *(f"inside {place}" for place in ("weights", "state", "metrics", "evaluation")),
    TOKENIZATION,
)
SHARE_AT_ANY_TIME = 0.4
KILLS_OF_A_RUN = 5
PLACES = ("start-up", "tokenization", "before the first checkpoint", "training", "evaluation", "checkpoint", "end")
TEXT_LINES = 24_000
"""Some 2.5 MB: more than one process tokenizes them, and long enough to be killed meanwhile."""
LONGEST_TOKENIZATION_SECONDS = 0.5


@dataclass(frozen=True)
class Pace:
    """How long an undisturbed session takes, in seconds: up to its first step, and from there to its end."""

    start_up: float
    training: float


@dataclass
class Attack:
    """The kills that are still to come, and those that were.

    Attributes:
        place: where the runs stand.
        randomness: draws all kills.
        aims: of the kills that are still to come.
        kills: all that were tried, those that came too late included.
        num_runs: runs, the undisturbed ones included.
    """

    place: Place
    randomness: random.Random
    aims: list[str]
    kills: list[Kill]
    num_runs: int = 0

    def attack(self, configuration: Configuration, count: int) -> None:
        """Kill runs of a configuration until `count` kills landed, and compare each run's end."""
        say(f"{configuration}")
        place = replace(self.place, runs=self.place.runs / str(self.num_runs))
        undisturbed, pace = self.undisturbed(configuration, place)
        while count > 0:
            self.num_runs += 1
            with KilledRun(configuration, place, f"killed-{self.num_runs}", undisturbed) as run:
                count -= self.kill_until_end(run, count, pace)
                run.wait_for_orphans()
            for kill in run.kills:
                for finding in kill.findings:
                    say(f"FOUND {kill.aim}: {finding}")

    def undisturbed(self, configuration: Configuration, place: Place) -> tuple[RunFolder, Pace]:
        """The run in one session that saves at once, and how long that took."""
        self.num_runs += 1
        place, began = replace(place, cache=place.runs / "undisturbed-cache"), time.monotonic()
        folder = place.folder("undisturbed")
        arguments = place.arguments("undisturbed", *replace(configuration, in_background=False).arguments())
        with start(arguments, place.runs / "output") as training:
            training.wait_for_steps(folder, 1)
            start_up = time.monotonic() - began
            result = training.result()
        assert result.status == 0, result.stderr
        return folder, Pace(start_up, time.monotonic() - began - start_up)

    def kill_until_end(self, run: KilledRun, most: int, pace: Pace) -> int:
        """Kill a run up to `most` times, then bring it to its end; returns how many landed."""
        for landed in range(most):
            kill = draw_kill(self.randomness, self.aims.pop(), run, pace)
            self.kills.append(kill)
            run.kill(kill)
            say(f"  {kill.aim}{' alone' if kill.alone else ''}: {kill.landed or 'too late'}")
            if kill.landed is None:
                self.aims.append(kill.aim)
                return landed
            if kill.landed == "failed":
                return landed + 1
        run.end()
        return most


def draw_kill(randomness: random.Random, aim: str, run: KilledRun, pace: Pace) -> Kill:
    """A kill of an aim; one at any time is drawn from the whole time that the session would take."""
    has_others = run.configuration.num_workers > 0 or run.configuration.num_devices > 1 or aim == TOKENIZATION
    alone = has_others and randomness.random() < 0.5
    if aim in (ANY_TIME, TOKENIZATION):
        whole = pace.start_up + pace.training * (1 - run.newest_step() / TOTAL_STEPS)
        delay = randomness.uniform(0, whole if aim == ANY_TIME else LONGEST_TOKENIZATION_SECONDS)
        return Kill(aim, None, delay, alone)
    count = randomness.randint(1, MOST_COUNTS[aim.split()[1]])
    return Kill(aim, Fault(aim, count, str(run.folder.root), alone=alone), 0, alone)


def draw_aims(randomness: random.Random, count: int) -> list[str]:
    """A fixed share at any time, the rest evenly aimed, in any order."""
    at_any_time = round(count * SHARE_AT_ANY_TIME)
    first = randomness.randrange(len(AIMED))
    aims = [ANY_TIME] * at_any_time + [AIMED[(first + n) % len(AIMED)] for n in range(count - at_any_time)]
    randomness.shuffle(aims)
    return aims


def table(kills: Sequence[Kill]) -> Iterator[str]:
    """A Markdown table, a row for each aim."""
    yield f"| aim | landed | too late | {' | '.join(PLACES)} | resumed | differences |"
    yield "|---" + "|---:" * (len(PLACES) + 4) + "|"
    for aim in (ANY_TIME, *AIMED):
        yield row(aim, [kill for kill in kills if kill.aim == aim])
    yield row("all", kills)


def row(name: str, kills: Sequence[Kill]) -> str:
    """What came of some kills."""
    landed = [kill for kill in kills if kill.landed is not None]
    places = Counter(kill.landed for kill in landed)
    numbers = [len(landed), len(kills) - len(landed), *(places[place] for place in PLACES)]
    numbers += [sum(kill.resumed for kill in landed), sum(len(kill.findings) for kill in kills)]
    return f"| {name} | {' | '.join(map(str, numbers))} |"


def say(message: str) -> None:
    """Tell how far it is."""
    print(message, file=sys.stderr, flush=True)


@contextmanager
def folder_of(keep: str | None) -> Iterator[Path]:
    """Where all is written: a new folder that stays, or one that goes."""
    if keep is not None:
        Path(keep).mkdir(parents=True)
        yield Path(keep).resolve()
        return
    with tempfile.TemporaryDirectory() as temporary:
        yield Path(temporary)


def main() -> int:
    """Attack, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50, help="kills that must land")
    parser.add_argument("--seed", type=int, default=1, help="seed of all that is drawn")
    parser.add_argument("--keep", metavar="FOLDER", help="new folder for the runs, which is kept")
    args = parser.parse_args()
    if args.keep is not None and Path(args.keep).exists():
        parser.error(f"--keep {args.keep} exists; name a new folder")
    randomness, began = random.Random(args.seed), time.monotonic()
    configurations = draw_configurations(randomness, -(-args.kills // KILLS_OF_A_RUN))
    with folder_of(args.keep) as root:
        place = Place(write_corpus(root / "data", num_lines=TEXT_LINES), root / "cache", root / "runs")
        write_records(place.data)
        attack = Attack(place, randomness, draw_aims(randomness, args.kills), [])
        for configuration in configurations:
            attack.attack(configuration, min(KILLS_OF_A_RUN, len(attack.aims)))
    findings = [f"{kill.aim}: {finding}" for kill in attack.kills for finding in kill.findings]
    findings += [f"{kill.aim}: no session went on" for kill in attack.kills if not kill.resumed]
    print("\n".join([*table(attack.kills), ""]))
    print(f"Configurations: {'; '.join(map(str, configurations))}.")
    print(f"Seed {args.seed}; {attack.num_runs} runs, {len(attack.kills)} kills tried; {machine()};", end=" ")
    print(f"{(time.monotonic() - began) / 60:.1f} minutes.")
    print("\n".join(["", *findings]) if findings else "No difference.")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
