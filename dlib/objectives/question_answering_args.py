"""The arguments of extractive question answering."""

from dataclasses import dataclass

from dlib.args.fields import setting


@dataclass
class QuestionAnsweringArgs:
    """How long contexts are read, and how long answers are."""

    context_stride: int = setting(128, at_least=1)
    """question_answering: tokens by which the window moves on in a context that is longer than a row."""
    max_answer_length: int = setting(30, at_least=1)
    """question_answering: most tokens of an answer that the model gives."""
