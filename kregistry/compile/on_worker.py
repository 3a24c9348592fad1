"""What a worker of a cluster does: it compiles the kernels of a small lock file, and sends the cubins back.

A worker needs kregistry, nvcc and DeepGEMM's headers, but neither torch nor DeepGEMM's library. A task may run twice,
also at the same time: what the worker's store has is not compiled again.
"""

from __future__ import annotations

import os
import socket
from concurrent.futures import Executor
from functools import partial
from pathlib import Path
from typing import Any

from kregistry.compile.build_lock import build_lock
from kregistry.compile.cluster import Workers
from kregistry.errors import KregistryError
from kregistry.event_bus import EventBus
from kregistry.remote.chain import Chain
from kregistry.scratch import scratch_directory
from kregistry.store import Store, packed
from kregistry.store.failures import was_interrupted

#: Directories of DeepGEMM's headers on a worker; default: those of the installed DeepGEMM.
HEADERS = "KREGISTRY_HEADERS"


def compile_lock(content: bytes, shared_front_end: bool | None = None, paranoid: bool = False) -> dict[str, Any]:
    """Compile the kernels of a lock file with sources, one after the other, in this process's store.

    A kernel that does not compile is a result and no exception: clusters run tasks that raise again, or give up.

    Args:
        content: of the lock file.
        shared_front_end, paranoid: see :func:`kregistry.build_kernels`.

    Returns:
        plain values, which every cluster can carry: ``host``; ``made``, by key a kernel as
        :func:`kregistry.store.packed.pack` writes it; ``failed``, by key the compiler's command and output;
        ``refused``, why this machine cannot compile them, otherwise empty.
    """
    made: dict[str, bytes] = {}
    failed: dict[str, tuple[str, str]] = {}
    refused = ""
    try:
        with scratch_directory("worker") as directory:
            lock = directory / "kernels.lock"
            lock.write_bytes(content)
            store = Store.default()
            report = build_lock(
                lock,
                EventBus(),
                store=store,
                headers=_headers(),
                jobs=1,
                shared_front_end=shared_front_end,
                paranoid=paranoid,
                remote=Chain(()),
            )
            lost = {each.kernel.key for each in report.failed if was_interrupted(each)}
            refused = "its compiler was interrupted" if lost else ""
            failed = {each.kernel.key: (each.command, each.output) for each in report.failed}
            failed = {key: told for key, told in failed.items() if key not in lost}
            for kernel in report.plan.kernels.values():
                if kernel.key not in failed and (found := packed.pack(store, kernel.key)) is not None:
                    made[kernel.key] = found
    except KregistryError as error:
        refused = str(error)
    return {"host": socket.gethostname(), "made": made, "failed": failed, "refused": refused}


def workers(executor: Executor, shared_front_end: bool | None = None, paranoid: bool = False) -> Workers:
    """The workers of an executor, for a build with these options."""
    return Workers(executor, partial(compile_lock, shared_front_end=shared_front_end, paranoid=paranoid))


def _headers() -> tuple[Path, ...]:
    return tuple(Path(each) for each in os.environ.get(HEADERS, "").split(os.pathsep) if each)
