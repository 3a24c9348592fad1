"""Target: the properties of a GPU that DeepGEMM's heuristics read."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from attrs import field, frozen
from attrs.validators import ge, le, matches_re, max_len

from kregistry.errors import UnknownNameError, quoted

GIB = 1 << 30
MIB = 1 << 20


@frozen
class Target:
    """A GPU: the properties that DeepGEMM's host code reads before it chooses a kernel.

    Attributes:
        name: the name on the command line and in manifests.
        device_name: the name that the CUDA runtime reports.
        compute_capability: ``"9.0"``.
        num_sms: number of streaming multiprocessors; part of almost every kernel's template.
        l2_bytes: size of the L2 cache in bytes (no DeepGEMM kernel depends on it today).
        memory_bytes: size of the device memory in bytes.
        source: where the numbers come from.
    """

    name: str = field(validator=matches_re(r"[A-Za-z0-9][A-Za-z0-9._-]*"))
    device_name: str = field(validator=[max_len(255), lambda *a: _printable(*a)])
    compute_capability: str = field(validator=matches_re(r"[0-9]{1,3}\.[0-9]{1,2}"))
    num_sms: int = field(validator=[ge(1), le(1 << 16)])
    l2_bytes: int = field(validator=ge(1))
    memory_bytes: int = field(validator=ge(1))
    source: str = ""

    @property
    def major(self) -> int:
        return int(self.compute_capability.split(".")[0])

    @property
    def minor(self) -> int:
        return int(self.compute_capability.split(".")[1])

    @property
    def arch(self) -> str:
        """The family that kernel types declare support for: ``sm90``, ``sm100``, ``sm120``."""
        return f"sm{self.major}0"


def _printable(target: Target, attribute: Any, value: str) -> None:
    """The name goes into an environment variable of a process, and onto terminals."""
    if not value.isprintable():
        raise ValueError(f"{attribute.name!r} must be printable text, got {quoted(value)}")


_HOPPER = "NVIDIA Hopper datasheets and the H100 white paper"
_BLACKWELL = "NVIDIA Blackwell architecture briefs; SM count as the CUDA runtime reports it in public device queries"


def _target(name: str, device: str, cc: str, sms: int, l2_mib: int, memory_gib: int, source: str) -> Target:
    return Target(name, device, cc, sms, l2_mib * MIB, memory_gib * GIB, source)


TARGETS: Mapping[str, Target] = MappingProxyType(
    {
        target.name: target
        for target in (
            _target("h100", "NVIDIA H100 80GB HBM3", "9.0", 132, 50, 80, "read off a device (SXM5, driver 580)"),
            _target("h100-pcie", "NVIDIA H100 PCIe", "9.0", 114, 50, 80, _HOPPER),
            _target("h200", "NVIDIA H200", "9.0", 132, 60, 141, "read off a device (driver 580)"),
            _target("h20", "NVIDIA H20", "9.0", 78, 60, 96, _HOPPER + "; 78 SMs as DeepGEMM users report it"),
            _target("h800", "NVIDIA H800", "9.0", 132, 50, 80, _HOPPER + " (export variant of the SXM5 part)"),
            _target("gh200", "NVIDIA GH200 480GB", "9.0", 132, 60, 96, _HOPPER),
            _target("b200", "NVIDIA B200", "10.0", 148, 126, 180, _BLACKWELL),
            _target("gb200", "NVIDIA GB200", "10.0", 152, 126, 186, _BLACKWELL),
            _target("b300", "NVIDIA B300 SXM6 AC", "10.3", 148, 126, 270, _BLACKWELL),
            _target(
                "rtx-pro-6000",
                "NVIDIA RTX PRO 6000 Blackwell Server Edition",
                "12.0",
                188,
                128,
                96,
                "NVIDIA RTX PRO 6000 Blackwell datasheet",
            ),
        )
    }
)


def get_target(name: str) -> Target:
    """The built-in target of that name.

    Raises:
        UnknownNameError: no built-in target has that name.
    """
    if name not in TARGETS:
        raise UnknownNameError("target", name, (*TARGETS, "detect"))
    return TARGETS[name]


def detect_target(device: int = 0) -> Target:
    """The target for a real CUDA device of this process (imports torch).

    Raises:
        MissingRequirement: torch is missing or has no CUDA, or no device is visible.
    """
    from kregistry.errors import MissingRequirement

    try:
        import torch
    except ImportError as error:
        raise MissingRequirement(
            f"target 'detect' needs torch, which cannot be imported: {error}",
            "in a clone of kregistry, pip install '.[deepgemm]', or run kregistry in the environment of an engine; "
            f"or name the target, e.g. --target h100 (known: {', '.join(TARGETS)})",
        ) from error
    if not torch.cuda.is_available():
        raise MissingRequirement(
            "target 'detect' needs a CUDA device, but torch finds none",
            f"name the target instead, e.g. --target h100 (known: {', '.join(TARGETS)})",
        )
    properties: Any = torch.cuda.get_device_properties(device)
    name = str(properties.name)
    return Target(
        name="detected-" + "-".join(name.lower().replace("nvidia", "").split()),
        device_name=name,
        compute_capability=f"{properties.major}.{properties.minor}",
        num_sms=properties.multi_processor_count,
        l2_bytes=properties.L2_cache_size,
        memory_bytes=properties.total_memory,
        source="read off the device",
    )


def device_arch() -> str | None:
    """The arch of the current CUDA device; ``None`` if this process has not loaded torch, or has no device."""
    torch: Any = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return None
    return f"sm{torch.cuda.get_device_capability()[0]}0"
