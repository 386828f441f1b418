"""Sweeps: what is asked of one, and what its file says. Further mistakes in files: tests/launch/test_sweep_file.py."""

from tests.bad_input.calling import Row

GRID = {"s.yml": "grid: {learning_rate: [1e-3, 3e-3]}\n"}
ROWS = [
    Row("sweep.py", "error: the following arguments are required: SWEEP"),
    Row("sweep.py s.yml", "error: say what to do with the sweep: --list, --index I, --local N", files=GRID),
    Row("sweep.py status none.yml", "error: none.yml: this cannot be read: No such file or directory"),
    Row("sweep.py s.yml t.yml --list", "s.yml t.yml: give one sweep, a file", files=GRID),
    Row("sweep.py s.yml --list --index 1", "not allowed with argument", files=GRID),
    Row("sweep.py s.yml --local 0", "--local 0: give the number of points at a time, at least 1", files=GRID),
    Row("sweep.py s.yml --locl 2", "unknown flag --locl: did you mean --local?", files=GRID),
    Row("sweep.py s.yml --index 2", "--index 2: the sweep has points from 0 to 1", files=GRID),
    Row("sweep.py s.yml --index one", "argument --index: invalid int value: 'one'", files=GRID),
    Row("sweep.py s.yml --local 2 -d data", "-d is a flag of train.py: put -- before it", files=GRID),
    Row("sweep.py s.yml --list --limit 3", "stand beside --submit CLUSTER", files=GRID),
    Row("sweep.py s.yml --list --repeat 0", "--repeat 0: give a number from 1 on", files=GRID),
    Row("sweep.py s.yml --list -- --learning_rate 1", "--learning_rate: the sweep varies it", files=GRID),
    Row("sweep.py s.yml --list -- -n mine", "--name does not stand behind --: sweep.py names the runs", files=GRID),
    Row("sweep.py s.yml --list -- --lr 1", "unknown flag --lr: write --learning_rate", files=GRID),
    Row("sweep.py s.yml --list -- --config_path a.yml", "give --config_path before it", files=GRID),
    Row("sweep.py s.yml --list --config_path a.yml", "--config_path: there is no file a.yml", files=GRID),
    Row("sweep.py s.yml --submit nowhere", "there is no such file", files=GRID),
    Row("sweep.py s.yml --list", "s.yml, line 1: grid.lr: unknown argument: write", files={"s.yml": "grid: {lr: [1]}"}),
    Row(
        "sweep.py s.yml --local 1",
        "s.yml, line 2: grid.batch_size: 'many' is not a whole number",
        files={"s.yml": "grid:\n  batch_size: [8, many]"},
    ),
]
