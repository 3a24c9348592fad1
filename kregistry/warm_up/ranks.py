"""Several processes on one store: one builds, the others wait, all load."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from attrs import frozen

from kregistry.errors import IncompleteError, StorageError
from kregistry.store import atomic

Barrier = Callable[[], object]


@frozen
class Ranks:
    """The place of this process among those that warm up together.

    Attributes:
        rank: the one with rank 0 builds. On several hosts without a common store, give the rank on the host.
        barrier: returns when every rank has called it.
    """

    rank: int = 0
    barrier: Barrier = lambda: None

    @classmethod
    def of(cls, rank: int | None, barrier: Barrier | Literal["torch.distributed"] | None) -> Ranks:
        """From the arguments of :func:`kregistry.warmup`."""
        if barrier == "torch.distributed":
            import torch.distributed as distributed

            return cls(distributed.get_rank() if rank is None else rank, distributed.barrier)
        if barrier is None:
            return cls(rank or 0)
        return cls(rank or 0, barrier)

    @property
    def builds(self) -> bool:
        return self.rank == 0


def share(path: Path, content: Any) -> None:
    """Leave something for the other ranks, in one step.

    Raises:
        StorageError: the file cannot be written.
    """
    with atomic.storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic.replace_file(path, json.dumps(content).encode())


def take(path: Path) -> Any:
    """What rank 0 has left.

    Raises:
        IncompleteError: it has left nothing.
    """
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        raise IncompleteError(f"rank 0 left no plan at {path}", hint="its own message says why") from None
    except OSError as error:
        raise StorageError.from_oserror(error, path) from error
