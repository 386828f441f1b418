"""The arguments of the classification of texts."""

from dataclasses import dataclass

from dlib.args.fields import setting

LABEL_TYPES = {
    "auto": "regression for numbers with fractions, multi for lists, else single",
    "single": "one label a text",
    "multi": "a list of any number of labels a text",
    "regression": "a number a text",
}


@dataclass
class SequenceClassificationArgs:
    """What a label is."""

    label_type: str = setting("auto", choices=LABEL_TYPES)
    """sequence_classification: what the key `label` holds."""
