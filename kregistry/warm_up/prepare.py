"""The part of a warm-up that needs no device: planning, building, and the plan that an earlier start has left."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from attrs import frozen

from kregistry.compile import BuildReport
from kregistry.deep_gemm.jit_cache import JitCache
from kregistry.deep_gemm.preset import adopt_preset
from kregistry.errors import IncompleteError, InputError
from kregistry.manifest import Manifest, load_manifest
from kregistry.plan.kept_plans import plan_path
from kregistry.registry import Registry
from kregistry.store import Store
from kregistry.target import Target
from kregistry.toolchain import find_toolchain
from kregistry.warm_up.process import prepare_process
from kregistry.warm_up.ranks import BARRIER_SECONDS, Barrier, Ranks
from kregistry.warm_up.warmup_plan import WarmupPlan

if TYPE_CHECKING:
    from kregistry.compile.priorities import Priorities


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


def _earlier_plan(path: Path, manifest: Manifest, store: Store, jit_cache: JitCache) -> WarmupPlan | None:
    """The complete plan that an earlier start left for this fingerprint, if its kernels are still in place."""
    try:
        plan = WarmupPlan.read(path, manifest)
    except (IncompleteError, InputError):  # there is none, or it is damaged: the next one replaces it
        return None
    return plan if plan.build.complete and plan.in_place(store, jit_cache) else None
