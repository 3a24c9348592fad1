"""Compiles some kernels again, by nvcc alone, and compares them section by section with the cubins that are used."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

from attrs import frozen

from kregistry.compile.nvcc import Nvcc
from kregistry.compile.shared.comparison import difference
from kregistry.errors import AuditError
from kregistry.kernel import Kernel
from kregistry.scratch import scratch_directory
from kregistry.store.cubin import DamagedCubin
from kregistry.store.store import DamagedEntry


@frozen
class AuditFinding:
    """What was found about one kernel.

    Attributes:
        kernel: its id.
        text: what differs, or why there is nothing to compare.
    """

    kernel: str
    text: str

    def __str__(self) -> str:
        return f"{self.kernel}: {self.text}"


@frozen
class AuditReport:
    """What an audit came to.

    Attributes:
        total: kernels that could have been drawn.
        seed: draws the same kernels again.
        same: ids of the kernels that are what their sources give.
        differing: those that are not.
        missing: those that are not there, or damaged.
        failed: those whose source does not compile here.
    """

    total: int
    seed: int
    same: tuple[str, ...]
    differing: tuple[AuditFinding, ...]
    missing: tuple[AuditFinding, ...]
    failed: tuple[AuditFinding, ...]

    @property
    def sampled(self) -> int:
        return len(self.same) + len(self.differing) + len(self.missing) + len(self.failed)

    @property
    def summary(self) -> str:
        return f"{len(self.same)} of {self.sampled} kernels are what their sources compile to"

    def raise_problems(self) -> None:
        """
        Raises:
            AuditError: a kernel differs, is missing, or could not be compiled.
        """
        found = (*self.differing, *self.missing, *self.failed)
        if found:
            raise AuditError(self.summary, tuple(map(str, found)), _HINT if self.differing else "")

    def to_json(self) -> dict[str, Any]:
        def shown(findings: Iterable[AuditFinding]) -> list[dict[str, str]]:
            return [{"id": each.kernel, "text": each.text} for each in findings]

        return {
            "kernels": self.total,
            "sampled": self.sampled,
            "seed": self.seed,
            "same": list(self.same),
            "differing": shown(self.differing),
            "missing": shown(self.missing),
            "failed": shown(self.failed),
        }


_HINT = "do not use them before you know who made them: kregistry docs security"


def audit(
    kernels: Iterable[Kernel], cubin_of: Callable[[Kernel], bytes | None], nvcc: Path, sample: int, seed: int, jobs: int
) -> AuditReport:
    """Draw some kernels, compile them, and compare.

    Args:
        kernels: with their sources.
        cubin_of: the cubin that is used; ``None`` if there is none. It may raise DamagedEntry.
        nvcc: the compiler.
        sample: how many kernels are drawn, at most.
        seed: decides which.
        jobs: compilers at once.

    Raises:
        MissingRequirement: nvcc does not know the architecture.
        StorageError: no temporary directory can be written.
        Exception: whatever ``cubin_of`` raises besides.
    """
    every = sorted(kernels, key=lambda each: each.id)
    drawn = random.Random(seed).sample(every, min(sample, len(every)))
    with scratch_directory("audit") as scratch, closing(Nvcc(nvcc)) as compiler, ThreadPoolExecutor(jobs) as threads:
        results = list(threads.map(lambda each: _compare(each, cubin_of, compiler, scratch), drawn))

    def of(kind: str) -> tuple[AuditFinding, ...]:
        return tuple(AuditFinding(kernel.id, text) for kernel, (found, text) in zip(drawn, results) if found == kind)

    same = tuple(each.kernel for each in of("same"))
    return AuditReport(len(every), seed, same, of("differing"), of("missing"), of("failed"))


def _compare(
    kernel: Kernel, cubin_of: Callable[[Kernel], bytes | None], compiler: Nvcc, scratch: Path
) -> tuple[str, str]:
    """(kind of finding, its text) for one kernel."""
    try:
        cubin = cubin_of(kernel)
    except DamagedEntry as error:
        return "missing", f"damaged: {error}"
    if cubin is None:
        return "missing", "not there"
    made = compiler.compile(kernel, scratch / kernel.key)
    if made.failure:
        return "failed", f"does not compile here: {made.failure.splitlines()[-1]}"
    try:
        found = difference(cubin, made.cubin)
    except DamagedCubin as error:
        return "missing", f"damaged: {error}"
    return ("differing", f"differs from what its source compiles to: {found}") if found else ("same", "")
