"""The arguments of the objectives that predict tokens at chosen positions."""

from dataclasses import dataclass

from dlib.args.fields import setting


@dataclass
class TokenPredictionArgs:
    """How their loss is computed."""

    loss_chunk: int | None = setting(None, at_least=0, none="auto")
    """Of objectives that predict tokens: targets whose logits are in memory at a time; 0: all of a micro-batch, which
    rounds otherwise; auto: 128 on a CPU, 2048 on a GPU."""
