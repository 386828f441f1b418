"""What `python evaluate.py` says since that script is called eval.py.

It is a folder, so that `import evaluate` finds the Hugging Face package of that name and not a script of ours.
"""

import sys

print("error: evaluate.py is called eval.py now: type eval.py in its place, with the same flags", file=sys.stderr)
sys.exit(2)
