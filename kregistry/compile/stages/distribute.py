"""Send kernels to the workers of a cluster, in groups of one family, and publish what comes back.

The cluster decides where and when a group is compiled, and starts it again if a worker dies. A group that the cluster
gives up is sent again kernel by kernel, and what is lost twice is compiled on this machine.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any

from kregistry.compile.build_record import BuildRecord
from kregistry.compile.cluster import Cluster, ClusterUse
from kregistry.compile.costs import Costs
from kregistry.compile.job import Job
from kregistry.compile.nvcc import Compilation
from kregistry.compile.schedule import Schedule
from kregistry.errors import describe_error, shorten
from kregistry.events.tasks import Task
from kregistry.kernel import Kernel
from kregistry.store import packed, signed_json
from kregistry.store.store import DamagedEntry

_log = logging.getLogger("kregistry.compile")
#: Estimated seconds of a group, besides its headers: short enough to use many workers, long against parsing headers.
_GROUP_SECONDS = 10.0
#: After as many lost groups in a row, the rest is compiled on this machine.
_PATIENCE = 3
#: How often a kernel is sent.
_SENT = 2
#: When nothing has come back for this long, a line says so, and again each time that it has passed; in seconds.
_SILENCE_SECONDS = 60.0


class Distribute:
    """Stands in the place of the stages that compile. Safe against threads.

    Args:
        cluster: the executor, and what makes a lock file of kernels.
        here: compiles a kernel on this machine.
        known: uses what the store has of a kernel; returns whether it has something.
        publish: publishes a result.
    """

    def __init__(
        self,
        cluster: Cluster,
        here: Callable[[Kernel], None],
        known: Callable[[Kernel], bool],
        publish: Callable[[Job, Compilation], None],
        done: Callable[[Job], None],
        schedule: Schedule,
        costs: Costs,
        record: BuildRecord,
    ) -> None:
        self._cluster = cluster
        self._here, self._known, self._publish, self._done = here, known, publish, done
        self._schedule, self._costs, self._record = schedule, costs, record
        self._groups: dict[tuple[str, tuple[str, ...]], list[Kernel]] = {}
        self._lost_in_a_row = 0
        self._losses: Counter[str] = Counter()
        self._out = 0
        self._watched = False
        self._heard = 0.0
        self._lock = threading.Lock()

    @property
    def use(self) -> ClusterUse:
        return self._cluster.use

    def send(self, kernel: Kernel) -> None:
        """Send a kernel with others of its family, as soon as they are enough."""
        family = (kernel.name, kernel.command.flags)
        with self._lock:
            group = self._groups.setdefault(family, [])
            group.append(kernel)
            if len(group) * self._costs.cost(kernel.name).code < _GROUP_SECONDS:
                return
            del self._groups[family]
        self._put(group)

    def complete(self) -> None:
        """Planning has ended: no group waits for more kernels."""
        with self._lock:
            groups, self._groups = list(self._groups.values()), {}
        for group in groups:
            self._put(group)

    def _put(self, kernels: Sequence[Kernel]) -> None:
        """The lock file of a group takes time to write, so a worker of the schedule does it."""
        self._schedule.put(0.0, partial(self._submit, kernels))

    def _submit(self, kernels: Sequence[Kernel]) -> None:
        jobs = [Job(each) for each in kernels]
        if self.use.off:
            self._compile_here(kernels)
            return
        started = time.time()
        try:
            future = self._cluster.submit(kernels)
        except Exception as error:  # whatever a cluster's library raises
            self._lose(kernels, describe_error(error))
            return
        with self._lock:
            self.use.tasks += 1
        for job in jobs:
            self._record.compile_started(job)
        arrived = self._schedule.announce()
        self._sent()
        future.add_done_callback(lambda done: arrived(partial(self._take, jobs, done, started)))

    def _sent(self) -> None:
        with self._lock:
            self._out += 1
            self._heard = time.monotonic()
            watched, self._watched = self._watched, True
        if not watched:
            self._look_later(_SILENCE_SECONDS)

    def _look_later(self, seconds: float) -> None:
        timer = threading.Timer(seconds, self._look)
        timer.daemon = True
        timer.start()

    def _look(self) -> None:
        """Say it if nothing has come back for long: a cluster may have lost all its workers, or a long queue."""
        with self._lock:
            out, silent = self._out, time.monotonic() - self._heard
            if not out or self._schedule.error is not None:
                self._watched = False
                return
        if silent >= _SILENCE_SECONDS:
            _log.warning("waiting for %d tasks of the cluster; nothing has come back for %.0f s", out, silent)
            silent = 0.0
        self._look_later(_SILENCE_SECONDS - silent)

    def _take(self, jobs: Sequence[Job], future: Future[Any], started: float) -> None:
        """Publish what a worker sent; what it did not make is lost."""
        kernels = [job.kernel for job in jobs]
        with self._lock:
            self._out -= 1
            self._heard = time.monotonic()
        try:
            reply = future.result()
            host, made, failed, refused = reply["host"], reply["made"], reply["failed"], reply["refused"]
            results = {each.key: result for each in kernels if (result := _result(each, host, made, failed))}
        except BaseException as error:  # also asyncio.CancelledError and SystemExit, which clusters pass on
            self._lose(kernels, describe_error(error))
            return
        for job in jobs:
            result = results.get(job.kernel.key)
            if result is None:
                continue
            if result.failure and self._known(job.kernel):  # another builder has made it
                self._done(job)
            else:  # also where the worker has this store, and it is in there: remotes get it from here
                self._publish(job, result)
        with self._lock:
            self.use.kernels += len(results)
            self._lost_in_a_row = 0 if results else self._lost_in_a_row
        ids = tuple(each.id for each in kernels)
        task = Task("cluster", kernels[0].name, str(host), ids, started, time.time() - started)
        self._record.add_task(task)
        rest = [each for each in kernels if each.key not in results]
        if rest:
            self._lose(rest, f"{host}: {refused or 'it sent nothing, or something else'}")

    def _lose(self, kernels: Sequence[Kernel], reason: str) -> None:
        """A group came to nothing: send each kernel alone, and one that was lost twice no more."""
        if self._schedule.error is not None:
            return
        with self._lock:
            self.use.lost += 1
            self.use.last_error = shorten(" ".join(reason.split()), 300)
            self._lost_in_a_row += 1
            first, self.use.off = self.use.lost == 1, self._lost_in_a_row >= _PATIENCE
            self._losses.update(each.key for each in kernels)
            again = [] if self.use.off else [each for each in kernels if self._losses[each.key] < _SENT]
        if first:
            _log.warning("a task of the cluster was lost, and is done again: %s", self.use.last_error)
        for each in again:
            self._put([each])
        self._compile_here([each for each in kernels if each not in again])

    def _compile_here(self, kernels: Sequence[Kernel]) -> None:
        with self._lock:
            self.use.here += len(kernels)
        for each in kernels:
            self._here(each)


def _result(
    kernel: Kernel, host: str, made: Mapping[str, bytes], failed: Mapping[str, tuple[str, str]]
) -> Compilation | None:
    """What a worker has made of a kernel; ``None`` if it is not this kernel, intact."""
    if kernel.key in failed:
        command, output = failed[kernel.key]
        return Compilation(b"", 0.0, str(command), f"on {host}:\n{output}")
    if kernel.key not in made:
        return None
    try:
        received = packed.unpack(kernel.key, made[kernel.key])
        seconds = float(signed_json.decode(received.record)["seconds"])
    except (DamagedEntry, ValueError, KeyError, TypeError) as error:
        _log.warning("what the worker %s sent as %s is not used: %s", host, kernel.id, error)
        return None
    return Compilation(received.cubin, seconds, f"on {host}")
