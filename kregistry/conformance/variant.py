"""Variants of a kernel type: the same object with other attributes, in this process and on the stub GPU."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, cast

from attrs import evolve, frozen

from kregistry.kernel_type import KernelType, Shape


def with_attributes(kernel_type: KernelType, **attributes: Any) -> KernelType:
    """A copy of the object with other attributes. It cannot be pickled if one of them cannot; see :func:`sent`."""
    varied = copy.copy(kernel_type)
    vars(varied).update(attributes)
    return varied


@frozen
class _Sent:
    make: Callable[..., KernelType]
    arguments: tuple[Any, ...]

    def __reduce__(self) -> tuple[Any, ...]:
        return self.make, self.arguments


def sent(make: Callable[..., KernelType], *arguments: Any) -> KernelType:
    """What another process unpickles as ``make(*arguments)``; it has no other use."""
    return cast(KernelType, _Sent(make, arguments))


def without_check(kernel_type: KernelType) -> KernelType:
    """The kernel type without its :meth:`KernelType.check`: each dimension alone still has its limits."""
    return with_attributes(kernel_type, check=_accept_shape)


def without_refusal(kernel_type: KernelType) -> KernelType:
    """The kernel type without its :meth:`KernelType.refusal`."""
    return with_attributes(kernel_type, refusal=_accept_value)


def with_minimum_zero(kernel_type: KernelType, name: str) -> KernelType:
    """The kernel type with a size that may be zero."""
    dimensions = [evolve(cast(Any, each), minimum=0) if each.name == name else each for each in kernel_type.dimensions]
    return with_attributes(kernel_type, dimensions=tuple(dimensions))


def _accept_shape(shape: Shape) -> None:
    """In place of :meth:`KernelType.check`."""


def _accept_value(shape: Shape, m: int) -> None:
    """In place of :meth:`KernelType.refusal`."""
