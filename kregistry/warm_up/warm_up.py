"""Warm-up: this process builds what is missing, and loads every kernel of a model."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from kregistry.compile import BuildReport
from kregistry.deep_gemm.compiled import CompileWatch
from kregistry.deep_gemm.jit_cache import JitCache
from kregistry.errors import WarmupError
from kregistry.events.warmed import WarmedKernel
from kregistry.manifest import Manifest
from kregistry.registry import Registry
from kregistry.store import Store
from kregistry.target import Target
from kregistry.warm_up.budget import MemoryBudget
from kregistry.warm_up.launcher import Launcher, Lent
from kregistry.warm_up.observer import WarmupObserver
from kregistry.warm_up.prepare import PreparedWarmup, prepare_warmup
from kregistry.warm_up.process import require_device
from kregistry.warm_up.ranks import BARRIER_SECONDS, Barrier, Ranks
from kregistry.warm_up.warmup_plan import WarmupPlan
from kregistry.warm_up.warmup_report import WarmupReport


def warmup(
    manifest: str | Path | Manifest,
    model: str | Sequence[str] = (),
    *,
    registry: Registry | None = None,
    target: str | Target = "detect",
    store: str | Path | Store | None = None,
    cache_dir: str | Path | None = None,
    jobs: int | None = None,
    memory_budget: float | int | str = 0.9,
    lend: Lent = MappingProxyType({}),
    rank: int | None = None,
    barrier: Barrier | Literal["torch.distributed"] | None = None,
    barrier_seconds: float = BARRIER_SECONDS,
    replan: bool = False,
    shared_front_end: bool | None = None,
    paranoid: bool = False,
    observers: Iterable[WarmupObserver] = (),
) -> WarmupReport:
    """Build what is missing, then load every kernel with one launch each.

    Call it in the serving process before the size of the KV cache is computed: all device memory is freed again.
    An entry that fails is in the report, which raises it as an error on request (:meth:`WarmupReport.raise_problems`).
    Nothing is launched at run-time values that need a kernel which does not compile; they are reported.

    Args:
        manifest: a file, or a manifest that is already read.
        model: names of models; empty: all of the manifest.
        registry: default: the installed plugins.
        target: the device of this process; default: it is detected.
        store: directory of compiled kernels; default: ``KREGISTRY_STORE``, else below the user's cache directory.
        cache_dir: the JIT cache that DeepGEMM uses in this process. If it is given before deep_gemm is imported,
            ``DG_JIT_CACHE_DIR`` is set for this process.
        jobs: compilers at once; default: one for each core.
        memory_budget: fraction of the free device memory, or bytes (int, or "2GiB"); launches that do not fit are
            reported.
        lend: weights to use in place of new buffers: label of an entry -> name of the buffer -> tensor.
        replan: plan and build again, even if an earlier start left a plan that is still valid.
        shared_front_end, paranoid: see :func:`kregistry.build_kernels`.
        observers: e.g. a :class:`kregistry.Dispatch` or a :class:`~kregistry.jit_monitor.JitMonitor`. Before this
            function returns, each learns which manifest this process is warmed up for.
        rank, barrier: rank 0 builds while the others wait in ``barrier()`` (or ``"torch.distributed"``); then all load.
        barrier_seconds: how long a rank waits there at most; it must be longer than a cold build takes.

    Raises:
        InputError, ManifestError, UnknownNameError: the memory budget, the manifest or a name is wrong.
        MissingRequirement: no CUDA device, no compiler, or DeepGEMM already uses another cache directory.
        StorageError: a directory cannot be written.
        WarmupError: the barrier did not return in time, or a launch ended the CUDA context of this process (a trap or
            an illegal access in a kernel).
    """
    with Ranks.from_options(rank, barrier, barrier_seconds).released_after_failure():
        budget = MemoryBudget.parse(memory_budget)
        require_device()
    prepared = prepare_warmup(
        manifest,
        model,
        registry=registry,
        target=target,
        store=store,
        cache_dir=cache_dir,
        jobs=jobs,
        rank=rank,
        barrier=barrier,
        barrier_seconds=barrier_seconds,
        replan=replan,
        shared_front_end=shared_front_end,
        paranoid=paranoid,
    )
    return launch_prepared(prepared, budget, lend, observers)


def launch_prepared(
    prepared: PreparedWarmup,
    budget: MemoryBudget,
    lend: Lent = MappingProxyType({}),
    observers: Iterable[WarmupObserver] = (),
) -> WarmupReport:
    """The part of :func:`warmup` that loads: one launch for each kernel, then a call of each observer.

    Raises:
        WarmupError: the barrier did not return in time, or a launch ended the CUDA context of the process.
    """
    registry, manifest = prepared.registry, prepared.manifest
    warmed = _launch_all(registry, prepared.plan, prepared.jit_cache, budget, lend, prepared.report)
    for observer in observers:
        observer.warmed_up(manifest, warmed)
    registry.hook.kregistry_warmup_finished(manifest=manifest, report=warmed)
    return warmed


def _launch_all(
    registry: Registry,
    plan: WarmupPlan,
    jit_cache: JitCache,
    budget: MemoryBudget,
    lend: Lent,
    report: BuildReport | None,
) -> WarmupReport:
    """Make the launches, in this process."""
    import deep_gemm  # noqa: F401  # its import is not part of the launches
    import torch

    torch.cuda.init()
    free_bytes, _ = torch.cuda.mem_get_info()
    points = plan.launch_points()
    watch = CompileWatch(plan.directories(jit_cache))
    launcher = Launcher(registry, budget.limit(free_bytes), lend)
    registry.hook.kregistry_warmup_started(launches=len(points))
    started = time.perf_counter()
    launches: list[WarmedKernel] = []
    lost_context: WarmupError | None = None
    try:
        for each in launcher.run(points):
            launches.append(each)  # one by one: an error leaves those before it
    except WarmupError as error:
        lost_context = error
    seconds = time.perf_counter() - started
    compiled = tuple(sorted(map(str, watch.compiled())))
    peak = max((each.nbytes for each in launches), default=0)
    broken = plan.broken_kernels()
    warmed = WarmupReport(tuple(launches), plan.total, peak, seconds, compiled, broken=broken, build=report)
    if lost_context is not None:
        lost_context.report = warmed  # what was done until then
        raise lost_context
    return warmed
