"""The texts of a run: by which names, and where below `--data_dir`, they are found."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from dlib.args import DataArgs
from dlib.config.corpora import Corpus, names_files, parse_corpora
from dlib.data.compression import COMPRESSIONS, open_text
from dlib.data.formats import FORMATS, file_suffixes
from dlib.data.layouts import other_layout
from dlib.data.lines import MIB
from dlib.data.pairs import pair_suffix
from dlib.data.shards import is_on_hub, shards_of
from dlib.data.text import located
from dlib.process.errors import UserError

DEV_NAMES = ("dev", "val", "validation")


@dataclass(frozen=True)
class Text:
    """One text of a run."""

    corpus: Corpus  # its name, weight and limits
    file: Path

    def __str__(self) -> str:
        """The file, and what of it."""
        return f"{self.file}{self.corpus.limits}"


@dataclass(frozen=True)
class TextFiles:
    """The texts of a run, at least one of each; the first development text decides what is best."""

    training: tuple[Text, ...]
    development: tuple[Text, ...]

    @property
    def train(self) -> Path:
        """The first training text."""
        return self.training[0].file

    @property
    def dev(self) -> Path:
        """The first development text."""
        return self.development[0].file


def find_text(args: DataArgs) -> TextFiles:
    """Find the training and the development texts.

    Raises:
        UserError: one of them is missing or empty, or a file of `--exclude` is.
    """
    find_excluded(args)
    return TextFiles(find_texts(args, "train"), find_texts(args, "dev"))


def find_excluded(args: DataArgs) -> list[Path]:
    """Find the files of `--exclude`; raises as `find_text`."""
    return [find_named(args, (name,), "name it with --exclude") for name in args.exclude]


def find_texts(args: DataArgs, split: str) -> tuple[Text, ...]:
    """Find the texts of `--train` or `--dev`, or the only one where these say nothing; raises as `find_text`.

    With `--dev_split` the development texts stand in the files of the training texts.
    """
    if split == "dev" and args.dev_split is not None:
        return tuple(Text(Corpus(text.corpus.name, text.corpus.path), text.file) for text in find_texts(args, "train"))
    flag = f"--{split}"
    corpora = parse_corpora(getattr(args, split), flag)
    if not corpora:
        return (Text(Corpus(split, split), find_file(args, split)),)
    return tuple(Text(corpus, find_named(args, (corpus.path,), f"name it with {flag}")) for corpus in corpora)


def find_split(args: DataArgs, split: str) -> Text:
    """Find one text: `train`, `dev`, one of `--dev` or `--train` by its name, `<name>.txt`, else .jsonl..., or files.

    It has the limits that the run gave it; with `--dev_split` a text's part for development has none.

    Raises:
        UserError: it is missing, cannot be read, or holds nothing but line ends; or there are several of this name.
    """
    if split == "train" and len(args.train) > 1:
        raise UserError(f"--split train: there are several; give the name of one of {' '.join(args.train)}")
    if split in ("train", "dev"):
        return find_texts(args, split)[0]
    several = [*parse_corpora(args.dev, "--dev"), *parse_corpora(args.train, "--train")]
    if corpus := next((corpus for corpus in several if corpus.name == split), None):
        file = find_named(args, (corpus.path,), "see --train and --dev")
        return Text(corpus if args.dev_split is None else Corpus(corpus.name, corpus.path), file)
    return Text(Corpus(split, split), find_file(args, split))


def find_file(args: DataArgs, split: str) -> Path:
    """Find the file or files of a text that neither `--train` nor `--dev` names; raises as `find_split`."""
    named = {"train": args.train_file if args.train_file != DataArgs.train_file else None, "dev": args.dev_file}
    advice = "name one of its texts with --split"
    if split in named:
        advice = f"name the {'training' if split == 'train' else split} text with --{split}_file"
    own_name = split if names_files(split) else named.get(split)
    pair = parallel_suffix(args)
    flag = f"--{split}_file" if split in named else "--split"
    if own_name and not (pair and Path(own_name).suffix == ""):
        return find_named(args, (own_name,), advice, flag=flag)
    stems = (own_name,) if own_name else DEV_NAMES if split == "dev" else (split,)
    suffixes = [f"{pair}{compression}" for compression in ("", *COMPRESSIONS)] if pair else (*file_suffixes(), "")
    names = [f"{stem}{suffix}" for suffix in suffixes for stem in stems]
    shown = f"{' or '.join(stems)} ({pair or ', '.join(FORMATS) + ', or a folder'})"
    if split == "dev":
        advice += ", or take it out of the training text with --dev_split 1%"
    return find_named(args, names, advice, shown, flag)


def parallel_suffix(args: DataArgs) -> str:
    """What stands behind the names of parallel files; "" where texts are no such.

    Raises:
        UserError: one of two suffixes is missing.
    """
    source, target = args.source_suffix, args.target_suffix
    if source and target:
        return pair_suffix(source, target)
    if source or target:
        missing = "target" if source else "source"
        raise UserError(f"--{missing}_suffix: give it too, as in --source_suffix de --target_suffix en")
    return ""


def find_named(args: DataArgs, names: Sequence[str], advice: str, shown: str = "", flag: str = "") -> Path:
    """Find the first text of these names in `--data_dir`; errors have it by what is `shown`, else by the first name.

    The `flag` is that of a text by which the advice tells how to name what lies there in another layout.

    Raises:
        UserError: there is none, or it cannot be read, or holds nothing but line ends.
    """
    if is_on_hub(Path(names[0])):
        return Path(names[0])
    folder = Path(args.data_dir)
    if folder.is_file():
        raise UserError(f"--data_dir {folder} is a file: give its folder, and its name with --train_file or --dev_file")
    found = next((folder / name for name in names if shards_of(folder / name)), None)
    if found is None and not folder.is_dir():
        raise UserError(f"--data_dir {folder}: there is no such folder; it holds train.txt and dev.txt")
    if found is None:
        others = filter(None, (other_layout(folder, name, flag) for name in names if flag))
        raise UserError(f"--data_dir {folder}: it has no {shown or names[0]}; {next(others, advice)}")
    if is_empty(found):
        raise UserError(f"{found} is empty; {advice}")
    return found


def is_empty(text_file: Path) -> bool:
    """Whether a text on this machine holds nothing but line ends; it is read up to its first letter.

    Raises:
        UserError: it cannot be read.
    """
    for shard in shards_of(text_file):
        try:
            with located(shard), open_text(shard) as file:
                if any(block.strip(b"\r\n") for block in iter(partial(file.read, MIB), b"")):
                    return False
        except OSError as error:
            raise UserError(f"cannot read {shard}: {error.strerror}; see --data_dir and --train_file") from error
    return True
