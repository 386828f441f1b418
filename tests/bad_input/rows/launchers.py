"""Numbers of processes that nobody starts, or that nobody can."""

from tests.bad_input.calling import Row

HUGE = 2**31
NOBODY = "error: --num_nodes 2: nobody has started the processes of the other machines; use torchrun --nnodes 2 or srun"
BY_HAND = {"MASTER_ADDR": "localhost", "MASTER_PORT": "1"}
LAUNCHED = {"WORLD_SIZE": "2", "MASTER_ADDR": "a..b", "MASTER_PORT": "1"}
ROWS = [
    Row("train.py TINY --num_nodes 2", NOBODY),
    Row("train.py TINY --num_nodes 2", NOBODY, variables={"NODE_RANK": "1", "MASTER_ADDR": "localhost"}),
    Row(
        "train.py TINY --num_nodes 2",
        "NODE_RANK=2: --num_nodes 2 has machines",
        variables={"NODE_RANK": "2", **BY_HAND},
    ),
    Row("train.py TINY", "RANK=first in the environment is no whole number: unset it", variables={"RANK": "first"}),
    Row("train.py TINY", "2 processes were launched, for 1 devices; give --num_devices", variables={"WORLD_SIZE": "2"}),
    *(
        Row("train.py TINY", "error: MASTER_ADDR=a..b: no machine can have such a name; set", variables=variables)
        for variables in ({"RANK": "0", **LAUNCHED}, {"RANK": "1", **LAUNCHED})
    ),
    Row(f"train.py TINY --num_nodes {HUGE}", f"--num_nodes: {HUGE} is out of range"),
    Row(f"train.py TINY -b {HUGE} --micro_batch_size 1 --num_devices {HUGE}", f"--num_devices {HUGE}: "),
    Row("eval.py done --num_nodes 2", NOBODY),
    Row("eval.py --watch nowhere/later", "nowhere/later: there is neither a run nor a folder of runs"),
]
