"""Make a plan of a manifest."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from platformdirs import user_cache_path

from kregistry.events.planned import PlannedEntry
from kregistry.kernel import Kernel
from kregistry.manifest import Manifest
from kregistry.plan.dry_run import DryRun, Sweep
from kregistry.plan.plan import Plan
from kregistry.registry import Registry
from kregistry.toolchain import Toolchain, find_toolchain


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))


def default_processes(cores: int) -> int:
    """Child processes of a dry run: a quarter of the cores finds kernels faster than the rest can compile them."""
    return min(cores, max(2, cores // 4))


def default_stub_directory() -> Path:
    """Below the user's cache directory."""
    return user_cache_path("kregistry") / "stub"


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

    DeepGEMM's own host code runs on a stub GPU in child processes, for every value of every range. Entries that fail
    carry their error; the others are complete. Events: ``kregistry_plan_started``, ``kregistry_kernel_planned``,
    ``kregistry_entry_planned``.

    Args:
        manifest: what to plan.
        registry: where the kernel types come from; the manifest's own providers are chosen.
        toolchain: default: what is found on this machine.
        processes: child processes; default: :func:`default_processes`.
        stub_directory: where the compiled stub is kept; default: below the user's cache directory.
        on_kernel: called once for each kernel while the dry run goes on, from its threads.

    Raises:
        MissingRequirement: CUDA torch, DeepGEMM, nvcc or a C compiler is missing.
        StorageError: a directory cannot be written.
    """
    toolchain = toolchain or find_toolchain()
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
