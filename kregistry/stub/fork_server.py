"""The process whose forks are the processes of a pool: it loads torch once, on the stub GPU.

It is started with the number of a socket. Each message on it asks for one process: the message is the home of that
process, where a file (:class:`~kregistry.stub.protocol.StartOrder`) says more, and it carries descriptors for its jobs,
its events, its log and its end. "pid N" is written to the last one at once, and "code N" when the process has died. The
process stays a zombie until the other side of that socket is closed, so that no other process gets its id while the
parent may still kill it.

The end of the socket ends this process, after it has waited for all its forks, so that their CPU seconds count as those
of the parent's child. SIGTERM ends it only while it loads torch, when it has no forks yet.

DeepGEMM is loaded by each fork: it asks torch for a GPU, and after that torch refuses to use CUDA in a fork.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import warnings
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from kregistry.stub.protocol import ORDER_FILE, StartOrder

_LONGEST_PATH = 4096
_DESCRIPTORS = 4


def main(descriptor: int) -> None:
    """Serve until the socket is closed."""
    with socket.socket(fileno=descriptor) as channel:
        warnings.filterwarnings("ignore")
        import torch  # noqa: F401  # for the forks

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
    """Fork the process and report its end; this process does nothing else."""
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
            _work(home, jobs, events)
        os.close(jobs)
        os.close(events)
        ended = os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
        assert ended is not None  # it is None only with WNOHANG
        code = ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status
        with suppress(ConnectionError):  # the parent has died
            parent.send(f"code {code}\n".encode())
            parent.recv(1)
        os.waitpid(child, 0)
    os._exit(0)


def _work(home: Path, jobs: int, events: int) -> NoReturn:
    """Run jobs until the parent closes their pipe."""
    os.set_inheritable(events, False)  # the recorder that DeepGEMM starts would keep it open
    os.environ["HOME"] = str(home)
    order = StartOrder.from_text((home / ORDER_FILE).read_text())
    sys.path[:] = order.path
    from kregistry.stub.worker import serve

    serve(order.target, jobs, events)
    sys.exit()
