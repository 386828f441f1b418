"""The arguments of metadata-conditioned causal language modeling."""

from dataclasses import dataclass

from dlib.args.fields import setting


@dataclass
class MetadataArgs:
    """Which metadata is written, where, and how often."""

    metadata_fields: list[str] = setting([])
    """metadata_clm: keys of values that are written before a document's text, in this order."""
    metadata_span_fields: list[str] = setting([])
    """metadata_clm: keys of lists of {"start", "end", "value"} that are written around these characters of the text."""
    metadata_template: str = setting("{name}: {value}")
    """metadata_clm: how a value is written before the text."""
    metadata_separator: str = setting("|")
    """metadata_clm: stands after each of these values, and so before the text."""
    metadata_span_template: str = setting("<{value}>{text}</{value}>")
    """metadata_clm: how a value is written around its characters, which stand at {text}."""
    metadata_special_tokens: list[str] = setting([])
    """metadata_clm: words of the templates that become special tokens, such as <person> </person>."""
    metadata_probability: float = setting(0.5, at_least=0, at_most=1)
    """metadata_clm: share of the documents that are trained on with metadata, drawn anew in each epoch."""
    metadata_weights: dict[str, float] = setting({}, at_least=0)
    """metadata_clm: how likely a field is drawn beside the others, 1 where it is not named; a document has any
    number of them then. Without weights it has all that its document has."""
    metadata_length: int | None = setting(None, at_least=1)
    """metadata_clm: most tokens of a row that are metadata; the text has the others. Default: a quarter."""
