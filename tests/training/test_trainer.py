"""Where the processes of a run meet: nobody takes the port between its choice and torch's own rendezvous."""

import subprocess
import sys

from tests.launching import ROOT, environment

SCRIPT = """
import errno, os, socket
import torch.distributed as dist
from dlib.training.trainer import open_store
port = open_store()
try:
    socket.create_server(("", port))
except OSError as error:
    assert error.errno == errno.EADDRINUSE
else:
    raise AssertionError("another program could take the port")
os.environ.update({"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "RANK": "0", "WORLD_SIZE": "1"})
dist.init_process_group("gloo")
dist.barrier()
print("met")
"""


def test_torch_meets_at_the_port_where_it_listens_already() -> None:
    words = [sys.executable, "-c", SCRIPT]
    done = subprocess.run(words, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=100)
    assert (done.returncode, done.stdout) == (0, "met\n"), done.stderr
