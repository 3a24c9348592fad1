"""The build process of a start: plans and builds the kernels of a model while the engine loads its weights.

It is a process of its own, so that it holds neither the engine's interpreter lock nor a CUDA context, and it ends when
the process that has started it ends.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import threading
import time
from pathlib import Path

from attrs import evolve

from kregistry.integrations.phases import PHASES
from kregistry.integrations.start_folder import StartFolder, Status
from kregistry.integrations.switches import one_line

log = logging.getLogger("kregistry.integrations")

#: The engine's own threads come first.
_NICE = 5


def main() -> None:
    """Build what the folder in the first argument asks for; its status says how that went."""
    start = StartFolder(Path(sys.argv[1]))
    started = time.monotonic()
    PHASES.write_to(start.directory)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    threading.Thread(target=_end_with_the_engine, daemon=True).start()
    os.nice(_NICE)
    status = Status("planning", os.getpid())
    start.write_status(status)
    try:
        from kregistry.integrations.model_build import build_model

        found = build_model(start)
    except Exception as error:
        log.exception("the build ahead of the first call has failed")
        status = evolve(status, state="failed", text=one_line(error))
    else:
        status = evolve(found, state="done", pid=status.pid)
    start.write_status(evolve(status, seconds=round(time.monotonic() - started, 3)))


def _end_with_the_engine() -> None:
    """Our standard input is a pipe that nobody writes to: it ends when the engine does, however that was."""
    while os.read(0, 1):  # not sys.stdin, whose lock would be held when the interpreter ends
        pass
    for pid in (*_descendants(os.getpid()), os.getpid()):  # the compilers too, which have groups of their own
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)


def _descendants(pid: int) -> list[int]:
    """The processes that a process has started, and those that they have."""
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            parent = int(path.read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(path.parent.name))
    found = children.get(pid, [])
    for each in found:  # it grows meanwhile
        found.extend(children.get(each, ()))
    return found
