"""What to write where a text lies in a data folder in another layout than was looked for."""

import glob
import re
from pathlib import Path

from dlib.data.compression import COMPRESSIONS, format_suffix
from dlib.data.formats import FORMATS, reader_of

SIDE = re.compile(r"\.([\w-]+)(\.gz|\.zst)?")
"""What stands behind the name of one of two parallel files."""
SHOWN_FOLDERS = 5


def other_layout(folder: Path, name: str, flag: str) -> str:
    """What to write where a text's name is that of a folder of folders, or of parallel files; "" where it is not.

    Args:
        folder: of the data.
        name: of the text.
        flag: by which the text is named.
    """
    return labelled_folders(folder, name, flag) or parallel_files(folder, name)


def labelled_folders(folder: Path, name: str, flag: str) -> str:
    """What to write for a folder whose folders are labels."""
    inner = sorted(path for path in (folder / name).glob("*") if path.is_dir())
    file = next((file for path in inner for file in path.iterdir() if format_suffix(file) in FORMATS), None)
    if file is None:
        return ""
    suffix = "".join(file.suffixes[-2:]) if file.suffix in COMPRESSIONS else file.suffix
    whole = " --document file" * (reader_of(format_suffix(file)) is FORMATS[".txt"])
    there = ", ".join(path.name for path in inner[:SHOWN_FOLDERS]) + ", ..." * (len(inner) > SHOWN_FOLDERS)
    return f"{name}/ has folders ({there}): write {flag} '{name}/*/*{suffix}'{whole}"


def parallel_files(folder: Path, name: str) -> str:
    """What to write for files whose lines belong together."""
    beside = sorted((folder / name).parent.glob(f"{glob.escape(Path(name).name)}.*"))
    found = (SIDE.fullmatch(file.name[len(Path(name).name) :]) for file in beside)
    sides = [*dict.fromkeys(side[1] for side in found if side and f".{side[1]}".lower() not in FORMATS)]
    if len(sides) < 2:
        return ""
    first, second = sides[:2]
    parallel = f"{name}.{first} and {name}.{second}"
    return f"for {parallel} write --source_suffix {first} --target_suffix {second}, or the other way round"
