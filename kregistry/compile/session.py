"""A build session: the running pipeline of a build, and what it has been given of this machine.

A session can begin before plugins are loaded and the manifest is read: with the kernels of a lock file, or with the
headers that the manifest's kernel types usually need. Compilers start at once. Whoever has read them passes the session
on to :func:`~kregistry.compile.plan_and_build.build_kernels`.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from contextlib import AbstractContextManager, ExitStack, nullcontext
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from kregistry.compile.cpu_samples import CpuSamples
from kregistry.compile.locked_kernels import locked_kernels
from kregistry.compile.pipeline import Pipeline
from kregistry.compile.shared.sharing_options import SharingOptions
from kregistry.compile.shipped_kernels import shipped_families
from kregistry.deep_gemm.jit_cache import JitCache
from kregistry.errors import KregistryError
from kregistry.event_bus import EventBus
from kregistry.kernel import Kernel
from kregistry.machine import available_cores
from kregistry.remote.chain import Chain
from kregistry.store.store import Store
from kregistry.toolchain import Toolchain, find_toolchain

if TYPE_CHECKING:
    from kregistry.compile.cluster import Cluster
    from kregistry.manifest.glance import Glance


class Session:
    """Begins at once. Use as a context manager: leaving it ends the compilers; leaving it again does nothing.

    Args:
        events: delivers the events of the build.
        store: one that this process can write.
        early: kernels that are compiled at once. Then events are held until :meth:`release`.
        expected: kernels whose headers are parsed at once; the same holds for them.

    Attributes:
        began: (:func:`time.perf_counter`, :func:`time.time`) at the beginning.
        cpu: samples of the cores in use.
        has_early: whether kernels are being compiled before it is known what is built.

    Raises:
        StorageError: the store cannot be written.
    """

    def __init__(
        self,
        events: EventBus,
        store: Store,
        toolchain: Toolchain,
        jobs: int,
        options: SharingOptions,
        remote: Chain,
        cluster: Cluster | None = None,
        early: Collection[Kernel] = (),
        expected: Collection[Kernel] = (),
    ) -> None:
        self.began = time.perf_counter(), time.time()
        self.toolchain = toolchain
        self.jobs = jobs
        self.has_early = bool(early)
        self.cpu = CpuSamples()
        self.pipeline = Pipeline(events, store, JitCache(), toolchain.cuda.nvcc, jobs, options, remote, cluster)
        self._events = events
        if early or expected:
            events.hold()
        with ExitStack() as resources:
            resources.callback(events.release)
            resources.enter_context(self.cpu)
            resources.enter_context(self.pipeline)
            self.pipeline.add_early(early)
            self.pipeline.expect(expected)
            self._resources = resources.pop_all()

    def __enter__(self) -> Session:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._resources.__exit__(kind, error, tb)

    def release(self) -> None:
        """All listeners are there: send them the events so far."""
        self._events.release()


def begin_with_lock(
    lock: Path,
    events: EventBus,
    store: Store,
    *,
    jobs: int | None = None,
    shared_front_end: bool | None = None,
    paranoid: bool = False,
    remote: Chain,
) -> AbstractContextManager[Session | None]:
    """Begin a session with the kernels of a lock file; ``None`` if it does not help a build on this machine.

    What is wrong is not reported here: the build finds it too, and reports it in its turn.

    Args:
        lock: with sources.
        events, store: see :class:`Session`.
        jobs, shared_front_end, paranoid, remote: see :func:`kregistry.build_kernels`. A remote is asked before a kernel
            is compiled, so that nothing begins before the build.

    Raises:
        StorageError: the store cannot be written.
    """
    if remote or store.read_only:
        return nullcontext()
    try:
        toolchain = find_toolchain()
        options = SharingOptions.choose(shared_front_end, paranoid)
        kernels = locked_kernels(lock, toolchain.cuda.compiler)
    except KregistryError:
        return nullcontext()
    early = kernels.values()
    return Session(events, store, toolchain, jobs or available_cores(), options, remote, early=early)


def begin_with_headers(
    seen: Glance,
    events: EventBus,
    store: Store,
    *,
    jobs: int | None = None,
    shared_front_end: bool | None = None,
    paranoid: bool = False,
    remote: Chain,
) -> AbstractContextManager[Session | None]:
    """Begin a session with the headers that a manifest's kernel types usually need; ``None`` if none are known.

    They are parsed for an empty store only: otherwise nothing may be missing.

    Args:
        seen: what the manifest seems to ask for.
        events, store, jobs, shared_front_end, paranoid, remote: see :func:`begin_with_lock`.

    Raises:
        StorageError: the store cannot be written.
    """
    if remote or store.read_only or not store.is_empty():
        return nullcontext()
    try:
        toolchain = find_toolchain()
        options = SharingOptions.choose(shared_front_end, paranoid)
        kernels = shipped_families(seen.kernel_types, seen.target, toolchain) if options.shared else ()
    except KregistryError:
        return nullcontext()
    if not kernels:
        return nullcontext()
    return Session(events, store, toolchain, jobs or available_cores(), options, remote, expected=kernels)
