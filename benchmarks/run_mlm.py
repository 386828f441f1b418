"""The Hugging Face way, as a peer: what the example `run_mlm.py` does, without what neither side is measured with.

python -m benchmarks.run_mlm --texts TRAIN.txt DEV.txt --tokenizer FOLDER --model FOLDER --cache FOLDER --output FOLDER

It does as the example: `datasets` reads lines, `map` tokenizes them, a second `map` joins them
end to end and cuts rows of `--max_length`; the Trainer learns. What is left out: the hub, `evaluate`, checkpoints.
"""

import argparse
import os
from itertools import chain
from pathlib import Path
from typing import Any

import datasets
import transformers


def grouped_texts(files: dict[str, str], tokenizer: Any, length: int, cache: Path, processes: int) -> Any:
    """Texts as rows of `length` tokens in the Arrow files of `datasets`, or found there: a split for each file."""
    raw = datasets.load_dataset("text", data_files=files, cache_dir=str(cache))

    def tokenize(examples: dict[str, list[str]]) -> Any:
        return tokenizer(examples["text"], return_special_tokens_mask=True)

    def group(examples: dict[str, list[list[int]]]) -> dict[str, list[list[int]]]:
        joined = {key: list(chain(*values)) for key, values in examples.items()}
        total = len(next(iter(joined.values()))) // length * length
        return {key: [ids[start : start + length] for start in range(0, total, length)] for key, ids in joined.items()}

    workers = processes if processes > 1 else None
    tokenized = raw.map(tokenize, batched=True, num_proc=workers, remove_columns=["text"])
    return tokenized.map(group, batched=True, num_proc=workers)


class SaySteps(transformers.TrainerCallback):
    """Tells of each optimizer step, and ends the process after so many: what comes then is not measured."""

    def __init__(self, steps: int) -> None:
        """End after `steps`."""
        self.steps = steps

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Say which step is done."""
        print(f"step {state.global_step}", flush=True)
        if state.global_step >= self.steps:
            os._exit(0)


def main() -> None:
    """Train as the example does."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", nargs=2, required=True, metavar="FILE")
    parser.add_argument("--tokenizer", required=True, metavar="FOLDER")
    parser.add_argument("--cache", required=True, metavar="FOLDER", help="of the Arrow files")
    parser.add_argument("--model", default="configs/models/roberta-mini", metavar="FOLDER")
    parser.add_argument("--output", default="trainer_output", metavar="FOLDER", help="of the Trainer")
    parser.add_argument("--rows", type=int, default=8, help="rows in a step")
    parser.add_argument("--max_length", type=int, default=128, help="tokens in a row")
    parser.add_argument("--steps", type=int, default=1, help="optimizer steps; 0: the rows are all that is made")
    parser.add_argument("--processes", type=int, default=1, help="processes that make them")
    flags = parser.parse_args()
    files = dict(zip(("train", "validation"), flags.texts, strict=True))
    tokenizer = transformers.AutoTokenizer.from_pretrained(flags.tokenizer, trust_remote_code=False)
    rows = grouped_texts(files, tokenizer, flags.max_length, Path(flags.cache), flags.processes)
    if flags.steps == 0:
        return
    training = transformers.TrainingArguments(
        output_dir=flags.output, per_device_train_batch_size=flags.rows, max_steps=flags.steps, report_to="none"
    )
    transformers.set_seed(training.seed)
    config = transformers.AutoConfig.from_pretrained(flags.model, vocab_size=len(tokenizer), trust_remote_code=False)
    model = transformers.AutoModelForMaskedLM.from_config(config, trust_remote_code=False)
    trainer = transformers.Trainer(
        model=model,
        args=training,
        train_dataset=rows["train"],
        eval_dataset=rows["validation"],
        processing_class=tokenizer,
        data_collator=transformers.DataCollatorForLanguageModeling(tokenizer=tokenizer, mlm_probability=0.15),
        callbacks=[SaySteps(flags.steps)],
    )
    trainer.train()


if __name__ == "__main__":
    main()
