"""Plan and build in one go: compiling starts with the first kernel that the dry run meets."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from pathlib import Path

from attrs import evolve, frozen

from kregistry.compile.build_log import BuildLog, write_build_log
from kregistry.compile.build_record import BuildRecord
from kregistry.compile.build_report import BuildReport
from kregistry.compile.built_plan import keep_built_plan
from kregistry.compile.cluster import Cluster
from kregistry.compile.locked_kernels import locked_kernels
from kregistry.compile.on_worker import workers
from kregistry.compile.priorities import Priorities
from kregistry.compile.read_only import use_read_only
from kregistry.compile.session import Session
from kregistry.compile.shard import Shard
from kregistry.compile.shared.sharing_options import SharingOptions
from kregistry.compile.shipped_kernels import shipped_families, shipped_kernels
from kregistry.deep_gemm.jit_cache import JitCache
from kregistry.deep_gemm.preset import adopt_preset
from kregistry.errors import KregistryError
from kregistry.kernel import Kernel
from kregistry.machine import available_cores
from kregistry.manifest import Manifest
from kregistry.plan.plan import Plan
from kregistry.registry import Registry
from kregistry.remote.chain import Chain
from kregistry.remote.usage import note_usage
from kregistry.store import Store
from kregistry.toolchain import Toolchain, find_toolchain
from kregistry.trust.statement import Provenance

_log = logging.getLogger("kregistry.compile")


def build_kernels(
    manifest: Manifest,
    registry: Registry,
    *,
    store: Store | None = None,
    jit_cache: JitCache | None = None,
    jobs: int | None = None,
    toolchain: Toolchain | None = None,
    shared_front_end: bool | None = None,
    paranoid: bool = False,
    replan: bool = False,
    lock: Path | None = None,
    remote: Chain | None = None,
    shard: Shard | None = None,
    executor: Executor | None = None,
    priorities: Priorities | None = None,
    session: Session | None = None,
) -> BuildReport:
    """Make every kernel of a manifest ready: plan it, compile it if it is missing, and fill DeepGEMM's JIT cache.

    A kernel that does not compile, or an entry that cannot be planned, does not stop the others;
    :meth:`BuildReport.raise_problems` raises an error for them. The plan is left in the store, for a warm start.
    A store that this process cannot write is used as it is.

    Args:
        manifest: what to build.
        registry: where the kernel types come from.
        store: default: ``KREGISTRY_STORE``, else below the user's cache directory.
        jit_cache: default: the directory that DeepGEMM itself will use.
        jobs: compilers at once; default: one per core.
        toolchain: default: what is found on this machine.
        shared_front_end: whether kernels of a family share a front end; default: yes, unless
            ``KREGISTRY_NO_SHARED_FRONT_END`` is set.
        paranoid: compare every kernel of a shared front end with the one that nvcc makes alone, not one per family.
        replan: plan again, although the store keeps a plan of this manifest on this stack.
        lock: a lock file with sources of the same manifest, perhaps an older one. Its kernels are compiled while the
            dry run still confirms them; what it does not confirm is left out of the report and of the JIT cache.
        remote: tiers that are asked before a kernel is compiled; default: those of ``KREGISTRY_REMOTE``.
        shard: compile only this part of the kernels. Then compiling starts once the plan is complete.
        executor: its workers compile in place of this machine, e.g. those of a cluster. They need kregistry, the same
            nvcc and the same headers of DeepGEMM.
        priorities: says, also while the build runs, which kernels are compiled first.
        session: a session that has begun with the same store and the kernels of ``lock``. It ends with the build.

    Raises:
        InputError: ``paranoid`` where no front end is shared.
        MissingRequirement: CUDA torch, DeepGEMM, nvcc or a C compiler is missing.
        StorageError: the store or the JIT cache cannot be written and misses kernels, or the disk is full.
    """
    started, begun = (time.perf_counter(), time.time()) if session is None else session.began
    adopt_preset()
    toolchain = toolchain or (find_toolchain() if session is None else session.toolchain)
    jit_cache = jit_cache or JitCache()
    jobs = jobs or (available_cores() if session is None else session.jobs)
    options = SharingOptions.choose(shared_front_end, paranoid)
    store = store or Store.default()
    remote = Chain.from_environment(store.directory) if remote is None else remote
    remote.provenance = Provenance(manifest.target.name, toolchain.versions.to_json())
    cluster = None
    if executor is not None:
        compilers = workers(executor, shared_front_end, paranoid)
        cluster = Cluster(compilers, manifest.target, toolchain.versions, toolchain.cuda.compiler)
    samples: list[tuple[float, float]] = []
    planning = _Planning(manifest, registry, toolchain, store, replan)
    if session is None and store.read_only:
        record = BuildRecord(registry.hook)
        plan = planning.run(record)
        use_read_only(plan.kernels.values(), store, jit_cache, record)
    else:
        session = session or Session(registry.events, store, toolchain, jobs, options, remote, cluster)
        pipeline = session.pipeline
        with session, (priorities or Priorities()).followed_by(pipeline.first):
            session.release()
            pipeline.use_cache(jit_cache)
            if shard is None:
                if not session.has_early:
                    pipeline.add_early(_early_kernels(lock, manifest, toolchain, guess=cluster is None))
                if cluster is None and not remote and store.is_empty():
                    pipeline.expect(shipped_families(_kernel_types(manifest), manifest.target, toolchain))
                plan = planning.run(pipeline.record, pipeline.add)
            else:
                plan = shard.of_plan(planning.run(pipeline.record))
                for kernel in plan.kernels.values():
                    pipeline.add(kernel)
            pipeline.finish()
        record, samples = pipeline.record, session.cpu.samples
        note_usage(store.directory, remote.use, **record.counts())
    directories = {str(jit_cache.directory_for(kernel)) for kernel in plan.kernels.values()}
    seconds, cluster_use = time.perf_counter() - started, None if cluster is None else cluster.use
    report = record.report(plan, " ".join(sorted(directories)), seconds, remote.use, cluster_use)
    if shard is None:
        keep_built_plan(store.directory, report)
    log = BuildLog.of_build(manifest, report, record, jobs, begun, tuple(samples))
    return report if write_build_log(store.directory, log) is None else evolve(report, id=log.id)


@frozen
class _Planning:
    """Makes the plan of a build, or reads the one that the store keeps."""

    manifest: Manifest
    registry: Registry
    toolchain: Toolchain
    store: Store
    replan: bool

    def run(self, record: BuildRecord, on_kernel: Callable[[Kernel], None] | None = None) -> Plan:
        from kregistry.plan.planner import make_plan  # compilers that start early do not wait for it

        return make_plan(
            self.manifest,
            self.registry,
            toolchain=self.toolchain,
            on_kernel=on_kernel,
            on_task=record.add_task,
            keep_in=self.store.directory,
            replan=self.replan,
        )


def _kernel_types(manifest: Manifest) -> frozenset[str]:
    return frozenset(entry.kernel_type for entry in manifest.entries)


def _early_kernels(lock: Path | None, manifest: Manifest, toolchain: Toolchain, *, guess: bool) -> Iterable[Kernel]:
    """The kernels of a lock file, or else those that ship with the package, which are a guess.

    A lock file that does not fit this machine is no error here: the dry run decides.
    """
    if lock is not None:
        try:
            return locked_kernels(lock, toolchain.cuda.compiler).values()
        except KregistryError as error:
            _log.info("%s does not help this build: %s", lock, error)
    return shipped_kernels(manifest, toolchain) if guess else ()
