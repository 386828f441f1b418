"""Names of other programs lead to flags that are there, and to values that they take."""

import argparse
import shlex

import pytest

import generate
from dlib.browse.commands import make_parser as make_runs_parser
from dlib.config.command_line import OTHER_FLAGS
from dlib.config.configuration import parse_args
from dlib.config.familiar_names import FAMILIAR, FAMILIAR_ELSEWHERE, Ours
from dlib.config.fields import FLAGS
from dlib.measuring.flags import make_parser as make_evaluate_parser

TRAINING = {ours for ours in FAMILIAR.values() if ours.flag}


def flags_of(parser: argparse.ArgumentParser) -> set[str]:
    """All flags of a parser and its sub-commands."""
    flags = {flag for action in parser._actions for flag in action.option_strings}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            flags |= {flag for sub_parser in action.choices.values() for flag in flags_of(sub_parser)}
    return flags


@pytest.mark.parametrize("ours", sorted(TRAINING), ids=lambda ours: " ".join(ours[:2]))
def test_what_is_named_is_taken(ours: Ours) -> None:
    assert ours.flag in (*FLAGS, *OTHER_FLAGS)
    if ours.example and ours.flag != "--config_path":
        value = ours.example.replace("N", "1000")
        parse_args(["-n", "x", *shlex.split(f"{ours.flag} {value}")], description="")
    for word in ours.note.split():
        if word.startswith("--"):
            assert word.rstrip(",;.") in (*FLAGS, *OTHER_FLAGS)


def test_what_is_named_elsewhere_is_there() -> None:
    there = flags_of(make_evaluate_parser()) | flags_of(generate.make_parser()) | flags_of(make_runs_parser())
    assert {ours.flag for ours in FAMILIAR_ELSEWHERE.values()} <= there


def test_no_name_of_ours_is_taken_for_another_programs() -> None:
    assert not {f"--{name}" for name in FAMILIAR} & {*FLAGS, *OTHER_FLAGS}
