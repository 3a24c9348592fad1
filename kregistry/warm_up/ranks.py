"""Ranks: several processes on one store. One builds, the others wait, and all load."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from attrs import frozen

Barrier = Callable[[], object]


@frozen
class Ranks:
    """This process among those that warm up together.

    Attributes:
        rank: the process with rank 0 builds. On several hosts without a common store, this is the rank on the host.
        barrier: returns when every rank has called it.
    """

    rank: int = 0
    barrier: Barrier = lambda: None

    @classmethod
    def from_options(cls, rank: int | None, barrier: Barrier | Literal["torch.distributed"] | None) -> Ranks:
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
