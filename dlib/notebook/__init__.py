"""dlib from Python: a run looked at, asked and evaluated, and a training begun, by a notebook or a script of one's own.

    from dlib.notebook import load_run, train

docs/python.md has examples. Importing it imports no torch; a model's libraries come with the model.
"""

from dlib.notebook.run import Run, load_run
from dlib.notebook.training import train

__all__ = ["Run", "load_run", "train"]
