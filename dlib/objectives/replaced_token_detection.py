"""Replaced token detection (ELECTRA): a generator fills masks, and the model tells which tokens are not the text's.

Clark et al. 2020, "ELECTRA", section 2: all chosen tokens are masked, what the generator puts in is drawn at
temperature 1, and the loss is the generator's plus `discriminator_weight` times the model's. The two share their
embeddings (section 3.2).
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PretrainedConfig, PreTrainedModel

from dlib.data.samples import Sample
from dlib.models.parts import word_embeddings
from dlib.models.pretrained import draw_model
from dlib.objectives.answering import RowAnswerer
from dlib.objectives.mlm import MaskedLanguageModeling
from dlib.objectives.objective import Batch, Evaluated, widened
from dlib.objectives.padding import model_inputs
from dlib.objectives.recognition import has_head
from dlib.objectives.token_prediction import predict_targets
from dlib.process.errors import UserError
from dlib.process.seeding import keyed_generator
from dlib.process.versions import dtype_option

NARROW_WIDTH, SHALLOW_DEPTH = 0.25, 0.5
"""ELECTRA's generator, and that of DeBERTaV3 (He et al. 2021), which has the model's width."""
DRAWING_STEPS = 2**30
"""Into so many parts a distribution is cut to draw from it: sums of integers are the same in any order."""


class ReplacedTokenDetection(MaskedLanguageModeling):
    """The generator does what mlm does, and learns as well; the model sees what it puts in.

    Its batches hold besides `draws` (K,), numbers from 0 to 1 that say which token the generator puts in at each
    target, and `row_weights` (B,), the share of targets in each row.
    """

    auto_model = "AutoModelForTokenClassification"
    auto_models: ClassVar[Mapping[str, str]] = {"electra": "AutoModelForPreTraining"}
    keeps_documents_apart = False  # the generator would see them all
    measures = ()
    answerer = "dlib.objectives.replaced_token_detection:ReplacementFinder"
    card: ClassVar[Mapping[str, str]] = {"kind": "detector of replaced tokens"}

    @classmethod
    def may_have_trained(cls, config: Any) -> bool:
        """Labels of words are two at least."""
        return bool(config.num_labels == 1)

    @property
    def config_changes(self) -> Mapping[str, Any]:
        """One number a token."""
        return {"num_labels": 1}

    def build_modules(self, model: PreTrainedModel) -> Mapping[str, nn.Module]:
        """The generator, which has the embeddings of the model.

        Raises:
            UserError: such a model can have none, or none of that width.
        """
        if not has_head(model.config, "AutoModelForMaskedLM"):
            raise UserError(
                "--objective replaced_token_detection: its generator fills masks, and transformers has no "
                f"{model.config.model_type} that does; choose another --model"
            )
        config = generator_config(model.config, self.args.generator_width, self.args.generator_depth)
        options = dtype_option(model.dtype)
        generator: Any = draw_model("AutoModelForMaskedLM", config, trust_remote_code=False, **options)
        if word_embeddings(model) is not None and hasattr(model.base_model, "embeddings"):  # positions, norms too
            generator.base_model.embeddings = model.base_model.embeddings
        else:
            generator.set_input_embeddings(model.get_input_embeddings())
        generator.tie_weights()
        return {"generator": generator}

    def _hide(self, row: np.ndarray, positions: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """All of them: what else could stand there, the generator puts in."""
        hidden = row.copy()
        hidden[positions] = self.mask_id
        return hidden

    def collate(self, samples: Sequence[Sample]) -> Batch:
        """Draw by the key of each sample, in training and in an evaluation."""
        counts = [self.count_targets(sample.ids) for sample in samples]
        keys = [("replace", *sample.key) for sample in samples]
        draws = [keyed_generator(*key).random(count) for key, count in zip(keys, counts, strict=True)]
        weights = [count / len(sample.ids) for sample, count in zip(samples, counts, strict=True)]
        return {
            **super().collate(samples),
            "draws": torch.from_numpy(np.concatenate(draws)).float(),
            "row_weights": torch.tensor(weights),
        }

    def parts(self, model: PreTrainedModel, batch: Batch) -> dict[str, Tensor]:
        """What is summed up: losses, numbers of tokens, and how many of them were told right.

        The loss `discriminator` is weighted by row: over a step it is divided by its targets, as the generator's is,
        and so becomes a mean over tokens; of rows of unequal lengths, of means over rows that count by their targets.
        """
        ids, targets = batch["input_ids"], batch["targets"]
        generator: Any = self.modules["generator"]
        logits = widened(predict_targets(generator, batch))
        drawn = draw_tokens(logits.detach(), batch["draws"])
        seen = ids.flatten().scatter(0, batch["target_positions"], drawn).view_as(ids)
        is_replaced = torch.zeros_like(ids).flatten().scatter(0, batch["target_positions"], (drawn != targets).long())
        found = widened(model(**{**model_inputs(batch), "input_ids": seen}).logits).flatten()
        is_token = batch.get("attention_mask", torch.ones_like(ids)).flatten().to(found.dtype)
        losses = is_token * F.binary_cross_entropy_with_logits(found, is_replaced.to(found.dtype), reduction="none")
        told = (found > 0) & (is_token > 0)
        return {
            "generator": F.cross_entropy(logits, targets, reduction="sum"),
            "discriminator": (losses.view_as(ids).sum(1) * batch["row_weights"]).sum(),
            "tokens": is_token.sum(),
            "generated right": (drawn == targets).sum(),
            "replaced": is_replaced.sum(),
            "told": told.sum(),
            "told right": (told & (is_replaced > 0)).sum(),
        }

    def loss_sum(self, model: PreTrainedModel, batch: Batch) -> Tensor:
        """The generator's losses and the model's, see `parts`."""
        parts = self.parts(model, batch)
        return parts["generator"] + self.args.discriminator_weight * parts["discriminator"]

    def evaluate(self, model: PreTrainedModel, batch: Batch) -> Evaluated:
        """All parts."""
        return Evaluated({name: float(part) for name, part in self.parts(model, batch).items()})

    def metrics(self, evaluated: Evaluated, tokens_per_byte: float) -> dict[str, float]:
        """Mean losses; the share of tokens that were told right; precision and recall of those that were replaced."""
        sums = evaluated.sums
        targets = max(sums["weight"], 1.0)
        generator, discriminator = sums["generator"] / targets, sums["discriminator"] / targets
        wrong = sums["told"] + sums["replaced"] - 2 * sums["told right"]
        return {
            "loss": generator + self.args.discriminator_weight * discriminator,
            "generator_loss": generator,
            "generator_accuracy": sums["generated right"] / targets,
            "discriminator_loss": discriminator,
            "accuracy": 1 - wrong / max(sums["tokens"], 1.0),
            "precision": sums["told right"] / max(sums["told"], 1.0),
            "recall": sums["told right"] / max(sums["replaced"], 1.0),
        }


def generator_config(config: PretrainedConfig, width: float | None, depth: float | None) -> PretrainedConfig:
    """The generator's sizes: a share of the model's heads, each as large as the model's, and of its layers.

    Raises:
        UserError: it is to be narrower, and then could not have the model's embeddings.
    """
    changed: Any = copy.deepcopy(config)
    can_be_narrow = hasattr(config, "embedding_size")
    width = width or (NARROW_WIDTH if can_be_narrow else 1)
    depth = depth or (1 if width < 1 else SHALLOW_DEPTH)
    changed.num_hidden_layers = max(1, round(changed.num_hidden_layers * depth))
    if width == 1:
        return changed
    if not can_be_narrow:
        raise UserError(
            f"--generator_width {width}: the word embeddings of {config.model_type} are as wide as its layers, and "
            "the generator has the same; leave it out, or choose a model such as configs/models/electra-tiny"
        )
    heads = max(1, round(changed.num_attention_heads * width))
    for name in ("hidden_size", "intermediate_size"):
        setattr(changed, name, getattr(changed, name) * heads // changed.num_attention_heads)
    changed.num_attention_heads = heads
    return changed


def draw_tokens(logits: Tensor, draws: Tensor) -> Tensor:
    """Tokens (K,) of the distributions that logits (K, V) stand for: where each draw (K,), from 0 to 1, falls."""
    parts = (logits.softmax(-1) * DRAWING_STEPS).int()
    ends = parts.cumsum(-1, dtype=torch.int32)
    places = torch.minimum((draws * ends[:, -1]).int(), ends[:, -1] - 1)
    found = torch.searchsorted(ends, places[:, None], right=True).squeeze(1)
    return found.clamp(max=logits.shape[1] - 1)  # logits that are not finite are told of as such


@dataclass(frozen=True)
class CheckedLine:
    """A line, and the probability of each of its tokens that it was replaced."""

    line: str
    text: str  # the line, with what was replaced in [brackets]
    tokens: Sequence[str]
    probabilities: Sequence[float]


class ReplacementFinder(RowAnswerer):
    """Says which tokens of a line do not belong there."""

    def answer_batch(self, lines: Sequence[str], inputs: Mapping[str, Tensor]) -> Sequence[CheckedLine]:
        """Mark what more likely was replaced than not; what was cut off stays as it is."""
        rows = self.model(**inputs).logits.float().flatten(1).sigmoid().tolist()
        encoded = self.tokenizer(list(lines), add_special_tokens=False, return_offsets_mapping=True, verbose=False)
        return [self.check(*parts) for parts in zip(lines, encoded["offset_mapping"], rows, strict=True)]

    def check(self, line: str, places: Sequence[tuple[int, int]], row: Sequence[float]) -> CheckedLine:
        """A line, where its tokens stand in it, and the probabilities of its row, whose first is the lead token's."""
        read = places[: self.context - 2]
        probabilities = row[1 : len(read) + 1]
        text = line
        for (start, stop), probability in reversed([*zip(read, probabilities, strict=True)]):
            if probability > 0.5 and stop > start:
                text = f"{text[:start]}[{text[start:stop]}]{text[stop:]}"
        return CheckedLine(line, text, [line[start:stop] for start, stop in read], probabilities)
