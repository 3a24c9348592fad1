"""The process from which the children of a dry run fork: torch is loaded once, on the stub GPU.

    python -m kregistry.stub.fork_server FD PATH

PATH is the module search path, as JSON. FD is a socket; each message asks for a child. It is the child's home, where
``order.json`` says more, and comes with descriptors for its jobs, its events, its log and its end. To the last go the
child's process id and, when it has died, its exit code; it stays a zombie until the other side is closed, so that
nobody else has its id as long as somebody may kill it.

The end of FD ends the process, after its children: it waits for each, so that their CPU seconds count as those of
whoever waits for it. SIGTERM ends it as long as it loads torch, when it has no children yet.

DeepGEMM is loaded by each child: it asks torch for a GPU, and after that torch refuses CUDA to forks.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import warnings
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from kregistry.stub.process import ORDER_FILE

_LONGEST_PATH = 4096
_DESCRIPTORS = 4


def main(descriptor: int) -> None:
    with socket.socket(fileno=descriptor) as channel:
        warnings.filterwarnings("ignore")
        import torch  # noqa: F401  # for those that fork

        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        keepers: list[int] = []
        while True:
            home, descriptors, *_ = socket.recv_fds(channel, _LONGEST_PATH, _DESCRIPTORS)
            if not home:
                break
            keepers = [keeper for keeper in keepers if os.waitpid(keeper, os.WNOHANG)[0] == 0]
            keeper = os.fork()
            if keeper == 0:
                channel.close()
                _keep(Path(os.fsdecode(home)), *descriptors)
            keepers.append(keeper)
            for each in descriptors:
                os.close(each)
    for keeper in keepers:
        os.waitpid(keeper, 0)
    os._exit(0)  # an orderly end of torch takes a second


def _keep(home: Path, jobs: int, events: int, log: int, end: int) -> NoReturn:
    """Fork once more, and tell of the end of that process; this one does nothing else."""
    os.dup2(log, sys.stdout.fileno())
    os.dup2(log, sys.stderr.fileno())
    os.close(log)
    with socket.socket(fileno=end) as parent:
        child = os.fork()
        if child == 0:
            os.setsid()
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            parent.send(f"pid {os.getpid()}\n".encode())
            parent.close()
            _become_child(home, jobs, events)
        os.close(jobs)
        os.close(events)
        ended = os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
        assert ended is not None  # only WNOHANG makes it so
        code = ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status
        with suppress(ConnectionError):  # the parent has died: nobody wants to know
            parent.send(f"code {code}\n".encode())
            parent.recv(1)
        os.waitpid(child, 0)
    os._exit(0)


def _become_child(home: Path, jobs: int, events: int) -> NoReturn:
    """Run jobs as long as any come."""
    os.set_inheritable(events, False)  # the recorder that DeepGEMM starts would keep it open
    os.environ["HOME"] = str(home)
    order = json.loads((home / ORDER_FILE).read_text())
    sys.path[:] = order["path"]
    from kregistry.stub.worker import serve
    from kregistry.target import Target

    serve(Target(**order["target"]), jobs, events)
    sys.exit()


if __name__ == "__main__":
    sys.path[:] = json.loads(sys.argv[2])
    main(int(sys.argv[1]))
