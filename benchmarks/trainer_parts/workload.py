"""What all trainers are given alike: one text, one tokenizer, one network with the weights it begins from.

A line of the text has as many words as fill a row, so that every trainer cuts the same rows, and none has padding, but
where lines of unlike length are asked for: then each trainer has its own way to fill rows. Words are drawn as often as
in a language (Zipf), a tokenizer's token is a word.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

SPECIAL = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}
FRAME = 2
"""Special tokens of a row."""
NETWORKS = {
    "mlm": ("bert", "AutoModelForMaskedLM"),
    "clm": ("gpt2", "AutoModelForCausalLM"),
    "sequence_classification": ("bert", "AutoModelForSequenceClassification"),
    "seq2seq": ("t5", "AutoModelForSeq2SeqLM"),
}
"""A folder of configs/models/ without its size, and transformers' class, by objective."""
BASE: dict[str, dict[str, int]] = {"roberta": {"max_position_embeddings": 514, "type_vocab_size": 1}, "gpt2": {}}
"""What the base size (RoBERTa-base, GPT-2 124M) has in place of the defaults of its configuration, by model type."""
DEV_ROWS = 8


@dataclass(frozen=True)
class Workload:
    """What is trained, and for how long.

    Attributes:
        objective: of `NETWORKS`.
        folder: where the text and the network stand.
        size: of the network: "mini", "tiny", or "base" of a type in `BASE`.
        vocab_size: number of tokens.
        rows: rows of an optimizer step.
        length: tokens of a row, special tokens included.
        steps: optimizer steps.
        learning_rate: peak; the schedule is linear, without a warm-up.
        model_type: of the network; none: that of `NETWORKS`.
        accelerator: "cpu" or "cuda".
        precision: "32-true" or "bf16-mixed".
        processes: how many share a step; the plain loop and this project can be several.
        micro_batch_size: rows of a forward pass of these two; None: each chooses.
        shortest: words of the shortest line, where any number up to that of a row is as likely; None: all fill rows.
    """

    objective: str
    folder: str
    size: str
    vocab_size: int
    rows: int
    length: int
    steps: int
    learning_rate: float = 5e-4
    model_type: str = ""
    accelerator: str = "cpu"
    precision: str = "32-true"
    processes: int = 1
    micro_batch_size: int | None = None
    shortest: int | None = None

    @property
    def model(self) -> Path:
        """The network's folder."""
        return Path(self.folder, "model")

    @property
    def data(self) -> Path:
        """The text's folder."""
        return Path(self.folder, "data")

    @property
    def tokens_per_step(self) -> float:
        """Tokens of an optimizer step's lines, those of both sides of an encoder-decoder; of unlike lines the mean."""
        length = self.length if self.shortest is None else (self.length + self.shortest + FRAME) / 2
        return self.rows * length * (1 + (self.objective == "seq2seq"))

    @property
    def warm_up_steps(self) -> int:
        """Steps that are not measured, as the first ones are slower."""
        return max(1, min(10, self.steps // 4))

    @property
    def is_on_gpu(self) -> bool:
        """Whether it is trained on a GPU."""
        return self.accelerator == "cuda"

    @property
    def auto_model(self) -> str:
        """transformers' class of the network."""
        return NETWORKS[self.objective][1]


def prepare(workload: Workload) -> None:
    """Write text, tokenizer and network."""
    from dlib.models.pretrained import draw_model

    write_text(workload)
    tokenizer = build_tokenizer(workload)
    config = read_shape(workload)
    config.vocab_size = len(tokenizer)
    config.pad_token_id, config.eos_token_id = tokenizer.pad_token_id, tokenizer.eos_token_id
    model = draw_model(workload.auto_model, config, trust_remote_code=False)
    for saved in (tokenizer, model):
        saved.save_pretrained(workload.model)


def read_shape(workload: Workload) -> Any:
    """The network's configuration, for which nothing is asked of the hub."""
    from transformers import AutoConfig

    from dlib.models.pretrained import read_config

    model_type = workload.model_type or NETWORKS[workload.objective][0]
    if workload.size == "base":
        return AutoConfig.for_model(model_type, **BASE[model_type])
    return read_config(f"configs/models/{model_type}-{workload.size}", trust_remote_code=False)


def write_text(workload: Workload) -> None:
    """Write enough lines for all steps, each once."""
    workload.data.mkdir(parents=True)
    lines = draw_lines(workload)
    for name, count in (("train", workload.rows * workload.steps), ("dev", DEV_ROWS)):
        suffix = "txt" if workload.objective in ("mlm", "clm") else "jsonl"
        workload.data.joinpath(f"{name}.{suffix}").write_text("".join(islice(lines, count)))


def draw_lines(workload: Workload) -> Iterator[str]:
    """Lines of words, without end; with a label that the words tell, or a target, which is the source reversed."""
    randomness, num_words = np.random.default_rng(1), workload.vocab_size - len(SPECIAL)
    frequencies = 1 / np.arange(10, num_words + 10)
    longest = workload.length - FRAME
    while True:
        count = longest if workload.shortest is None else randomness.integers(workload.shortest, longest + 1)
        words = randomness.choice(num_words, count, p=frequencies / frequencies.sum())
        text = " ".join(f"w{word}" for word in words)
        if workload.objective == "sequence_classification":
            yield json.dumps({"text": text, "label": "even" if words[0] % 2 == 0 else "odd"}) + "\n"
        elif workload.objective == "seq2seq":
            target = " ".join(reversed([*text.split(), text.split()[0]]))  # T5 has no token before a text
            yield json.dumps({"source": f"{text} w0", "target": target}) + "\n"
        else:
            yield f"{text}\n"


def build_tokenizer(workload: Workload) -> Any:
    """A tokenizer whose tokens are the words."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = [*SPECIAL.values(), *(f"w{number}" for number in range(workload.vocab_size - len(SPECIAL)))]
    ids = {word: number for number, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordLevel(ids, unk_token=SPECIAL["unk"]))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    start = [] if workload.objective == "seq2seq" else [SPECIAL["cls"]]
    frame = [(token, ids[token]) for token in (SPECIAL["cls"], SPECIAL["sep"])]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=[*start, "$A", SPECIAL["sep"]], special_tokens=frame
    )
    roles = {f"{role}_token": token for role, token in SPECIAL.items()}
    roles |= {"eos_token": SPECIAL["sep"], **({"bos_token": SPECIAL["cls"]} if start else {})}
    if workload.objective == "seq2seq":
        del roles["cls_token"]
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **roles)


def read_rows(workload: Workload, tokenizer: Any) -> Sequence[dict[str, Any]]:
    """The training text as the example scripts of transformers cut it, before a collator sees it."""
    if workload.objective in ("mlm", "clm"):
        lines = (workload.data / "train.txt").read_text().splitlines()
        rows = [{"input_ids": tokenizer(line)["input_ids"]} for line in lines]
        return rows if workload.objective == "mlm" else [{**row, "labels": list(row["input_ids"])} for row in rows]
    documents = [json.loads(line) for line in (workload.data / "train.jsonl").read_text().splitlines()]
    if workload.objective == "seq2seq":
        return [{**tokenizer(each["source"]), "labels": tokenizer(each["target"])["input_ids"]} for each in documents]
    return [{**tokenizer(each["text"]), "labels": int(each["label"] == "odd")} for each in documents]


def build_collator(workload: Workload, tokenizer: Any, model: Any) -> Any:
    """The collator that the example scripts of transformers take."""
    import transformers

    if workload.objective == "mlm":
        return transformers.DataCollatorForLanguageModeling(tokenizer, mlm_probability=0.15)
    if workload.objective == "seq2seq":
        return transformers.DataCollatorForSeq2Seq(tokenizer, model=model)
    if workload.objective == "sequence_classification":
        return transformers.DataCollatorWithPadding(tokenizer)
    return transformers.default_data_collator


def load(workload: Workload) -> tuple[Any, Any]:
    """The tokenizer and the network."""
    import transformers

    auto_model = getattr(transformers, workload.auto_model)
    tokenizer = transformers.AutoTokenizer.from_pretrained(workload.model, trust_remote_code=False)
    return tokenizer, auto_model.from_pretrained(workload.model, trust_remote_code=False)
