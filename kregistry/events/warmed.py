"""The outcome of a warm-up in one process."""

from __future__ import annotations

import enum

from attrs import field, frozen

from kregistry.events.compiled import BrokenKernel
from kregistry.manifest.model import Entry


class Warmed(enum.Enum):
    """The outcome of one launch of the warm-up."""

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
        outcome: loaded, left on disk, or failed.
        nbytes: device memory that the launch needs, in bytes.
        text: the reason, if the kernel was not loaded.
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
        peak_bytes: the most device memory that one launch needed, in bytes.
        seconds: wall time of the launches in seconds, without planning and building.
        compiled: directories that DeepGEMM added to its JIT cache during warm-up: kernels that the build had missed.
        broken: kernels of the plan that do not compile; values that need them were not launched.
    """

    launches: tuple[WarmedKernel, ...]
    total: int
    peak_bytes: int
    seconds: float
    compiled: tuple[str, ...]
    broken: tuple[BrokenKernel, ...] = field(default=(), kw_only=True)

    def _kernels(self, outcome: Warmed) -> tuple[str, ...]:
        return tuple(dict.fromkeys(k for each in self.launches if each.outcome is outcome for k in each.kernels))

    @property
    def loaded(self) -> tuple[str, ...]:
        """Ids of the kernels that this process now holds."""
        return self._kernels(Warmed.LOADED)

    @property
    def left(self) -> tuple[WarmedKernel, ...]:
        """Launches that were not made and whose kernels no other launch has loaded.

        A launch is not made if its buffers exceed the memory budget, or if it needs other processes.
        """
        loaded = set(self.loaded)
        return tuple(
            each for each in self.launches if each.outcome is Warmed.LEFT and not loaded.issuperset(each.kernels)
        )

    @property
    def failed(self) -> tuple[WarmedKernel, ...]:
        return tuple(each for each in self.launches if each.outcome is Warmed.FAILED)
