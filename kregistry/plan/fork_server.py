"""The process from which the children of a dry run fork: torch is loaded once, on the stub GPU.

    python -m kregistry.plan.fork_server FD

FD is a socket. The first message is the module search path. Each further one asks for a child: its target and its home,
with descriptors for its jobs, its events, its log and its end. To the last go the child's process id and, when it has
died, its exit code; it stays a zombie until the other side is closed, so that nobody else has its id as long as
somebody may kill it. The end of FD ends the process, after its children; it waits for each, so that their CPU seconds
count as those of whoever waits for it.

DeepGEMM is loaded by each child: it asks torch for a GPU, and after that torch refuses CUDA to forks.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import warnings
from typing import Any, NoReturn

_LARGEST_MESSAGE = 1 << 20
_DESCRIPTORS = 4


def main(descriptor: int) -> None:
    with socket.socket(fileno=descriptor) as channel:
        sys.path[:] = json.loads(channel.recv(_LARGEST_MESSAGE))["path"]
        warnings.filterwarnings("ignore")
        import torch  # noqa: F401  # for those that fork

        keepers: list[int] = []
        while True:
            message, descriptors, *_ = socket.recv_fds(channel, _LARGEST_MESSAGE, _DESCRIPTORS)
            if not message:
                break
            keeper = os.fork()
            if keeper == 0:
                channel.close()
                _keep(json.loads(message), *descriptors)
            keepers.append(keeper)
            for each in descriptors:
                os.close(each)
    for keeper in keepers:
        os.waitpid(keeper, 0)
    os._exit(0)  # an orderly end of torch takes a second


def _keep(order: dict[str, Any], jobs: int, events: int, log: int, end: int) -> NoReturn:
    """Fork once more, and tell of the end of that process; this one does nothing else."""
    with socket.socket(fileno=end) as parent:
        child = os.fork()
        if child == 0:
            os.setsid()
            parent.send(f"{os.getpid()}\n".encode())
            parent.close()
            _become_child(order, jobs, events, log)
        for descriptor in (jobs, events, log):
            os.close(descriptor)
        ended = os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
        assert ended is not None  # only WNOHANG makes it so
        code = ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status
        parent.send(f"{code}\n".encode())
        parent.recv(1)
        os.waitpid(child, 0)
    os._exit(0)


def _become_child(order: dict[str, Any], jobs: int, events: int, log: int) -> NoReturn:
    """Run jobs as long as any come."""
    from kregistry.plan.worker import serve
    from kregistry.target import Target

    os.set_inheritable(events, False)  # the recorder that DeepGEMM starts would keep it open
    os.dup2(log, sys.stdout.fileno())
    os.dup2(log, sys.stderr.fileno())
    os.environ["HOME"] = order["home"]
    serve(Target(**order["target"]), jobs, events)
    sys.exit()


if __name__ == "__main__":
    main(int(sys.argv[1]))
