"""The event of a JIT monitor: DeepGEMM has compiled a kernel, or the monitor has blocked it."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Any

from attrs import asdict, field, frozen

from kregistry.errors import quoted
from kregistry.kernel_type import Value
from kregistry.kernel_type.display import show_shape
from kregistry.target import Target


class JitOutcome(enum.Enum):
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
    outcome: JitOutcome
    seconds: float
    site: str = ""
    stack: tuple[str, ...] = ()
    kernel_type: str = ""
    shape: Mapping[str, Value] = field(factory=dict)
    m: int | None = None
    target: Mapping[str, Any] = field(factory=dict)

    def __str__(self) -> str:
        call = f" for {self.kernel_type} {show_shape(self.shape)} at {self.m}" if self.kernel_type else ""
        done = f"in {self.seconds:.2f} s" if self.outcome is JitOutcome.COMPILED else ""
        where = self.site or f"process {self.pid} ({self.process})"
        return " ".join(f"DeepGEMM JIT: {self.kernel} {self.outcome.value} {done}{call}, called from {where}".split())

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "outcome": self.outcome.value}

    @classmethod
    def from_json(cls, content: object) -> JitEvent:
        """
        Raises:
            ValueError: the content is not that of an event.
        """
        if not isinstance(content, dict):
            raise ValueError("not an object")
        for name, (kinds, required) in _FIELDS.items():
            if name not in content and required:
                raise ValueError(f"{name} is missing")
            if name in content and (type(content[name]) is bool or not isinstance(content[name], kinds)):
                raise ValueError(f"{name} is {quoted(content[name])}")
        if content.keys() - _FIELDS.keys():
            raise ValueError(f"unknown key {quoted(min(content.keys() - _FIELDS.keys()))}")
        if not 0 <= content["time"] < 1e11:  # in the year 5138
            raise ValueError(f"time is {quoted(content['time'])}")
        m, texts = content.get("m"), (*content["template"], *content.get("stack", ()))
        if m is not None and not 0 <= m < 1 << 31:
            raise ValueError(f"m is {quoted(m)}")
        if not all(isinstance(each, str) for each in texts):
            raise ValueError("template and stack hold texts")
        if not all(value is None or isinstance(value, (bool, int, str)) for value in content.get("shape", {}).values()):
            raise ValueError("the shape holds numbers, words and flags")
        if content.get("target"):
            Target(**content["target"])
        made = {name: tuple(content.get(name, ())) for name in ("template", "stack")}
        return cls(**{**content, **made, "outcome": JitOutcome(content["outcome"])})


#: Key of an event -> the types of its value, and whether it must be there.
_FIELDS: Mapping[str, tuple[tuple[type, ...], bool]] = {
    "time": ((int, float), True),
    "pid": ((int,), True),
    "process": ((str,), True),
    "kernel": ((str,), True),
    "template": ((list,), True),
    "outcome": ((str,), True),
    "seconds": ((int, float), True),
    "site": ((str,), False),
    "stack": ((list,), False),
    "kernel_type": ((str,), False),
    "shape": ((dict,), False),
    "m": ((int, type(None)), False),
    "target": ((dict,), False),
}
