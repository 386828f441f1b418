"""A copy of `train.py` to which a user has added a line: a callback or logger in its list."""

from pathlib import Path

from tests.launching import ROOT

LIST = "    listed: list[Any] = [\n"


def extend_train(folder: Path, code: str, *entries: str) -> str:
    """Write the copy.

    Args:
        folder: where it is written.
        code: classes, which the user would have in files of their own.
        entries: what is added to the list, at its top.

    Returns:
        What to run in place of `train.py`.
    """
    text = (ROOT / "train.py").read_text(encoding="utf-8")
    assert text.count(LIST) == 1
    text = text.replace(LIST, LIST + "".join(f"        {entry},\n" for entry in entries))
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / "train.py"
    program.write_text(text.replace('if __name__ == "__main__":', f'{code}\n\nif __name__ == "__main__":'))
    return str(program)
