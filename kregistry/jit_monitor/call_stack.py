"""Who made DeepGEMM compile: the thread that waits for the compiler, its stack, and the call.

DeepGEMM compiles inside the call and lets other threads run meanwhile (measured on 0.1.4.post1 and 0.2.3.post2), so
the monitor's thread can look at the stack of the one that waits.
"""

from __future__ import annotations

import inspect
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import Any

from attrs import frozen

from kregistry.errors import MissingRequirement
from kregistry.kernel_type import Value
from kregistry.recording.recognition import Recognised, known_by, recognise
from kregistry.registry import Registry

#: Directories whose frames are not the caller: DeepGEMM, what binds it to Python, and kregistry.
_BETWEEN = ("deep_gemm", "tvm_ffi", "kregistry", "torch")
_MOST_FRAMES = 40


@frozen
class CallSite:
    """Where a compile comes from; see :class:`~kregistry.events.JitEvent` for the fields."""

    site: str = ""
    stack: tuple[str, ...] = ()
    kernel_type: str = ""
    shape: Mapping[str, Value] = {}
    m: int | None = None


def command_line(pid: int) -> str:
    """Arguments of a process, for people."""
    try:
        raw = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return ""
    return raw.replace(b"\0", b" ").decode(errors="replace").strip()[:300]


def look(registry: Registry, child: int) -> CallSite:
    """The call of the thread of this process that has started ``child`` and waits for it."""
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
    return CallSite()


def _describe(registry: Registry, frame: FrameType, inside: list[FrameType]) -> CallSite:
    callers = [each for each in _outward(frame) if _package(each) not in _BETWEEN][:_MOST_FRAMES]
    stack = tuple(f"{each.f_code.co_filename}:{each.f_lineno} in {each.f_code.co_name}" for each in callers)
    site = stack[0] if stack else ""
    for each in reversed(inside):  # the outermost: the function that was called
        found = read_call(registry, each.f_code.co_name, each.f_locals)
        if found is not None:
            kernel_type, shape, m = found
            return CallSite(site, stack, kernel_type.name, shape, m)
    return CallSite(site, stack)


def read_call(registry: Registry, function: str, local: Mapping[str, Any]) -> Recognised | None:
    """The call of a DeepGEMM function, from the local variables of its frame.

    A wrapper's are what it passes on (``*args, **kwargs``, as vLLM's). DeepGEMM's own Python functions take
    ``(data, scales)`` pairs apart, some into their own parameters: those are put together again.
    """
    if isinstance(local.get("args"), tuple) and isinstance(local.get("kwargs"), dict):
        return recognise(registry, function, local["args"], local["kwargs"])
    pairs = {
        name: (value, local[f"{name}_sf"]) if f"{name}_sf" in local and not isinstance(value, (tuple, list)) else value
        for name, value in local.items()
    }
    for kernel_type in known_by(registry, function):
        try:
            parameters = inspect.signature(kernel_type.function()).parameters
        except (ValueError, MissingRequirement):  # a function of C++ has no frame, and so no locals either
            continue
        return recognise(registry, function, (), {name: pairs[name] for name in parameters if name in pairs})
    return None


def _outward(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def _package(frame: FrameType) -> str:
    """The top package of a frame; ``deep_gemm`` wherever it is vendored."""
    name = str(frame.f_globals.get("__name__", ""))
    parts = name.split(".")
    return "deep_gemm" if "deep_gemm" in parts else parts[0]


def _started(thread: threading.Thread, child: int) -> bool:
    try:
        children = Path(f"/proc/self/task/{thread.native_id}/children").read_text().split()
    except OSError:
        return False
    return str(child) in children
