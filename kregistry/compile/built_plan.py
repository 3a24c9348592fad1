"""What a build made of a plan: kept beside the store, for the other ranks and for the next start of a server."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from kregistry.compile.build_report import BuildReport
from kregistry.errors import StorageError, storage_errors
from kregistry.plan.plan_file import write_plan
from kregistry.plan.plan_sections import BuildSection, BuiltKernel
from kregistry.store.failures import is_lasting


def build_section(report: BuildReport) -> BuildSection:
    """Which kernels compile, and where DeepGEMM looks for them."""
    broken = {failed.kernel.id: failed.output for failed in report.failed}
    kernels = {
        kernel.id: BuiltKernel(str(kernel.cache_entry), kernel.cubin_file, tuple(sorted(kernel.files)))
        for kernel in report.plan.kernels.values()
        if kernel.id not in broken
    }
    complete = all(is_lasting(failed) for failed in report.failed) and not report.plan.problems()
    return BuildSection(kernels, broken, complete)


def write_built_plan(path: Path, report: BuildReport) -> None:
    """Write the plan of a build to a file that its fingerprint names.

    Raises:
        StorageError: the file cannot be written.
    """
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_plan(path, report.plan, build_section(report), recorded=True)


def keep_built_plan(store: Path, report: BuildReport) -> None:
    """Leave the plan of a build in a store.

    Nothing happens if the directory cannot be written: then the next start plans again.
    """
    with suppress(StorageError):
        write_built_plan(store / "plans" / f"{report.plan.fingerprint}.json", report)
