"""Computes the golden loss curves anew. Do so only for a change that is meant to change what is learned, and say why.

python -m tests.golden.regenerate
"""

import json
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

from dlib.runs.metrics_log import read_metrics
from tests.launching import Place, train, write_corpus

FOLDER = Path(__file__).parent
PACKAGES = ("torch", "transformers", "tokenizers", "numpy")
STEPS, EVAL_INTERVAL = 20, 10
OBJECTIVES = {
    "mlm": ["--model", "configs/models/roberta-tiny", "--whole_word_masking"],
    "clm": ["--objective", "clm", "--model", "configs/models/gpt2-tiny", "--model_overrides", "n_embd=32", "n_layer=2"],
}
"""Flags of each curve. Dropout is on, a step has four micro-batches, a quarter of the steps warms up."""


def flags_of(objective: str) -> list[str]:
    """The flags of a golden run; all that decides its losses is fixed here and in `Place.arguments`."""
    schedule = ["--training_goal", str(STEPS), "--warmup", "25%", "--eval_interval", str(EVAL_INTERVAL)]
    return [*OBJECTIVES[objective], *schedule, "--precision", "32-true", "--seed", "1"]


def compute_curve(objective: str, place: Place, scratch: Path, *further: str) -> dict[str, list[float]]:
    """Trains, and returns the training losses of all steps and the dev losses, in nats."""
    name = f"golden-{objective}-{len(further)}"
    result = train(place.arguments(name, *flags_of(objective), *further), scratch)
    assert result.status == 0, result.stderr
    records = read_metrics(place.folder(name).metrics)
    names = ("train/loss", "train/gradient_norm", "dev/loss")
    return {name: [record[name] for record in records if name in record] for name in names}


def curve_file(objective: str) -> Path:
    """The file of a golden curve."""
    return FOLDER / f"{objective}.json"


def main() -> None:
    """Rewrites the files of all objectives."""
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        place = Place(data=write_corpus(root / "data"), cache=root / "cache", runs=root / "runs")
        for objective in OBJECTIVES:
            content: dict[str, Any] = {
                "packages": {package: version(package) for package in PACKAGES},
                "curve": compute_curve(objective, place, root / "output"),
            }
            curve_file(objective).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
            print(f"{curve_file(objective)}: {content['curve']['train/loss'][-1]:.4f}")


if __name__ == "__main__":
    main()
