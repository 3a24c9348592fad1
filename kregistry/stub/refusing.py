"""Who refuses a launch, DeepGEMM or a kernel type; and whether a kernel type makes the call that it is asked for."""

from __future__ import annotations

import inspect
import re
from types import FrameType, TracebackType
from typing import Any

from attrs import frozen

from kregistry.deep_gemm.settings import read_call
from kregistry.errors import describe_error
from kregistry.kernel_type import Buffers, KernelType

#: Packages whose frames say nothing about who refuses: they are called by the one who does.
_CALLED = ("torch", "tvm_ffi", "kregistry")
_NUMBER = re.compile(r"\d+")


@frozen
class RefusalCause:
    """Why a value is refused.

    Attributes:
        reason: the message.
        by: file and line of the kernel type's code; empty if DeepGEMM refuses.
    """

    reason: str
    by: str = ""

    @property
    def kind(self) -> tuple[str, str]:
        """Equal for neighbouring values that are refused for one reason: numbers in the message may differ."""
        return _NUMBER.sub("#", self.reason), self.by

    @classmethod
    def from_error(cls, error: BaseException, kernel_type: KernelType) -> RefusalCause:
        """The refusal that an exception of a launch means."""
        return cls(describe_error(error), _origin(error.__traceback__, kernel_type))


def defined_at(code: Any) -> str:
    """``file:line`` of a class or a function; its name if Python does not know where it is."""
    try:
        return f"{inspect.getsourcefile(code)}:{inspect.getsourcelines(code)[1]}"
    except (OSError, TypeError):
        return str(getattr(code, "__qualname__", code))


def wrong_call(kernel_type: KernelType, buffers: Buffers, m: int) -> str:
    """What is wrong with the call that a kernel type makes at ``m``: it must be read as what was asked for.

    Buffers that stop short, for instance, give a call of fewer rows, and DeepGEMM another kernel. The settings of the
    shape must be in force. Empty if nothing is wrong.
    """
    shape, what = buffers.shape, f"arguments(buffers, m={m})"
    try:
        call = kernel_type.arguments(buffers, m)
        found = kernel_type.read_m(*call.args, **call.kwargs)
        if found != m:
            return f"read_m(*{what}) gives {found}, expected {m}: the buffers stop short, or another call is made"
        read = kernel_type.resolve(read_call(kernel_type, call.args, call.kwargs), shape.target)
    except Exception as error:
        return f"the call of {what} cannot be read: {describe_error(error)}"
    for dimension in kernel_type.dimensions:
        if not dimension.affects_kernel:
            continue
        value = shape[dimension.name]
        wanted = shape.at(dimension, m) if isinstance(value, str) and value in dimension.policies else value
        if read[dimension.name] != wanted:
            got = f"{dimension.name}={read[dimension.name]}"
            return f"read_shape(*{what}) gives {got}, expected {dimension.name}={wanted}"
    return ""


def _origin(traceback: TracebackType | None, kernel_type: KernelType) -> str:
    """Where a kernel type raised an exception; empty if it comes from DeepGEMM."""
    frames: list[tuple[FrameType, int]] = []
    while traceback is not None:
        frames.append((traceback.tb_frame, traceback.tb_lineno))
        traceback = traceback.tb_next
    for frame, line in reversed(frames):
        packages = str(frame.f_globals.get("__name__", "")).split(".")
        if "deep_gemm" in packages or frame.f_code is KernelType.launch.__code__:
            return ""
        if packages[0] not in _CALLED:
            return f"{frame.f_code.co_filename}:{line}"
    return defined_at(type(kernel_type))  # in a method that it inherits
