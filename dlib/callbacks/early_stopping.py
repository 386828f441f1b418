"""Stop when the best metric no longer gets better: Lightning's `EarlyStopping`, set up by our word for it."""

from lightning.pytorch.callbacks import EarlyStopping

from dlib.config.durations import parse_evaluations
from dlib.runs.metrics_log import BestMetric


def stop_early(patience: str | None, best: BestMetric) -> list[EarlyStopping]:
    """The callback that `--early_stopping` asks for, if it does: after "5 evaluations" in a row without a new best."""
    if patience is None:
        return []
    evaluations = parse_evaluations(patience, "--early_stopping")
    # What to do with numbers that are not finite is said by --on_nan.
    return [EarlyStopping(best.key, mode="max" if best.highest else "min", patience=evaluations, check_finite=False)]
