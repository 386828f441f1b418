"""The loss curves of short runs stay what they were: order, masks, weights, dropout, schedule and optimizer.

Whoever changes one of them on purpose runs `python -m tests.golden.regenerate` and says why in the changelog.
"""

import json
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.golden.regenerate import EVAL_INTERVAL, OBJECTIVES, compute_curve, curve_file
from tests.launching import Place

TOLERANCE = 1e-4
"""Relative. Another CPU differs by 1e-6; another mask, order or draw of weights by 1e-3 and more."""


def first_difference(curve: dict[str, list[float]], golden: dict[str, list[float]]) -> str | None:
    """The first step at which a curve leaves the golden one, and how; None where it does not."""
    found = []
    for name, values in golden.items():
        assert len(curve[name]) == len(values), f"{name} has {len(curve[name])} values, not {len(values)}"
        interval = EVAL_INTERVAL if name.startswith("dev/") else 1
        for number, (value, wanted) in enumerate(zip(curve[name], values, strict=True), start=1):
            if value != pytest.approx(wanted, rel=TOLERANCE):
                found.append((number * interval, f"{name} {value!r}, not {wanted!r}"))
    return "step {}: {}".format(*min(found)) if found else None


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_the_loss_curve_is_the_golden_one(objective: str, place: Place, tmp_path: Path) -> None:
    content = json.loads(curve_file(objective).read_text(encoding="utf-8"))
    difference = first_difference(compute_curve(objective, place, tmp_path), content["curve"])
    versions = {package: version(package) for package in content["packages"]}
    assert difference is None, f"{difference}\nrecorded with {content['packages']}, now {versions}"


@pytest.mark.parametrize("objective", ["mlm", "clm"])
@pytest.mark.parametrize(
    "changed", [["--seed", "2"], ["--weight_decay", "0.1"], ["--mask_fraction", "0.2"]], ids=" ".join
)
def test_a_changed_run_leaves_the_curve(objective: str, changed: list[str], place: Place, tmp_path: Path) -> None:
    if objective == "clm" and "--mask_fraction" in changed:
        pytest.skip("it has no masks")
    golden = json.loads(curve_file(objective).read_text(encoding="utf-8"))["curve"]
    difference = first_difference(compute_curve(objective, place, tmp_path, *changed), golden)
    assert difference is not None
    assert difference.startswith("step 1:" if "--weight_decay" not in changed else "step ")
