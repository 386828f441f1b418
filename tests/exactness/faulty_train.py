"""Run `train.py` with a fault: python -m tests.exactness.faulty_train FAULT (arguments of train.py)

It stands apart from `faults` because it is what a new interpreter starts with. FAULT is a `Fault` as JSON. Further
processes that it starts run `train.py` without it.
"""

import json
import runpy
import sys

from tests.exactness.faults import Fault, die_at

if __name__ == "__main__":
    die_at(Fault(**json.loads(sys.argv[1])))
    sys.argv = ["train.py", *sys.argv[2:]]
    runpy.run_path("train.py", run_name="__main__")
