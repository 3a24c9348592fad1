"""Second stage: a kernel that a remote tier has need not be compiled. Many are asked for at once.

A build that uses no remote tier skips this stage.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for

from kregistry.compile.build_record import BuildRecord
from kregistry.compile.job import Job
from kregistry.compile.open_jobs import OpenJobs
from kregistry.compile.schedule import Schedule
from kregistry.compile.stages.known import Known
from kregistry.kernel import Kernel
from kregistry.remote.chain import Chain
from kregistry.store.store import Store

#: Requests at once. They wait for the network, so this does not depend on the number of cores.
_REQUESTS = 16


class Fetch:
    """Reads kernels from remote tiers, and writes back those that this build has compiled.

    Args:
        chain: the tiers.
        route: called with each kernel that no tier has.
    """

    def __init__(
        self,
        chain: Chain,
        store: Store,
        known: Known,
        route: Callable[[Kernel], None],
        open_jobs: OpenJobs,
        schedule: Schedule,
        record: BuildRecord,
    ) -> None:
        self._chain = chain
        self._store = store
        self._known = known
        self._route = route
        self._open_jobs = open_jobs
        self._schedule = schedule
        self._record = record
        self._requests = ThreadPoolExecutor(_REQUESTS, "remote") if chain else None
        self._fetches: list[Future[None]] = []

    def send(self, kernel: Kernel) -> None:
        """Ask the tiers for a kernel, and send it on if none has it."""
        if self._requests is None:
            self._route(kernel)
        else:
            self._fetches.append(self._requests.submit(self._guarded, lambda: self._fetch(kernel)))

    def write_back(self, kernel: Kernel) -> None:
        """Write a kernel that was compiled to the tiers that can be written."""
        if self._requests is not None and self._chain.writable:
            self._requests.submit(self._guarded, lambda: self._chain.push(kernel.key, self._store, kernel.source))

    def write_object(self, name: str, content: bytes) -> None:
        """Write something else than a kernel to the tiers that can be written."""
        if self._requests is not None and self._chain.writable:
            self._requests.submit(self._guarded, lambda: self._chain.write(name, content))

    def wait(self) -> None:
        """Wait until every kernel that was sent so far was found or was sent on."""
        wait_for(self._fetches)

    def close(self, *, cancel: bool) -> None:
        """Wait until everything is written back; with ``cancel``, leave what has not begun."""
        if self._requests is not None:
            self._requests.shutdown(wait=not cancel, cancel_futures=cancel)

    def _fetch(self, kernel: Kernel) -> None:
        if self._chain.fetch(kernel.key, self._store) and self._known.use(kernel):
            self._record.kernel_fetched()
            self._open_jobs.close(Job(kernel))
        else:
            self._route(kernel)

    def _guarded(self, request: Callable[[], object]) -> None:
        """An error of a thread ends the build."""
        try:
            request()
        except BaseException as error:
            self._schedule.fail(error)
