"""The model card of an exported checkpoint: how to load it, what it reached, and what it was made of.

It may be published: it names no path, host or account of the machine that the run was made on.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from dlib.args import ExperimentArgs
from dlib.args.tables import OBJECTIVES, load
from dlib.browse.tables import shown_number
from dlib.config.configuration import differing_fields, load_config
from dlib.config.flags import shown_value
from dlib.runs.comparison import NUMERIC_PACKAGES
from dlib.runs.folder import RunFolder
from dlib.runs.metrics_log import record_of_step
from dlib.runs.paths import CheckpointFolder
from dlib.runs.record import has_uncommitted_code, read_record

PRIVATE_SECTIONS = ("run", "tracking", "hardware")
_MOST_LABELS = 20
PRIVATE_KEYS = ("data.data_dir", "data.cache_dir", "model.checkpoint")
_HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")
_NETWORKS = (
    "`objective.safetensors` holds networks that were trained beside the model: `eval.py` and `train.py --checkpoint` "
    "load them, transformers does not."
)


def model_card(folder: RunFolder, step: int, title: str) -> str:
    """The card of the checkpoint of `step`, in Markdown."""
    args = load_config([folder.config])
    record = read_record(folder) or {}
    card = record.get("card") or _card_of_objective(args)
    checkpoint = CheckpointFolder(folder.checkpoint(step))
    config = json.loads((checkpoint.model / "config.json").read_text("utf-8", "replace"))
    auto_class = card.get("auto_models", {}).get(config.get("model_type"), card["auto_model"])
    is_own = "auto_model" in config  # which transformers' own do not say
    status = folder.read_status()
    total = f" of {status.total_steps:,}" if status and status.total_steps else ""
    parts = [
        f"---\n{_front_matter(args, card.get('pipeline_tag'))}\n---",
        f"# {title}",
        f"A {card['kind']}{_class_of(config)}, after {step:,}{total} optimizer steps of run `{folder.name}`.",
        *_labels(config),
        f"## How to load\n\n{_own_loading() if is_own else _loading(auto_class, title)}",
        *([_NETWORKS] if checkpoint.modules.exists() else []),
        *_metrics(folder, step),
        *_data(record),
        "## Arguments\n\nAll others are defaults.\n\n" + _table(("argument", "value"), _arguments(args)),
        *_made_with(record),
    ]
    return "\n\n".join(parts) + "\n"


def _card_of_objective(args: ExperimentArgs) -> dict[str, Any]:
    """What a record says since its version has one; of an older run's objective, which takes seconds to import."""
    objective = load(OBJECTIVES[args.objective.objective].implementation)
    return {**objective.card, "auto_model": objective.auto_model, "auto_models": objective.auto_models}


def _front_matter(args: ExperimentArgs, use: str | None) -> str:
    from huggingface_hub import ModelCardData  # here and not above: importing it takes longer than to write a card

    origin = args.model.model
    is_on_hub = not args.model.from_scratch and args.model.checkpoint is None and not Path(origin).exists()
    base = origin if is_on_hub and _HUB_NAME.fullmatch(origin) else None
    return str(ModelCardData(library_name="transformers", pipeline_tag=use, base_model=base).to_yaml())


def _class_of(config: Mapping[str, Any]) -> str:
    """The model's class, which has the head, in brackets."""
    return "".join(f" (`{name}`)" for name in config.get("architectures") or ())


def _labels(config: Mapping[str, Any]) -> Iterator[str]:
    """The names of what it tells apart, where they are more than numbers."""
    names = [str(name) for name in (config.get("id2label") or {}).values()]
    if any(not name.startswith("LABEL_") for name in names):
        shown = ", ".join(f"`{name}`" for name in names[:_MOST_LABELS])
        yield f"It tells {len(names):,} labels apart: {shown}{', ...' * (len(names) > _MOST_LABELS)}."


def _loading(auto_class: str, title: str) -> str:
    place = json.dumps(title)
    return (
        f"```python\nfrom transformers import {auto_class}, AutoTokenizer\n\n"
        f"model = {auto_class}.from_pretrained({place})\ntokenizer = AutoTokenizer.from_pretrained({place})\n```"
    )


def _own_loading() -> str:
    return (
        "A network that transformers does not have: it loads where the code is that trained it, with the network in "
        "`MODELS` of `dlib/args/tables.py`, by `generate.py`, `eval.py`, and `train.py --model`."
    )


def _metrics(folder: RunFolder, step: int) -> Iterator[str]:
    recorded = record_of_step(folder.metrics, step) or {}
    rows = [(name, "development text", shown_number(recorded[name])) for name in recorded if name.startswith("dev/")]
    rows += [
        (name, result.file.stem, shown_number(value))
        for result in folder.ledger.results()
        if result.step == step
        for name, value in result.metrics.items()
    ]
    if rows:
        yield "## Metrics\n\nLosses are in nats.\n\n" + _table(("metric", "on", "value"), rows)


def _data(record: Mapping[str, Any]) -> Iterator[str]:
    if record.get("hashes"):
        yield "## Data\n\n" + _table(("what", "SHA-256"), [(k, f"`{v}`") for k, v in record["hashes"].items()])


def _arguments(args: ExperimentArgs) -> list[tuple[str, str]]:
    return [
        (f"`{change.key}`", f"`{_without_folders(shown_value(change.new))}`")
        for change in differing_fields(ExperimentArgs(), args, ignore_free=False)
        if change.key not in PRIVATE_KEYS and change.key.partition(".")[0] not in PRIVATE_SECTIONS
    ]


def _without_folders(value: str) -> str:
    """The last part of a path that only one machine has."""
    return Path(value).name if value.startswith(("/", "~")) else value


def _made_with(record: Mapping[str, Any]) -> Iterator[str]:
    packages = record.get("packages") or {}
    names = [f"{name} {packages[name]}" for name in NUMERIC_PACKAGES if name in packages]
    commit = (record.get("git") or {}).get("commit")
    changes = ", with changes that no commit holds" if commit and has_uncommitted_code(record) else ""
    if names:
        yield f"## Made with\n\n{', '.join(names)}" + (f"; code at commit `{commit}`{changes}" if commit else "") + "."


def _table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)
