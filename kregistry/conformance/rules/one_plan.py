"""Rule for what a plan is made of: it asks neither the environment nor the GPU of the machine that plans."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import FrameType
from typing import Any

from kregistry.call_watch import watching_calls
from kregistry.conformance.kernel_type_under_test import KernelTypeUnderTest, location
from kregistry.conformance.rule import RuleViolation, rule
from kregistry.kernel_type import KernelType, Shape

#: What torch tells of the GPUs of a machine.
_QUESTIONS = (
    "current_device",
    "device_count",
    "get_device_capability",
    "get_device_name",
    "get_device_properties",
    "is_available",
    "mem_get_info",
)
#: Modules of Python between ``os.environ`` and who reads it.
_BETWEEN = ("os", "collections.abc", "_collections_abc")


@rule("KR142", "a plan does not depend on the machine that makes it", needs=("KR112", "KR125"))
def one_plan(subject: KernelTypeUnderTest) -> None:
    """Call what planning calls, and note what it asks."""
    kernel_type, m = subject.kernel_type, subject.at("tail")
    packages = {cls.__module__.split(".")[0] for cls in type(kernel_type).__mro__} - {"kregistry", "abc", "builtins"}
    for shape in subject.every_shape:
        _forget(packages)
        with subject.applied(shape):
            for words, method in _methods(kernel_type, shape, m):
                with _asked(packages) as asked:
                    _call(method, asked)
                if asked:
                    wanted = "an answer made of shape, shape.target and m only: plan and server are two processes"
                    raise RuleViolation(words, f"reads {', '.join(dict.fromkeys(asked))}", wanted, location(shape, m))


def _methods(kernel_type: KernelType, shape: Shape, m: int) -> Iterator[tuple[str, Callable[[], object]]]:
    yield "resolve()", partial(kernel_type.resolve, dict(shape), shape.target)
    for dimension in kernel_type.dimensions:
        for name, policy in dimension.policies.items():
            yield f"the policy {name!r} of {dimension.name}", partial(policy, shape, m)
    for name in ("buffers", "memory_requirement", "workspace_requirement"):
        yield f"{name}()", partial(getattr(kernel_type, name), shape, m)
    for name in ("largest_m", "linear_arguments", "collective"):
        yield f"{name}()", partial(getattr(kernel_type, name), shape)
    yield "refusal()", partial(kernel_type.refusal, shape, m)
    buffers = kernel_type.allocate_buffers(shape, m, "meta")
    yield "arguments()", partial(kernel_type.arguments, buffers, m)


def _call(method: Callable[[], object], asked: list[str]) -> None:
    """What it asked explains an error better than the error does."""
    try:
        method()
    except Exception:
        if not asked:
            raise


def _forget(packages: set[str]) -> None:
    """Empty the caches of the author's functions: what they remember was asked before."""
    for name, module in [*sys.modules.items()]:
        if name.split(".")[0] in packages:
            for value in [*vars(module).values()]:
                clear = getattr(value, "cache_clear", None)
                if callable(clear):
                    clear()


@contextmanager
def _asked(packages: set[str]) -> Iterator[list[str]]:
    """What code of these packages asks for while the context is open."""
    import torch

    found: list[str] = []
    read = type(os.environ).__getitem__.__code__
    questions = {inspect.unwrap(getattr(torch.cuda, name)).__code__: f"torch.cuda.{name}()" for name in _QUESTIONS}

    def watch(frame: FrameType, event: str, argument: Any) -> None:
        if event != "call" or not (frame.f_code is read or frame.f_code in questions):
            return
        if _is_of(packages, frame.f_back):
            variable = f"the environment variable {frame.f_locals.get('key')}"
            found.append(variable if frame.f_code is read else questions[frame.f_code])

    with watching_calls(watch):
        yield found


def _is_of(packages: set[str], frame: FrameType | None) -> bool:
    """Whether code of these packages asked: the first frame outside of Python's own mapping."""
    while frame is not None and frame.f_globals.get("__name__") in _BETWEEN:
        frame = frame.f_back
    return frame is not None and str(frame.f_globals.get("__name__", "")).split(".")[0] in packages
