"""Curves as a figure that can be printed, by matplotlib."""

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from dlib.browse.curves import Curve, finite_points
from dlib.process.durable import refuse_output, write_output
from dlib.process.errors import UserError

# Eight colours that colour-blind readers tell apart (Okabe and Ito, Color Universal Design, 2008), yellow last.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442")
# A metric has a style of its own, so that a run keeps its colour and a print without colours can still be read.
STYLES = ("-", "--", ":", "-.")
X_LABELS = {"step": "optimizer step", "tokens": "tokens", "hours": "training time (hours)"}
UNITS = {
    "loss": "nats",
    "bits_per_byte": "bits per byte",
    "tokens_per_second": "tokens/s",
    "memory_mib": "MiB",
}
INCHES = (6.0, 3.7)
"""As wide as a page's text."""
LOOK: Any = {  # matplotlib's own type for it lists every name there is
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "legend.frameon": False,
    "lines.linewidth": 1.5,
    "pdf.fonttype": 42,  # letters stay letters: journals refuse the default's
    "svg.fonttype": "none",
    "svg.hashsalt": "dlib",  # the same curves give the same file
}


def save_plot(curves: Sequence[Curve], x: str, output: Path, *, log: bool) -> None:
    """Draw the curves into a file whose extension says the format; it appears whole or not at all.

    Raises:
        UserError: matplotlib is missing or does not know the format, or the file cannot be written.
    """
    refuse_figure(output, "-o")
    save_figure(lambda figure: _draw(figure.subplots(), curves, x, log), output, INCHES)
    print(f"wrote {output}")


def refuse_figure(output: Path, flag: str) -> None:
    """Refuse, before the work is done, a file that no figure could be written to; `flag` is named.

    Raises:
        UserError: matplotlib is missing or does not know the format, or there is no such folder.
    """
    try:
        from matplotlib.backend_bases import FigureCanvasBase
    except ImportError as error:
        raise UserError(f"{flag} needs matplotlib: pip install matplotlib, or leave {flag} out") from error
    known = sorted(FigureCanvasBase.get_supported_filetypes())
    if output.suffix.removeprefix(".").lower() not in known:
        raise UserError(f"{flag} {output}: give a file that ends in one of {', '.join(known)}")
    refuse_output(output, flag)


def save_figure(draw: Callable[[Any], None], output: Path, inches: tuple[float, float]) -> None:
    """Let `draw` fill a figure of this size and write it, as `refuse_figure` allowed; raises UserError if it cannot."""
    import matplotlib

    matplotlib.use("Agg")  # no display is needed
    from matplotlib.figure import Figure

    kind = output.suffix.removeprefix(".").lower()
    # Without the date the same figure gives the same bytes.
    metadata = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(kind)
    with matplotlib.rc_context(LOOK):
        figure = Figure(figsize=inches, layout="constrained")
        draw(figure)
        drawn = io.BytesIO()
        figure.savefig(drawn, format=kind, dpi=300, metadata=metadata)
    write_output(output, drawn.getvalue())


def _draw(axes: Any, curves: Sequence[Curve], x: str, log: bool) -> None:
    runs = list(dict.fromkeys(curve.run for curve in curves))
    metrics = list(dict.fromkeys(curve.metric for curve in curves))
    for curve in curves:
        points = [(px, py) for px, py in finite_points(curve) if py > 0 or not log]
        place, style = runs.index(curve.run), STYLES[metrics.index(curve.metric) % len(STYLES)]
        axes.plot(
            [px for px, _ in points],
            [py for _, py in points],
            style,
            color=COLOURS[place % len(COLOURS)],
            label=_label(curve, runs, metrics),
            # A curve of few points shows where they are: an evaluation is no continuous measurement.
            marker="o" if len(points) <= 20 else None,
            markersize=3,
        )
    axes.set_xlabel(X_LABELS[x])
    axes.set_ylabel(_y_label(metrics))
    if log:
        axes.set_yscale("log")
    axes.legend()


def _label(curve: Curve, runs: Sequence[str], metrics: Sequence[str]) -> str:
    """Run and metric, without what all curves share; `_` and `$` are escaped for matplotlib."""
    words = ([curve.run] if len(runs) > 1 else []) + ([curve.metric] if len(metrics) > 1 or len(runs) == 1 else [])
    text = ", ".join(words).replace("$", r"\$")
    return f" {text}" if text.startswith("_") else text


def _y_label(metrics: Sequence[str]) -> str:
    """The name that the metrics share, with its unit."""
    names = {metric.rpartition("/")[2] for metric in metrics}
    if len(names) > 1:
        return ", ".join(metrics)
    name = names.pop()
    unit = f" ({UNITS[name]})" if name in UNITS else ""
    return (metrics[0] if len(metrics) == 1 else name).replace("_", " ") + unit
