"""Plans a manifest."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from kregistry.deep_gemm.compiler import check_architecture
from kregistry.events.planned import PlannedEntry
from kregistry.events.tasks import Task
from kregistry.kernel import Kernel
from kregistry.machine import available_cores, default_processes
from kregistry.manifest import Manifest
from kregistry.plan.dry_run import DryRun
from kregistry.plan.kept_plans import KeptPlan
from kregistry.plan.plan import Plan
from kregistry.plan.sweep import Sweep
from kregistry.registry import Registry
from kregistry.stub.library import default_stub_directory
from kregistry.toolchain import Toolchain, find_toolchain


def make_plan(
    manifest: Manifest,
    registry: Registry,
    *,
    toolchain: Toolchain | None = None,
    processes: int | None = None,
    stub_directory: Path | None = None,
    on_kernel: Callable[[Kernel], None] | None = None,
    on_task: Callable[[Task], None] | None = None,
    keep_in: Path | None = None,
    replan: bool = False,
) -> Plan:
    """Find every kernel that DeepGEMM will ever JIT for a manifest, on its target, without a GPU.

    DeepGEMM's own host code runs on a stub GPU in other processes, for every value of every range. An entry that fails
    carries its error; the others are complete. Events: ``kregistry_plan_started``, ``kregistry_kernel_planned``,
    ``kregistry_entry_planned``; the same if a plan that was kept is used again.

    Args:
        manifest: what to plan.
        registry: where the kernel types come from; the manifest's own providers are chosen.
        toolchain: default: what is found on this machine.
        processes: processes that run DeepGEMM's host code; default: :func:`~kregistry.machine.default_processes`.
        stub_directory: where the compiled stub is kept; default: below the user's cache directory.
        on_kernel: called once for each kernel during the dry run, from its threads.
        on_task: called with each task that has ended, likewise.
        keep_in: directory of a store. The plan is kept there, and used again as long as nothing changes that it depends
            on; default: it is neither kept nor looked up.
        replan: plan again, although a plan is kept.

    Raises:
        MissingRequirement: CUDA torch, DeepGEMM, nvcc or a C compiler is missing, or nvcc is too old for the target.
        StorageError: a directory cannot be written.
    """
    toolchain = toolchain or find_toolchain()
    target = manifest.target
    check_architecture(toolchain.cuda.compiler, target.name, target.major, target.minor)
    registry = registry.choosing(manifest.providers)

    def planned(kernel: Kernel) -> None:
        registry.hook.kregistry_kernel_planned(kernel=kernel)
        if on_kernel is not None:
            on_kernel(kernel)

    def on_entry(entry: PlannedEntry) -> None:
        registry.hook.kregistry_entry_planned(entry=entry)

    def task(task: Task) -> None:
        if task.seconds is None:
            registry.hook.kregistry_task_started(task=task)
            return
        registry.hook.kregistry_task_finished(task=task)
        if on_task is not None:
            on_task(task)

    registry.hook.kregistry_plan_started(entries=len(manifest.entries), target=manifest.target.name)
    kept = KeptPlan.beside(keep_in, manifest, registry, toolchain) if keep_in is not None else None
    if kept is not None and not replan and (plan := kept.read()) is not None:
        for kernel in plan.kernels.values():
            planned(kernel)
        for entry in plan.entries:
            on_entry(entry)
        return plan
    run = DryRun(toolchain, manifest.target, stub_directory or default_stub_directory(), planned, on_entry, task)
    sweeps = [
        Sweep(entry, registry[entry.kernel_type], str(registry.registration(entry.kernel_type).provider))
        for entry in manifest.entries
    ]
    entries = run.run(sweeps, processes or default_processes(available_cores()))
    fingerprint = kept.fingerprint if kept is not None else ""
    plan = Plan(manifest.target, toolchain.versions, dict(run.kernels), entries, fingerprint)
    if kept is not None:
        kept.write(plan)
    return plan
