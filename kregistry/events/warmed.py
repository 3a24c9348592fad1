"""What a warm-up did in one process."""

from __future__ import annotations

import enum

from attrs import frozen

from kregistry.events.compiled import BrokenKernel
from kregistry.manifest.model import Entry


class Warmed(enum.Enum):
    """What one launch of the warm-up came to."""

    LOADED = "loaded"
    #: Its buffers do not fit the memory budget, or it needs other processes; the kernel stays on disk, ready to be
    #: loaded by the first call.
    LEFT = "left"
    FAILED = "failed"


@frozen
class WarmedKernel:
    """One launch of the warm-up.

    Attributes:
        entry: the call site that it was launched for.
        m: the run-time value.
        kernels: ids of the kernels that the launch loads for the first time.
        outcome: what it came to.
        nbytes: device memory that the launch needs.
        text: why, when it was not loaded.
    """

    entry: Entry
    m: int
    kernels: tuple[str, ...]
    outcome: Warmed
    nbytes: int
    text: str = ""

    def __str__(self) -> str:
        return f"{self.entry} at {self.entry.range.name} {self.m}: {self.text}"


@frozen
class WarmupOutcome:
    """The outcome of a warm-up in one process.

    Attributes:
        launches: every launch, in order.
        total: kernels of the plan.
        peak_bytes: most device memory that one launch needed.
        seconds: of the launches, without planning and building.
        compiled: directories that DeepGEMM added to its JIT cache meanwhile: kernels that it compiled after all.
        broken: kernels of the plan that do not compile; nothing was launched where they are needed.
    """

    launches: tuple[WarmedKernel, ...]
    total: int
    peak_bytes: int
    seconds: float
    compiled: tuple[str, ...]
    broken: tuple[BrokenKernel, ...] = ()

    def _kernels(self, outcome: Warmed) -> tuple[str, ...]:
        return tuple(dict.fromkeys(k for each in self.launches if each.outcome is outcome for k in each.kernels))

    @property
    def loaded(self) -> tuple[str, ...]:
        """Ids of the kernels that this process now holds."""
        return self._kernels(Warmed.LOADED)

    @property
    def left(self) -> tuple[WarmedKernel, ...]:
        """Launches that were not made: no memory, or no partners; unless another one has loaded their kernels."""
        loaded = set(self.loaded)
        return tuple(
            each for each in self.launches if each.outcome is Warmed.LEFT and not loaded.issuperset(each.kernels)
        )

    @property
    def failed(self) -> tuple[WarmedKernel, ...]:
        return tuple(each for each in self.launches if each.outcome is Warmed.FAILED)
