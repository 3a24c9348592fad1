"""The event of a JIT monitor: DeepGEMM has compiled a kernel, or the monitor has blocked it."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Any

from attrs import asdict, field, frozen

from kregistry.kernel_type import Value
from kregistry.kernel_type.display import show_shape


class Outcome(enum.Enum):
    """The outcome of a compile."""

    COMPILED = "compiled"
    FAILED = "failed"
    #: Mode ``error``: the compiler was not started.
    REFUSED = "refused"


@frozen
class JitEvent:
    """One compile.

    Attributes:
        time: seconds since the epoch when DeepGEMM asked for it.
        pid: the process that DeepGEMM runs in.
        process: its command line.
        kernel: name of the kernel's family, e.g. ``sm90_fp8_gemm_1d2d``.
        template: its template arguments, as they stand in the source.
        outcome: compiled, failed or refused.
        seconds: how long the caller waited for the compiler.
        site: ``file:line in function``, the nearest frame outside DeepGEMM and kregistry. Empty for a child
            process that has no monitor of its own.
        stack: the frames from there on outward, same form.
        kernel_type, shape, m: the call, if a kernel type recognised it in the calling frame; else empty.
        target: the device, as the fields of a :class:`~kregistry.target.Target`.
    """

    time: float
    pid: int
    process: str
    kernel: str
    template: tuple[str, ...]
    outcome: Outcome
    seconds: float
    site: str = ""
    stack: tuple[str, ...] = ()
    kernel_type: str = ""
    shape: Mapping[str, Value] = field(factory=dict)
    m: int | None = None
    target: Mapping[str, Any] = field(factory=dict)

    def __str__(self) -> str:
        call = f" for {self.kernel_type} {show_shape(self.shape)} at {self.m}" if self.kernel_type else ""
        done = f"in {self.seconds:.2f} s" if self.outcome is Outcome.COMPILED else ""
        where = self.site or f"process {self.pid} ({self.process})"
        return " ".join(f"DeepGEMM JIT: {self.kernel} {self.outcome.value} {done}{call}, called from {where}".split())

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "outcome": self.outcome.value}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> JitEvent:
        known = {**content, "outcome": Outcome(content["outcome"])}
        return cls(**{**known, "template": tuple(content["template"]), "stack": tuple(content["stack"])})
