"""Rule for :meth:`KernelType.linear_arguments`: planning then makes most calls without the kernel type."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from kregistry.conformance.cases import start_of
from kregistry.conformance.kernel_type_under_test import KernelTypeUnderTest, location
from kregistry.conformance.rule import NotApplicable, RuleViolation, rule
from kregistry.conformance.rules.large_values import large_values
from kregistry.kernel_type import KernelType, Shape
from kregistry.stub.repeated_calls import FIRST

if TYPE_CHECKING:
    from kregistry.kernel_type import Buffers

#: Values that follow each other, all of which are compared; of larger ones those of KR132.
_VALUES = 1024
#: Values below this, at which a policy is asked for its number: a microsecond each.
_POLICIES = 32_768


@rule("KR136", "arguments that are declared as linear are linear", needs=("KR132",))
def linear(subject: KernelTypeUnderTest) -> None:
    """Compare each call with the one on the straight line between two of them, as planning would make it."""
    kernel_type = subject.kernel_type
    shapes = [shape for shape in subject.every_shape if kernel_type.linear_arguments(shape)]
    if not shapes:
        raise NotApplicable("it does not declare linear arguments")
    for shape in shapes:
        _check_policies(kernel_type, shape)
        values = _values(kernel_type, shape)
        if len(values) < 2:
            continue
        buffers = subject.meta_buffers(shape, values[-1])
        first, last = (_numbers_of_call(kernel_type, buffers, m) for m in (values[0], values[-1]))
        for m in values:
            found = _numbers_of_call(kernel_type, buffers, m)
            share = (m - values[0]) / (values[-1] - values[0])
            wanted = {name: _between(first.get(name), last.get(name), share) for name in {**first, **last}}
            different = next((name for name in {**wanted, **found} if found.get(name) != wanted.get(name)), None)
            if different is not None:
                expected = f"{wanted.get(different)}, on a line from m={values[0]} to m={values[-1]}"
                what = f"{different} of arguments(buffers, m={m}) with linear_arguments"
                raise RuleViolation(what, found.get(different), expected, location(shape, m))


def _check_policies(kernel_type: KernelType, shape: Shape) -> None:
    """A policy with linear arguments gives the same number everywhere: a number of a table is found at each value."""
    start, step, most = start_of(kernel_type), kernel_type.run_dimension.step, kernel_type.largest_m(shape)
    for dimension in kernel_type.dimensions:
        if shape[dimension.name] not in dimension.policies:
            continue
        numbers = {m: shape.at(dimension, m) for m in range(start, min(most or _POLICIES, _POLICIES), step)}
        first = next(iter(numbers.values()), None)
        other = next((m for m, number in numbers.items() if number != first), None)
        if other is not None:
            what = f"linear_arguments(shape) with {dimension.name}={shape[dimension.name]}"
            wanted = f"False: the policy gives {first} at m={start} and {numbers[other]} at m={other}"
            raise RuleViolation(what, "True", wanted, location(shape, other))


def _values(kernel_type: KernelType, shape: Shape) -> tuple[int, ...]:
    start, step, most = start_of(kernel_type), kernel_type.run_dimension.step, kernel_type.largest_m(shape)
    values = {*range(start, start + _VALUES * step, step), *large_values(kernel_type, shape)}
    return tuple(m for m in sorted(values) if m >= FIRST and (most is None or m <= most))


def _numbers_of_call(kernel_type: KernelType, buffers: Buffers, m: int) -> dict[str, Any]:
    """Everything that a call consists of, by a name for messages."""
    call = kernel_type.arguments(buffers, m)
    named = {**{f"argument {i}": value for i, value in enumerate(call.args)}, **call.kwargs}
    return {name: each for key, value in named.items() for name, each in _parts(key, value)}


def _parts(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    import torch

    if isinstance(value, torch.Tensor):
        yield f"the storage and dtype of {name}", (value.untyped_storage()._cdata, str(value.dtype), value.dim())
        yield f"the offset of {name}", value.storage_offset()
        for dim, (size, stride) in enumerate(zip(value.shape, value.stride())):
            yield f"size {dim} of {name}", size
            yield f"stride {dim} of {name}", stride
    elif isinstance(value, (tuple, list)):
        yield f"the length of {name}", len(value)
        for i, each in enumerate(value):
            yield from _parts(f"{name}[{i}]", each)
    else:
        yield name, value


def _between(first: Any, last: Any, share: float) -> Any:
    """The value on the line between two integers; what is no integer must be the same in both."""
    if type(first) is int and type(last) is int:
        return round(first + (last - first) * share)
    return first if first == last else None
