"""The caller that made DeepGEMM compile: the thread that waits for the compiler, its stack, and the call.

DeepGEMM compiles inside the call and lets other threads run meanwhile (measured on 0.1.4.post1 and 0.2.3.post2), so
the monitor's thread can read the stack of the thread that waits.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import FrameType

from attrs import frozen

from kregistry.jit_monitor.frame_call import read_call
from kregistry.kernel_type import Value
from kregistry.registry import Registry

#: Top packages whose frames are not the caller: DeepGEMM, its Python bindings, and kregistry.
_NOT_CALLERS = ("deep_gemm", "tvm_ffi", "kregistry", "torch")
#: Longest stack that is reported.
_MAX_FRAMES = 40


@frozen
class Caller:
    """Where a compile comes from. The fields are those of a JIT event."""

    site: str = ""
    stack: tuple[str, ...] = ()
    kernel_type: str = ""
    shape: Mapping[str, Value] = {}
    m: int | None = None


def command_line(pid: int) -> str:
    """The command line of a process, at most 300 characters; empty if it cannot be read."""
    try:
        raw = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return ""
    return raw.replace(b"\0", b" ").decode(errors="replace").strip()[:300]


def find_caller(registry: Registry, child: int) -> Caller:
    """The caller whose thread of this process has started the process ``child`` and waits for it.

    If no thread is known to have started it, the first thread that is inside DeepGEMM is taken.
    """
    frames = sys._current_frames()
    threads = [
        thread
        for thread in threading.enumerate()
        if thread.ident in frames and thread is not threading.current_thread()
    ]
    owner = next((thread for thread in threads if _started(thread, child)), None)
    candidates = [owner] if owner is not None else threads
    for thread in candidates:
        frame = frames[thread.ident]  # type: ignore[index]
        inside = [each for each in _outward(frame) if _package(each) == "deep_gemm"]
        if inside or owner is not None:
            return _describe(registry, frame, inside)
    return Caller()


def _describe(registry: Registry, frame: FrameType, inside: list[FrameType]) -> Caller:
    callers = [each for each in _outward(frame) if _package(each) not in _NOT_CALLERS][:_MAX_FRAMES]
    stack = tuple(f"{each.f_code.co_filename}:{each.f_lineno} in {each.f_code.co_name}" for each in callers)
    site = stack[0] if stack else ""
    for each in reversed(inside):  # the outermost: the function that was called
        found = read_call(registry, each.f_code.co_name, each.f_locals)
        if found is not None:
            kernel_type, shape, m = found
            return Caller(site, stack, kernel_type.name, shape, m)
    return Caller(site, stack)


def _outward(frame: FrameType | None) -> Iterator[FrameType]:
    """The frame and its callers."""
    while frame is not None:
        yield frame
        frame = frame.f_back


def _package(frame: FrameType) -> str:
    """The top package of a frame; ``deep_gemm`` wherever it is vendored."""
    name = str(frame.f_globals.get("__name__", ""))
    parts = name.split(".")
    return "deep_gemm" if "deep_gemm" in parts else parts[0]


def _started(thread: threading.Thread, child: int) -> bool:
    """Whether a process is the child of a thread, as Linux keeps it."""
    try:
        children = Path(f"/proc/self/task/{thread.native_id}/children").read_text().split()
    except OSError:
        return False
    return str(child) in children
