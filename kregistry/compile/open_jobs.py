"""The jobs of a build that are not done yet: a build ends when there are none."""

from __future__ import annotations

from functools import partial

from kregistry.compile.job import Job
from kregistry.compile.schedule import Schedule


class OpenJobs:
    """Which kernels are on their way; guarded by the schedule's lock, so that :meth:`wait` notices each end."""

    def __init__(self, schedule: Schedule) -> None:
        self._schedule = schedule
        self._keys: set[str] = set()

    def open(self, key: str) -> bool:
        """Note that a kernel is on its way.

        Args:
            key: the kernel's key in the store.

        Returns:
            whether it was not on its way before.
        """
        return self._schedule.change(partial(self._open, key))

    def close(self, job: Job) -> None:
        """Note that a job is done."""
        self._schedule.change(partial(self._keys.discard, job.kernel.key))

    def wait(self) -> None:
        """Wait until all jobs are done.

        Raises:
            StorageError: the store or the JIT cache cannot be written.
        """
        self._schedule.wait(lambda: not self._keys)

    def _open(self, key: str) -> bool:
        first = key not in self._keys
        self._keys.add(key)
        return first
