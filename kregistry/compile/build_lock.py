"""Builds from a lock file with sources: needs nvcc and DeepGEMM's headers, but neither torch nor DeepGEMM's library."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from pathlib import Path

from kregistry.compile.build_report import BuildReport
from kregistry.compile.cluster import Cluster, Workers
from kregistry.compile.locked_kernels import kernels_of, read_sources
from kregistry.compile.pipeline import Pipeline
from kregistry.compile.shard import Shard
from kregistry.compile.shared.sharing_options import SharingOptions
from kregistry.deep_gemm.environment import NVRTC, check_environment
from kregistry.deep_gemm.jit_cache import JitCache
from kregistry.event_bus import EventBus
from kregistry.machine import available_cores
from kregistry.plan.plan import Plan
from kregistry.plan.plan_sections import TargetSection
from kregistry.remote.chain import Chain
from kregistry.remote.usage import note_usage
from kregistry.store import Store
from kregistry.target import TARGETS, Target
from kregistry.toolchain import find_cuda_toolkit, installed_series
from kregistry.trust.statement import Provenance


def build_lock(
    lock: Path,
    events: EventBus,
    *,
    store: Store | None = None,
    headers: Iterable[Path] = (),
    jobs: int | None = None,
    shared_front_end: bool | None = None,
    paranoid: bool = False,
    remote: Chain | None = None,
    shard: Shard | None = None,
    workers: Workers | None = None,
) -> BuildReport:
    """Compile the kernels of a lock file that are missing in the store. The JIT cache is not filled.

    Args:
        lock: a lock file that ``kregistry plan --sources`` wrote.
        events: delivers the events of the build.
        store: default: ``KREGISTRY_STORE``, else below the user's cache directory.
        headers: directories of DeepGEMM's headers; default: those of the installed DeepGEMM.
        jobs, shared_front_end, paranoid, remote, shard: see :func:`kregistry.build_kernels`.
        workers: compile in place of this machine.

    Raises:
        InputError: it is not a lock file with sources, or asks for something that DeepGEMM does not generate.
        MissingRequirement: there is no nvcc, the compiler or the headers are not those of the lock file, or NVRTC is
            asked for.
        StorageError: the lock file cannot be read, or the store cannot be written.
    """
    started = time.perf_counter()
    check_environment(os.environ, installed_series(), only=NVRTC)  # a server here would not look for these kernels
    cuda = find_cuda_toolkit()
    file, sources = read_sources(lock)
    kernels = kernels_of(lock, file, sources, cuda.compiler, headers)
    store = store or Store.default()
    remote = Chain.from_environment(store.directory) if remote is None else remote
    remote.provenance = Provenance(file.target.name, file.versions.to_json())
    options = SharingOptions.choose(shared_front_end, paranoid)
    plan, jobs = Plan(_target(file.target), file.versions, kernels, ()), jobs or available_cores()
    plan = plan if shard is None else shard.of_plan(plan)
    cluster = None if workers is None else Cluster(workers, plan.target, file.versions, cuda.compiler)
    with Pipeline(events, store, JitCache(), cuda.nvcc, jobs, options, remote, cluster) as pipeline:
        for kernel in plan.kernels.values():
            events.hook.kregistry_kernel_planned(kernel=kernel)
            pipeline.add(kernel)
        pipeline.finish()
    record = pipeline.record
    note_usage(store.directory, remote.use, **record.counts())
    seconds, cluster_use = time.perf_counter() - started, None if cluster is None else cluster.use
    return record.report(plan, str(store.directory), seconds, remote.use, cluster_use)


def _target(section: TargetSection) -> Target:
    """The GPU of a lock file. Compiling needs no more of it than its name."""
    known = TARGETS.get(section.name)
    return known or Target(section.name, section.name, section.compute_capability, section.num_sms, 1, 1, "a lock file")
