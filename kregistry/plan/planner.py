"""Plans a manifest."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from kregistry.deep_gemm.compiler import check_architecture
from kregistry.events.planned import PlannedEntry
from kregistry.kernel import Kernel
from kregistry.machine import available_cores, default_processes
from kregistry.manifest import Manifest
from kregistry.plan.dry_run import DryRun
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
) -> Plan:
    """Find every kernel that DeepGEMM will ever JIT for a manifest, on its target, without a GPU.

    DeepGEMM's own host code runs on a stub GPU in other processes, for every value of every range. An entry that fails
    carries its error; the others are complete. Events: ``kregistry_plan_started``, ``kregistry_kernel_planned``,
    ``kregistry_entry_planned``.

    Args:
        manifest: what to plan.
        registry: where the kernel types come from; the manifest's own providers are chosen.
        toolchain: default: what is found on this machine.
        processes: processes that run DeepGEMM's host code; default: :func:`~kregistry.machine.default_processes`.
        stub_directory: where the compiled stub is kept; default: below the user's cache directory.
        on_kernel: called once for each kernel during the dry run, from its threads.

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

    registry.hook.kregistry_plan_started(entries=len(manifest.entries), target=manifest.target.name)
    run = DryRun(toolchain, manifest.target, stub_directory or default_stub_directory(), planned, on_entry)
    sweeps = [Sweep(entry, registry[entry.kernel_type]) for entry in manifest.entries]
    entries = run.run(sweeps, processes or default_processes(available_cores()))
    return Plan(manifest.target, toolchain.versions, dict(run.kernels), entries)
