"""A plan: for a target, every entry with its segments, and the set of kernels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import field, frozen

from kregistry.events.planned import PlannedEntry
from kregistry.kernel import Kernel
from kregistry.target import Target
from kregistry.toolchain import Versions


@frozen
class Plan:
    """Everything that a manifest needs on a target, in one environment.

    Attributes:
        target: the GPU that was planned for.
        versions: of DeepGEMM, torch and nvcc.
        kernels: id -> kernel.
        entries: the entries of the manifest, in its order.
        fingerprint: digest of everything that the plan depends on; empty for a plan that is not kept.
        reused: whether an earlier command made the plan.
    """

    target: Target
    versions: Versions
    kernels: Mapping[str, Kernel]
    entries: tuple[PlannedEntry, ...]
    fingerprint: str = field(default="", eq=False)
    reused: bool = field(default=False, eq=False)

    def problems(self) -> tuple[str, ...]:
        return tuple(line for planned in self.entries for line in planned.problems())

    def to_json(self) -> dict[str, Any]:
        """The content of a lock file."""
        return {
            "lock_version": 1,
            "target": {
                "name": self.target.name,
                "compute_capability": self.target.compute_capability,
                "num_sms": self.target.num_sms,
            },
            "versions": self.versions.to_json(),
            "kernels": {
                kernel_id: {"name": kernel.name, "key": kernel.key, "arch": arch_flag(kernel)}
                for kernel_id, kernel in sorted(self.kernels.items())
            },
            "entries": [planned.to_json() for planned in self.entries],
        }


def arch_flag(kernel: Kernel) -> str:
    """The arch in the compiler's command, e.g. ``sm_90a``."""
    for flag in kernel.command.flags:
        for marker in ("code=", "--gpu-architecture=", "-arch="):
            if marker in flag:
                return flag.rpartition(marker)[2]
    return ""
