"""The arguments of span corruption."""

from dataclasses import dataclass

from dlib.args.fields import setting


@dataclass
class SpanCorruptionArgs:
    """Which tokens of a row are left out."""

    noise_density: float = setting(0.15, more_than=0, less_than=1)
    """span_corruption: share of a row's tokens that are left out; their number is exact for each row."""
    mean_span_length: float = setting(3.0, at_least=1)
    """span_corruption: tokens of a span, on average."""
