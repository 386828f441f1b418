"""The end of the demo: what the tiny model learned, and what to type next.

python -m dlib.demo runs/demo-mlm
"""

import os
import sys
from pathlib import Path

from dlib.args.generation import GenerationArgs
from dlib.config.configuration import load_config
from dlib.models.hub import choose_hub_mode
from dlib.process.errors import UserError, run_script
from dlib.process.messages import quiet_libraries
from dlib.runs.folder import RunFolder

MASKED_LINES = (
    "Return the number {mask} bytes in the file.",
    "This method can {mask} used to open a file.",
    "The value of the argument {mask} be a string.",
)
PROMPTS = ("Return a list of", "If the file does not exist,")


def main() -> int:
    """Show three filled masks, or two continuations."""
    if len(sys.argv) != 2:
        raise UserError("usage: python -m dlib.demo RUN_FOLDER")
    folder = RunFolder(Path(sys.argv[1]))
    if not folder.config.is_file():
        raise UserError(f"{folder.root} is not a run folder: train one with scripts/demo.sh")
    quiet_libraries()
    choose_hub_mode([], offline=True)
    is_causal = load_config([folder.config]).objective.objective == "clm"
    show_continuations(folder) if is_causal else show_fillings(folder)
    show_next_commands(folder, is_causal)
    return 0


def show_fillings(folder: RunFolder) -> None:
    """Print lines with a mask, and the likeliest words for it."""
    from dlib.generation.filling import FilledLine
    from dlib.generation.predictor import Predictor

    predictor = Predictor(folder.root, GenerationArgs(top_k=3))
    for line in MASKED_LINES:
        [answer] = predictor.predict([line.format(mask="<mask>")])
        assert isinstance(answer, FilledLine)
        words = ", ".join(f"{guess.token.strip()} ({guess.probability:.0%})" for guess in answer.masks[0])
        print(f"\n  {line.format(mask='___')}\n    {words}")


def show_continuations(folder: RunFolder) -> None:
    """Print prompts and what the model writes after them."""
    from dlib.generation.predictor import Predictor

    for answer in Predictor(folder.root, GenerationArgs(max_new_tokens=40)).predict(PROMPTS):
        print(f"\n  {answer.text}")


def show_next_commands(folder: RunFolder, is_causal: bool) -> None:
    """Print what a newcomer may type next."""
    objective, shape = ("clm", "llama-mini") if is_causal else ("mlm", "roberta-mini")
    python = os.environ.get("DLIB_PYTHON") or ".venv/bin/python"  # as the scripts choose it
    command = f"{python} train.py -n mine -d FOLDER --objective {objective} --model configs/models/{shape}"
    print(f"""
The run is in {folder.root}: metrics.jsonl has its numbers, checkpoints/best/model loads with transformers.
Next, on a text of your own (a folder with train.txt and dev.txt, one document a line):

  {command} --from_scratch --plan
  {command} --from_scratch
  {python} train.py --help""")


if __name__ == "__main__":
    run_script(main)
