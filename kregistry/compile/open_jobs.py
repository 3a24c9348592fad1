"""The jobs of a build that are not done yet: a build ends when there are none."""

from __future__ import annotations

from functools import partial

from kregistry.compile.job import Job
from kregistry.compile.schedule import Schedule
from kregistry.kernel import Kernel

#: How many kernels a message names.
_NAMED = 20


class OpenJobs:
    """Which kernels are on their way; guarded by the schedule's lock, so that :meth:`wait` notices each end."""

    def __init__(self, schedule: Schedule) -> None:
        self._schedule = schedule
        self._kernels: dict[str, Kernel] = {}

    def open(self, kernel: Kernel) -> bool:
        """Note that a kernel is on its way.

        Returns:
            whether it was not on its way before.
        """
        return self._schedule.change(partial(self._open, kernel))

    def close(self, job: Job) -> None:
        """Note that a job is done."""
        self._schedule.change(partial(self._kernels.pop, job.kernel.key, None))

    def wait(self) -> None:
        """Wait until all jobs are done.

        Raises:
            StorageError: the store or the JIT cache cannot be written.
            Standstill: a stage has lost a job.
        """
        self._schedule.wait(lambda: not self._kernels, self._awaited)

    def _open(self, kernel: Kernel) -> bool:
        first = kernel.key not in self._kernels
        self._kernels[kernel.key] = kernel
        return first

    def _awaited(self) -> str:
        names = [kernel.id for kernel in self._kernels.values()]
        rest = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        return ", ".join(names[:_NAMED]) + rest
