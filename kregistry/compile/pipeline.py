"""The pipeline: takes kernels one by one, while the plan is still being made, and makes them ready in parallel.

    known -> fetch -> route -> waiting -> parse headers -> run front end -> assemble -> check -> publish
                           +-> nvcc alone ------------------------------------------> publish

With a cluster, its workers stand in the place of the stages from route to check (``stages/distribute.py``).

A job is claimed when a worker takes it, before its first compiler. The check also sends jobs to nvcc alone: the samples
of the self-check, and what a shared front end cannot compile. A failed front end is run again for each of its jobs.

This is the only module that knows all stages. Each stage hands its jobs on to what it is given here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from kregistry.compile.build_record import BuildRecord
from kregistry.compile.build_report import KnownFamily
from kregistry.compile.costs import Costs
from kregistry.compile.nvcc import Nvcc
from kregistry.compile.open_jobs import OpenJobs
from kregistry.compile.schedule import Schedule
from kregistry.compile.shared.estimates import Estimates
from kregistry.compile.shared.groups import Groups
from kregistry.compile.shared.header_pool import HeaderPool
from kregistry.compile.shared.self_check import SelfCheck
from kregistry.compile.shared.self_check_results import SelfCheckResults
from kregistry.compile.shared.sharing_options import SharingOptions
from kregistry.compile.shared.sizes import KernelSizes
from kregistry.compile.stages.alone import Alone
from kregistry.compile.stages.assemble import Assemble
from kregistry.compile.stages.check import CheckResults
from kregistry.compile.stages.claim import Claim
from kregistry.compile.stages.divide import Divide
from kregistry.compile.stages.fetch import Fetch
from kregistry.compile.stages.fill import Fill
from kregistry.compile.stages.group_tasks import GroupTasks
from kregistry.compile.stages.known import Known
from kregistry.compile.stages.parse_headers import ParseHeaders
from kregistry.compile.stages.publish import Publish
from kregistry.compile.stages.route import Route
from kregistry.compile.stages.run_front_end import RunFrontEnd
from kregistry.compile.stages.waiting import Waiting
from kregistry.deep_gemm.jit_cache import JitCache
from kregistry.event_bus import EventBus
from kregistry.kernel import Kernel
from kregistry.remote.chain import Chain
from kregistry.scratch import is_literal, remove_leftovers, scratch_directory
from kregistry.store import atomic
from kregistry.store.claims import Claims
from kregistry.store.failures import BrokenKernels
from kregistry.store.store import Store

if TYPE_CHECKING:
    from kregistry.compile.cluster import Cluster
    from kregistry.compile.stages.distribute import Distribute

#: The first compiler of an early kernel starts within this time, in seconds.
_FIRST_SECONDS = 0.25


class Pipeline:
    """Compiles what is missing from the store, longest first, and fills the JIT cache.

    Use as a context manager: :meth:`add` kernels at any time, then :meth:`finish`. Leaving the block early ends the
    running compilers; everything that was published stays.

    Args:
        events: delivers the events of the build.
        nvcc: path of the compiler.
        jobs: number of compilers at once.
        options: how front ends are shared.
        remote: tiers that are asked before a kernel is compiled; default: none.
        cluster: its workers compile in place of this machine; default: none.

    Attributes:
        record: what the build has done so far.
    """

    def __init__(
        self,
        events: EventBus,
        store: Store,
        jit_cache: JitCache,
        nvcc: Path,
        jobs: int,
        options: SharingOptions | None = None,
        remote: Chain | None = None,
        cluster: Cluster | None = None,
    ) -> None:
        options = options or SharingOptions()
        directory, scratch = store.directory, self._scratch
        #: Where compilers run, if they would not take the path of the store literally.
        self._elsewhere: Path | None = None
        self._resources = ExitStack()

        # What the stages share.
        self.record = record = BuildRecord(events.hook)
        self._store = store
        self._early: set[str] = set()
        self._unneeded: set[str] = set()
        self._confirmed: set[str] = set()
        self._nvcc = compiler = Nvcc(nvcc)
        self._schedule = schedule = Schedule(jobs)
        self._open_jobs = OpenJobs(schedule)
        self._claims = Claims(directory / "claims")
        costs = Costs(directory)
        self._estimates = estimates = Estimates(costs, KernelSizes(directory))
        self._pool = pool = HeaderPool(compiler, scratch, jobs)
        broken = BrokenKernels(directory)
        groups = Groups(estimates, jobs)
        remote = remote or Chain(())
        results = SelfCheckResults(directory / "front_ends", nvcc, remote.read, self._write_result)
        self_check = SelfCheck(
            results,
            options.paranoid,
            record.compared,
            lambda family, known: record.family_known(KnownFamily(str(family), known.source.value, known.difference)),
        )

        # The stages, from the last to the first, except for those that all others need.
        self._fill = fill = Fill(jit_cache, record)
        self._known = Known(store, broken, fill, record)
        claim = Claim(self._claims, schedule, self._known.use, self._open_jobs.close, record, self._is_unneeded)
        publish = Publish(store, broken, fill, nvcc.name, record, self._write_back, claim.release).publish
        alone = Alone(schedule, claim, compiler, scratch, estimates, record)
        check = CheckResults(self_check, alone, publish, lambda: compiler.stopped, record)
        assemble = Assemble(schedule, compiler, scratch, estimates, check, record)
        self._waiting = waiting = Waiting(schedule, groups)
        divide = Divide(schedule, waiting, check, estimates)
        front_end = RunFrontEnd(claim, waiting, pool, scratch, assemble, divide, check, record)
        headers = ParseHeaders(claim, check, waiting, pool, front_end.run, record)
        self._group_tasks = GroupTasks(groups, estimates, headers.parse, front_end.run)
        self._route = route = Route(options.shared, self_check, waiting, alone, publish, record)
        self._distribute: Distribute | None = None
        if cluster is not None:
            from kregistry.compile.stages.distribute import Distribute

            done = self._open_jobs.close
            direct = Publish(store, broken, fill, nvcc.name, record, self._write_back, done).publish
            known = self._known.use
            self._distribute = Distribute(cluster, route.send, known, direct, done, schedule, costs, record)
        send = route.send if self._distribute is None else self._distribute.send
        self._fetch = Fetch(remote, store, self._known, send, self._open_jobs, schedule, record)

    def __enter__(self) -> Pipeline:
        self.record.kernels_outdated(self._store.open())
        remove_leftovers()
        if not is_literal(self._store.directory.absolute()):
            self._elsewhere = self._resources.enter_context(scratch_directory("build"))
        self._claims.__enter__()
        self._schedule.start(self._group_tasks)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self._schedule.fail(InterruptedError())
            self._nvcc.stop()
        with ExitStack() as closing:  # all of it, whatever fails: a claim that stays holds up other builders
            closing.callback(self._resources.close)
            closing.callback(self._nvcc.close)
            closing.callback(self._claims.__exit__)
            closing.callback(self._pool.close)
            closing.callback(self._fetch.close, cancel=kind is not None)  # it may still write to a remote tier
            closing.callback(self._schedule.close)

    def _scratch(self, kind: str) -> Path:
        """A path where a compiler may run: nvcc passes it to a shell."""
        return self._store.scratch(kind) if self._elsewhere is None else self._elsewhere / atomic.scratch_name(kind)

    def use_cache(self, jit_cache: JitCache) -> None:
        """Fill this JIT cache, before the first kernel is added: those of :meth:`add_early` fill none."""
        self._fill.jit_cache = jit_cache

    def add(self, kernel: Kernel) -> None:
        """Make a kernel ready: at once if the store has it, otherwise by compiling it when its turn comes.

        Raises:
            StorageError: the store or the JIT cache cannot be written.
        """
        if kernel.key in self._early:
            self._confirm(kernel)
        elif not self._known.use(kernel) and self._open_jobs.open(kernel):
            self._fetch.send(kernel)

    def _confirm(self, kernel: Kernel) -> None:
        """An early kernel is needed: fill the JIT cache, now or as soon as it is ready."""
        self._confirmed.add(kernel.key)
        self._fill.confirm(kernel)
        stored = self._store.get(kernel.key)
        if stored is not None:  # nobody will publish it any more
            self._fill.fill_confirmed(kernel.key, stored)

    def add_early(self, kernels: Iterable[Kernel]) -> None:
        """Compile kernels of a lock file before the dry run asks for them. The first compilers start at once.

        A kernel fills the JIT cache only if :meth:`add` confirms it later.

        Raises:
            StorageError: the store cannot be written.
        """
        for kernel in kernels:
            if not self._known.tried(kernel) and self._open_jobs.open(kernel):
                self._early.add(kernel.key)
                self._fetch.send(kernel)
        if self._early:
            self._schedule.open()
            self._nvcc.wait_for_first(_FIRST_SECONDS)  # what comes next would take turns with it

    def expect(self, kernels: Iterable[Kernel]) -> None:
        """Parse the headers of these kernels' families, before it is known which of their kernels are needed."""
        possible = [self._route.expect(kernel) for kernel in kernels]
        if any(possible):
            self._schedule.open()
            self._nvcc.wait_for_first(_FIRST_SECONDS)

    def first(self, keys: Collection[str]) -> None:
        """Compile kernels before all others: those that are added already, and those that will be.

        A kernel that is being compiled, or is in the store, stays as it is.

        Args:
            keys: of the kernels in the store.
        """
        self._schedule.first(keys)
        self._waiting.first(keys)

    def _write_back(self, kernel: Kernel) -> None:
        self._fetch.write_back(kernel)

    def _write_result(self, name: str, content: bytes) -> None:
        self._fetch.write_object(name, content)

    def _is_unneeded(self, kernel: Kernel) -> bool:
        return kernel.key in self._unneeded

    def finish(self) -> None:
        """Wait until every kernel that was added is ready or has failed.

        Early kernels that nobody has added by now are not compiled any more, unless a compiler runs already.

        Raises:
            StorageError: the store or the JIT cache cannot be written.
        """
        self._unneeded = self._early - self._confirmed
        self._fetch.wait()
        if self._distribute is not None:
            self._distribute.complete()
        self._waiting.complete()
        self._open_jobs.wait()
        if self._distribute is None:  # the seconds of other machines say nothing about this one
            self._estimates.save(self.record.compiled, self.record.front_ends)
