"""A job: one kernel on its way from the plan to the store."""

from __future__ import annotations

import threading
from enum import IntEnum

from attrs import define, field

from kregistry.kernel import Kernel


class State(IntEnum):
    """How far a job has come. A job never goes back."""

    #: For a free worker, or until another builder has compiled the kernel.
    WAITING = 0
    #: This build is to compile the kernel.
    CLAIMED = 1
    #: Its first compiler has started.
    COMPILING = 2
    #: Its result is known: a cubin, or the failure that is reported.
    SETTLED = 3


@define
class Job:
    """One kernel to make ready. Two jobs are equal if they are for the same kernel.

    Attributes:
        state: how far the job has come; changed by :meth:`advance` only.
        sent_to_nvcc: whether nvcc compiles, or has compiled, the kernel on its own.
    """

    kernel: Kernel
    state: State = field(default=State.WAITING, init=False, eq=False)
    sent_to_nvcc: bool = field(default=False, init=False, eq=False)
    _lock: threading.Lock = field(factory=threading.Lock, init=False, eq=False, repr=False)

    def advance(self, state: State) -> bool:
        """Move to a state. Thread-safe: of several callers, exactly one gets a true result.

        Returns:
            whether the job had not come that far before.
        """
        with self._lock:
            if self.state >= state:
                return False
            self.state = state
            return True

    def send_to_nvcc(self) -> bool:
        """Decide that nvcc compiles the kernel on its own.

        Returns:
            whether that had not been decided before.
        """
        with self._lock:
            first, self.sent_to_nvcc = not self.sent_to_nvcc, True
            return first
