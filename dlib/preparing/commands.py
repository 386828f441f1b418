"""What the sub-commands of `prepare.py` do, with the libraries imported."""

from collections.abc import Sequence
from pathlib import Path

from dlib.args import ExperimentArgs
from dlib.browse.plotting import save_figure
from dlib.data.finding import Text, TextFiles
from dlib.data.joined_store import JoinedStore
from dlib.data.token_store import TokenStore
from dlib.models.tokenization import TRAINED, load_tokenizer, save_whole, trained_tokenizer_folder
from dlib.objectives import columns_read, objective_class
from dlib.preparing.figure import INCHES, draw_report
from dlib.preparing.report import NamedStore, report_on
from dlib.preparing.showing import facts, lengths
from dlib.process.durable import refusals_told
from dlib.training.preparation import PreparedData, prepare_data, settle_documents


def write_tokenizer(args: ExperimentArgs, texts: Sequence[Text], folder: Path) -> None:
    """Train a tokenizer as a run would, or find it trained, and save it in a new folder.

    Raises:
        UserError: a text cannot be read, or the vocabulary does not fit it.
    """
    kind = objective_class(args.objective.objective)
    columns = columns_read(args)
    settled, _ = settle_documents(args, TextFiles(tuple(texts), ()), columns)
    first, *further = (text.file for text in texts)
    trained = trained_tokenizer_folder(
        settled, first, columns, open_ended=kind.open_ended, leads=kind.leads, further=further
    )
    tokenizer = load_tokenizer(str(trained), "--tokenizer", trust_remote_code=False)
    with refusals_told(folder):
        save_whole(tokenizer, folder)
    print(f"{folder}: {args.model.tokenizer_type}, {len(tokenizer):,} tokens; train.py --tokenizer {folder} takes it")


def tokenize(args: ExperimentArgs, texts: TextFiles, source: str | None) -> None:
    """Tokenize the texts as a run would; raises as `prepare_data` does."""
    prepared = prepare_data(args, texts, source)
    print(about(prepared))
    for text in named_stores(prepared, texts):
        store = text.store
        print(f"{text.name}: {store.num_documents:,} documents, {store.num_tokens:,} tokens, in {store.folder}")


def report(args: ExperimentArgs, texts: TextFiles, source: str | None, figure: Path | None) -> None:
    """Print the report of a corpus, and draw it; raises as `prepare_data` does."""
    prepared = prepare_data(args, texts, source)
    stores, unknown_id = named_stores(prepared, texts), prepared.tokenizer.unk_token_id
    reports = report_on(stores, prepared.objective.roles, unknown_id, args.data.max_length)
    print(f"{about(prepared)}\ndocuments: {prepared.reason}", "", *facts(reports), "", *lengths(reports), sep="\n")
    if figure is not None:
        save_figure(lambda drawn: draw_report(drawn, reports, about(prepared)), figure, INCHES)
        print(f"wrote {figure}")


def about(prepared: PreparedData) -> str:
    """What the numbers depend on."""
    tokenizer, args = prepared.tokenizer, prepared.args
    is_trained = Path(tokenizer.name_or_path).parent == Path(args.data.cache_dir) / TRAINED
    name = f"{args.model.tokenizer_type}, trained on the text" if is_trained else tokenizer.name_or_path
    return f"tokenizer: {name}, {len(tokenizer):,} tokens"


def named_stores(prepared: PreparedData, texts: TextFiles) -> list[NamedStore]:
    """The texts, the training texts first, as they were tokenized."""
    data = prepared.data
    train = data.train_store.parts if isinstance(data.train_store, JoinedStore) else [data.train_store]
    dev: list[TokenStore] = [found.store for found in data.dev_sets]
    names = [text.corpus.name for text in texts.training]
    others = [text.corpus.name for text in texts.development]
    others = [f"dev of {name}" if name in names else name for name in others]  # set apart from it by --dev_split
    return [
        *(NamedStore(name, store, True) for name, store in zip(names, train, strict=True)),
        *(NamedStore(name, store, False) for name, store in zip(others, dev, strict=True)),
    ]
