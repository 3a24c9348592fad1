"""Recognition: the kernel type that a call of a DeepGEMM function belongs to, with shape and run-time value."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from kregistry.deep_gemm.settings import read_call
from kregistry.errors import KregistryError, ShapeError, describe_error
from kregistry.kernel_type import KernelType, Value
from kregistry.registry import Registry

#: A kernel type, the dimensions of a call, and its run-time value.
Recognised = tuple[KernelType, Mapping[str, Value], int]


def recognise(registry: Registry, function: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Recognised | None:
    """What the first kernel type that can read the call reads; ``None`` if no kernel type can read it."""
    for kernel_type in known_by(registry, function):
        try:
            m = kernel_type.read_m(*args, **kwargs)
            return kernel_type, read_call(kernel_type, args, kwargs), m
        except Exception:  # not its call: another kernel type of the same function may know it
            continue
    return None


def why_unknown(registry: Registry, function: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str:
    """Why :func:`recognise` finds nothing: the reason of each kernel type of the function, with its name."""
    reasons: list[str] = []
    for kernel_type in known_by(registry, function):
        try:
            kernel_type.read_m(*args, **kwargs)
            read_call(kernel_type, args, kwargs)
        except ShapeError as error:
            reasons.append(f"{kernel_type.name}: {error.text}")
        except Exception as error:
            reasons.append(f"{kernel_type.name}: {describe_error(error)}")
    return "; ".join(reasons) or "no kernel type is of this function"


def known_by(registry: Registry, function: str) -> Iterator[KernelType]:
    """Kernel types that call a DeepGEMM function, the one of the same name first."""
    found = []
    for name in registry.names():
        try:
            kernel_type = registry[name]
        except KregistryError:
            continue  # two plugins offer it and none was chosen
        if function == name or function in kernel_type.function_names:
            found.append(kernel_type)
    return iter(sorted(found, key=lambda each: each.name != function))
