"""Warm-up: this process builds what is missing, and loads every kernel of a model."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

from attrs import frozen

from kregistry.compile import BuildReport
from kregistry.deep_gemm.compiled import CompileWatch
from kregistry.deep_gemm.environment import DG_JIT_CACHE_DIR, check_environment
from kregistry.deep_gemm.jit_cache import JitCache
from kregistry.deep_gemm.preset import adopt_preset
from kregistry.errors import IncompleteError, InputError, MissingRequirement, WarmupError
from kregistry.events.warmed import WarmedKernel
from kregistry.manifest import Manifest, load_manifest
from kregistry.plan.kept_plans import plan_path
from kregistry.registry import Registry
from kregistry.store import Store
from kregistry.target import Target
from kregistry.toolchain import Toolchain, find_toolchain, installed_series, torch_version
from kregistry.warm_up.budget import MemoryBudget
from kregistry.warm_up.launcher import Launcher, Lent
from kregistry.warm_up.observer import WarmupObserver
from kregistry.warm_up.ranks import BARRIER_SECONDS, Barrier, Ranks
from kregistry.warm_up.warmup_plan import WarmupPlan
from kregistry.warm_up.warmup_report import WarmupReport

if TYPE_CHECKING:
    from kregistry.compile.priorities import Priorities


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


@frozen
class PreparedWarmup:
    """A warm-up whose kernels are on disk; its launches are still to be made.

    Attributes:
        registry: the kernel types, with the providers that the manifest chooses.
        manifest: what is warmed up.
        plan: where to launch what.
        jit_cache: where DeepGEMM finds the kernels.
        path: the file of the plan; it may not exist.
        report: the build; ``None`` where another rank or an earlier start has built.
    """

    registry: Registry
    manifest: Manifest
    plan: WarmupPlan
    jit_cache: JitCache
    path: Path
    report: BuildReport | None


def prepare_warmup(
    manifest: str | Path | Manifest,
    model: str | Sequence[str] = (),
    *,
    registry: Registry | None = None,
    target: str | Target = "detect",
    store: str | Path | Store | None = None,
    cache_dir: str | Path | None = None,
    jobs: int | None = None,
    rank: int | None = None,
    barrier: Barrier | Literal["torch.distributed"] | None = None,
    barrier_seconds: float = BARRIER_SECONDS,
    replan: bool = False,
    shared_front_end: bool | None = None,
    paranoid: bool = False,
    priorities: Priorities | None = None,
) -> PreparedWarmup:
    """The part of :func:`warmup` that needs no device: plan and build what is missing, or find the plan of an earlier
    start. It may run in another thread or process than the launches.

    Args:
        priorities: says, also while the build runs, which kernels are compiled first. The others: see :func:`warmup`.

    Raises:
        InputError, ManifestError, UnknownNameError: the manifest or a name is wrong.
        MissingRequirement, StorageError: see :func:`warmup`.
        IncompleteError: this is not rank 0, which left no plan.
    """
    ranks = Ranks.from_options(rank, barrier, barrier_seconds)
    with ranks.released_after_failure():
        registry = registry or Registry()
        adopt_preset()
        toolchain = find_toolchain()
        prepare_process(toolchain, cache_dir)
        if not isinstance(manifest, Manifest):
            manifest = load_manifest(manifest, registry, target)
        registry = registry.choosing(manifest.providers)
        manifest = manifest.select([model] if isinstance(model, str) else model)
        store = store if isinstance(store, Store) else Store(Path(store)) if store else Store.default()
        store.warn_of_others()
        jit_cache = JitCache(Path(cache_dir) if cache_dir else None)
        path = plan_path(store.directory, manifest, registry, toolchain)
        report: BuildReport | None = None
        plan: WarmupPlan | None = None

        def build() -> BuildReport:
            from kregistry.compile.plan_and_build import build_kernels  # a warm start does not pay for its import

            return build_kernels(
                manifest,
                registry,
                store=store,
                jit_cache=jit_cache,
                jobs=jobs,
                toolchain=toolchain,
                shared_front_end=shared_front_end,
                paranoid=paranoid,
                replan=replan,
                priorities=priorities,
            )

        if ranks.builds:
            plan = None if replan else _earlier_plan(path, manifest, store, jit_cache)
            if plan is None:
                report = build()
                plan = WarmupPlan.from_build(report)
            ranks.wait()
        else:
            ranks.wait()
            if store.read_only and not path.exists():  # rank 0 cannot leave a plan: this rank makes the same one
                plan = WarmupPlan.from_build(build())
        plan = plan or WarmupPlan.read(path, manifest)
    assert isinstance(manifest, Manifest) and registry is not None and plan is not None
    return PreparedWarmup(registry, manifest, plan, jit_cache, path, report)


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


def require_device(build: str = "kregistry build") -> None:
    """Check that this process can warm up at all.

    Args:
        build: the command that works without a GPU, for the hint.

    Raises:
        MissingRequirement: torch is missing or has no CUDA, or there is no CUDA device.
    """
    torch_version()
    check_environment(os.environ, installed_series())  # names a variable before it asks for a GPU
    import torch

    if not torch.cuda.is_available():
        hint = f"{build} makes the kernels ready on a machine without a GPU"
        raise MissingRequirement("a warm-up loads kernels on a CUDA device, but torch finds none", hint)


def _earlier_plan(path: Path, manifest: Manifest, store: Store, jit_cache: JitCache) -> WarmupPlan | None:
    """The complete plan that an earlier start left for this fingerprint, if its kernels are still in place."""
    try:
        plan = WarmupPlan.read(path, manifest)
    except (IncompleteError, InputError):  # there is none, or it is damaged: the next one replaces it
        return None
    return plan if plan.build.complete and plan.in_place(store, jit_cache) else None


def prepare_process(toolchain: Toolchain, cache_dir: str | Path | None = None) -> None:
    """Set the environment variables that DeepGEMM reads when it is imported.

    Raises:
        MissingRequirement: DeepGEMM has been imported with another cache directory.
    """
    if cache_dir is not None:
        wanted, current = str(cache_dir), os.environ.get(DG_JIT_CACHE_DIR)
        if "deep_gemm" in sys.modules and current != wanted:
            raise MissingRequirement(
                f"deep_gemm is already imported with {DG_JIT_CACHE_DIR}={current}, so it will not look in {wanted}",
                "warm up before deep_gemm is imported, or leave cache_dir out",
            )
        os.environ[DG_JIT_CACHE_DIR] = wanted
    os.environ.setdefault("CUDA_HOME", str(toolchain.cuda.home))


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
